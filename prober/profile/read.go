package profile

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// NotAsked is why a value is not measured whose measurement is opt-in (Trait.OptIn).
const NotAsked = "not asked for"

// Read makes the values of a survey's observations, one for each trait, in the order of Traits. Those that other measurements make (per-host
// PAWS, the neighbour queue, the backlog) are not measured here: see Set.
func Read(seen []observe.Observation) []Value {
	r := reader{seen: seen}
	read := map[Name]func(*Value){
		SYNACKRTO: r.synACKRTO, SYNACKRepeats: r.synACKRepeats, Options: r.options, MSS: r.mss, WindowScale: r.windowScale, Window: r.window, SACK: r.sack,
		Timestamps: r.timestamps, TimestampHz: r.timestampHz, TimestampStart: r.timestampStart, ECN: r.ecn, InitialTTL: r.initialTTL, Hops: r.hops,
		SYNCookies: r.synCookies, DeferAccept: r.deferAccept, ClosedPort: r.closedPort, InitialWindow: r.initialWindow, DataRTO: r.dataRTO, Reordering: r.reordering, LossByTime: r.lossByTime,
		HandshakeTime: r.handshake, AbortOnOverflow: r.abortOnOverflow,
	}
	gaps := r.gaps()
	var out []Value
	for _, t := range Traits() {
		v := Value{Name: t.Name, Unit: t.Unit, How: t.Method}
		switch f := read[t.Name]; {
		case f == nil: // another measurement's
			v.fail(NotAsked)
		case gaps != "":
			v.fail(gaps)
		default:
			f(&v)
		}
		out = append(out, v)
	}
	return out
}

func (v *Value) fail(why string) { v.State, v.Text, v.Why = NotMeasured, "", why }

func (v *Value) number(x float64, text string) {
	v.State, v.Text, v.Number, v.Low, v.High, v.HasNumber = Measured, text, x, x, x, true
}

func (v *Value) text(s string) { v.State, v.Text = Measured, s }

type reader struct{ seen []observe.Observation }

// gaps says why nothing can be read from what was not seen; empty: it can.
func (r *reader) gaps() string {
	for i := range r.seen {
		o := &r.seen[i]
		switch {
		case !o.Captured:
			return "nothing was captured: it needs CAP_NET_RAW"
		case !o.Whole():
			return fmt.Sprintf("the capture lost %d frames", o.CaptureDrops)
		case o.ClockStep != 0:
			return fmt.Sprintf("the wall clock was set by %s meanwhile", o.ClockStep)
		}
	}
	return ""
}

// arm yields the attempts of the arms of these names.
func (r *reader) arm(names ...string) iter.Seq[*observe.Attempt] {
	return func(yield func(*observe.Attempt) bool) {
		for i := range r.seen {
			for j := range r.seen[i].Attempts {
				if a := &r.seen[i].Attempts[j]; slices.Contains(names, a.Arm) && !yield(a) {
					return
				}
			}
		}
	}
}

// synACK is the attempt's first SYN-ACK to ISS+1, or nil.
func synACK(a *observe.Attempt) *observe.Answer {
	for k := range a.Answers {
		if a.Answers[k].Kind == observe.SYNACK {
			return &a.Answers[k]
		}
	}
	return nil
}

// answers yields the first SYN-ACK of every attempt of the arms.
func (r *reader) answers(names ...string) iter.Seq2[*observe.Attempt, *observe.Answer] {
	return func(yield func(*observe.Attempt, *observe.Answer) bool) {
		for a := range r.arm(names...) {
			if ans := synACK(a); ans != nil && !yield(a, ans) {
				return
			}
		}
	}
}

// tally counts what flows showed.
type tally struct {
	n     int
	count map[string]int
}

func (t *tally) add(s string) {
	if t.count == nil {
		t.count = map[string]int{}
	}
	t.n++
	t.count[s]++
}

// settle fills in a value: the one that all showed, or the list of them. It reports whether there is one.
func (t *tally) settle(v *Value) bool {
	v.Seen = t.n
	switch len(t.count) {
	case 0:
		v.fail("no SYN-ACK came")
		return false
	case 1:
		for s := range t.count {
			v.text(s)
		}
		return true
	}
	type entry struct {
		text string
		n    int
	}
	var list []entry
	for s, n := range t.count {
		list = append(list, entry{s, n})
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Or(b.n-a.n, strings.Compare(a.text, b.text)) })
	var parts []string
	for _, e := range list {
		parts = append(parts, fmt.Sprintf("%s ×%d", cmp.Or(e.text, "none"), e.n))
	}
	v.State, v.Text = Varies, strings.Join(parts, ", ")
	return false
}

// collect tallies one property of the first SYN-ACKs of the arms as text and number.
func (r *reader) collect(v *Value, number func(*observe.Answer) (float64, bool), missing string, arms ...string) {
	var t tally
	numbers := map[string]float64{}
	for _, ans := range r.answers(arms...) {
		x, ok := number(ans)
		text := missing
		if ok {
			text = fmt.Sprintf("%g", x)
			numbers[text] = x
		}
		t.add(text)
	}
	if t.settle(v) && v.Text != missing {
		v.number(numbers[v.Text], v.Text)
	}
}

