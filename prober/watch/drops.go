package watch

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/vipprobe/vipprobe/prober/internal/droptrace"
	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// Drops is what the kernel dropped, sent again and resolved in one place since the tracing began, most first.
type Drops struct {
	Reasons   []Reason
	Flows     []DroppedFlow
	Peers     []Repeated
	Neighbors []Resolved
	// Listeners are those whose accept queue is not empty: what they drop, tcp_conn_request tells no tracepoint.
	Listeners []observe.ListenQueue
	// Again are all retransmissions by class, those to peers that are not listed too.
	Again map[string]uint64
	// Untold are known in sum only: drops whose flow, retransmissions whose connection, and updates whose neighbour gave way to others in the kernel's
	// tables. Missed events are in no sum: the same program ran already on their processor.
	Untold droptrace.Untold
	Missed uint64
	// Without are sentences about what is not counted.
	Without []string
}

// Reason is how many packets were dropped for it, those of flows that are not listed too.
type Reason struct {
	Name string
	N    uint64
}

// DroppedFlow is how many packets of a flow were dropped for a reason.
type DroppedFlow struct {
	Src, Dst netip.AddrPort // invalid: not an IP packet, or not known
	Proto    string         // "tcp", "udp", a number, or empty
	SYN      bool           // a TCP segment with SYN
	Reason   string
	N        uint64
}

// Repeated is how many segments were sent again to a peer, by class, over how many connections.
type Repeated struct {
	Peer        netip.Addr
	Connections int
	N           uint64
	ByClass     map[string]uint64 // "rto", "fast", "tlp", "syn", "syn_ack"
}

// Resolved is how often a neighbour came to a state.
type Resolved struct {
	Addr    netip.Addr
	IfIndex int
	State   string
	N       uint64
}

// Tracer counts in the kernel what is dropped in the place that a Watcher looks at. It is not safe for concurrent use.
type Tracer struct {
	t  *droptrace.Tracer
	ns *hostproc.Namespace
}

// Trace begins to count the drops of the one place that is watched. The error says why that cannot be here, and everything else works without.
func (w *Watcher) Trace() (*Tracer, error) {
	if len(w.subjects) != 1 {
		return nil, fmt.Errorf("trace drops: want one namespace, not %d", len(w.subjects))
	}
	ns := w.subjects[0].ns
	var inode uint32
	err := ns.Do(func() error {
		info, err := os.Stat("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.New("its inode is not told")
		}
		inode = uint32(st.Ino) // struct ns_common.inum is an unsigned int (include/linux/ns_common.h, 6.18)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("trace drops: which network namespace %s is: %w", ns.Place(), err)
	}
	t, err := droptrace.Open(inode)
	if err != nil {
		return nil, fmt.Errorf("trace drops: %w", err)
	}
	return &Tracer{t, ns}, nil
}

// Close ends the tracing.
func (t *Tracer) Close() error { return t.t.Close() }

// Read takes what was counted so far.
func (t *Tracer) Read() (Drops, error) {
	c, err := t.t.Read()
	if err != nil {
		return Drops{}, fmt.Errorf("trace drops: %w", err)
	}
	d := Drops{Without: slices.Clone(t.t.Without), Peers: byPeer(c.Retransmissions), Again: map[string]uint64{}, Untold: c.Untold, Missed: c.Missed}
	for class, n := range c.Again {
		d.Again[class.String()] = n
	}
	for name, n := range c.Reasons {
		d.Reasons = append(d.Reasons, Reason{name, n})
	}
	slices.SortFunc(d.Reasons, func(a, b Reason) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Name, b.Name)) })
	for _, x := range c.Drops {
		d.Flows = append(d.Flows, DroppedFlow{x.Flow.Src, x.Flow.Dst, protocol(&x.Flow), x.Flow.Proto == tcp && x.Flow.Flags&synFlag != 0, x.Reason, x.N})
	}
	for _, x := range c.Neighbors {
		d.Neighbors = append(d.Neighbors, Resolved(x))
	}
	err = t.ns.Do(func() error {
		all, err := hostproc.Listeners([]uint16{0}, false)
		for _, q := range all {
			if q.Queued > 0 {
				d.Listeners = append(d.Listeners, q)
			}
		}
		return err
	})
	if err != nil {
		d.Without = append(d.Without, "the listeners' own queues: "+err.Error())
	}
	slices.SortFunc(d.Listeners, func(a, b observe.ListenQueue) int { return cmp.Compare(b.Queued, a.Queued) })
	return d, nil
}

const (
	tcp     = 6
	udp     = 17
	synFlag = 2
)

func protocol(f *droptrace.Flow) string {
	switch {
	case f.Proto == tcp:
		return "tcp"
	case f.Proto == udp:
		return "udp"
	case !f.Src.IsValid():
		return ""
	}
	return fmt.Sprint(f.Proto)
}

// byPeer adds up connections by the peer's address.
func byPeer(list []droptrace.Retransmission) []Repeated {
	type conn struct{ local, peer netip.AddrPort }
	by := map[netip.Addr]*Repeated{}
	seen := map[conn]bool{}
	for _, x := range list {
		r := by[x.Peer.Addr()]
		if r == nil {
			r = &Repeated{Peer: x.Peer.Addr(), ByClass: map[string]uint64{}}
			by[x.Peer.Addr()] = r
		}
		r.N += x.N
		r.ByClass[x.Class.String()] += x.N
		if c := (conn{x.Local, x.Peer}); !seen[c] {
			seen[c] = true
			r.Connections++
		}
	}
	out := make([]Repeated, 0, len(by))
	for _, a := range slices.SortedFunc(maps.Keys(by), netip.Addr.Compare) {
		out = append(out, *by[a])
	}
	slices.SortStableFunc(out, func(a, b Repeated) int { return cmp.Compare(b.N, a.N) })
	return out
}
