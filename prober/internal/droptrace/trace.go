package droptrace

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
)

// Class is why TCP sent a segment again, by the state in which it did.
type Class uint32

// The classes. ClassSYN: of a handshake, ours. ClassRTO: the timer ran out (TCP_CA_Loss). ClassFast: by SACK, RACK or duplicate ACKs
// (TCP_CA_Recovery). ClassProbe: neither, so a tail loss probe (RFC 8985 §7). ClassSYNACK: a listener's SYN-ACK.
const (
	ClassUnknown Class = iota
	ClassSYN
	ClassRTO
	ClassFast
	ClassProbe
	ClassSYNACK
	classes = 6
)

func (c Class) String() string {
	switch c {
	case ClassSYN:
		return "syn"
	case ClassRTO:
		return "rto"
	case ClassFast:
		return "fast"
	case ClassProbe:
		return "tlp"
	case ClassSYNACK:
		return "syn_ack"
	case ClassUnknown:
	}
	return "unknown"
}

// Flow is whose packets were dropped.
type Flow struct {
	Src, Dst netip.AddrPort // invalid: no IP packet, or its header is not known any more
	Proto    uint8          // IP's: 6 TCP, 17 UDP
	Flags    uint8          // of TCP: FIN 1, SYN 2, RST 4, ACK 16
}

// Drop is how often the packets of a flow were dropped for one reason.
type Drop struct {
	Flow   Flow
	Reason string
	N      uint64
}

// Retransmission is how often segments of a connection were sent again in one class.
type Retransmission struct {
	Local, Peer netip.AddrPort
	Class       Class
	N           uint64
}

// Neighbor is how often an entry of the neighbour table came to a state, or was asked for in it.
type Neighbor struct {
	Addr    netip.Addr
	IfIndex int
	State   string
	N       uint64
}

// Counts are what was counted since the tracer was opened, most first.
type Counts struct {
	// Reasons are all drops by reason, those of flows that did not fit into the table too.
	Reasons         map[string]uint64
	Drops           []Drop
	Retransmissions []Retransmission
	Neighbors       []Neighbor
	// Again are all retransmissions by class, and Updates all updates of neighbours.
	Again   map[Class]uint64
	Updates uint64
	// Untold counts what the totals hold and the lists do not: the least recent flows, connections and neighbours gave way to new ones, or two
	// processors met a new one at once.
	Untold Untold
	// Missed events came while the same program ran on the same processor; the kernel does not enter it twice. They are in no total.
	Missed uint64
}

// Untold is how many events are known in sum only.
type Untold struct{ Drops, Retransmissions, Neighbors uint64 }

// Tracer counts in the kernel until it is closed, or the process ends.
type Tracer struct {
	layout                             *layout
	flows, totals, retrans, neighbours *ebpf.Map
	progs                              []*ebpf.Program
	links                              []link.Link
	// Without are sentences about what is not counted, and why.
	Without []string
}

// How many flows, connections and neighbours are counted each; the least recent give way to new ones. Together some 3 MB.
const (
	mostFlows      = 16384
	mostRetrans    = 8192
	mostNeighbours = 4096
)

// Open begins to count, in one network namespace by its inode number or in all of them (0). The error is an *UnsupportedError where nothing can be
// counted; what only some of it needs is said in Without.
func Open(netns uint32) (*Tracer, error) {
	_ = rlimit.RemoveMemlock() // needed before Linux 5.11 only; what it is needed for says so
	l, err := readLayout()
	if err != nil {
		return nil, err
	}
	t := &Tracer{layout: l}
	if err := t.tables(); err != nil {
		return nil, errors.Join(denied(err), t.Close())
	}
	for _, p := range t.programs(netns) {
		if err := t.attach(p.tracepoint, p.code); err != nil {
			t.Without = append(t.Without, fmt.Sprintf("%s: %v", p.what, denied(err)))
		}
	}
	if len(t.links) == 0 {
		why := t.Without[0]
		return nil, errors.Join(&UnsupportedError{Why: why}, t.Close())
	}
	if !l.reasonArg {
		t.Without = append(t.Without, "this kernel does not say why it drops a packet (Linux ≥ 5.17 does)")
	}
	return t, nil
}

