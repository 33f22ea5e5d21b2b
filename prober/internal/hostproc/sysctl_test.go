package hostproc

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/plan"
)

func is(n int64) Setting { return Setting{n, true} }

func TestSysctlsGolden(t *testing.T) {
	for _, c := range []struct {
		kernel string
		want   Sysctls
	}{
		{"2.6.32", Sysctls{
			SynRetries: is(5), Timestamps: is(1), TWRecycle: is(1), PortLow: is(32768), PortHigh: is(61000),
			GCThresh: [3]Setting{is(128)},
			Interfaces: map[string]Interface{
				"default": {RPFilter: is(1), Neigh4: Neighbor{UnresQlen: is(3)}},
				"eth0":    {RPFilter: is(1), Neigh4: Neighbor{UnresQlen: is(3)}},
			},
		}},
		{"3.10", Sysctls{SynRetries: is(6), TWRecycle: is(0), Interfaces: map[string]Interface{
			"eth0": {ARPIgnore: is(0), Neigh4: Neighbor{UnresQlen: is(31), UnresQlenBytes: is(65536)}},
		}}},
		{"4.19", Sysctls{SynRetries: is(6), Interfaces: map[string]Interface{}}},
		{"6.18", Sysctls{
			SynRetries: is(6), SynLinearTimeouts: is(4), RTOMax: is(120000), PortLow: is(32768), PortHigh: is(60999),
			ConntrackMax: is(262144), Somaxconn: is(4096),
			Interfaces: map[string]Interface{"eth0.7": {
				RPFilter: is(2), Neigh4: Neighbor{UnresQlen: is(101), UnresQlenBytes: is(212992)},
				Neigh6: Neighbor{UnresQlenBytes: is(212992)},
			}},
		}},
	} {
		t.Run(c.kernel, func(t *testing.T) {
			if diff := cmp.Diff(c.want, golden(c.kernel).sysctls()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSysctlsHere(t *testing.T) {
	s := ReadSysctls()
	if !s.SynRetries.Known || !s.PortLow.Known || s.PortLow.Value > s.PortHigh.Value || len(s.Interfaces) == 0 {
		t.Errorf("%+v", s)
	}
}

// How many SYNs of 832 octets wait (measured on 6.18), and how many packets did before 3.3.
func TestNeighborQueue(t *testing.T) {
	for _, c := range []struct {
		name string
		n    Neighbor
		want int
		ok   bool
	}{
		{"2.6.32's three packets", Neighbor{UnresQlen: is(3)}, 3, true},
		{"3.3 … 4.13", Neighbor{UnresQlen: is(31), UnresQlenBytes: is(65536)}, 78, true},
		{"4.14 and later", Neighbor{UnresQlen: is(101), UnresQlenBytes: is(212992)}, 256, true},
		{"less than one still holds one", Neighbor{UnresQlenBytes: is(1)}, 1, true},
		{"unknown", Neighbor{}, 0, false},
	} {
		if n, ok := c.n.Queue(832); n != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v; want %d, %v", c.name, n, ok, c.want, c.ok)
		}
	}
}

func seconds(at ...int) []time.Duration {
	d := make([]time.Duration, len(at))
	for i, s := range at {
		d[i] = time.Duration(s) * time.Second
	}
	return d
}

func TestLadder(t *testing.T) {
	linear := func(retries, linear int64) Sysctls {
		return Sysctls{SynRetries: is(retries), SynLinearTimeouts: is(linear)}
	}
	for _, c := range []struct {
		name    string
		s       Sysctls
		version [3]int
		want    []time.Duration
		end     int // seconds
	}{
		{"2.6.32", Sysctls{SynRetries: is(5)}, [3]int{2, 6, 32}, seconds(0, 3, 9, 21, 45, 93), 189},
		{"3.0, the last with 3 s", Sysctls{}, [3]int{3, 0, 101}, seconds(0, 3, 9, 21, 45, 93), 189},
		{"3.1, the first with 1 s", Sysctls{}, [3]int{3, 1, 0}, seconds(0, 1, 3, 7, 15, 31), 63},
		{"3.10", Sysctls{SynRetries: is(6)}, [3]int{3, 10, 0}, seconds(0, 1, 3, 7, 15, 31, 63), 127},
		{"6.4 ignores what it has not", linear(6, 4), [3]int{6, 4, 0}, seconds(0, 1, 3, 7, 15, 31, 63), 127},
		{"6.5", linear(6, 4), [3]int{6, 5, 0}, seconds(0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67), 131},
		{"6.18, linear off", linear(6, 0), [3]int{6, 18, 44}, seconds(0, 1, 3, 7, 15, 31, 63), 127},
		{"few retries end by time: 2", linear(2, 4), [3]int{6, 18, 0}, seconds(0, 1, 2, 3, 4, 5), 7},
		{"few retries end by time: 1", linear(1, 4), [3]int{6, 18, 0}, seconds(0, 1, 2), 3},
		{"one linear timeout", linear(3, 1), [3]int{6, 18, 0}, seconds(0, 1, 2, 4, 8), 16 - 0},
		{"many retries: capped at 120 s", linear(8, 0), [3]int{6, 18, 0}, seconds(0, 1, 3, 7, 15, 31, 63, 127, 247), 367},
		{
			"tcp_rto_max_ms of 1 s makes every wait equal", Sysctls{SynRetries: is(3), SynLinearTimeouts: is(0), RTOMax: is(1000)},
			[3]int{6, 18, 0}, seconds(0, 1, 2, 3), 4,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Ladder(c.s, c.version).At); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got, want := GivesUp(c.s, c.version), time.Duration(c.end)*time.Second; got != want {
				t.Errorf("gives up after %s, want %s", got, want)
			}
		})
	}
}

// plan's own ladders are those of the defaults.
func TestLadderIsPlans(t *testing.T) {
	s := Sysctls{SynRetries: is(6), SynLinearTimeouts: is(4)}
	if diff := cmp.Diff(plan.Linear(time.Second, 4, 10), Ladder(s, [3]int{6, 18, 0})); diff != "" {
		t.Errorf("linear (-plan +here):\n%s", diff)
	}
	if diff := cmp.Diff(plan.Exponential(time.Second, 6), Ladder(Sysctls{}, [3]int{4, 19, 0})); diff != "" {
		t.Errorf("exponential (-plan +here):\n%s", diff)
	}
}

func TestParseRelease(t *testing.T) {
	for in, want := range map[string][3]int{
		"6.18.44-fc-v769":        {6, 18, 44},
		"3.10.0-1160.el7.x86_64": {3, 10, 0},
		"2.6.32-431.el6":         {2, 6, 32},
		"6.18-rc1":               {6, 18, 0},
		"7":                      {7, 0, 0},
		"":                       {},
		"x.1":                    {},
		"99999999999999999999.1": {},
	} {
		if got := ParseRelease(in); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
	if release, version := Kernel(); release == "" || version[0] == 0 {
		t.Errorf("this kernel: %q, %v", release, version)
	}
}
