package prober

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// both is a burst of kernel and raw shots.
func both(dst netip.AddrPort) plan.Burst {
	return to(time.Second, 3, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, dst)
}

// rawRefused expects the raw arm not to have been sent, and why.
func rawRefused(t *testing.T, r *rig, obs *observe.Observation, p *peer, why string) {
	t.Helper()
	if obs.Parity.State != observe.ParityDiffers || !strings.Contains(obs.Parity.Why, why) {
		t.Errorf("parity %s %q, want differs %q", obs.Parity.State, obs.Parity.Why, why)
	}
	r.barrier(t, p)
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		if a.Via != plan.Raw {
			continue
		}
		if a.Outcome != observe.NotSent || !strings.HasPrefix(a.Reason, "not_applicable: local path differs: ") || !strings.Contains(a.Reason, why) {
			t.Errorf("raw %s %q", a.Outcome, a.Reason)
		}
		if n := len(p.segments(func(s *wire.Segment) bool {
			return r.engine.ports.all.Contains(s.Src.Port()) && s.Src.Port() == a.Flow.Src.Port() && a.Flow.Src.Port() != 0
		})); n > 0 {
			t.Errorf("%d segments of a raw shot that was not to be sent", n)
		}
	}
}

func TestTheSameWayIsCalledThat(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	r.client.Serve(echoOn(80))
	must(t, r.Err())
	for _, host := range []string{serverV4, serverV6, "127.0.0.1", "::1", clientV4} {
		obs := r.burst(t, both(on(host, 80)))
		if obs.Parity != (observe.Parity{State: observe.ParitySame}) {
			t.Errorf("%s: %s %q", host, obs.Parity.State, obs.Parity.Why)
		}
		for i := range obs.Attempts {
			if obs.Attempts[i].Outcome != observe.Accepted {
				t.Errorf("%s", outcomes(&obs))
			}
		}
	}
}

// kube-proxy's way: the VIP exists in this host's OUTPUT chain alone. A raw SYN would go to nobody; a kernel's goes to the member, and its
// segments are found there.
func TestLocalNATMakesTheRawArmNotApplicable(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	vip := on("10.0.0.50", 8080)
	r.near.Knows("10.0.0.50", r.far)
	r.client.Rules(nft.Table{Family: nft.IPv4, Name: "kube", Chains: []nft.Chain{{Hook: nft.OutputDNAT, Rules: []nft.Rule{
		{nft.Dst(vip.Addr()), nft.DstPort(vip.Port()), nft.ToDestination(on(serverV4, 80))}}}}})
	must(t, r.Err())
	p := r.listen(t, nil)
	obs := r.burst(t, both(vip))
	rawRefused(t, r, &obs, p, "NAT on this host")
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		if a.Via != plan.Kernel {
			continue
		}
		if a.Outcome != observe.Accepted || len(a.SYNs) != 1 || a.RTT == 0 || a.Clock != observe.TapClock || a.LostBy != observe.ByBoth || a.Flow.Dst != vip {
			t.Errorf("%s of %d SYNs, RTT %s by %s, lost by %s, %s", a.Outcome, len(a.SYNs), a.RTT, a.Clock, a.LostBy, a.Flow)
		}
	}
	if obs.Strays["locally_rewritten"] != 3 {
		t.Errorf("strays %v", obs.Strays)
	}
}

// Source NAT to a port that the capture does not see: the connect works, and no SYN of it was there.
func TestLocalSourceNATIsNoticedByWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	r.client.Rules(nft.Table{Family: nft.IPv4, Name: "masquerade", Chains: []nft.Chain{{Hook: nft.SNAT, Rules: []nft.Rule{
		{nft.Dst(addr(serverV4)), nft.DstPort(80), nft.FromSource(addr(clientV4), 20000, 20999)}}}}})
	must(t, r.Err())
	p := r.listen(t, nil)
	obs := r.burst(t, both(on(serverV4, 80)))
	rawRefused(t, r, &obs, p, "NAT, a tunnel or IPsec")
	if obs.Strays["accepted_without_syn_ack"] != 3 {
		t.Errorf("strays %v", obs.Strays)
	}
}