func (t *Tracer) tables() (err error) {
	for _, m := range []struct {
		at   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&t.flows, ebpf.MapSpec{Name: "vp_drops", Type: ebpf.LRUHash, KeySize: keySize, ValueSize: 8, MaxEntries: mostFlows}},
		{&t.totals, ebpf.MapSpec{Name: "vp_reasons", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: totalSlots}},
		{&t.retrans, ebpf.MapSpec{Name: "vp_retrans", Type: ebpf.LRUHash, KeySize: keySize, ValueSize: 8, MaxEntries: mostRetrans}},
		{&t.neighbours, ebpf.MapSpec{Name: "vp_neigh", Type: ebpf.LRUHash, KeySize: keySize, ValueSize: 8, MaxEntries: mostNeighbours}},
	} {
		if *m.at, err = ebpf.NewMap(&m.spec); err != nil {
			return fmt.Errorf("make a table in the kernel: %w", err)
		}
	}
	return nil
}

// program is one to be attached.
type program struct {
	what, tracepoint string
	code             asm.Instructions
}

func (t *Tracer) programs(netns uint32) []program {
	l := t.layout
	return []program{
		{"dropped packets", "kfree_skb", dropProgram(l, t.flows, t.totals, netns)},
		{"retransmitted segments", "tcp_retransmit_skb", retransmitProgram(l, t.retrans, t.totals, netns)},
		{"retransmitted SYN-ACKs", "tcp_retransmit_synack", synackProgram(l, t.retrans, t.totals, netns)},
		{"updated neighbours", "neigh_update", neighborProgram(l, t.neighbours, t.totals, netns, true)},
		{"neighbours that fail", "neigh_timer_handler", neighborProgram(l, t.neighbours, t.totals, netns, false)},
	}
}

// attach loads a program and has it run at a tracepoint (BPF_TRACE_RAW_TP with BTF, Linux ≥ 5.5).
func (t *Tracer) attach(tracepoint string, code asm.Instructions) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "vp_" + tracepoint, Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: tracepoint, Instructions: code, License: "GPL"})
	if err != nil {
		return fmt.Errorf("load the program for %s: %w", tracepoint, err)
	}
	t.progs = append(t.progs, p)
	l, err := link.AttachTracing(link.TracingOptions{Program: p, AttachType: ebpf.AttachTraceRawTp})
	if err != nil {
		return fmt.Errorf("attach to %s: %w", tracepoint, err)
	}
	t.links = append(t.links, l)
	return nil
}

// denied says what an operation that is not permitted would need.
func denied(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return &UnsupportedError{"the kernel permits it to who has CAP_BPF and CAP_PERFMON in the machine's first user namespace (before 5.8 CAP_SYS_ADMIN)", os.ErrPermission}
	}
	return err
}

// Close stops counting.
func (t *Tracer) Close() error {
	var errs []error
	for _, l := range t.links {
		errs = append(errs, l.Close())
	}
	for _, p := range t.progs {
		errs = append(errs, p.Close())
	}
	for _, m := range []*ebpf.Map{t.flows, t.totals, t.retrans, t.neighbours} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}

// Cost is how often the programs ran since statistics were switched on (kernel.bpf_stats_enabled), and how long in all, ns.
func (t *Tracer) Cost() (runs uint64, ns int64, err error) {
	for _, p := range t.progs {
		s, err := p.Stats()
		if err != nil {
			return runs, ns, fmt.Errorf("read a program's statistics: %w", err)
		}
		runs, ns = runs+s.RunCount, ns+int64(s.Runtime)
	}
	return runs, ns, nil
}

