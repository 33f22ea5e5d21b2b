package experiment

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// QueueState is how well the far side's queue is known.
type QueueState string

// The states. Measured: Packets exactly. AtLeast: it held a burst of Packets whole. Range: between Low and High. Inconclusive and
// NotApplicable say why in Why.
const (
	QueueMeasured      QueueState = "measured"
	QueueAtLeast       QueueState = "at_least"
	QueueRange         QueueState = "range"
	QueueInconclusive  QueueState = "inconclusive"
	QueueNotApplicable QueueState = "not_applicable"
)

// QueueStates lists them all.
func QueueStates() []QueueState {
	return []QueueState{QueueMeasured, QueueAtLeast, QueueRange, QueueInconclusive, QueueNotApplicable}
}

// QueueResult is the far side's queue for a neighbour that it does not know, in packets.
type QueueResult struct {
	State   QueueState
	Packets int // Measured and AtLeast
	// Low and High bound it: equal where measured; High is 0 where nothing bounds it from above. Low is what a policy compares: the queue holds
	// at least that many, and it is 0 where nothing is known.
	Low, High int
	// Confirmed: a second fresh address gave the same, and chance would not (p < 1e-4).
	Confirmed bool
	// Chance is how often loss that spares no packet more than another would leave what was seen: ∏ 1/C(n, q) over the contacts that agree.
	Chance float64
	Method Method
	Port   uint16
	Delay  time.Duration // of the answer, as planned
	// Control is the same burst once the address was known: probes sent, and how many of them had no answer.
	Control, ControlLost int
	Contacts             []QueueContact
	Fits                 []QueueFit
	Why                  string

	controlled bool
	agreed     int  // contacts that agree with Packets
	differ     bool // and others do not
	quiet      time.Duration
}

// lossy reports whether the path loses packets beside the queue.
func (r *QueueResult) lossy() bool { return r.ControlLost > 0 }

// Result judges what was seen so far.
func (q *Queue) Result(seen []observe.Observation) QueueResult {
	r := QueueResult{State: QueueInconclusive}
	for i := range seen {
		o := &seen[i]
		switch o.Kind {
		case plan.KindPorts:
			r.Method, r.Port = choose(o)
			r.quiet = quietly(o)
		case plan.KindQueue:
			if len(r.Contacts) < len(q.Addrs) {
				r.Contacts = append(r.Contacts, readContact(o, q.Addrs[len(r.Contacts)], r.Method))
			}
		case plan.KindKnown:
			var sent, lost int
			sent, lost, r.controlled = control(o, r.Method)
			r.Control, r.ControlLost = r.Control+sent, r.ControlLost+lost
		default:
		}
	}
	r.Delay = q.delay(&r)
	switch {
	case len(seen) == 0:
		r.Why = "nothing was sent"
	case !seen[0].Captured:
		r.State, r.Why = QueueNotApplicable, "no capture: raw probes need CAP_NET_RAW"
	case r.Method == "":
		r.State, r.Why = QueueNotApplicable, "no tried port of the target answers: neither RST nor SYN-ACK came, nor an RST to a bare ACK"
	default:
		r.judge()
	}
	if r.State == QueueMeasured || r.State == QueueRange || r.State == QueueAtLeast {
		r.Fits = fits(r.Low, r.High)
	}
	return r
}

// judge compares the contacts.
func (r *QueueResult) judge() {
	if why, never := r.unreadable(); why != "" {
		r.Why = why
		if never {
			r.State = QueueNotApplicable
		}
		return
	}
	if r.controlled && r.Control > 0 && r.ControlLost == r.Control {
		r.Why = "no probe was answered once the address was known"
		return
	}
	best := r.vote()
	r.bounds()
	switch {
	case best < 0 || (r.differ || r.lossy()) && r.agreed < need(r):
		r.State = QueueRange
		r.Why = r.spread()
	case r.whole(best):
		r.State, r.Packets, r.Low, r.High = QueueAtLeast, best, best, 0
		r.Confirmed = r.agreed >= need(r)
	default:
		r.State, r.Packets, r.Low, r.High = QueueMeasured, best, best, best
		r.Confirmed = r.controlled && r.agreed >= need(r) && r.Chance < enough
		r.Why = r.unconfirmed()
	}
}

// unconfirmed says what a measurement lacks; "" where nothing.
func (r *QueueResult) unconfirmed() string {
	switch {
	case r.Confirmed:
	case r.agreed < 2:
		return "one first contact only: another free address would confirm it"
	case !r.controlled:
		return "the same burst to a known address was not made, so that loss on the way is not ruled out"
	default:
		return fmt.Sprintf("chance leaves a tail like this once in %.0f: more free addresses would confirm it", 1/r.Chance)
	}
	return ""
}

// unreadable says why there is nothing to compare; never: and never will be.
func (r *QueueResult) unreadable() (why string, never bool) {
	if len(r.Contacts) == 0 {
		return "no first contact was made: no free address", false
	}
	for i := range r.Contacts {
		if r.Contacts[i].resolved() {
			return "", false
		}
	}
	last := &r.Contacts[len(r.Contacts)-1]
	return last.Reading.why(last.Addr), last.Reading == QueueNeverAsked || last.Reading == QueueKnown
}

