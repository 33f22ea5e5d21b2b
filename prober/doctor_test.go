package prober

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// is a setting that the kernel has.
func is(n int64) hostproc.Setting { return hostproc.Setting{Value: n, Known: true} }

func queue(octets int64) hostproc.Interface {
	return hostproc.Interface{Neigh4: hostproc.Neighbor{UnresQlenBytes: is(octets)}}
}

// doctorIn is what Doctor finds on a host, by name.
func doctorIn(t *testing.T, h *topo.Host, o EngineOptions) map[string]Check {
	t.Helper()
	found := map[string]Check{}
	must(t, h.Do(func() error {
		for _, c := range Doctor(t.Context(), o) {
			if _, twice := found[c.Name]; twice || c.State == CheckUnknown || c.Detail == "" {
				t.Errorf("check %+v: unknown, empty or there twice", c)
			}
			found[c.Name] = c
		}
		return nil
	}))
	return found
}

// finds holds one check against its state, and its detail and hint against a text in them.
func finds(t *testing.T, c Check, state CheckState, texts ...string) {
	t.Helper()
	if c.State != state {
		t.Errorf("%s %s: %s, want %s", c.State, c.Name, c.Detail, state)
	}
	for _, text := range texts {
		if !strings.Contains(c.Detail+"\n"+c.Hint, text) {
			t.Errorf("%s: %q, hint %q, want %q in it", c.Name, c.Detail, c.Hint, text)
		}
	}
}

func oneHost(t *testing.T) *topo.Host {
	t.Helper()
	r := network(t)
	must(t, r.Err())
	return r.client
}

func TestDoctorFindsNothingWrong(t *testing.T) {
	t.Parallel()
	found := doctorIn(t, oneHost(t), EngineOptions{RingBytes: 1 << 20})
	for _, name := range []string{"kernel", "cap_net_raw", "cap_net_admin", "connects", "syn_ladder", "tcp_timestamps", "neighbor_queue_ipv4",
		"neighbor_queue_ipv6", "conntrack"} {
		finds(t, found[name], CheckOK)
	}
	finds(t, found["capture_ring"], CheckOK, "1 MiB")
	finds(t, found["source_ports"], CheckOK, "61000-65535", "2268 for connects")
	finds(t, found["port_hold"], CheckOK, "IPv4 tcp-md5, IPv6 tcp-md5")
	finds(t, found["neighbor_table_ipv4"], CheckWarn, "initial network namespace")
}

func TestDoctorFindsASmallNeighborQueue(t *testing.T) {
	t.Parallel()
	r := network(t)
	name := r.near.Name
	r.client.Sysctl("net.ipv4.neigh."+name+".unres_qlen_bytes", fmt.Sprint(3*queuedSYN))
	must(t, r.Err())
	found := doctorIn(t, r.client, EngineOptions{NoCapture: true})
	finds(t, found["neighbor_queue_ipv4"], CheckWarn, "3 SYNs on "+name, "net/ipv4/neigh/"+name+"/unres_qlen_bytes=212992")
	finds(t, found["neighbor_queue_ipv6"], CheckOK)
	finds(t, found["capture_ring"], CheckOK, "switched off")
}

func TestDoctorFailsOnceWithoutPorts(t *testing.T) {
	t.Parallel()
	h := oneHost(t)
	h.Sysctl("net.ipv4.ip_local_port_range", "1024 65535")
	found := doctorIn(t, h, EngineOptions{})
	finds(t, found["source_ports"], CheckFail, "ip_local_port_range")
	for _, name := range []string{"capture_ring", "connects", "port_hold"} {
		finds(t, found[name], CheckWarn, "not tried", "see source_ports")
	}
}

func TestDoctorFailsWhereOthersHaveThePorts(t *testing.T) {
	t.Parallel()
	h := oneHost(t)
	must(t, h.Do(func() error {
		held, err := rawsock.HoldPort(addr(clientV4), 61000, "")
		if err == nil {
			t.Cleanup(func() { must(t, held.Close()) })
		}
		return err
	}))
	found := doctorIn(t, h, EngineOptions{SourcePorts: plan.PortRange{Lo: 61000, Hi: 61001}, NoCapture: true})
	finds(t, found["connects"], CheckFail, "port is in use: all of 61000-61000")
	finds(t, found["port_hold"], CheckOK)
	finds(t, found["source_ports"], CheckWarn, "too few")
}