// Read takes what was counted so far.
func (t *Tracer) Read() (Counts, error) {
	c := Counts{Reasons: map[string]uint64{}, Again: map[Class]uint64{}}
	err := errors.Join(
		each(t.flows, func(k []byte, n uint64) {
			c.Drops = append(c.Drops, Drop{flowOf(k), t.reason(binary.NativeEndian.Uint32(k[keyReason:])), n})
		}),
		each(t.retrans, func(k []byte, n uint64) {
			f := flowOf(k)
			c.Retransmissions = append(c.Retransmissions, Retransmission{f.Src, f.Dst, Class(binary.NativeEndian.Uint32(k[keyReason:])), n})
		}),
		each(t.neighbours, func(k []byte, n uint64) {
			c.Neighbors = append(c.Neighbors, Neighbor{flowOf(k).Src.Addr(), int(binary.NativeEndian.Uint32(k[keyDst:])), neighborState(binary.NativeEndian.Uint32(k[keyReason:])), n})
		}),
		t.sums(&c))
	slices.SortFunc(c.Drops, func(a, b Drop) int { return cmp.Compare(b.N, a.N) })
	slices.SortFunc(c.Retransmissions, func(a, b Retransmission) int { return cmp.Compare(b.N, a.N) })
	slices.SortFunc(c.Neighbors, func(a, b Neighbor) int { return cmp.Compare(b.N, a.N) })
	return c, err
}

// sums reads the totals, behind the lists, so that these hold no more than those.
func (t *Tracer) sums(c *Counts) error {
	for i := range uint32(totalSlots) {
		var perCPU []uint64
		if err := t.totals.Lookup(i, &perCPU); err != nil {
			return fmt.Errorf("read what was counted in all: %w", err)
		}
		var n uint64
		for _, v := range perCPU {
			n += v
		}
		switch {
		case n == 0:
		case i < classSlots:
			c.Reasons[t.reason(i)] += n
			c.Untold.Drops += n
		case i < neighborSlot:
			c.Again[Class(i-classSlots)] = n
			c.Untold.Retransmissions += n
		default:
			c.Updates, c.Untold.Neighbors = n, n
		}
	}
	u := &c.Untold
	for i := range c.Drops {
		u.Drops -= min(u.Drops, c.Drops[i].N)
	}
	for i := range c.Retransmissions {
		u.Retransmissions -= min(u.Retransmissions, c.Retransmissions[i].N)
	}
	for i := range c.Neighbors {
		u.Neighbors -= min(u.Neighbors, c.Neighbors[i].N)
	}
	for _, p := range t.progs {
		s, err := p.Stats()
		if errors.Is(err, ebpf.ErrNotSupported) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a program's statistics: %w", err)
		}
		c.Missed += s.RecursionMisses
	}
	return nil
}

// each goes through a table. A table that changes meanwhile may show an entry twice or not at all, never wrongly.
func each(m *ebpf.Map, f func(key []byte, n uint64)) error {
	var k [keySize]byte
	var n uint64
	it := m.Iterate()
	for it.Next(&k, &n) {
		f(k[:], n)
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("read a table of the kernel: %w", err)
	}
	return nil
}

// flowOf reads a key.
func flowOf(k []byte) Flow {
	f := Flow{Proto: k[keyProto], Flags: k[keyFlags]}
	n := map[uint8]int{4: 4, 6: 16}[k[keyFamily]]
	if n == 0 {
		return f
	}
	src, _ := netip.AddrFromSlice(k[keySrc : keySrc+n])
	dst, _ := netip.AddrFromSlice(k[keyDst : keyDst+n])
	f.Src = netip.AddrPortFrom(src.Unmap(), binary.BigEndian.Uint16(k[keySport:]))
	f.Dst = netip.AddrPortFrom(dst.Unmap(), binary.BigEndian.Uint16(k[keyDport:]))
	return f
}

// reason names a drop reason as this kernel does.
func (t *Tracer) reason(n uint32) string {
	switch name, ok := t.layout.reasons[n]; {
	case !t.layout.reasonArg:
		return "not said"
	case ok:
		return name
	case n == reasonSlots-1:
		return "of a subsystem"
	}
	return fmt.Sprintf("reason %#x", n)
}

// neighborState names a state (NUD_*, include/uapi/linux/neighbour.h).
func neighborState(n uint32) string {
	names := []string{"incomplete", "reachable", "stale", "delay", "probe", "failed", "noarp", "permanent"}
	for i, name := range names {
		if n == 1<<i {
			return name
		}
	}
	return fmt.Sprintf("state %#x", n)
}
