package prober

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/wire"
)

func anyFlow(t *rapid.T) wire.Flow {
	pick := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "fd00::1", "fe80::1%eth0", "fe80::1%eth1", "::ffff:10.0.0.1"})
	port := rapid.SampledFrom([]uint16{61000, 61001, 65535})
	return wire.Flow{Src: netip.AddrPortFrom(addr(pick.Draw(t, "src")), port.Draw(t, "sport")),
		Dst: netip.AddrPortFrom(addr(pick.Draw(t, "dst")), rapid.SampledFrom([]uint16{80, 443}).Draw(t, "dport"))}
}

// bare is a flow as its segments show it.
func bare(f wire.Flow) wire.Flow {
	plain := func(a netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
	}
	return wire.Flow{Src: plain(f.Src), Dst: plain(f.Dst)}
}

// Against a plain map: what was put in is found, by flow and by ISS, and what was taken out is not.
func TestTheFlowTableIsAMap(t *testing.T) { //nolint:gocyclo // a model test is one list of moves
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		table := newFlowTable()
		type entry struct {
			flow  wire.Flow
			iss   wire.Seq
			raw   bool
			tomb  bool
			until int64
		}
		model := map[int32]entry{}
		now := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1:
				f := anyFlow(t)
				var w *way
				if rapid.Bool().Draw(t, "raw") {
					w = &way{}
				}
				i, iss := table.add(f, 1, uint32(len(model)), w)
				if _, used := model[i]; used {
					t.Fatalf("record %d was in use", i)
				}
				model[i] = entry{flow: bare(f), iss: iss, raw: w != nil}
			case 2:
				live := slices.Sorted(maps.Keys(model))
				live = slices.DeleteFunc(live, func(i int32) bool { return model[i].tomb })
				if len(live) > 0 {
					i := rapid.SampledFrom(live).Draw(t, "which")
					e := model[i]
					if e.raw {
						now++
						table.bury(i, now+10)
						e.tomb, e.until = true, now+10
						model[i] = e
					} else {
						table.remove(i)
						delete(model, i)
					}
				}
			case 4:
				tombs := slices.Sorted(maps.Keys(model))
				tombs = slices.DeleteFunc(tombs, func(i int32) bool { return !model[i].tomb })
				if len(tombs) > 0 {
					e := model[rapid.SampledFrom(tombs).Draw(t, "which")]
					found := table.byFlow(e.flow) // of several records of one flow any may be
					j, iss, ok := table.revive(e.flow, 1, 0, &way{})
					if ok != model[found].tomb || ok && (j != found || iss != model[j].iss) {
						t.Fatalf("revived %d, %d, %v; want %d of %+v", j, iss, ok, found, model[found])
					}
					if ok {
						e = model[j]
						e.tomb = false
						model[j] = e
					}
				}
			case 3:
				now += int64(rapid.IntRange(0, 15).Draw(t, "later"))
				table.sweep(now)
				for i, e := range model {
					if e.tomb && e.until <= now {
						delete(model, i)
					}
				}
			}
			for i, e := range model {
				got := table.byFlow(e.flow)
				if got < 0 || model[got].flow != e.flow {
					t.Fatalf("flow %s found as %d", e.flow, got)
				}
				if !e.raw {
					continue
				}
				if got := table.byAck(&wire.Segment{Src: e.flow.Dst, Dst: e.flow.Src, Ack: e.iss + 1}); got != i {
					t.Fatalf("the answer to record %d found as %d", i, got)
				}
			}
			f := bare(anyFlow(t))
			known := false
			for _, e := range model {
				known = known || e.flow == f
			}
			if got := table.byFlow(f); got >= 0 != known {
				t.Fatalf("flow %s found as %d, known %v", f, got, known)
			}
		}
	})
}

// A forged acknowledgment leads nowhere but by a guess of one in 2³².
func TestAForgedAckLeadsNowhere(t *testing.T) {
	t.Parallel()
	table := newFlowTable()
	f := wire.Flow{Src: on("10.0.0.1", 61000), Dst: on("10.0.0.2", 80)}
	for range 1000 {
		f.Src = netip.AddrPortFrom(f.Src.Addr(), f.Src.Port()+1)
		table.add(f, 1, 0, &way{})
	}
	hits := 0
	for ack := range wire.Seq(100000) {
		if table.byAck(&wire.Segment{Src: f.Dst, Dst: f.Src, Ack: ack * 42949}) >= 0 {
			hits++
		}
	}
	if hits > 1 {
		t.Errorf("%d of 100000 guesses led to a flow", hits)
	}
}

func TestOnlyOneKernelFlowOfAPortIsFoundByIt(t *testing.T) {
	t.Parallel()
	table := newFlowTable()
	f := wire.Flow{Src: on("10.0.0.1", 61000), Dst: on("10.0.0.2", 80)}
	table.add(f, 1, 0, &way{})
	if got := table.byPort(61000); got >= 0 {
		t.Errorf("a raw flow: %d", got)
	}
	kernel, _ := table.add(f, 1, 1, nil)
	if got := table.byPort(61000); got != kernel {
		t.Errorf("got %d, want %d", got, kernel)
	}
	f.Dst = on("10.0.0.3", 80)
	other, _ := table.add(f, 1, 2, nil)
	if got := table.byPort(61000); got >= 0 {
		t.Errorf("of two: %d", got)
	}
	table.remove(other)
	if got := table.byPort(61000); got != kernel {
		t.Errorf("got %d, want %d", got, kernel)
	}
}

// lookups returns a function that enters a raw flow beside a thousand others, finds it as the reader of the tap does and takes it out again.
func lookups() func() {
	tab := newFlowTable()
	flow := wire.Flow{Src: netip.MustParseAddrPort("192.0.2.1:60000"), Dst: netip.MustParseAddrPort("198.51.100.1:443")}
	for port := range uint16(1000) {
		tab.add(wire.Flow{Src: netip.AddrPortFrom(flow.Src.Addr(), 61000+port), Dst: flow.Dst}, 1, 0, &way{})
	}
	w := &way{}
	return func() {
		i, iss := tab.add(flow, 1, 0, w)
		answer := wire.Segment{Src: flow.Dst, Dst: flow.Src, Ack: iss + 1, Flags: wire.SYN | wire.ACK}
		if tab.byAck(&answer) != i || tab.byFlow(flow) != i {
			panic("not found")
		}
		tab.remove(i)
	}
}

func TestLookupsAllocateNothing(t *testing.T) {
	if n := testing.AllocsPerRun(1000, lookups()); n != 0 {
		t.Errorf("%v allocations a flow", n)
	}
}

func BenchmarkFlowTable(b *testing.B) {
	look := lookups()
	b.ReportAllocs()
	for b.Loop() {
		look()
	}
}