// why says what a reading means that cannot be counted.
func (x QueueReading) why(a netip.Addr) string {
	switch x {
	case QueueNeverAsked:
		return fmt.Sprintf("nobody asked for %s and no answer came: what stands between drops a source address that it does not expect "+
			"(anti-spoofing, port security, rp_filter), or answers ARP in place of the far side", a)
	case QueueKnown:
		return fmt.Sprintf("answers came to %s before anybody was told where it is: the far side knew already, or something answers for it (proxy ARP, ARP suppression)", a)
	case QueueNotTold:
		return fmt.Sprintf("the far side asked for %s, and no answer of ours was seen to leave", a)
	case QueueDeaf:
		return fmt.Sprintf("the far side asked for %s and was told, and nothing came: it had given up by then (mcast_solicit, retrans_time_ms), or an inspection of ARP drops the answer", a)
	case QueueTooEarly:
		return "the answer left before the last probe: a longer delay is needed"
	case QueueTooLate:
		return "the answer came too late: a shorter delay is needed"
	case QueueUnseen:
		return "the capture lost frames, or the clock was set"
	case QueueNothingSent:
		return "no probe left this host"
	case QueueOtherAnswer:
		return "probes were answered in another way than when the ports were tried"
	case QueueUnreachable:
		return "ICMP errors came in place of answers"
	case QueueTail, QueueWhole, QueueRagged, QueueScattered, QueueLimited, queueNone:
	}
	return ""
}

// whole reports whether a burst of n was held whole, and none was cut at n.
func (r *QueueResult) whole(n int) bool {
	for i := range r.Contacts {
		if c := &r.Contacts[i]; c.Reading == QueueWhole && c.Answered == n {
			return true
		}
	}
	return false
}

// vote finds the number that contacts agree on, −1: none; how many do; and whether any says otherwise. It is the greatest that any counts: loss
// takes the first of a tail, and adds nothing to it. A ragged tail counts where nothing is lost: its order was not kept.
func (r *QueueResult) vote() (best int) {
	best = -1
	for i := range r.Contacts {
		if n, ok := r.count(&r.Contacts[i]); ok {
			best = max(best, n)
		}
	}
	r.Chance, r.agreed, r.differ = 1, 0, false
	for i := range r.Contacts {
		c := &r.Contacts[i]
		n, ok := r.count(c)
		switch {
		case !ok:
			r.differ = r.differ || c.resolved()
		case n == best:
			r.agreed++
			r.Chance *= stats.ContiguousTail(c.Sent, c.Answered)
		default:
			r.differ = true
		}
	}
	return best
}

// count is the queue as one contact has it.
func (r *QueueResult) count(c *QueueContact) (int, bool) {
	switch c.Reading {
	case QueueTail, QueueWhole:
		return c.Answered, true
	case QueueRagged:
		return c.Answered, r.controlled && !r.lossy()
	case QueueScattered, QueueLimited, QueueNeverAsked, QueueKnown, QueueNotTold, QueueDeaf, QueueTooEarly, QueueUnseen, QueueNothingSent,
		QueueOtherAnswer, QueueUnreachable, QueueTooLate, queueNone:
	}
	return 0, false
}

// bounds are what all contacts allow together. Loss on the way there takes no place in the queue and leaves a gap; on the way back it takes
// an answer; a probe that is so late that the far side has been told adds one. So the queue is no shorter than the fewest answers, and no
// longer than the longest span with what may be lost before it.
func (r *QueueResult) bounds() {
	r.Low, r.High = 0, 0
	before := 0
	if r.Control > 0 && r.lossy() {
		for p, rate := 1.0, float64(r.ControlLost)/float64(r.Control); p > 1e-4 && before < 64; before++ {
			p *= min(rate*2, 0.9)
		}
	}
	for i := range r.Contacts {
		c := &r.Contacts[i]
		if !c.resolved() {
			continue
		}
		if r.Low == 0 || c.Answered < r.Low {
			r.Low = c.Answered
		}
		if c.Reading == QueueTail || c.Reading == QueueRagged {
			r.High = max(r.High, c.span()+before)
		}
	}
	if r.High < r.Low {
		r.High = 0
	}
}

// spread says why there is no one number.
func (r *QueueResult) spread() string {
	last := &r.Contacts[len(r.Contacts)-1]
	switch {
	case last.Reading == QueueLimited:
		return fmt.Sprintf("the last %d probes had no answer, which no queue does: answers are limited or lost", last.Sent-last.First-last.Answered)
	case r.lossy():
		return fmt.Sprintf("%d of %d probes had no answer even when the address was known: the path loses packets", r.ControlLost, r.Control)
	case last.Reading == QueueScattered:
		return "the answers are no tail of the probes: no neighbour queue did that"
	}
	return "first contacts from fresh addresses disagree, though nothing was lost once the address was known"
}