func (r *reader) mss(v *Value) {
	r.collect(v, func(a *observe.Answer) (float64, bool) { n, ok := a.Options.MSS(); return float64(n), ok }, "none", armFull, armAlone)
}

func (r *reader) windowScale(v *Value) {
	r.collect(v, func(a *observe.Answer) (float64, bool) { n, ok := a.Options.WindowScale(); return float64(n), ok }, "off", armFull, armAlone)
}

func (r *reader) window(v *Value) {
	r.collect(v, func(a *observe.Answer) (float64, bool) { return float64(a.Window), true }, "", armFull, armAlone)
}

func (r *reader) initialTTL(v *Value) {
	r.collect(v, func(a *observe.Answer) (float64, bool) { return float64(startTTL(a.HopLimit)), a.HopLimit > 0 }, "unknown", armFull, armPlain, armAlone)
}

func (r *reader) hops(v *Value) {
	r.collect(v, func(a *observe.Answer) (float64, bool) {
		return float64(startTTL(a.HopLimit) - int(a.HopLimit)), a.HopLimit > 0
	}, "unknown", armFull, armPlain, armAlone)
}

// startTTL is the value that a stack likely began with.
func startTTL(ttl uint8) int {
	for _, start := range []int{64, 128} {
		if int(ttl) <= start {
			return start
		}
	}
	return 255
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func (r *reader) sack(v *Value) {
	var t tally
	for _, ans := range r.answers(armFull, armAlone) {
		t.add(onOff(ans.Options.SACKPermitted()))
	}
	t.settle(v)
}

func (r *reader) timestamps(v *Value) {
	var t tally
	for _, ans := range r.answers(armFull, armAlone) {
		t.add(onOff(ans.HasTS))
	}
	t.settle(v)
}

// options are the kinds in their order, padding left out.
func (r *reader) options(v *Value) {
	var t tally
	for _, ans := range r.answers(armFull, armAlone) {
		var kinds []string
		for o := range ans.Options.All() {
			if o.Kind != wire.OptNOP && o.Kind != wire.OptEnd {
				kinds = append(kinds, kindOf(o.Kind))
			}
		}
		t.add(strings.Join(kinds, " "))
	}
	t.settle(v)
}

// ecn: an ECN-setup SYN-ACK has ECE and not CWR; one that reflects both is no consent (RFC 3168 §6.1.1).
func (r *reader) ecn(v *Value) {
	var t tally
	asked := 0
	for a := range r.arm(armECN) {
		if len(a.SYNs) > 0 {
			asked++
		}
		ans := synACK(a)
		if ans == nil {
			continue
		}
		switch ans.Flags & (wire.ECE | wire.CWR) {
		case wire.ECE:
			t.add("on")
		case 0:
			t.add("off")
		default:
			t.add("reflects")
		}
	}
	if t.n == 0 && asked > 0 && r.plainAnswered() && !r.lossy() {
		v.text("dropped")
		v.Seen, v.How = asked, v.How+"; SYNs without it were answered"
		return
	}
	t.settle(v)
}

func (r *reader) plainAnswered() bool {
	n := 0
	for range r.answers(armFull) {
		n++
	}
	return n >= 4
}

func (r *reader) handshake(v *Value) {
	var all []time.Duration
	for a := range r.arm(armFull, armPlain) {
		if a.RTT > 0 {
			all = append(all, a.RTT)
		}
	}
	if len(all) == 0 {
		v.fail("no round trip is unambiguous")
		return
	}
	slices.Sort(all)
	m := all[len(all)/2]
	v.number(m.Seconds(), m.Round(time.Microsecond).String())
	v.Low, v.High, v.Seen = all[0].Seconds(), all[len(all)-1].Seconds(), len(all)
}

// closedPort is what SYNs to high ports drew.
func (r *reader) closedPort(v *Value) {
	var t tally
	for a := range r.arm(armClosed) {
		switch a.Outcome {
		case observe.Refused:
			t.add("rst")
		case observe.TimedOut:
			t.add("silent")
		case observe.Unreachable:
			t.add("unreachable: " + a.Reason)
		case observe.Accepted:
			t.add("accepted")
		case observe.OutcomeUnknown, observe.Reset, observe.NotSent, observe.LocalDrop:
		}
	}
	if !t.settle(v) && t.n == 0 {
		v.fail("no SYN was sent to one")
	}
}

// kindOf is an option's name as packet captures have it.
func kindOf(k wire.OptionKind) string {
	switch k {
	case wire.OptMSS:
		return "mss"
	case wire.OptWindowScale:
		return "wscale"
	case wire.OptSACKPermitted:
		return "sackOK"
	case wire.OptTimestamps:
		return "TS"
	default:
		return fmt.Sprintf("opt-%d", k)
	}
}
