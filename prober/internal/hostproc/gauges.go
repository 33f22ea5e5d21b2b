package hostproc

import (
	"fmt"
	"slices"
	"strings"
)

// ReadSaved takes the counters of a directory that holds a copy of a host's /proc/net as "net": what a machine that this program
// does not run on looked like at one moment. Errors as Read.
func ReadSaved(dir string) (Counters, error) { return root(dir).readGauged() }

// readGauged is read with the socket gauges.
func (r root) readGauged() (Counters, error) {
	c, err := r.read()
	if err != nil {
		return c, err
	}
	c.file("sockstat", r.readNet, parseSockstat)
	c.file("sockstat6", r.readNet, parseSockstat)
	return c, nil
}

// parseSockstat reads the form of /proc/net/sockstat and sockstat6: "TCP: inuse 5 orphan 0 tw 3 alloc 8 mem 2", pages of memory
// last (net/ipv4/proc.c sockstat_seq_show, 2.6.32 to 6.18).
func parseSockstat(b []byte, into map[string]int64) error {
	var bad error
	for i, line := range strings.Split(string(b), "\n") {
		section, rest, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		f := strings.Fields(rest)
		if len(f)%2 != 0 {
			bad = &ErrFormat{i + 1, fmt.Sprintf("%s: %q has no value", section, f[len(f)-1])}
			continue
		}
		for j := 0; j+1 < len(f); j += 2 {
			n, err := number(f[j+1])
			if err != nil {
				bad = &ErrFormat{i + 1, fmt.Sprintf("%s %s: %v", section, f[j], err)}
				continue
			}
			into["sockstat."+section+"."+f[j]] = n
		}
	}
	return bad
}

// Reset lists the counters that fell between two readings of one place by more than a wrap explains: somebody set them to zero,
// or the place is another namespace now. Gauges are not among them.
func Reset(before, after Counters) []string {
	var out []string
	for name, b := range after.Values {
		if a, ok := before.Values[name]; ok {
			if _, ok := rise(name, a, b); !ok {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}
