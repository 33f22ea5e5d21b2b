package wires

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Overtaken keeps the first packet that M chooses of every flow back until its sender has sent it again and that copy has passed, but no longer than Most: a
// packet that is late, however long its sender waits.
type Overtaken struct {
	M    Match
	Most time.Duration

	held  map[wire.Flow]*kept
	order []*kept
}

// kept is a packet that is kept back until due; it is gone once it was let go.
type kept struct {
	p    Packet
	due  time.Time
	gone bool
}

// Pass keeps a first packet, and lets it go behind its copy.
func (o *Overtaken) Pass(now time.Time, p Packet) []Departure {
	if !o.M(p) {
		return pass(now, p)
	}
	if o.held == nil {
		o.held = map[wire.Flow]*kept{}
	}
	k := o.held[p.Seg.Flow()]
	switch {
	case k == nil:
		k = &kept{p: p, due: now.Add(o.Most)}
		o.held[p.Seg.Flow()] = k
		o.order = append(o.order, k)
		return nil
	case k.gone || p.Seg.Seq != k.p.Seg.Seq:
		return pass(now, p)
	}
	k.gone = true
	return append(pass(now, p), Departure{k.p, now})
}

// Wake is when the oldest packet that is still kept is let go without a copy.
func (o *Overtaken) Wake() (time.Time, bool) {
	for len(o.order) > 0 && o.order[0].gone {
		o.order = o.order[1:]
	}
	if len(o.order) == 0 {
		return time.Time{}, false
	}
	return o.order[0].due, true
}

// Fire lets it go.
func (o *Overtaken) Fire(now time.Time) []Departure {
	k := o.order[0]
	o.order = o.order[1:]
	if k.gone {
		return nil
	}
	k.gone = true
	return pass(now, k.p)
}
