package experiment

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// QueueReading is what one first contact showed.
type QueueReading string

// The readings. Tail: the answers to exactly the last probes came. Whole: all of them. Ragged: the last ones, with gaps. Scattered: none
// of these. The others say why nothing can be concluded.
const (
	QueueTail        QueueReading = "tail"
	QueueWhole       QueueReading = "whole"
	QueueRagged      QueueReading = "ragged"
	QueueScattered   QueueReading = "scattered"
	QueueLimited     QueueReading = "limited"      // the last probes of all had no answer
	QueueNeverAsked  QueueReading = "never_asked"  // nobody asked for the borrowed address, and nothing came
	QueueKnown       QueueReading = "known"        // answers came without a question: somebody had told the far side
	QueueNotTold     QueueReading = "not_told"     // the question came, and no answer of ours left
	QueueDeaf        QueueReading = "deaf"         // our answer left, and nothing came of it
	QueueTooEarly    QueueReading = "too_early"    // our answer left before the last probe
	QueueUnseen      QueueReading = "unseen"       // the capture lost frames, or there was none
	QueueNothingSent QueueReading = "nothing_sent" // no probe left this host
	QueueOtherAnswer QueueReading = "other_answer" // what came back is not what was to be counted
	QueueUnreachable QueueReading = "unreachable"  // ICMP errors came in place of answers
	QueueTooLate     QueueReading = "too_late"     // the far side may have given up, or asked anew, before it was told
	queueNone        QueueReading = ""             // not read
)

// QueueContact is one burst from an address that the far side did not know.
type QueueContact struct {
	Addr     netip.Addr
	Reading  QueueReading
	Sent     int // probes that left
	Answered int
	// First is the place of the first answered probe among those that left.
	First int
	// Asked is when the far side's question came, counted from the first probe; Told how long its answer took from then.
	Asked, Told time.Duration
	Questions   int
}

// resolved reports whether the far side was told in time, so that the answers which came are those that it had kept.
func (c *QueueContact) resolved() bool {
	switch c.Reading {
	case QueueTail, QueueWhole, QueueRagged, QueueScattered, QueueLimited:
		return true
	case QueueNeverAsked, QueueKnown, QueueNotTold, QueueDeaf, QueueTooEarly, QueueUnseen, QueueNothingSent, QueueOtherAnswer, QueueUnreachable,
		QueueTooLate, queueNone:
	}
	return false
}

// span is how many probes there are from the first answered one to the last sent.
func (c *QueueContact) span() int { return c.Sent - c.First }

// arrival is one probe that left and what came of it.
type arrival struct {
	sent     time.Time
	answered time.Time // zero: nothing came
}

// readContact judges the burst of a first contact.
func readContact(o *observe.Observation, from netip.Addr, m Method) QueueContact {
	c := QueueContact{Addr: from}
	list, reading := arrivals(o, m)
	c.Sent = len(list)
	for i := range list {
		if !list[i].answered.IsZero() {
			if c.Answered == 0 {
				c.First = i
			}
			c.Answered++
		}
	}
	asked, told := c.questions(o)
	switch {
	case !o.Captured || o.CaptureDrops > 0 || o.ClockStep != 0:
		c.Reading = QueueUnseen
	case reading != queueNone:
		c.Reading = reading
	case asked.IsZero() && c.Answered > 0:
		c.Reading = QueueKnown
	case asked.IsZero():
		c.Reading = QueueNeverAsked
	case told.IsZero():
		c.Reading = QueueNotTold
	default:
		c.Asked, c.Told = asked.Sub(list[0].sent), told.Sub(asked)
		c.Reading = c.judge(list, told, m)
	}
	return c
}

// questions finds when the far side first asked for the borrowed address, and when it was first told.
func (c *QueueContact) questions(o *observe.Observation) (asked, told time.Time) {
	for i := range o.Neighbor {
		e := &o.Neighbor[i]
		switch {
		case e.Kind == observe.NeighborRequest && !e.Outgoing && e.Target == c.Addr && e.Sender.IsValid():
			c.Questions++
			if asked.IsZero() {
				asked = e.At
			}
		case e.Kind == observe.NeighborReply && e.Outgoing && e.Sender == c.Addr && told.IsZero():
			told = e.At
		}
	}
	return asked, told
}

