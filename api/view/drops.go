package view

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/watch"
)

// Drops is what a host's kernel dropped, sent again and resolved, as `watch --drops` has it.
type Drops struct {
	Place   string `json:"place"`
	SinceNS int64  `json:"since_ns"`
	// Reasons are all drops; Flows those of the flows that the kernel's table holds, most first.
	Reasons   map[string]uint64 `json:"reasons"`
	Flows     []DroppedFlow     `json:"flows"`
	Peers     []RepeatedTo      `json:"retransmissions"`
	Neighbors []Resolved        `json:"neighbors"`
	// Again are all retransmissions by class.
	Again map[string]uint64 `json:"retransmissions_by_class"`
	// Untold events are in the sums and in none of the kernel's tables, whose least recent entries give way; Missed ones are in no sum.
	Untold UntoldDrops `json:"untold"`
	Missed uint64      `json:"missed"`
	// Listeners and Counters are about what the tracepoints do not see: SYNs that a listener itself drops.
	Listeners []Listener       `json:"listeners"`
	Counters  map[string]int64 `json:"counters"`
	Without   []string         `json:"without,omitempty"`
}

// UntoldDrops are events of flows, connections and neighbours that the kernel's tables had no room for.
type UntoldDrops struct {
	Drops           uint64 `json:"drops"`
	Retransmissions uint64 `json:"retransmissions"`
	Neighbors       uint64 `json:"neighbors"`
}

// DroppedFlow is how many packets of a flow were dropped for a reason.
type DroppedFlow struct {
	Src    string `json:"src,omitempty"`
	Dst    string `json:"dst,omitempty"`
	Proto  string `json:"proto,omitempty"`
	SYN    bool   `json:"syn,omitempty"`
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// RepeatedTo is how many segments were sent again to a peer.
type RepeatedTo struct {
	Peer        string            `json:"peer"`
	Connections int               `json:"connections"`
	Count       uint64            `json:"count"`
	ByClass     map[string]uint64 `json:"by_class"`
}

// Resolved is how often a neighbour came to a state.
type Resolved struct {
	Addr    string `json:"addr"`
	IfIndex int    `json:"ifindex"`
	State   string `json:"state"`
	Count   uint64 `json:"count"`
}

// NewDrops converts at most top of each list.
func NewDrops(d *watch.Drops, place string, since time.Duration, counters map[string]int64, top int) Drops {
	v := Drops{Place: place, SinceNS: int64(since), Reasons: map[string]uint64{}, Flows: []DroppedFlow{}, Peers: []RepeatedTo{}, Neighbors: []Resolved{}, Listeners: []Listener{},
		Counters: counters, Without: d.Without, Again: d.Again, Untold: UntoldDrops(d.Untold), Missed: d.Missed}
	for _, r := range d.Reasons {
		v.Reasons[r.Name] = r.N
	}
	for _, f := range d.Flows[:min(top, len(d.Flows))] {
		v.Flows = append(v.Flows, DroppedFlow{endpoint(f.Src), endpoint(f.Dst), f.Proto, f.SYN, f.Reason, f.N})
	}
	for _, p := range d.Peers[:min(top, len(d.Peers))] {
		v.Peers = append(v.Peers, RepeatedTo{p.Peer.String(), p.Connections, p.N, p.ByClass})
	}
	for _, n := range d.Neighbors[:min(top, len(d.Neighbors))] {
		v.Neighbors = append(v.Neighbors, Resolved{addressText(n.Addr), n.IfIndex, n.State, n.N})
	}
	for i := range d.Listeners[:min(top, len(d.Listeners))] {
		v.Listeners = append(v.Listeners, newListener(&d.Listeners[i]))
	}
	return v
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
