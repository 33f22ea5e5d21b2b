package prober

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// The ports of the host that is probed, by what becomes of a SYN there.
const (
	portServed, portClosed, portDropped, portRejected, portLeaving, portAborting = 80, 81, 82, 83, 84, 85
)

// fate of SYNs at a host: dropped and rejected on their way in.
func fate(h *topo.Host) {
	for _, f := range []nft.Family{nft.IPv4, nft.IPv6} {
		h.Rules(nft.Table{Family: f, Name: "fate", Chains: []nft.Chain{{Hook: nft.Input, Rules: []nft.Rule{
			{nft.DstPort(portDropped), nft.Drop()},
			{nft.DstPort(portRejected), nft.Unreachable()},
			{nft.DstPort(portAborting), nft.FlagsSet(wire.ACK, wire.SYN|wire.ACK|wire.RST), nft.Reset()},
		}}}})
	}
	h.Serve(echoOn(portServed))
	h.Serve(echoOn(portAborting))
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	r := network(t)
	fate(r.server)
	fate(r.client) // for what is local
	for _, f := range []nft.Family{nft.IPv4, nft.IPv6} {
		r.client.Rules(nft.Table{Family: f, Name: "leaving", Chains: []nft.Chain{{Hook: nft.Output, Rules: []nft.Rule{{nft.DstPort(portLeaving), nft.Drop()}}}}})
	}
	r.client.Rules(nft.Table{Family: nft.Netdev, Name: "leaving", Chains: []nft.Chain{{Hook: nft.Egress, Device: r.near.Name,
		Rules: []nft.Rule{{nft.DstPort(portLeaving), nft.Drop()}}}}})
	r.start(t, EngineOptions{})

	const patient, brief = 5 * time.Second, 500 * ms // where an answer ends the burst, and where none comes
	type row struct {
		outcome observe.Outcome
		reason  string // a part of it
		listen  time.Duration
	}
	for _, host := range []string{serverV4, serverV6, "127.0.0.1", "::1", clientV4, clientV6, "::ffff:" + serverV4} {
		want := map[uint16]row{
			portServed:   {observe.Accepted, "", patient},
			portClosed:   {observe.Refused, "", patient},
			portDropped:  {observe.TimedOut, "", brief},
			portRejected: {observe.Unreachable, "unreach", patient},
			portLeaving:  {observe.LocalDrop, "", brief},
		}
		for port, w := range want {
			for _, arm := range []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single()), rawArmWithoutTS(plan.Single())} {
				t.Run(arm.Name+" "+w.outcome.String()+" "+host, func(t *testing.T) {
					t.Parallel()
					obs := r.burst(t, to(w.listen, 3, []plan.Arm{arm}, on(host, port)))
					for i := range obs.Attempts {
						if a := &obs.Attempts[i]; a.Outcome != w.outcome || !strings.Contains(strings.ToLower(a.Reason), w.reason) {
							t.Fatalf("want %s %q:\n%s", w.outcome, w.reason, outcomes(&obs))
						}
					}
				})
			}
		}
	}
}

func TestAPeerThatAbortsAfterTheHandshakeResets(t *testing.T) {
	t.Parallel()
	r := network(t)
	fate(r.server)
	r.start(t, EngineOptions{})
	arm := rawArm(plan.Single())
	arm.Script.OnSYNACK = plan.Acknowledge
	arm.Script.Then = plan.Exchange{Close: plan.Abort, CloseDelay: time.Hour}
	for _, host := range []string{serverV4, serverV6} {
		obs := r.burst(t, to(5*time.Second, 3, []plan.Arm{arm}, on(host, portAborting)))
		for i := range obs.Attempts {
			if a := &obs.Attempts[i]; a.Outcome != observe.Reset || !strings.HasPrefix(a.Reason, "RST ") {
				t.Errorf("%s: %s", host, outcomes(&obs))
			}
		}
	}
}

