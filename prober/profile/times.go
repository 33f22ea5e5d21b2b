package profile

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// rung is one listener's repeats on one flow.
type rung struct {
	first   time.Duration // between the first SYN-ACK and its repeat; 0: none
	repeats int
	watched time.Duration // how long it was listened to after the first SYN-ACK
}

// late is how much later than a round trip a first SYN-ACK is itself a repeat: the one before it was lost.
const late = 150 * time.Millisecond

// rungs reads the repeats of the flows that were left alone.
func (r *reader) rungs() []rung {
	var out []rung
	fastest := r.fastest()
	for a := range r.arm(armAlone) {
		var at []time.Time
		for k := range a.Answers {
			if a.Answers[k].Kind == observe.SYNACK {
				at = append(at, a.Answers[k].At)
			}
		}
		if len(at) == 0 || len(a.SYNs) == 0 {
			continue
		}
		if sent := a.SYNs[0].At; !sent.IsZero() && at[0].Sub(sent) > fastest+late {
			at = slices.Insert(at, 0, sent.Add(fastest)) // the first was lost on its way
		}
		g := rung{repeats: len(at) - 1, watched: r.until(a).Sub(at[0])}
		if len(at) > 1 {
			g.first = at[1].Sub(at[0])
		}
		out = append(out, g)
	}
	return out
}

// until is when listening to an attempt ended.
func (r *reader) until(a *observe.Attempt) time.Time {
	for i := range r.seen {
		o := &r.seen[i]
		if a.Index < len(o.Attempts) && &o.Attempts[a.Index] == a {
			return o.Finished
		}
	}
	return time.Time{}
}

// fastest is the least round trip of a handshake; 0: none is known.
func (r *reader) fastest() time.Duration {
	var fastest time.Duration
	for a := range r.arm(armFull, armPlain, armAlone, armHoled, armHoled2) {
		if a.RTT > 0 && (fastest == 0 || a.RTT < fastest) {
			fastest = a.RTT
		}
	}
	return fastest
}

// A kernel's timer is late, never early: by up to an eighth (kernel/time/timer.c since 4.8), in the old walk through all requests by half a
// second. A lost repeat makes the next wait three times as long.
const timerSlack = 0.13

func (r *reader) synACKRTO(v *Value) {
	var shortest, longest time.Duration
	n := 0
	for _, g := range r.rungs() {
		if g.first == 0 {
			continue
		}
		n++
		if shortest == 0 || g.first < shortest {
			shortest = g.first
		}
		longest = max(longest, g.first)
	}
	v.Seen = n
	if n == 0 {
		v.fail("no SYN-ACK was repeated while we listened")
		return
	}
	ratio := longest.Seconds() / shortest.Seconds()
	if lost := math.Abs(ratio-3) < 3*timerSlack; ratio > 1+timerSlack && !lost && longest-shortest > 600*time.Millisecond {
		v.State, v.Text = Varies, fmt.Sprintf("%s, %s", roundTimer(shortest), roundTimer(longest))
		return
	}
	at := roundTimer(shortest)
	v.number(at.Seconds(), at.String())
	v.Low, v.High = shortest.Seconds(), longest.Seconds()
}

// roundTimer takes off what a timer is late by: to 0.1 s from 0.5 s on, to 10 ms below.
func roundTimer(d time.Duration) time.Duration {
	step := 100 * time.Millisecond
	if d < 500*time.Millisecond {
		step = 10 * time.Millisecond
	}
	return (d + step/20).Truncate(step)
}

func (r *reader) synACKRepeats(v *Value) {
	most, whole := -1, true
	n := 0
	for _, g := range r.rungs() {
		n++
		most = max(most, g.repeats)
		if g.first == 0 {
			whole = whole && g.watched > 4*time.Second
			continue
		}
		next := time.Duration(float64(g.first) * (math.Pow(2, float64(g.repeats+1)) - 1) * (1 + timerSlack))
		whole = whole && g.watched > next
	}
	v.Seen = n
	if n == 0 {
		v.fail("no SYN-ACK came")
		return
	}
	v.number(float64(most), fmt.Sprint(most))
	switch {
	case !whole:
		v.Why = "listening ended before another could come: --patience 70s sees all that Linux sends"
	case r.lossy():
		v.Why = "the path loses packets: more may have been sent"
	default:
		return
	}
	v.State, v.Text, v.High = AtLeast, fmt.Sprintf("≥ %d", most), 0
}

// lossy reports whether the survey lost packets: a SYN had to be repeated, or flows to one listener were repeated to differently often.
func (r *reader) lossy() bool {
	for a := range r.arm(armFull, armPlain, armBare, armIdle, armData) {
		if len(a.SYNs) > 1 {
			return true
		}
	}
	list := r.rungs()
	return slices.ContainsFunc(list, func(g rung) bool { return g.repeats != list[0].repeats })
}

