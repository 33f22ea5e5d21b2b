package hostproc

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/prometheus/procfs"
)

// Counters are kernel counters of this network namespace at one moment.
type Counters struct {
	// Values by "Section.Name": Tcp, TcpExt, Ip, IpExt, Icmp, IcmpMsg, Ip6, Icmp6 of the namespace; arp_cache, ndisc_cache
	// (initial namespace only, and of all namespaces together) and softnet of the whole machine; nf_conntrack. ReadDevices adds link.
	Values map[string]int64
	// Missing lists the files that are not there or not in a known form, and why. Their counters are absent, not zero.
	Missing []string
	// Backlogs are what each CPU took and dropped, by its number; nil where softnet_stat could not be read.
	Backlogs map[uint32]Backlog
}

// Backlog counts what the queue of one CPU did (net/core/net-procfs.c softnet_seq_show: 32 bits each, which wrap). Processed holds every packet that the
// CPU received, those of devices with a queue of their own too.
type Backlog struct{ Processed, Dropped uint32 }

// Read takes all counters. The error says that not one file could be read.
func Read() (Counters, error) { return proc.read() }

func (r root) read() (Counters, error) {
	c := Counters{Values: make(map[string]int64, 512)}
	c.file("netstat", r.readNet, parsePairs)
	c.file("snmp", r.readNet, parsePairs)
	c.file("snmp6", r.readNet, parseSNMP6)
	for _, table := range []string{"arp_cache", "ndisc_cache", "nf_conntrack"} {
		c.file("stat/"+table, r.readNet, func(b []byte, into map[string]int64) error { return parsePerCPU(b, table, into) })
	}
	for _, name := range []string{"count", "max"} {
		c.file("net/netfilter/nf_conntrack_"+name, r.readSys, func(b []byte, into map[string]int64) error {
			n, err := number(strings.TrimSpace(string(b)))
			if err != nil {
				return &ErrFormat{1, err.Error()}
			}
			into["nf_conntrack."+name] = n
			return nil
		})
	}
	c.softnet(r)
	if len(c.Values) == 0 {
		return c, fmt.Errorf("read kernel counters below %s: %s", r, strings.Join(c.Missing, "; "))
	}
	return c, nil
}

// file adds what one file holds, or why it adds nothing.
func (c *Counters) file(name string, read func(string) ([]byte, error), parse func([]byte, map[string]int64) error) {
	b, err := read(name)
	if err == nil {
		err = parse(b, c.Values)
	}
	c.miss(name, err)
}

func (c *Counters) miss(name string, err error) {
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err // the name is said already
	}
	if err != nil {
		c.Missing = append(c.Missing, name+": "+err.Error())
	}
}

// softnet sums what the backlog queues of all CPUs dropped and how often their budget was used up.
func (c *Counters) softnet(r root) {
	fs, err := procfs.NewFS(r.thread())
	if err != nil {
		c.miss("softnet_stat", err)
		return
	}
	rows, err := fs.NetSoftnetStat()
	if err != nil {
		c.miss("softnet_stat", err)
		return
	}
	var dropped, squeezed int64
	c.Backlogs = make(map[uint32]Backlog, len(rows))
	for _, row := range rows {
		dropped += int64(row.Dropped)
		squeezed += int64(row.TimeSqueezed)
		c.Backlogs[row.Index] = Backlog{row.Processed, row.Dropped} // before 5.10 the file does not name the CPU: its line stands for it
	}
	c.Values["softnet.dropped"], c.Values["softnet.time_squeeze"] = dropped, squeezed
}

// Worst is what the backlog took and dropped between two readings of the CPU that dropped the largest share; zero where none dropped anything, or the
// CPUs online are not the same.
func Worst(before, after Counters) Backlog {
	var worst Backlog
	if len(before.Backlogs) != len(after.Backlogs) {
		return worst
	}
	share := func(b Backlog) float64 { return float64(b.Dropped) / (float64(b.Dropped) + float64(b.Processed)) }
	for cpu, b := range after.Backlogs {
		a, ok := before.Backlogs[cpu]
		d := Backlog{b.Processed - a.Processed, b.Dropped - a.Dropped}
		if ok && d.Dropped > 0 && (worst.Dropped == 0 || share(d) > share(worst)) {
			worst = d
		}
	}
	return worst
}

// gauge reports whether a value goes up and down, or is a setting.
func gauge(name string) bool {
	switch name {
	case "Tcp.CurrEstab", "Tcp.RtoAlgorithm", "Tcp.RtoMin", "Tcp.RtoMax", "Tcp.MaxConn", "Ip.Forwarding", "Ip.DefaultTTL",
		"nf_conntrack.count", "nf_conntrack.max":
		return true
	}
	return strings.HasSuffix(name, ".entries") || strings.HasPrefix(name, "sockstat.")
}

// perCPU reports whether a value is a sum over CPUs, each of which counts to 2³² for itself (struct softnet_data, struct
// ip_conntrack_stat; struct neigh_statistics on 32-bit machines; Linux 6.18).
func perCPU(name string) bool {
	for _, p := range []string{"softnet.", "nf_conntrack.", "arp_cache.", "ndisc_cache."} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// fromZero reports whether the kernel lists a counter only once it is not zero: ICMP by type (net/ipv4/proc.c
// icmpmsg_put, net/ipv6/proc.c snmp6_seq_show_icmpv6msg).
func fromZero(name string) bool {
	return strings.HasPrefix(name, "IcmpMsg.") ||
		strings.HasPrefix(name, "Icmp6.InType") || strings.HasPrefix(name, "Icmp6.OutType")
}

// Delta is by how much each counter rose between two readings of one namespace, where it did; gauges may fall. A counter
// that one reading lacks is left out (but for ICMP types, which the kernel lists from the first message on). One that fell
// is taken to have wrapped at 2³² where that gives a rise below 2³¹ (of a sum over CPUs one may have), and is otherwise left
// out: it was reset.
func Delta(before, after Counters) map[string]int64 {
	d := make(map[string]int64)
	for name, b := range after.Values {
		a, ok := before.Values[name]
		if !ok && !fromZero(name) {
			continue
		}
		if n, ok := rise(name, a, b); ok && n != 0 {
			d[name] = n
		}
	}
	return d
}

func rise(name string, before, after int64) (int64, bool) {
	n := after - before
	if n >= 0 || gauge(name) {
		return n, true
	}
	if before > math.MaxUint32 && !perCPU(name) {
		return 0, false
	}
	n += 1 << 32
	return n, n >= 0 && n < 1<<31
}