// second adds another way from the client to a host that has the server's addresses as well, in a routing table of its own.
func second(t *testing.T, r *rig, rule func(*netlink.Rule)) *topo.Link {
	t.Helper()
	const table = 100
	other := r.Host("other")
	near, far := r.Cable(r.client, other)
	near.Addr("10.0.1.1/24").Knows("10.0.1.2", far)
	far.Addr("10.0.1.2/24").Knows("10.0.1.1", near)
	far.Addr(serverV4+"/32").Knows(clientV4, near)
	other.Route(clientV4+"/32", "10.0.1.1")
	other.Serve(echoOn(80))
	r.client.Build("policy route", func() error {
		x := netlink.NewRule()
		x.Table, x.Priority, x.Family = table, 10, unix.AF_INET
		x.Dst = &net.IPNet{IP: addr(serverV4).AsSlice(), Mask: net.CIDRMask(32, 32)}
		rule(x)
		if err := netlink.RuleAdd(x); err != nil {
			return fmt.Errorf("rule: %w", err)
		}
		return netlink.RouteAdd(&netlink.Route{Table: table, LinkIndex: near.Index, Gw: addr("10.0.1.2").AsSlice(), Flags: int(netlink.FLAG_ONLINK)})
	})
	return near
}

func TestPolicyRoutingBySourcePortMakesTheRawArmNotApplicable(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(echoOn(80))
	second(t, r, func(x *netlink.Rule) { x.Sport = netlink.NewRulePortRange(61000, 65534) })
	r.start(t, EngineOptions{})
	p := r.listen(t, nil)
	obs := r.burst(t, both(on(serverV4, 80)))
	rawRefused(t, r, &obs, p, "policy routing")
}

// A rule by user is one that the route look-up follows as well: both ways are the same, and the raw SYN leaves by the second device.
func TestPolicyRoutingByUserIsFollowed(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(echoOn(80))
	near := second(t, r, func(x *netlink.Rule) { x.UIDRange = netlink.NewRuleUIDRange(0, 0) })
	r.start(t, EngineOptions{})
	obs := r.burst(t, both(on(serverV4, 80)))
	if obs.Parity.State != observe.ParitySame {
		t.Errorf("parity %s %q", obs.Parity.State, obs.Parity.Why)
	}
	for i := range obs.Attempts {
		if a := &obs.Attempts[i]; a.Outcome != observe.Accepted || a.SYNs[0].IfIndex != near.Index {
			t.Errorf("%s by device %d, want %d:\n%s", a.Outcome, a.SYNs[0].IfIndex, near.Index, outcomes(&obs))
		}
	}
}

// What is forwarded for others with a source port of ours is none of ours.
func TestForwardedSYNsAreNotTakenForOurs(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(echoOn(80))
	r.client.Forward()
	behind := r.Host("behind")
	inner, outer := r.Cable(r.client, behind)
	inner.Addr("10.3.0.1/24").Knows("10.3.0.2", outer)
	outer.Addr("10.3.0.2/24").Knows("10.3.0.1", inner)
	behind.Route("default", "10.3.0.1")
	r.server.Route("10.3.0.0/24", clientV4)
	r.start(t, EngineOptions{SourcePorts: plan.PortRange{Lo: 61000, Hi: 61001}}) // one port for the kernel: 61000
	b := to(500*ms, 1, []plan.Arm{kernelArm(plan.Single())}, on(ghostV4, 80))
	p := r.listen(t, nil)
	done := make(chan error, 1)
	go func() {
		p.await(t, 1, func(s *wire.Segment) bool { return isSYN(s) && s.Dst == on(ghostV4, 80) })
		done <- behind.Do(func() error { return dialFrom("10.3.0.2:61000", on(serverV4, 80)) })
	}()
	obs := r.burst(t, b)
	must(t, <-done)
	if obs.Parity.State != observe.ParitySame || obs.Attempts[0].Outcome != observe.TimedOut || len(obs.Attempts[0].SYNs) != 1 {
		t.Errorf("parity %s %q, %d SYNs:\n%s", obs.Parity.State, obs.Parity.Why, len(obs.Attempts[0].SYNs), outcomes(&obs))
	}
}
