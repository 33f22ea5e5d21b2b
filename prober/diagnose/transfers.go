package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/retrans"
)

// Heading is which way data goes.
type Heading uint8

// Towards is to the target, Back from it to us.
const (
	HeadingUnknown Heading = iota
	Towards
	Back
)

func (h Heading) String() string {
	switch h {
	case Towards:
		return "towards the target"
	case Back:
		return "towards us"
	case HeadingUnknown:
	}
	return "unknown"
}

// Carried is what connections with a data phase carried one way: all of one burst's arm, or one alone.
type Carried struct {
	Heading Heading
	Flows   int
	// Segments that left or came for the first time.
	Segments int
	Octets   int64
	// Copies, Spurious: retransmitted segments by class, and the needless of them.
	Copies, Spurious retrans.Counts
	// Lost segments, in so many Moments: those of one round trip on one flow are one.
	Lost, Moments int
	// Reordered segments, the places at which the order changed, the most segments that one was overtaken by, and the longest that one came late.
	Reordered, Swaps, Extent int
	Late                     time.Duration
	// DSACKs that came, or segments that came twice.
	Twice int
	// Merged frames of a device that merges what it receives (GRO).
	Merged int
	// By tells the order of what came; the weakest of all flows. KeyUnknown where the sender's own view tells.
	By retrans.Key
	// Counted: no segments were seen, the kernel's own account is all there is, and tail loss probes cannot be told apart in it.
	Counted bool
}

func (c *Carried) add(o *Carried) {
	c.Flows += o.Flows
	c.Segments += o.Segments
	c.Octets += o.Octets
	c.Copies.Add(o.Copies)
	c.Spurious.Add(o.Spurious)
	c.Lost += o.Lost
	c.Moments += o.Moments
	c.Reordered += o.Reordered
	c.Swaps += o.Swaps
	c.Extent = max(c.Extent, o.Extent)
	c.Late = max(c.Late, o.Late)
	c.Twice += o.Twice
	c.Merged += o.Merged
	c.By = max(c.By, o.By)
	c.Counted = c.Counted || o.Counted
}

// carried reads one flow, one way. A capture with gaps misses copies, and so losses; it never makes any. What it would make is a hole that
// filled although nothing was seen to leave again.
func carried(o *observe.Observation, t *observe.Transfer, h Heading) Carried {
	if len(t.Segments) == 0 {
		return counted(t, h)
	}
	whole := o.Whole() && t.Over == 0
	r := &t.Read
	if h == Back {
		in := &r.Received
		return Carried{Heading: h, Flows: 1, Segments: in.Segments, Octets: in.Octets, Copies: in.Copies, Spurious: in.Spurious, Lost: in.Lost(), Moments: in.Lossy,
			Reordered: in.Reordered, Swaps: in.Swaps, Extent: in.Extent, Late: in.Late, Twice: in.Spurious.Total(), Merged: in.Merged, By: in.By}
	}
	out := &r.Sent
	c := Carried{Heading: h, Flows: 1, Segments: out.Segments, Octets: out.Octets, Copies: out.Copies, Spurious: out.Spurious, Lost: out.Lost(), Moments: out.Lossy,
		Reordered: out.Reordered, Swaps: out.Reordered, Extent: out.Extent, Twice: out.DSACKs}
	if !whole {
		c.Reordered, c.Swaps, c.Extent = 0, 0, 0
	}
	return c
}

// counted is the kernel's own account where segments were not seen. Of what comes to us it tells only what came early.
func counted(t *observe.Transfer, h Heading) Carried {
	c := Carried{Heading: h, Flows: 1, Counted: true, By: retrans.ByTime}
	i := &t.Info
	if !t.HasInfo || h == Back {
		c.Octets = t.Received
		return c
	}
	c.Octets, c.Segments = int64(i.BytesAcked), int(i.DataSegsOut)-int(i.TotalRetrans)
	c.Copies[retrans.RTO] = int(i.TotalRTO)
	c.Copies[retrans.ClassUnknown] = max(int(i.TotalRetrans)-int(i.TotalRTO), 0)
	c.Spurious[retrans.ClassUnknown] = min(int(i.DSACKDups), int(i.TotalRetrans))
	c.Lost = max(int(i.TotalRetrans)-int(i.DSACKDups)-1, 0) // one may be a probe of the tail
	c.Moments, c.Reordered, c.Swaps, c.Twice = c.Lost, int(i.ReordSeen), int(i.ReordSeen), int(i.DSACKDups)
	return c
}

// dataFlow is one data phase, and where it stands.
type dataFlow struct {
	burst int
	kind  plan.Kind
	arm   string
	small bool // in segments made small on purpose
	// unasked: the target sends by itself, and we say nothing.
	unasked bool
	flow    *observe.Attempt
	t       *observe.Transfer
	ways    [3]Carried // by Heading
}

