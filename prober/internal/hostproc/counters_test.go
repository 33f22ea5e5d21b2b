package hostproc

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func golden(version string) root { return root(filepath.Join("testdata", version)) }

// The files of four kernels, 2.6.32 and 3.10 with the layout of before thread-self. 3.10's netstat is incident 002's own.
func TestReadGolden(t *testing.T) {
	for _, c := range []struct {
		kernel  string
		has     map[string]int64
		lacks   []string // counters
		missing []string // files
	}{
		{
			"2.6.32",
			map[string]int64{
				"TcpExt.PAWSPassive": 3565, "TcpExt.ListenDrops": 3565, "TcpExt.TWRecycled": 12, "Tcp.RetransSegs": 91,
				"Tcp.MaxConn": -1, "Ip.OutNoRoutes": 3, "IcmpMsg.InType3": 0, "arp_cache.res_failed": 3, "arp_cache.entries": 5,
				"softnet.dropped": 1, "softnet.time_squeeze": 5,
			},
			[]string{"TcpExt.TCPSynRetrans", "arp_cache.unresolved_discards", "Ip6.InReceives", "Udp.NoPorts"},
			[]string{"snmp6", "stat/ndisc_cache", "stat/nf_conntrack", "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"},
		},
		{
			"3.10",
			map[string]int64{
				"TcpExt.PAWSActive": 0, "TcpExt.PAWSPassive": 0, "TcpExt.TW": 94979, "TcpExt.PAWSEstab": 906,
				"TcpExt.ListenDrops": 0, "TcpExt.DelayedACKLost": 5435, "TcpExt.TCPTimeouts": 1992, "TcpExt.TCPSynRetrans": 3021,
				"IpExt.InOctets": 57132122839, "arp_cache.unresolved_discards": 33, "softnet.dropped": 5,
			},
			[]string{"TcpExt.PAWSTimewait"},
			[]string{"stat/ndisc_cache", "stat/nf_conntrack", "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"},
		},
		{
			"4.19",
			map[string]int64{
				"TcpExt.ListenDrops": 17, "TcpExt.TCPSynRetrans": 4294967290, "IpExt.InOctets": -616, // wrapped, as 2⁶⁴−616 does
				"arp_cache.unresolved_discards": 7 + math.MaxUint32, "arp_cache.table_fulls": 3, "ndisc_cache.lookups": 150,
				"softnet.dropped": 1, "Ip6.InHdrErrors": 11,
			},
			[]string{"TcpExt.PAWSPassive"},
			[]string{"stat/nf_conntrack", "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"},
		},
		{
			"6.18",
			map[string]int64{
				"TcpExt.ListenDrops": 2, "TcpExt.PAWSTimewait": 5, "TcpExt.TCPSynRetrans": 48, "nf_conntrack.insert_failed": 6,
				"nf_conntrack.drop": 5, "nf_conntrack.entries": 2, "nf_conntrack.count": 9, "nf_conntrack.max": 262144,
				"softnet.dropped": 6, "Icmp6.InMsgs": 33,
			},
			[]string{"TcpExt.PAWSPassive", "MPTcpExt.MPCapableSYNRX"},
			nil,
		},
	} {
		t.Run(c.kernel, func(t *testing.T) {
			got, err := golden(c.kernel).read()
			if err != nil {
				t.Fatal(err)
			}
			has := make(map[string]int64)
			for name := range c.has {
				if v, ok := got.Values[name]; ok {
					has[name] = v
				}
			}
			if diff := cmp.Diff(c.has, has); diff != "" {
				t.Errorf("counters (-want +got):\n%s", diff)
			}
			for _, name := range c.lacks {
				if v, ok := got.Values[name]; ok {
					t.Errorf("%s = %d, want it absent", name, v)
				}
			}
			var missing []string
			for _, m := range got.Missing {
				file, _, _ := strings.Cut(m, ":")
				missing = append(missing, file)
			}
			slices.Sort(missing)
			slices.Sort(c.missing)
			if diff := cmp.Diff(c.missing, missing); diff != "" {
				t.Errorf("missing (-want +got):\n%s\n%v", diff, got.Missing)
			}
		})
	}
}

func TestReadHere(t *testing.T) {
	c, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"TcpExt.ListenDrops", "Tcp.RetransSegs", "Ip.InReceives"} {
		if _, ok := c.Values[name]; !ok {
			t.Errorf("no %s on this host; missing: %v", name, c.Missing)
		}
	}
}

func TestReadNothing(t *testing.T) {
	if c, err := root(t.TempDir()).read(); err == nil || len(c.Missing) == 0 {
		t.Errorf("read %d counters from nothing, error %v", len(c.Values), err)
	}
}

