package kdial

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// The ladders are real: 1 + 1 + 1 s linear, 1 + 2 + 4 s exponential, both in namespaces of their own at the same time.
func TestLostSYNs(t *testing.T) {
	t.Parallel()
	for _, linear := range []int{4, 0} {
		t.Run(fmt.Sprintf("linear=%d", linear), func(t *testing.T) {
			t.Parallel()
			if inNamespace(t) {
				lostSYNs(t, linear)
			}
		})
	}
}

func lostSYNs(t *testing.T, linear int) {
	sysctl(t, "ipv4.tcp_syn_linear_timeouts", linear)
	f := newFilter(t, nftables.ChainHookInput)
	const port, each, other = 7000, 5, 100
	for n := 1; n <= 3; n++ { // by source port: the two families, which may have the same one, have ports of their own
		f.dropFirst(uint16(port+n), uint32(n))
		f.dropFirst(uint16(other+port+n), uint32(n))
	}
	f.drop(port + 9)
	f.flush()
	var conns []Conn
	want := map[int]uint32{}
	add := func(host string, port int, want32 uint32, c Conn) {
		c.Index, c.Dst = len(conns), netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port))
		want[c.Index] = want32
		conns = append(conns, c)
	}
	for host, port := range map[string]int{"127.0.0.1": port, "::1": other + port} {
		for n := range 4 {
			listen(t, net.JoinHostPort(host, fmt.Sprint(port+n)))
			for range each {
				add(host, port+n, uint32(n), Conn{})
			}
		}
	}
	accepted := len(conns)
	// The kernel's own end. tcp_write_timeout ends at retries+linear repeats, but also once the plain exponential ladder of
	// `retries` would be over (retransmits_timed_out: 3 s for 1, 7 s for 2): four linear timeouts add one and three.
	for retries, repeats := range map[int]uint32{1: 2, 2: 5} {
		if linear == 0 {
			repeats = uint32(retries)
		}
		s := hostproc.Sysctls{
			SynRetries: hostproc.Setting{Value: int64(retries), Known: true}, SynLinearTimeouts: hostproc.Setting{Value: int64(linear), Known: true},
		}
		if at := hostproc.Ladder(s, [3]int{6, 18, 0}).At; len(at) != int(repeats)+1 {
			t.Errorf("hostproc's ladder for %d retries is %v", retries, at)
		}
		add("127.0.0.1", port+9, repeats, Conn{SynCount: retries})
		add("::1", port+9, repeats, Conn{SynCount: retries})
	}
	got := mustRun(t, dialer(t), conns, time.Minute)
	retrans := map[int]uint32{}
	for i, r := range got.results {
		retrans[i] = r.View.Info.TotalRetrans
		wantOutcome, wantErrno := observe.Accepted, ""
		if i >= accepted {
			wantOutcome, wantErrno = observe.TimedOut, "ETIMEDOUT"
		}
		if r.Outcome != wantOutcome || r.View.Errno != wantErrno {
			t.Errorf("connect %d to %s: %+v", i, conns[i].Dst, r)
		}
	}
	if diff := cmp.Diff(want, retrans); diff != "" {
		t.Errorf("repeats of the SYN (-want +got):\n%s", diff)
	}
}

// A connect that our deadline ends still tells how often its SYN was repeated.
func TestDeadline(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	sysctl(t, "ipv4.tcp_syn_linear_timeouts", 4)
	f := newFilter(t, nftables.ChainHookInput)
	f.drop(7009)
	f.flush()
	var conns []Conn
	for i := range 20 {
		conns = append(conns, Conn{Index: i, Dst: netip.MustParseAddrPort("127.0.0.1:7009"), Offset: time.Duration(20-i) * time.Millisecond})
	}
	got := mustRun(t, dialer(t), conns, 2500*time.Millisecond)
	for i, r := range got.results {
		if r.Outcome != observe.TimedOut || r.View.Errno != "" || !r.View.Completed.IsZero() || r.View.Info.TotalRetrans != 2 {
			t.Errorf("connect %d: %+v, want timed out after two repeats", i, r)
		}
	}
	for i := 1; i < len(conns); i++ {
		if a, b := got.results[i-1].View.Started, got.results[i].View.Started; !b.Before(a) {
			t.Errorf("connects %d and %d left in the wrong order", i-1, i)
		}
	}
}

