package profile

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// trial is one answer whose first segment was never acknowledged, and some behind it were.
type trial struct {
	acks int // how many segments behind the hole were acknowledged
	// wait is from the first acknowledgment to the repeat of the first segment, the way there and back taken off; 0: none came in time.
	wait     time.Duration
	repeated bool
	// trip is what the sender took for the round trip.
	trip time.Duration
	// flows is how many connections it is the best of.
	flows int
}

// How a trial's repeat is read. It came at once where it took less than a tenth of the round trip that the sender knows, by time where a fifth to seven tenths of
// it: RACK waits a quarter of the least round trip (RFC 8985 §6.2 step 4; net/ipv4/tcp_recovery.c tcp_rack_reo_wnd, 4.18 to 6.18), and its timer
// two ticks more. A tail loss probe comes no earlier than a whole round trip later. Between a tenth and a fifth it is neither.
func (t *trial) atOnce() bool { return t.repeated && t.wait < t.trip/10 }
func (t *trial) byTime() bool { return t.repeated && t.wait >= t.trip/5 && t.wait <= t.trip*7/10 }
func (t *trial) never() bool  { return !t.repeated || t.wait > t.trip*7/10 }

// readTrial reads one connection; why says what made it of no use. trip is the way there and back at its fastest: this flow's own handshake may have been held
// up, and what is taken off for it in vain would make a repeat soon that was late.
func readTrial(a *observe.Attempt, trip time.Duration) (t trial, why string) {
	ans := synACK(a)
	if ans == nil {
		return t, "no SYN-ACK came"
	}
	if !ans.Options.SACKPermitted() {
		return t, "the SYN-ACK does not permit SACK, and a plain duplicate cannot be told from a window update"
	}
	base := ans.Seq + 1
	i := slices.IndexFunc(a.Answers, func(x observe.Answer) bool { return x.Kind == observe.Data || x.Kind == observe.FIN && x.Length > 0 })
	if i < 0 {
		return t, "the request drew no data"
	}
	first := &a.Answers[i]
	if first.Seq != base {
		return t, "the first segment of the answer was lost"
	}
	acked := t.acknowledged(a, first)
	if t.acks == 0 {
		return t, "the answer is short: ask for something longer"
	}
	t.trip = acked.Sub(first.At) + trip
	for k := range a.Answers {
		x := &a.Answers[k]
		if x.Length == 0 || x.Seq != base || !x.At.After(first.At) {
			continue
		}
		if !x.At.After(acked) {
			return t, "the first segment was repeated before anything was acknowledged"
		}
		if x.Length > smallMSS {
			return t, otherSegments // what was acknowledged were parts of them
		}
		t.wait, t.repeated = max(x.At.Sub(acked)-trip, 0), true
		break
	}
	return t, ""
}

// acknowledged counts the acknowledgments with a hole in front, and says when the first left.
func (t *trial) acknowledged(a *observe.Attempt, first *observe.Answer) (at time.Time) {
	for k := range a.Sent {
		s := &a.Sent[k]
		if s.Flags == wire.ACK && s.Length == 0 && s.Ack == first.Seq && s.At.After(first.At) {
			if t.acks++; t.acks == 1 {
				at = s.At
			}
		}
	}
	return at
}

// otherSegments is why nothing is read from a host that took the MSS that was offered for too small.
const otherSegments = "the host's segments are larger than the MSS that was offered"

// trials are those that are of use, one for each number of segments acknowledged: of several the one whose repeat came soonest, as losses and busy
// machines make it late and never early. why is of one that is of no use.
func (r *reader) trials() (list []trial, why string) {
	why = NotAsked
	for a := range r.arm(armData) {
		if f, ok := readFlight(a); ok && f.segment > smallMSS {
			return nil, otherSegments
		}
	}
	trip := r.fastest()
	for a := range r.arm(armHoled, armHoled2) {
		t, not := readTrial(a, trip)
		if not == otherSegments {
			return nil, not
		}
		if not != "" {
			why = not
			continue
		}
		t.flows = 1
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b trial) int {
		return cmp.Or(cmp.Compare(a.acks, b.acks), cmp.Compare(b.rank(), a.rank()), cmp.Compare(a.wait, b.wait))
	})
	best := list[:0]
	for _, t := range list {
		if n := len(best); n > 0 && best[n-1].acks == t.acks {
			best[n-1].flows++
			continue
		}
		best = append(best, t)
	}
	return best, why
}