// arrivals lists what left, in its order, and the answers to it; a reading says why they cannot be counted.
func arrivals(o *observe.Observation, m Method) ([]arrival, QueueReading) {
	var list []arrival
	other, unreachable := 0, 0
	for i := range o.Attempts {
		a := &o.Attempts[i]
		if len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() {
			continue // it never left: no answer to it ever took a place in the queue
		}
		x := arrival{sent: a.SYNs[0].At}
		switch a.Outcome {
		case m.counts():
			if at := answerTime(a); m != OpenPort || at.Sub(x.sent) < repeatsAfter {
				x.answered = at
			}
		case observe.Unreachable:
			unreachable++
		case observe.TimedOut, observe.OutcomeUnknown:
		case observe.Accepted, observe.Refused, observe.Reset, observe.NotSent, observe.LocalDrop:
			other++
		}
		list = append(list, x)
	}
	slices.SortStableFunc(list, func(a, b arrival) int { return a.sent.Compare(b.sent) })
	switch {
	case len(list) == 0:
		return nil, QueueNothingSent
	case unreachable > 0:
		return list, QueueUnreachable
	case other > 0:
		return list, QueueOtherAnswer
	}
	return list, queueNone
}

// answerTime is when the first answer of an attempt came.
func answerTime(a *observe.Attempt) time.Time {
	for k := range a.Answers {
		switch a.Answers[k].Kind {
		case observe.RST, observe.SYNACK:
			return a.Answers[k].At
		case observe.AnswerUnknown, observe.SYNACKStray, observe.BareACK, observe.Data, observe.FIN, observe.ICMP:
		}
	}
	return a.SYNs[0].At
}

// When the far side has been told too late: a listener repeats its SYN-ACK after 1 s (RFC 6298 §2.1), which fills the queue anew; and after
// three questions 1 s apart Linux gives up and drops what waits (net/ipv4/arp.c arp_tbl, net/ipv6/ndisc.c nd_tbl, 6.18).
const (
	repeatsAfter = 950 * time.Millisecond
	givesUpAfter = 2900 * time.Millisecond
)

func (c *QueueContact) judge(list []arrival, told time.Time, m Method) QueueReading {
	n := len(list)
	patience := givesUpAfter
	if m == OpenPort {
		patience = repeatsAfter
	}
	switch {
	case !told.After(list[n-1].sent):
		return QueueTooEarly
	case told.Sub(list[0].sent) >= patience:
		return QueueTooLate
	}
	last := -1
	for i := range list {
		if at := list[i].answered; !at.IsZero() {
			if at.Before(told) {
				return QueueKnown
			}
			last = i
		}
	}
	switch span := c.span(); {
	case c.Answered == 0:
		return QueueDeaf
	case c.Answered == n:
		return QueueWhole
	case c.Answered == span:
		return QueueTail
	case last < n-1-c.Answered/8-2:
		return QueueLimited
	case span-c.Answered <= max(3, c.Answered/4):
		return QueueRagged
	}
	return QueueScattered
}

// control counts the probes of a known burst and those without an answer.
func control(o *observe.Observation, m Method) (sent, lost int, ok bool) {
	list, reading := arrivals(o, m)
	if !o.Captured || o.CaptureDrops > 0 || reading != queueNone {
		return 0, 0, false
	}
	for i := range list {
		if list[i].answered.IsZero() {
			lost++
		}
	}
	return len(list), lost, true
}

// Method is how a probe draws its answer.
type Method string

// The methods, best first. ClosedPort: a SYN to a port that refuses, and its RST. BareACK: an ACK of no connection, and its RST (RFC 9293
// §3.10.7.1, §3.10.7.2), where no port refuses. OpenPort: a SYN to an open port, its SYN-ACK, and our RST to that.
const (
	ClosedPort Method = "syn_to_closed_port"
	BareACK    Method = "bare_ack"
	OpenPort   Method = "syn_to_open_port"
)

// counts is the outcome of a probe that was answered.
func (m Method) counts() observe.Outcome {
	if m == OpenPort {
		return observe.Accepted
	}
	return observe.Refused
}

// choose finds the method and port in what the search for a port showed; "" where nothing answers.
func choose(o *observe.Observation) (Method, uint16) {
	refused, accepted := map[uint16]int{}, map[uint16]int{}
	strays := 0
	var open, dst uint16
	for i := range o.Attempts {
		a := &o.Attempts[i]
		p := a.Flow.Dst.Port()
		switch {
		case a.Arm == armACK && a.Outcome == observe.Refused:
			strays++
			dst = p
		case a.Arm == armACK:
		case a.Outcome == observe.Refused:
			if refused[p]++; refused[p] == portTries {
				return ClosedPort, p
			}
		case a.Outcome == observe.Accepted:
			if accepted[p]++; open == 0 {
				open = p
			}
		}
	}
	switch {
	case strays == portTries:
		return BareACK, dst
	case open != 0:
		return OpenPort, open
	}
	return "", 0
}