// TestDoctorWithoutCapabilities: less is seen, and nothing fails.
func TestDoctorWithoutCapabilities(t *testing.T) {
	t.Parallel()
	private(t)
	found := make(chan []Check, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread has lost its capabilities and ends with the goroutine
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&hdr, &none[0]); err != nil {
			t.Error(err)
		}
		found <- Doctor(t.Context(), EngineOptions{})
	}()
	for _, c := range <-found {
		switch c.Name {
		case "cap_net_raw":
			finds(t, c, CheckWarn, "not there", "setcap cap_net_raw+ep")
		case "capture_ring":
			finds(t, c, CheckWarn, "CAP_NET_RAW", "TCP_INFO")
		case "cap_net_admin":
			finds(t, c, CheckOK, "not there")
		case "connects", "port_hold", "source_ports":
			finds(t, c, CheckOK)
		}
		if c.State == CheckFail {
			t.Errorf("%+v", c)
		}
	}
}

func TestDoctorEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Doctor(ctx, EngineOptions{}); len(got) != 0 {
		t.Errorf("%d checks, want none", len(got))
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	def := hostproc.Sysctls{PortLow: is(32768), PortHigh: is(60999)}
	reserving := def
	reserving.ReservedPorts = "80,40000-41999,50000"
	thresh := [3]hostproc.Setting{is(128), is(512), is(1024)}
	counters := func(count, most int64) hostproc.Counters {
		return hostproc.Counters{Values: map[string]int64{"nf_conntrack.count": count, "nf_conntrack.max": most}}
	}
	ladder := func(retries, linear int64) hostproc.Sysctls {
		return hostproc.Sysctls{SynRetries: is(retries), SynLinearTimeouts: is(linear)}
	}
	queues := func(octets map[string]int64) hostproc.Sysctls {
		s := hostproc.Sysctls{Interfaces: map[string]hostproc.Interface{}}
		for name, n := range octets {
			s.Interfaces[name] = queue(n)
		}
		return s
	}
	md5, ttl := holdResult{method: rawsock.HoldMD5}, holdResult{method: rawsock.HoldMinTTL}
	without := func(err error) holdResult { return holdResult{err: fmt.Errorf("hold port: %w", err)} }
	linux := [3]int{6, 18, 0}
	for _, c := range []struct {
		story string
		got   Check
		want  CheckState
		text  string
	}{
		{"a kernel", judgeKernel("6.18.1", linux), CheckOK, "6.18.1"},
		{"a kernel without a number", judgeKernel("custom", [3]int{}), CheckWarn, `"custom"`},
		{"capabilities not read", judgeNetRaw(hostproc.Capabilities{}, errors.New("gone")), CheckWarn, "gone"},
		{"ports outside the local range", judgePorts(plan.PortRange{Lo: 61000, Hi: 65535}, nil, def), CheckOK, "every 534ms"},
		{"the last of the ports is the kernel's too", judgePorts(plan.PortRange{Lo: 30000, Hi: 32768}, nil, def), CheckWarn, "port 32768"},
		{"ports up to the local range", judgePorts(plan.PortRange{Lo: 30000, Hi: 32767}, nil, def), CheckOK, ""},
		{"reserved inside the local range", judgePorts(plan.PortRange{Lo: 40000, Hi: 41999}, nil, reserving), CheckOK, ""},
		{"one more than is reserved", judgePorts(plan.PortRange{Lo: 40000, Hi: 42000}, nil, reserving), CheckWarn, "port 42000"},
		{"ports for a burst every quarantine", judgePorts(plan.PortRange{Lo: 61000, Hi: 61039}, nil, def), CheckOK, "every 2m0s"},
		{"one port less", judgePorts(plan.PortRange{Lo: 61000, Hi: 61038}, nil, def), CheckWarn, "too few"},
		{"no ports are left", judgePorts(plan.PortRange{}, fmt.Errorf("choose: %w", rawsock.ErrNoPorts), def), CheckFail, "ip_local_port_range="},
		{"the local range is not read", judgePorts(plan.PortRange{}, errors.New("gone"), def), CheckFail, "mount /proc/sys"},
		{"one port", judgePorts(plan.PortRange{Lo: 61000, Hi: 61000}, nil, def), CheckFail, "at least 2"},
		{"both families held", judgeHold(md5, md5), CheckOK, "IPv4 tcp-md5, IPv6 tcp-md5"},
		{"one family by TTL", judgeHold(md5, ttl), CheckWarn, "IPv6 min-ttl"},
		{"no IPv6 in this kernel", judgeHold(md5, without(unix.EAFNOSUPPORT)), CheckOK, "no IPv6"},
		{"no family at all", judgeHold(without(unix.EAFNOSUPPORT), without(unix.EAFNOSUPPORT)), CheckFail, "no IPv4, no IPv6"},
		{"no descriptors left", judgeHold(without(unix.EMFILE), md5), CheckFail, "too many open files"},
		{"a file for each port", judgeFiles(4536+spareFiles, 4536), CheckOK, "4600"},
		{"one file less", judgeFiles(4536+spareFiles-1, 4536), CheckWarn, ""},
		{"hardly a file", judgeFiles(spareFiles-1, 4536), CheckFail, ""},
		{"files without limit", judgeFiles(math.MaxUint64, 4536), CheckOK, "unlimited"},
		{"the ladder of today", judgeLadder(ladder(6, 4), linux), CheckOK, "0 1 2 3 4 5 7 11 19 35 67 s, given up after 2m11s"},
		{"a ladder of one rung", judgeLadder(ladder(0, 0), linux), CheckWarn, "tcp_syn_retries=6"},
		{"settings not read", judgeLadder(hostproc.Sysctls{}, linux), CheckWarn, "a guess"},
		{"no timestamps", judgeTimestamps(is(0)), CheckWarn, "PAWS"},
		{"timestamps", judgeTimestamps(is(1)), CheckOK, "offset for each"},
		{"timestamps of one clock", judgeTimestamps(is(2)), CheckOK, "without offsets"},
		{"timestamps not read", judgeTimestamps(hostproc.Setting{}), CheckWarn, "cannot be read"},
		{"room for ten SYNs", judgeNeighborQueue(queues(map[string]int64{"eth0": 10 * queuedSYN}), false), CheckOK, "10 SYNs on eth0"},
		{"room for nine", judgeNeighborQueue(queues(map[string]int64{"default": 212992, "eth0": 10*queuedSYN - 1}), false), CheckWarn,
			"9 SYNs on eth0; 256 SYNs on default"},
		{"a VLAN's name has a dot", judgeNeighborQueue(queues(map[string]int64{"eth0.7": 3 * queuedSYN}), false), CheckWarn, "neigh/eth0.7/unres"},
		{"loopback asks nobody", judgeNeighborQueue(queues(map[string]int64{"lo": 1}), false), CheckOK, "no interface"},
		{"neighbour settings not read", judgeNeighborQueue(hostproc.Sysctls{}, false), CheckWarn, "cannot be read"},
		{"a table with room", judgeTable("neighbor_table_ipv4", 512, thresh), CheckOK, "512 entries"},
		{"a table past its second threshold", judgeTable("neighbor_table_ipv4", 513, thresh), CheckWarn, "thrown out early"},
		{"a table nearly full", judgeTable("neighbor_table_ipv6", 820, thresh), CheckWarn, "net.ipv6.neigh.default.gc_thresh3=4096"},
		{"thresholds not seen", judgeTable("neighbor_table_ipv4", 5, [3]hostproc.Setting{}), CheckWarn, "5 entries in this namespace"},
		{"conntrack at 80 %", judgeConntrack(counters(80, 100), nil), CheckOK, "80 flows"},
		{"conntrack past 80 %", judgeConntrack(counters(81, 100), nil), CheckWarn, "nf_conntrack_max=400"},
		{"conntrack without maximum", judgeConntrack(counters(81, 0), nil), CheckOK, "no maximum"},
		{"no conntrack", judgeConntrack(hostproc.Counters{}, nil), CheckOK, "no conntrack"},
		{"counters not read", judgeConntrack(hostproc.Counters{}, errors.New("no /proc")), CheckWarn, "no /proc"},
	} {
		t.Run(c.story, func(t *testing.T) {
			t.Parallel()
			finds(t, c.got, c.want, c.text)
			if c.want != CheckOK && c.got.Hint == "" {
				t.Error("no hint")
			}
		})
	}
}

// TestShortestInterval: it is enough, and a millisecond less is not.
func TestShortestInterval(t *testing.T) {
	t.Parallel()
	for _, ports := range []int{20, 21, 29, 30, 2268, 30000} {
		d := shortestInterval(10, ports)
		if need := plan.PortsNeeded(10, d); d <= 0 || need > ports {
			t.Errorf("%d ports: %d are needed for every %s", ports, need, d)
		}
		if shorter := d - time.Millisecond; plan.PortsNeeded(10, shorter) <= ports {
			t.Errorf("%d ports: enough for every %s, not only every %s", ports, shorter, d)
		}
	}
	if d := shortestInterval(10, 19); d != 0 {
		t.Errorf("19 ports: every %s, want never", d)
	}
}

func TestListOfInterfaces(t *testing.T) {
	t.Parallel()
	for want, names := range map[string][]string{
		"default, a, b":                 {"b", "default", "a"},
		"default, a, b, c and 2 others": {"e", "c", "b", "d", "default", "a"},
	} {
		if got := list(slices.Clone(names)); got != want {
			t.Error(cmp.Diff(want, got))
		}
	}
}