// What this host refuses never left; what a router refuses did.
func TestRefusals(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	router(t, func(t *testing.T, far netns.NsHandle) {
		for _, r := range []netlink.Route{
			{Dst: prefix(t, "10.50.0.0/16"), Type: unix.RTN_UNREACHABLE},
			{Dst: prefix(t, "10.51.0.0/16"), Type: unix.RTN_PROHIBIT},
			{Dst: prefix(t, "fd50::/64"), Type: unix.RTN_UNREACHABLE},
		} {
			if err := netlink.RouteAdd(&r); err != nil {
				t.Fatal(err)
			}
		}
		f := newFilter(t, nftables.ChainHookInput, nftables.WithNetNSFd(int(far)))
		f.reject(7100, unix.NFT_REJECT_ICMPX_PORT_UNREACH)
		f.flush()
	})
	for _, r := range []netlink.Route{
		{Dst: prefix(t, "10.60.0.0/16"), Type: unix.RTN_UNREACHABLE},
		{Dst: prefix(t, "10.61.0.0/16"), Type: unix.RTN_PROHIBIT},
		{Dst: prefix(t, "10.62.0.0/16"), Type: unix.RTN_BLACKHOLE},
	} {
		if err := netlink.RouteAdd(&r); err != nil {
			t.Fatal(err)
		}
	}
	f := newFilter(t, nftables.ChainHookOutput)
	f.reject(7200, unix.NFT_REJECT_ICMPX_HOST_UNREACH)
	f.drop(7201)
	f.flush()
	held, err := net.Listen("tcp", "10.9.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	cases := []struct {
		name, src, dst string
		linger         plan.Closing
		iface          string
		want           observe.Outcome
		reason         string
	}{
		{"router: no route", "", "10.50.0.1:80", 0, "", observe.Unreachable, "EHOSTUNREACH, ICMP host unreachable from 10.9.0.2"},
		{"router: prohibited", "", "10.51.0.1:80", 0, "", observe.Unreachable, "EHOSTUNREACH, ICMP communication administratively prohibited from 10.9.0.2"},
		{"router: no route, IPv6", "", "[fd50::1]:80", 0, "", observe.Unreachable, "ENETUNREACH, ICMPv6 no route to destination from fd09::2"},
		{"peer: ICMP port unreachable is no RST", "", "10.9.0.2:7100", 0, "", observe.Unreachable, "ECONNREFUSED, ICMP port unreachable from 10.9.0.2"},
		{"peer: the same, IPv6", "", "[fd09::2]:7100", 0, "", observe.Unreachable, "ECONNREFUSED, ICMPv6 port unreachable from fd09::2"},
		{"peer: closed port", "", "10.9.0.2:7101", 0, "", observe.Refused, "ECONNREFUSED: RST"},
		{"next hop does not answer ARP", "", "10.9.0.77:80", 0, "", observe.LocalDrop, "ICMP host unreachable from 10.9.0.1"},
		{"next hop does not answer ND", "", "[fd09::77]:80", 0, "", observe.LocalDrop, "ICMPv6 address unreachable from fd09::1"},
		{"own filter rejects", "", "10.9.0.2:7200", 0, "", observe.LocalDrop, "ICMP host unreachable from 10.9.0.1"},
		{"own filter drops: as if lost", "", "10.9.0.2:7201", 0, "", observe.TimedOut, "no answer within the deadline"},
		{"own route: unreachable", "", "10.60.0.1:80", 0, "", observe.NotSent, "EHOSTUNREACH: no route"},
		{"own route: prohibit", "", "10.61.0.1:80", 0, "", observe.NotSent, "EACCES: refused on this host"},
		{"own route: blackhole", "", "10.62.0.1:80", 0, "", observe.NotSent, "EINVAL"},
		{"source not ours", "10.9.0.200:0", "10.9.0.2:7101", 0, "", observe.NotSent, "EADDRNOTAVAIL: not an address of this host"},
		{"source port taken", held.Addr().String(), "10.9.0.2:7101", 0, "", observe.NotSent, "EADDRINUSE: the source port is taken"},
		{"no such interface", "", "10.9.0.2:7101", 0, "absent", observe.NotSent, "bind to interface absent: ENODEV"},
		{"other family", "fd09::1", "10.9.0.2:7101", 0, "", observe.NotSent, "different families"},
		{"no destination", "", "0.0.0.0:80", 0, "", observe.NotSent, "no destination address"},
		{"waiting for the peer", "", "10.9.0.2:7101", plan.WaitForPeer, "", observe.NotSent, "does not wait"},
	}
	var conns []Conn
	for i, c := range cases {
		conn := Conn{Index: i, Dst: netip.MustParseAddrPort(c.dst), Close: c.linger, Interface: c.iface}
		if src, err := netip.ParseAddrPort(c.src); err == nil {
			conn.Src = src
		} else if c.src != "" {
			conn.Src = netip.AddrPortFrom(netip.MustParseAddr(c.src), 0)
		}
		conns = append(conns, conn)
	}
	got := mustRun(t, dialer(t), conns, 5*time.Second)
	for i, c := range cases {
		if r := got.results[i]; r.Outcome != c.want || !strings.Contains(r.Reason, c.reason) {
			t.Errorf("%s: %s, %q (%+v); want %s, …%q…", c.name, r.Outcome, r.Reason, r.View, c.want, c.reason)
		}
		if _, begun := got.local[i]; begun && c.want == observe.NotSent && got.results[i].View.Started.IsZero() {
			t.Errorf("%s: started was called for a connect that never was", c.name)
		}
	}
}