// rank puts a trial that was repeated before one that was not.
func (t *trial) rank() int {
	if t.repeated {
		return 1
	}
	return 0
}

// confirms are the numbers of segments to be asked again: the most that did not draw the repeat at once, and one less.
func confirms(seen []observe.Observation) (acks []int) {
	r := reader{seen: seen}
	list, _ := r.trials()
	below, _ := threshold(list)
	if len(list) < 3 || below == 0 || r.has(armHoled2) {
		return nil
	}
	for i := max(below-2, 0); i < below; i++ {
		acks = append(acks, list[i].acks)
	}
	return acks
}

// threshold is how many trials, from the least, were not repeated at once. They are steady where all that acknowledged more were, and the others
// waited alike or for good: a loss, or a machine that is short of processor time, makes a repeat late and never early.
func threshold(list []trial) (below int, steady bool) {
	for below < len(list) && !list[below].atOnce() {
		below++
	}
	steady = true
	var soonest, latest time.Duration
	for i := range list {
		t := &list[i]
		switch {
		case i >= below:
			steady = steady && t.atOnce()
		case !t.byTime() && !t.never():
			steady = false
		case t.byTime():
			latest = max(latest, t.wait)
			if soonest == 0 || t.wait < soonest {
				soonest = t.wait
			}
		}
	}
	return below, steady && (len(list) == 0 || latest-soonest <= list[0].trip/10)
}

const unsteady = "flows disagree about when the repeat comes: the path loses packets, or one of both machines is busy"

// reordering is after how many segments behind a hole the one in it is repeated at once.
func (r *reader) reordering(v *Value) {
	list, why := r.trials()
	if v.Seen = len(list); v.Seen < 3 {
		v.fail(why)
		return
	}
	below, steady := threshold(list)
	switch {
	case below == len(list) && (!steady || list[below-1].flows < recoveryAgain):
		v.fail(unsteady)
		return
	case below == len(list):
		most := list[below-1].acks + 1
		v.number(float64(most), fmt.Sprintf("≥ %d", most))
		v.State, v.High, v.Why = AtLeast, 0, "no more of the answer was there to acknowledge, or time alone counts"
		return
	}
	n, least := list[below].acks, 1
	if below > 0 && steady && list[below-1].flows >= recoveryAgain {
		least = list[below-1].acks + 1
	}
	v.number(float64(n), fmt.Sprint(n))
	if least < n {
		v.State, v.Text, v.Low = Between, fmt.Sprintf("%d to %d", least, n), float64(least)
	}
}

// lossByTime is whether what is behind a hole is waited for no longer than a part of the round trip, be it ever so little.
func (r *reader) lossByTime(v *Value) {
	list, why := r.trials()
	if v.Seen = len(list); v.Seen < 3 {
		v.fail(why)
		return
	}
	below, steady := threshold(list)
	if !steady {
		v.fail(unsteady)
		return
	}
	few := list[:below]
	v.Seen = len(few)
	switch timed := slices.IndexFunc(few, func(t trial) bool { return t.byTime() }); {
	case len(few) == 0:
		v.fail("one segment behind the hole is enough for the repeat")
	case !slices.ContainsFunc(few, func(t trial) bool { return !t.byTime() }):
		v.text("on")
		v.How += fmt.Sprintf(" (after %s of a round trip of %s)", few[0].wait.Round(time.Millisecond), few[0].trip.Round(time.Millisecond))
	case timed < 0:
		v.text("off")
	default:
		v.fail(unsteady)
	}
}
