package prober

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// maxBelated bounds how many SYN-ACKs of ended bursts wait for the next burst to their destination; the oldest give way.
const maxBelated = 256

// belate keeps a SYN-ACK that came after its burst. The caller holds the lock.
func (e *engine) belate(f *rawsock.Frame, seg *wire.Segment) {
	if len(e.belated) >= maxBelated {
		e.belated = slices.Delete(e.belated, 0, 1)
		e.strays["late_syn_ack_forgotten"]++
	}
	e.belated = append(e.belated, observe.NewBelated(time.Unix(0, f.At), seg))
}

// overdue takes what came too late for earlier bursts to the destinations of a run. The caller holds the lock.
func (e *engine) overdue(r *run) (out []observe.Belated) {
	e.belated = slices.DeleteFunc(e.belated, func(b observe.Belated) bool {
		ours := slices.ContainsFunc(r.groups, func(g *group) bool { return g.dst == b.Flow.Dst })
		if ours {
			out = append(out, b)
		}
		return ours
	})
	return out
}
