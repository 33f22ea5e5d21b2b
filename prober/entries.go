package prober

import (
	"fmt"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/neigh"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// follow records what the kernel's neighbour table says of a run's next hops, from now until what it returns is called, which may be
// twice. Where the kernel cannot be asked, the observation says so.
func (e *engine) follow(q request, r *run) (end func()) {
	if !q.entries {
		return func() {}
	}
	var hops []hopKey
	e.mu.Lock()
	for k, what := range r.near {
		if what == nextHop {
			hops = append(hops, k)
		}
	}
	e.mu.Unlock()
	if len(hops) == 0 {
		return func() {}
	}
	watch, err := neigh.NewWatch(func(ev neigh.Event) { e.entry(r, ev) })
	if err != nil {
		e.unmeasured(r, fmt.Sprintf("neighbour entries: %v", err))
		return func() {}
	}
	e.lookUp(r, hops)
	return sync.OnceFunc(func() {
		if err := watch.Close(); err != nil {
			e.unmeasured(r, fmt.Sprintf("neighbour entries: %v", err))
		}
		e.lookUp(r, hops)
	})
}

// entry takes a change that the kernel tells.
func (e *engine) entry(r *run, ev neigh.Event) {
	at := time.Now()
	switch ev.Change {
	case neigh.Updated, neigh.Deleted:
	case neigh.Lost:
		e.unmeasured(r, "neighbour entries: the kernel dropped some of its messages")
		return
	case neigh.Subscribed, neigh.ChangeUnknown:
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.near[hopKey{ev.Entry.IfIndex, ev.Entry.Addr}] != nextHop {
		return
	}
	n := stateOf(ev.Entry, ev.Change == neigh.Updated)
	n.At = at
	r.corr.Entry(n)
}

// lookUp reads the entries as they stand.
func (e *engine) lookUp(r *run, hops []hopKey) {
	for _, h := range hops {
		at := time.Now()
		found, ok, err := neigh.Table(h.ifindex, h.addr)
		if err != nil {
			e.unmeasured(r, fmt.Sprintf("neighbour entries: %v", err))
			return
		}
		found.IfIndex, found.Addr = h.ifindex, h.addr
		n := stateOf(found, ok)
		n.At, n.Read = at, true
		e.mu.Lock()
		r.corr.Entry(n)
		e.mu.Unlock()
	}
}

func stateOf(x neigh.Entry, there bool) observe.NeighborEntry {
	n := observe.NeighborEntry{IfIndex: x.IfIndex, Addr: x.Addr, State: observe.EntryAbsent}
	if there {
		n.State = observe.EntryState(x.State.String())
		if x.HasMAC {
			n.MAC = x.MAC.String()
		}
	}
	return n
}

func (e *engine) unmeasured(r *run, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := r.corr.Observation()
	o.Unmeasured = append(o.Unmeasured, why)
}
