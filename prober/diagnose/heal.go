package diagnose

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// HealSteps is how many bursts a wait for healing takes.
const HealSteps = 3

// HealAges are when, counted from the last segment of a prime, the refused TSval is asked again: in the middle of a server's memory, just
// before its end, and after it. A server counts whole seconds of its own clock, so that 60 s are 59 to 60 (TCP_PAWS_MSL,
// include/net/tcp.h, 3.10; seen: silent at 59 s, answered at 60 s).
func HealAges() [HealSteps]time.Duration {
	return [HealSteps]time.Duration{30 * time.Second, 57500 * time.Millisecond, 62500 * time.Millisecond}
}

// healed is what one burst of a heal test met, age after the prime.
type healed struct {
	age    time.Duration
	oldest silences // T0−2
	anew   silences // T0, the control: it is not refused at any age
}

// readHeal lists the heal bursts of the newest prime in order of time.
func readHeal(in *Input) []healed {
	p, ok := Primed(in.Observations)
	if !ok {
		return nil
	}
	var out []healed
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindHeal || !trusted(o) {
			continue
		}
		var h healed
		for j := range o.Attempts {
			a := &o.Attempts[j]
			if len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() {
				continue
			}
			x := wasAnswered
			if a.Outcome == observe.TimedOut && len(a.Answers) == 0 {
				x = wasSilent
			} else if a.Outcome != observe.Accepted && a.Outcome != observe.Refused {
				continue
			}
			switch a.SYNs[0].TSval {
			case p.T0.Add(FlipOffsets()[0]):
				h.oldest.count(x)
				h.age = a.SYNs[0].At.Sub(p.At)
			case p.T0:
				h.anew.count(x)
			}
		}
		if h.oldest.n > 0 {
			out = append(out, h)
		}
	}
	return out
}

// NextHeal returns how long after the prime the refused TSval is to be asked next; false where that is done. age is the prime's now.
func NextHeal(in Input, age time.Duration) (time.Duration, bool) {
	f, ok := readFlip(in.Observations)
	if !ok || f.state() != flipHolds {
		return 0, false
	}
	ages := HealAges()
	for _, h := range readHeal(&in) {
		if h.age >= ages[len(ages)-1]-time.Second {
			return 0, false
		}
	}
	for _, at := range ages {
		if age < at {
			return at, true
		}
	}
	return age, true
}

// healing tells in sentences what the heal test showed.
func healing(in *Input) []string {
	list := readHeal(in)
	var out []string
	for _, h := range list {
		out = append(out, fmt.Sprintf("%.1f s after the prime: T0−2 %d of %d silent, T0 %d of %d", h.age.Seconds(), h.oldest.silent, h.oldest.n, h.anew.silent, h.anew.n))
	}
	if len(list) == 0 {
		return nil
	}
	return append(out, healedHow(list))
}

// healedHow is the conclusion of a heal test.
func healedHow(list []healed) string {
	var before, after silences
	moved := false
	for _, h := range list {
		s := &before
		if h.age > memory+time.Second {
			s = &after
		} else if h.age > memory {
			continue
		}
		s.silent, s.n = s.silent+h.oldest.silent, s.n+h.oldest.n
		moved = moved || h.anew.n >= 4 && h.anew.silent == h.anew.n
	}
	switch {
	case moved:
		return "meanwhile T0 itself was refused: another connection from this address was closed by the server, with a newer TSval; so healing could not be seen"
	case after.n == 0:
		return "the wait ended before the minute was over: healing was not seen"
	case before.silent < before.n:
		return "it was answered again before a minute had passed: the server forgot early, or something cleared its memory"
	case after.silent == after.n:
		return "it did not heal within the minute: something renews what the server remembers, or it remembers for longer"
	}
	return "it healed as per-host PAWS does: silent for as long as the server remembers, answered after 60 s without other traffic"
}