// Where there is no way to any destination nothing is sent, and the error says why in the words of rawsock.
func TestWhereThereIsNoWayTheBurstIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	must(t, r.client.Do(func() error { return addDummy("down0", "10.5.0.1/24") }))
	p := r.listen(t, nil)
	for _, tc := range []struct {
		name string
		q    request
		dst  netip.AddrPort
		want error
	}{
		{"no route", request{}, on("198.51.100.1", 80), rawsock.ErrNoRoute},
		{"no route, IPv6", request{}, on("2001:db8::1", 80), rawsock.ErrNoRoute},
		{"interface down", request{iface: "down0"}, on("10.5.0.2", 80), rawsock.ErrInterfaceDown},
		{"no such interface", request{iface: "nosuch0"}, on(serverV4, 80), rawsock.ErrInterfaceUnknown},
		{"foreign source", request{source: addr("192.0.2.7")}, on(serverV4, 80), rawsock.ErrForeignSource},
		{"foreign source, IPv6", request{source: addr("2001:db8::7")}, on(serverV6, 80), rawsock.ErrForeignSource},
	} {
		for _, arm := range []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())} {
			q := tc.q
			b := to(100*ms, 3, []plan.Arm{arm}, tc.dst)
			q.burst, q.target = &b, "the.target:80"
			_, err := r.try(t.Context(), q)
			var env *EnvironmentError
			if !errors.Is(err, tc.want) || !errors.As(err, &env) || !strings.HasPrefix(err.Error(), "target the.target:80: ") {
				t.Errorf("%s, %s: got %v, want %v", tc.name, arm.Name, err, tc.want)
			}
		}
	}
	r.barrier(t, p)
	if got := p.segments(func(s *wire.Segment) bool { return s.Dst.Port() != 9999 && s.Dst.Port() != 0 && isSYN(s) }); len(got) > 0 {
		t.Errorf("sent all the same: %s", got[0].seg.String())
	}
}

// In a burst to several destinations those that cannot be reached are not sent, and the others are.
func TestOneUnreachableDestinationDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	obs := r.burst(t, to(time.Second, 2, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on(serverV4, 80), on("198.51.100.1", 80)))
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		want := observe.Accepted
		if a.Flow.Dst.Addr() != addr(serverV4) {
			want = observe.NotSent
		}
		if a.Outcome != want || want == observe.NotSent && !strings.Contains(a.Reason, "no route") {
			t.Errorf("%s", outcomes(&obs))
		}
	}
}

// The device goes down between the first SYN and its repeat: what left has left, and the rest is this host's loss.
func TestTheDeviceGoesDownUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	p := r.listen(t, nil)
	l := plan.Custom(0, 2*time.Second, 2100*ms)
	arms := []plan.Arm{rawArm(l)}
	warm := to(100*ms, 1, arms, on(ghostV4, 80))
	r.burst(t, warm)
	was := len(p.segments(isSYN))
	down := make(chan error, 1)
	go func() {
		p.await(t, was+3, isSYN)
		down <- r.client.Do(func() error { return setLink(r.near.Name, false) })
	}()
	obs := r.burst(t, to(2300*ms, 3, arms, on(ghostV4, 80)))
	must(t, <-down)
	for i := range obs.Attempts {
		a := &obs.Attempts[i]
		if a.Outcome != observe.TimedOut || len(a.SYNs) != 3 || a.SYNs[0].At.IsZero() || a.Unseen != 2 || !strings.Contains(a.SYNs[1].Refused, "down") {
			t.Errorf("%s, %d SYNs, unseen %d: %+v", a.Outcome, len(a.SYNs), a.Unseen, a.SYNs)
		}
	}
	if _, err := r.try(t.Context(), request{burst: &warm}); !errors.Is(err, rawsock.ErrInterfaceDown) && !errors.Is(err, rawsock.ErrNoRoute) {
		t.Errorf("the next burst: %v", err)
	}
	must(t, r.client.Do(func() error { return setLink(r.near.Name, true) }))
	r.near.Knows(serverV4, r.far).Knows(ghostV4, r.far) // a link that goes down forgets its neighbours
	must(t, r.Err())
	if again := r.burst(t, to(time.Second, 3, arms, on(serverV4, 80))); again.Attempts[0].Outcome != observe.Accepted {
		t.Errorf("after the device came up again: %s", outcomes(&again))
	}
}

// Link-local addresses are known by their interface alone; like others they are resolved where the kernel does not know them.
func TestNeighborDiscoveryAndLinkLocalDestinations(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.far.Addr("fd00::77/64")
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{})
	for _, dst := range []netip.AddrPort{on("fd00::77", 80), netip.AddrPortFrom(linkLocal(r.far.MAC).WithZone(r.near.Name), 80)} {
		for _, arm := range []plan.Arm{rawArm(plan.Single()), kernelArm(plan.Single())} {
			obs := r.burst(t, to(5*time.Second, 4, []plan.Arm{arm}, dst))
			for i := range obs.Attempts {
				if x := &obs.Attempts[i]; x.Outcome != observe.Accepted || x.RTT == 0 || x.Clock != observe.TapClock {
					t.Fatalf("%s %s %s:\n%s", x.Arm, x.RTT, x.Clock, outcomes(&obs))
				}
			}
		}
	}
}
