package hostproc

import (
	"fmt"
	"strconv"
	"strings"
)

// ErrFormat is a file of the kernel's that is not in the form known for it.
type ErrFormat struct {
	Line int // from 1
	Why  string
}

func (e *ErrFormat) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Why) }

// sections are the parts of netstat and snmp that are kept; the rest (UDP, MPTCP, SCTP) says nothing about a handshake.
func kept(section string) bool {
	switch section {
	case "TcpExt", "IpExt", "Tcp", "Ip", "Icmp", "IcmpMsg":
		return true
	}
	return false
}

// parsePairs reads the form of /proc/net/netstat and /proc/net/snmp: a line of names and a line of values, both beginning
// with the section (net/ipv4/proc.c, 2.6.32 to 6.18). A section in another form is left out and named by the error; the
// others are read all the same.
func parsePairs(b []byte, into map[string]int64) error {
	var bad error
	lines := strings.Split(string(b), "\n")
	for i := 0; i < len(lines); i++ {
		section, names, ok := strings.Cut(lines[i], ":")
		if !ok {
			continue
		}
		if i+1 == len(lines) || !strings.HasPrefix(lines[i+1], section+":") {
			bad = &ErrFormat{i + 1, "no values follow the names of " + section}
			continue
		}
		i++
		if !kept(section) {
			continue
		}
		if err := pairs(section, strings.Fields(names), strings.Fields(lines[i][len(section)+1:]), into); err != nil {
			bad = &ErrFormat{i + 1, err.Error()}
		}
	}
	return bad
}

func pairs(section string, names, values []string, into map[string]int64) error {
	if len(names) != len(values) {
		return fmt.Errorf("%s has %d names and %d values", section, len(names), len(values))
	}
	parsed := make([]int64, len(values))
	for i, v := range values {
		n, err := number(v)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", section, names[i], err)
		}
		parsed[i] = n
	}
	for i, name := range names {
		into[section+"."+name] = parsed[i]
	}
	return nil
}

// number reads a decimal counter. Values beyond 2⁶³ wrap: only differences of counters are of use.
func number(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	u, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return int64(u), nil
}

// parseSNMP6 reads /proc/net/snmp6, a name and a value per line, with the names split as IPv4's are: "Ip6InReceives" is
// "Ip6.InReceives" (net/ipv6/proc.c). UDP's are left out.
func parseSNMP6(b []byte, into map[string]int64) error {
	var bad error
	for i, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 2 {
			bad = &ErrFormat{i + 1, "not a name and a value"}
			continue
		}
		section, name := splitSNMP6(f[0])
		if section == "" {
			continue
		}
		n, err := number(f[1])
		if err != nil {
			bad = &ErrFormat{i + 1, err.Error()}
			continue
		}
		into[section+"."+name] = n
	}
	return bad
}

func splitSNMP6(s string) (section, name string) {
	for _, p := range []string{"Icmp6", "Ip6"} {
		if rest, ok := strings.CutPrefix(s, p); ok && rest != "" {
			return p, rest
		}
	}
	return "", ""
}

// parsePerCPU reads the form of /proc/net/stat/*: a line of names, then a row of hexadecimal values per CPU, which are
// summed. The column "entries" is the table's size, the same in every row (net/core/neighbour.c neigh_stat_seq_show;
// net/netfilter/nf_conntrack_standalone.c ct_cpu_seq_show).
func parsePerCPU(b []byte, section string, into map[string]int64) error {
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	names := strings.Fields(lines[0])
	if len(names) == 0 || len(lines) < 2 {
		return &ErrFormat{1, "no names or no rows"}
	}
	sums := make([]uint64, len(names))
	for i, line := range lines[1:] {
		row := strings.Fields(line)
		if len(row) != len(names) {
			return &ErrFormat{i + 2, fmt.Sprintf("%d values for %d names", len(row), len(names))}
		}
		for j, v := range row {
			n, err := strconv.ParseUint(v, 16, 64)
			if err != nil {
				return &ErrFormat{i + 2, fmt.Sprintf("%s: %q is not a hexadecimal number", names[j], v)}
			}
			if names[j] == "entries" {
				sums[j] = n
				continue
			}
			sums[j] += n
		}
	}
	for i, name := range names {
		into[section+"."+name] = int64(sums[i])
	}
	return nil
}
