package diagnose

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// nothingAnswered says in a sentence what a round showed in which no SYN to the target had any answer; ok is false where one had, or nothing was sent.
func nothingAnswered(in *Input) (text string, ok bool) {
	flows, syns := 0, 0
	var first, last time.Time
	for a := range attempts(in) {
		if a.Outcome == observe.NotSent || a.Outcome == observe.OutcomeUnknown {
			continue
		}
		if a.Outcome != observe.TimedOut || len(a.Answers) > 0 {
			return "", false
		}
		flows++
		syns += max(len(a.SYNs), a.Retransmissions+1)
		for k := range a.SYNs {
			if at := a.SYNs[k].At; !at.IsZero() {
				if first.IsZero() || at.Before(first) {
					first = at
				}
				last = later(last, at)
			}
		}
	}
	if flows == 0 {
		return "", false
	}
	over := ""
	if d := last.Sub(first); d > 0 {
		over = fmt.Sprintf(" over %.1f s", d.Seconds())
	}
	return fmt.Sprintf("nothing answered: %d SYNs on %d flows%s drew no segment and no ICMP error%s", syns, flows, over, askedElsewhere(in)), true
}

// askedElsewhere says what else of a silent target's address was asked, and what that met.
func askedElsewhere(in *Input) string {
	text := ""
	if t := sum(fates(in, plan.KindOther)); t.flows > 0 {
		text = fmt.Sprintf("; on another port %d of %d flows were answered", t.flows-t.dead, t.flows)
	}
	p := readPings(in)
	switch {
	case p.sent > 0:
		text += fmt.Sprintf("; ICMP echo: %d of %d answered", p.answered, p.sent)
	case p.refused != "":
		text += "; ICMP echo could not be asked: " + p.refused
	}
	return text
}
