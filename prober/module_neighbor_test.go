package prober

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// neighborRound is a round of the neighbor module towards the rig's server.
func (r *rig) neighborRound(t *testing.T, o NeighborOptions) Round {
	t.Helper()
	m, ok := BuiltinModule(KindNeighbor)
	if !ok {
		t.Fatal("no such module")
	}
	m.Neighbor = o
	allowed := []netip.Addr{addr(serverV4)}
	if o.Unused.IsValid() {
		allowed = append(allowed, o.Unused)
	}
	dst := on(serverV4, 80)
	var out Round
	must(t, r.client.Do(func() error {
		out = r.prober(allowed...).round(t.Context(), Endpoint{Host: serverV4, Port: 80, Addr: dst.Addr()}, dst, m)
		return nil
	}))
	must(t, out.Err)
	return out
}

// cold is a rig whose client is to forget the server, keeps three packets while it asks, and gets its answer to the second request only.
func cold(t *testing.T, packets int) *rig {
	t.Helper()
	r := network(t)
	r.server.Serve(topo.Service{Port: 80, Then: topo.Echo})
	r.near.Neighbor("ipv4", "unres_qlen_bytes", fmt.Sprint(packets*queuedSYN)).Neighbor("ipv4", "retrans_time_ms", "150")
	r.server.Rules(topo.SlowARP(serverV4, clientV4))
	must(t, r.Err())
	must(t, r.near.Learn(serverV4, r.far.MAC))
	return r.start(t, EngineOptions{})
}

func TestNeighborModuleNamesTheQueueHere(t *testing.T) {
	t.Parallel()
	r := cold(t, 3)
	round := r.neighborRound(t, NeighborOptions{Forget: true, Questions: 1})
	d := &round.Diagnosis
	if len(d.Causes) != 1 || d.Causes[0].Verdict != diagnose.LocalARPQueueOverflow || d.Causes[0].Level < diagnose.Confirmed || round.Success {
		t.Fatalf("%s", d.Headline)
	}
	if c := d.FirstContact.Local; !c.Tested || c.Waited != 10 || c.Dropped != 7 {
		t.Errorf("this side: %+v, want 7 of 10 dropped", c)
	}
	if c := d.FirstContact.Remote; c.Tested || c.Why == "" {
		t.Errorf("the other side knows us for good: %+v", c)
	}
	if times := round.NeighborTimes(); len(times.Answers) == 0 || times.Repeated == 0 || times.Answers[0] < 100*time.Millisecond {
		t.Errorf("answers %+v: the first request is never answered", times)
	}
	states := entryStates(&round)
	if len(states) < 2 || states[0] != "reachable" || !slices.Contains(states, observe.EntryAbsent) || states[len(states)-1] == observe.EntryAbsent {
		t.Errorf("the entry was %v, want it known, deleted and resolved again", states)
	}
}

// The same wait, and room for the burst. What was tested is said, and health is named.
func TestNeighborModuleNearMiss(t *testing.T) {
	t.Parallel()
	round := cold(t, 64).neighborRound(t, NeighborOptions{Forget: true, Questions: 1})
	c := round.Diagnosis.FirstContact.Local
	if !round.Success || !c.Tested || c.Waited != 10 || c.Dropped != 0 {
		t.Errorf("%s; %+v", round.Diagnosis.Headline, c)
	}
	if !strings.Contains(said(&round), "to answer for its link address") {
		t.Errorf("nothing says that the answer was slow:\n%s", said(&round))
	}
}

// Without permission nothing is deleted, and the report says what was not tested, and why.
func TestNeighborModuleForgetsNothingUnasked(t *testing.T) {
	t.Parallel()
	round := cold(t, 3).neighborRound(t, NeighborOptions{Questions: 1})
	c := round.Diagnosis.FirstContact.Local
	if !round.Success || c.Tested || !strings.Contains(c.Why, "--forget-neighbor") || slices.Contains(entryStates(&round), observe.EntryAbsent) {
		t.Errorf("%s; %+v; the entry was %v", round.Diagnosis.Headline, c, entryStates(&round))
	}
}

// One who answers for an address that nobody has, as for the target, is a proxy; without one nothing is said.
func TestNeighborModuleSeesAProxy(t *testing.T) {
	t.Parallel()
	unused := addr("10.0.0.99")
	for _, proxy := range []bool{true, false} {
		r := network(t)
		r.server.Serve(topo.Service{Port: 80, Then: topo.Echo})
		if proxy {
			r.far.Respond(topo.Responder{For: []netip.Addr{unused}, Beside: true})
		}
		r.start(t, EngineOptions{})
		round := r.neighborRound(t, NeighborOptions{Questions: 2, Unused: unused})
		if got := strings.Contains(said(&round), "proxy ARP"); got != proxy || !round.Success {
			t.Errorf("proxy %v: told %v, %s\n%s", proxy, got, round.Diagnosis.Headline, said(&round))
		}
		if n := len(round.NeighborTimes().Answers); n != 2 {
			t.Errorf("proxy %v: %d answers to 2 questions", proxy, n)
		}
	}
}

// entryStates are the states of the next hop's entry in the order of a round, each once at a time.
func entryStates(r *Round) []observe.EntryState {
	var out []observe.EntryState
	for i := range r.Observations {
		for _, e := range r.Observations[i].Entries {
			out = append(out, e.State)
		}
	}
	return slices.Compact(out)
}