// deferAccept: a SYN-ACK that is repeated after our ACK. A full accept queue does the same, but serves nobody meanwhile.
func (r *reader) deferAccept(v *Value) {
	var t tally
	for a := range r.arm(armIdle) {
		ans := synACK(a)
		if ans == nil || len(a.Sent) == 0 {
			continue
		}
		text := "no"
		for k := range a.Answers {
			if a.Answers[k].Kind == observe.SYNACK && a.Answers[k].At.Sub(a.Sent[0].At) > late {
				text = "yes"
			}
		}
		t.add(text)
	}
	if !t.settle(v) {
		v.fail("no connection was made")
		if t.n > 0 {
			v.fail("of two connections one had its SYN-ACK repeated after our ACK: an ACK lost on its way looks the same")
		}
		return
	}
	if v.State == Measured && v.Text == "yes" && !r.served() {
		v.fail("the SYN-ACK was repeated after our ACK: the listener waits for data, or its accept queue is full (diagnose tells them apart)")
	}
}

// served reports whether a request was answered meanwhile.
func (r *reader) served() bool {
	for a := range r.arm(armData) {
		for k := range a.Answers {
			if a.Answers[k].Kind == observe.Data {
				return true
			}
		}
	}
	return false
}

// rates are those of common stacks; a measured one within a fiftieth of them is theirs.
var rates = [...]float64{10, 100, 250, 300, 1000, 1e6}

// tickRate is the rate of the TSvals of a flow's SYN-ACK repeats, and over how long it was seen.
func tickRate(a *observe.Attempt) (hz float64, over time.Duration) {
	var first, last *observe.Answer
	for k := range a.Answers {
		if x := &a.Answers[k]; x.Kind == observe.SYNACK && x.HasTS {
			if first == nil {
				first = x
			}
			last = x
		}
	}
	if first == last {
		return 0, 0
	}
	over = last.At.Sub(first.At)
	return float64(last.TSval.Sub(first.TSval)) / over.Seconds(), over
}

func (r *reader) timestampHz(v *Value) {
	var best float64
	var longest time.Duration
	for a := range r.arm(armAlone) {
		if hz, over := tickRate(a); over > longest {
			best, longest = hz, over
			v.Seen++
		}
	}
	if longest < 500*time.Millisecond {
		v.fail("no SYN-ACK with a timestamp was repeated")
		return
	}
	slack := max(1/longest.Seconds()+best*0.002, best*0.02)
	v.number(best, fmt.Sprintf("%.0f", best))
	v.Low, v.High = best-slack, best+slack
	for _, hz := range rates {
		if math.Abs(hz-best) <= slack {
			v.Number, v.Text = hz, fmt.Sprintf("%.0f", hz)
		}
	}
}

// clocks counts the clocks of this rate on which the TSvals of n connections lie. Each was made between its SYN and its answer, however long that took.
func (r *reader) clocks(hz float64) (distinct, n int) {
	// clock is what one showed when the first answer came: from, or up to more ticks later.
	type clock struct {
		from wire.TSval
		more int32
	}
	const (
		slack = 20 // ticks by which the host and we may drift apart meanwhile
		// cookie is how many ticks a SYN cookie's TSval may lie behind the clock: its low six bits hold options (net/ipv4/syncookies.c
		// cookie_init_timestamp, 6.18). A small backlog is full soon.
		cookie = 64
	)
	var list []clock
	var origin time.Time
	for a, ans := range r.answers(armFull) {
		if !ans.HasTS {
			continue
		}
		if n++; n == 1 {
			origin = ans.At
		}
		took := a.RTT
		if took == 0 && len(a.SYNs) > 0 && !a.SYNs[0].At.IsZero() {
			took = ans.At.Sub(a.SYNs[0].At)
		}
		c := clock{ans.TSval.Add(-int64(math.Round(ans.At.Sub(origin).Seconds() * hz))), int32(math.Ceil(took.Seconds()*hz)) + cookie}
		if !slices.ContainsFunc(list, func(o clock) bool { d := c.from.Sub(o.from); return d > -slack-c.more && d < slack+o.more }) {
			list = append(list, c)
		}
	}
	return len(list), n
}

// timestampStart groups the connections' TSvals by the clock that they lie on.
func (r *reader) timestampStart(v *Value) {
	hz := 1000.0
	for a := range r.arm(armAlone) {
		if x, over := tickRate(a); over > 500*time.Millisecond {
			hz = x
		}
	}
	clocks, n := r.clocks(hz)
	v.Seen = n
	switch {
	case n < 3:
		v.fail("too few SYN-ACKs with timestamps")
	case clocks == 1:
		v.text("one clock")
	case clocks == n:
		v.text("one per connection")
	default:
		v.State, v.Text = Varies, fmt.Sprintf("%d clocks in %d connections", clocks, n)
	}
}