func TestDelta(t *testing.T) {
	before := Counters{Values: map[string]int64{
		"TcpExt.ListenDrops": 10, "TcpExt.PAWSPassive": 10, "TcpExt.TW": 7, "softnet.dropped": math.MaxUint32 - 1,
		"arp_cache.unresolved_discards": 900, "Tcp.CurrEstab": 9, "arp_cache.entries": 4, "TcpExt.Gone": 3, "Ip.Big": 1 << 40,
		"IpExt.InOctets": math.MaxInt64,
	}}
	after := Counters{Values: map[string]int64{
		"TcpExt.ListenDrops": 14, "TcpExt.PAWSPassive": 14, "TcpExt.TW": 7, "softnet.dropped": 3,
		"arp_cache.unresolved_discards": 2, "Tcp.CurrEstab": 4, "arp_cache.entries": 9, "TcpExt.New": 5, "Ip.Big": 0,
		"IcmpMsg.InType3": 2, "Icmp6.InType1": 1, "Icmp6.InMsgs": 1, "IpExt.InOctets": math.MinInt64 + 99,
	}}
	want := map[string]int64{
		"TcpExt.ListenDrops": 4, "TcpExt.PAWSPassive": 4, // equal, as incident 002 saw
		"softnet.dropped":   5,  // wrapped at 2³²
		"Tcp.CurrEstab":     -5, // gauges fall
		"arp_cache.entries": 5,
		"IcmpMsg.InType3":   2, "Icmp6.InType1": 1, // listed from the first message on
		"IpExt.InOctets": 100, // passed 2⁶³
	}
	if diff := cmp.Diff(want, Delta(before, after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a section's malformed pair costs is that section only, and it is said.
func TestParsePairsMalformed(t *testing.T) {
	for _, c := range []struct{ name, in, why string }{
		{"a value too few", "Tcp: A B\nTcp: 1\nIp: X\nIp: 2\n", "line 2: Tcp has 2 names and 1 values"},
		{"no number", "Tcp: A\nTcp: x\nIp: X\nIp: 2\n", `line 2: Tcp.A: "x" is not a number`},
		{"names without values", "Tcp: A\nIp: X\nIp: 2\n", "line 1: no values follow the names of Tcp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := map[string]int64{}
			err := parsePairs([]byte(c.in), got)
			if err == nil || err.Error() != c.why {
				t.Errorf("error %v, want %q", err, c.why)
			}
			if diff := cmp.Diff(map[string]int64{"Ip.X": 2}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParsers(f *testing.F) {
	for _, pattern := range []string{"testdata/*/net/*", "testdata/*/net/stat/*", "testdata/*/thread-self/net/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			if b, err := os.ReadFile(name); err == nil {
				f.Add(b)
			}
		}
	}
	f.Add([]byte("entries\n1 2\n")) // more values than names
	f.Add([]byte("Tcp:"))           // names without a line of values
	f.Add([]byte("TcpExt: A\nTcpExt:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte, map[string]int64) error{
			parsePairs, parseSNMP6,
			func(b []byte, m map[string]int64) error { return parsePerCPU(b, "x", m) },
		} {
			got := map[string]int64{}
			_ = parse(b, got)
			for name := range got {
				section, rest, ok := strings.Cut(name, ".")
				if !ok || section == "" || rest == "" {
					t.Errorf("counter without a section or name: %q", name)
				}
			}
		}
	})
}

// The CPU that dropped the largest share is the one whose packets were in the worst way, whatever it took; its counters wrap at 2³².
func TestWorstCPU(t *testing.T) {
	file := func(lines ...string) Counters {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "net"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "net", "softnet_stat"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := root(dir).read()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	row := func(processed, dropped, cpu string) string {
		return processed + " " + dropped + " " + strings.Repeat("00000000 ", 10) + cpu + " 00000000 00000000"
	}
	before := file(row("00000064", "00000001", "00000000"), row("00000064", "fffffffe", "00000003"))
	for _, c := range []struct {
		name  string
		after Counters
		want  Backlog
	}{
		{"nothing dropped", file(row("00000164", "00000001", "00000000"), row("00000064", "fffffffe", "00000003")), Backlog{}},
		{"one CPU dropped", file(row("00000164", "00000011", "00000000"), row("00001064", "fffffffe", "00000003")), Backlog{256, 16}},
		{"both did, the second a larger share, past 2³²", file(row("00100064", "00000011", "00000000"), row("0000006e", "00000008", "00000003")), Backlog{10, 10}},
		{"a CPU went offline", file(row("00000164", "00000011", "00000000")), Backlog{}},
	} {
		if got := Worst(before, c.after); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