// isTransfer reports whether a burst has data phases.
func isTransfer(k plan.Kind) bool {
	return k == plan.KindTransfer || k == plan.KindGentle || k == plan.KindSmall
}

// transfers lists the data phases of a round.
func transfers(in *Input) []dataFlow {
	var out []dataFlow
	for i := range in.Observations {
		o := &in.Observations[i]
		if !isTransfer(o.Kind) || o.ClockStep != 0 {
			continue
		}
		for k := range o.Transfers {
			t := &o.Transfers[k]
			if t.Attempt < 0 || t.Attempt >= len(o.Attempts) {
				continue
			}
			a := &o.Attempts[t.Attempt]
			what := dataArm(o, a.Arm)
			out = append(out, dataFlow{i, o.Kind, a.Arm, what.MSS > 0, what.Way == plan.Source, a, t, [3]Carried{Towards: carried(o, t, Towards), Back: carried(o, t, Back)}})
		}
	}
	return out
}

// dataArm is what an arm of a burst exchanges.
func dataArm(o *observe.Observation, arm string) plan.Transfer {
	for i := range o.Arms {
		if t := o.Arms[i].Script.Then.Transfer; o.Arms[i].Name == arm && t != nil {
			return *t
		}
	}
	return plan.Transfer{}
}

// stalled reports whether a data phase ended because nothing moved any more, and a segment of it never got through: one of ours that left again and
// again, one of theirs that later ones have passed, or all of theirs, once they have what we asked with.
func (m *dataFlow) stalled() bool {
	r := &m.t.Read
	silent := m.t.Received == 0 && r.Sent.Stuck.Length == 0 && (m.unasked || r.Sent.Acknowledged > 0)
	return m.t.Stood && (r.Sent.Stuck.Times >= stuckTimes || r.Received.Holes > 0 || silent)
}

// stuckTimes is how often a segment must have left again, in vain, to be held for one that never passes: three in a row are lost by chance once
// in a million at a loss of 1 %.
const stuckTimes = 3

// sum adds up what the data phases of some kinds carried one way; those that stalled are left out, since one segment that is repeated for ever
// says nothing of a rate.
func sumCarried(list []dataFlow, h Heading, kinds ...plan.Kind) Carried {
	c := Carried{Heading: h}
	for i := range list {
		if m := &list[i]; slices.Contains(kinds, m.kind) && !m.stalled() {
			c.add(&m.ways[h])
		}
	}
	return c
}

// DataPhase is what one arm of one burst's data phases did, for the table of a report.
type DataPhase struct {
	Kind plan.Kind
	Arm  string
	// Flows began; Done of them moved all that was asked for.
	Flows, Done int
	// Rate is payload a second, both ways, of all flows together.
	Rate       float64
	Congestion string
	Ways       []Carried // those that carried data
	Why        []string  // why flows ended before, each reason once
}

// Transferred tells what the data phases of a round did: a row for each arm of each burst.
func Transferred(list []observe.Observation) []DataPhase {
	in := Input{Observations: list}
	all := transfers(&in)
	var out []DataPhase
	for len(all) > 0 {
		first := all[0]
		var row, rest []dataFlow
		for _, m := range all {
			if m.burst == first.burst && m.arm == first.arm {
				row = append(row, m)
			} else {
				rest = append(rest, m)
			}
		}
		out = append(out, shareOf(row))
		all = rest
	}
	return out
}

func shareOf(row []dataFlow) DataPhase {
	s := DataPhase{Kind: row[0].kind, Arm: row[0].arm}
	var began, ended time.Time
	octets := int64(0)
	ways := [3]Carried{Towards: {Heading: Towards}, Back: {Heading: Back}}
	for i := range row {
		m := &row[i]
		s.Flows++
		s.Congestion = cmp.Or(s.Congestion, m.t.Congestion)
		if m.t.Done {
			s.Done++
		} else if !slices.Contains(s.Why, m.t.Why) {
			s.Why = append(s.Why, m.t.Why)
		}
		if said := fmt.Sprintf("the server answered with HTTP status %d", m.t.Status); m.t.Status >= 400 && !slices.Contains(s.Why, said) {
			s.Why = append(s.Why, said)
		}
		octets += m.t.Sent + m.t.Received
		if began.IsZero() || m.t.Began.Before(began) {
			began = m.t.Began
		}
		if m.t.Ended.After(ended) {
			ended = m.t.Ended
		}
		ways[Towards].add(&m.ways[Towards])
		ways[Back].add(&m.ways[Back])
	}
	if d := ended.Sub(began); d > 0 {
		s.Rate = float64(octets) / d.Seconds()
	}
	for _, h := range []Heading{Towards, Back} {
		if ways[h].Segments > 0 || ways[h].Octets > 0 {
			s.Ways = append(s.Ways, ways[h])
		}
	}
	return s
}
