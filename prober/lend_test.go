package prober

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/neigh"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

const lentV4 = "10.0.0.77"

// fromLent is a burst of n raw shots from an address that nobody has.
func fromLent(n int, dst netip.AddrPort, s plan.Script) plan.Burst {
	b := plan.Burst{Kind: plan.KindQueue, Listen: 300 * ms, Borrow: &plan.Borrow{Addr: addr(lentV4), Delay: 20 * ms},
		Arms: []plan.Arm{{Name: "lent", Via: plan.Raw, Script: s}}}
	for i := range n {
		b.Shots = append(b.Shots, plan.Shot{Offset: time.Duration(i) * time.Microsecond,
			Flow: wire.Flow{Src: netip.AddrPortFrom(addr(lentV4), 0), Dst: dst}})
	}
	return b
}

func closedScript() plan.Script {
	return plan.Script{Options: wire.LinuxSYN(1400, 0, 7), Ladder: plan.Single(), OnSYNACK: plan.Reset, Closed: true}
}

// A borrowed address is refused where nobody permits it, where it would be answered for by the wrong host, and where the burst would pass a limit.
func TestBorrowedAddressesNeedPermission(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.client.Route("10.5.0.0/24", serverV4)
	limits := Limits{PerTargetRate: 1e6, PerTargetBurst: 1e6, GlobalRate: 1e6, GlobalBurst: 1e6, HalfOpen: 16, Unanswered: 1e6}
	r.start(t, EngineOptions{Limits: limits})
	open := closedScript()
	open.Closed = false
	for _, c := range []struct {
		name string
		b    plan.Burst
		lend *lending
		want error
		say  string
	}{
		{"not permitted", fromLent(3, on(serverV4, 9), closedScript()), nil, errNotLent, ""},
		{"towards this host", fromLent(3, on(clientV4, 9), closedScript()), &lending{}, errLocal, ""},
		{"through a router", fromLent(3, on("10.5.0.9", 9), closedScript()), &lending{}, errRouted, serverV4},
		{"half-open beyond the limit", fromLent(17, on(serverV4, 9), open), &lending{}, nil, "half_open"},
		{"closed, beyond the half-open limit", fromLent(17, on(serverV4, 9), closedScript()), &lending{}, nil, ""},
	} {
		_, err := r.try(t.Context(), request{burst: &c.b, lend: c.lend})
		if c.want != nil && !errors.Is(err, c.want) || c.want == nil && c.say == "" && err != nil ||
			c.say != "" && (err == nil || !strings.Contains(err.Error(), c.say)) {
			t.Errorf("%s: %v, want %v %s", c.name, err, c.want, c.say)
		}
	}
	r.client.Forward()
	must(t, r.Err())
	b := fromLent(3, on(serverV4, 9), closedScript())
	if _, err := r.try(t.Context(), request{burst: &b, lend: &lending{}}); !errors.Is(err, errForward) {
		t.Errorf("on a host that forwards: %v", err)
	}
	obs, err := r.try(t.Context(), request{burst: &b, lend: &lending{mac: wire.MAC{2, 9, 9, 9, 9, 9}}})
	must(t, err)
	for i := range obs.Attempts {
		if a := &obs.Attempts[i]; a.Outcome != observe.Refused {
			t.Errorf("on a host that forwards, from another MAC: %s %q", a.Outcome, a.Reason)
		}
	}
}

// The far side is told only when all of the burst has left, and this host has no trace of the address at any time.
func TestBorrowedAddressIsAnsweredForLate(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.start(t, EngineOptions{})
	b := fromLent(200, on(serverV4, 9), closedScript())
	b.Shots[199].Offset = 150 * ms // the delay counts from the last shot
	obs, err := r.try(t.Context(), request{burst: &b, lend: &lending{}})
	must(t, err)
	var asked, told time.Time
	for _, e := range obs.Neighbor {
		switch {
		case e.Kind == observe.NeighborRequest && !e.Outgoing && e.Target == addr(lentV4) && asked.IsZero():
			asked = e.At
		case e.Kind == observe.NeighborReply && e.Outgoing && e.Sender == addr(lentV4):
			told = e.At
		}
	}
	last := obs.Attempts[199].SYNs[0].At
	if asked.IsZero() || !asked.Before(last) || told.Sub(last) < 20*ms {
		t.Errorf("asked at %s, last shot at %s, told at %s", asked, last, told)
	}
	must(t, r.client.Do(func() error {
		_, known, err := neigh.Table(r.near.Index, addr(lentV4))
		if known {
			t.Error("this host's table has the borrowed address")
		}
		return err
	}))
	for i := range obs.Attempts {
		if a := &obs.Attempts[i]; a.Outcome != observe.Refused || a.Flow.Src.Addr() != addr(lentV4) {
			t.Fatalf("attempt %d: %s from %s", i, a.Outcome, a.Flow.Src)
		}
	}
}

// Whoever turns out to have the address ends the burst.
func TestBorrowedAddressIsGivenUp(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.start(t, EngineOptions{})
	b := fromLent(3, on(serverV4, 9), closedScript())
	b.Borrow.Delay, b.Listen, b.Linger = -1, 10*time.Second, true
	done := make(chan error, 1)
	go func() {
		_, err := r.try(t.Context(), request{burst: &b, lend: &lending{}})
		done <- err
	}()
	underWay(t, r.engine)
	must(t, r.server.Do(func() error {
		_, err := neigh.ProbeFree(t.Context(), r.engine.hops.limiter(0), r.far.Index, addr(lentV4), neigh.Quick())
		return err
	}))
	var conflict *neigh.Conflict
	if err := <-done; !errors.As(err, &conflict) {
		t.Errorf("got %v", err)
	}
}
