package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// mostExchanges is how many questions for link addresses a report lists.
const mostExchanges = 8

// slowExchange is from where on an answer to such a question is worth a line without -v.
const slowExchange = 100 * time.Millisecond

// exchanges lists who asked for whose link address during the round: all with -v, else only what was slow, repeated, unanswered, or
// answered by two.
func (p *printer) exchanges(r *prober.Round) {
	n := 0
	for i := range r.Observations {
		o := &r.Observations[i]
		for _, x := range observe.Exchanges(o.Neighbor) {
			if !p.verbose && unremarkable(&x) || !o.Awaits(&x) && x.Asked != o.Unused {
				continue
			}
			if n++; n > mostExchanges {
				continue
			}
			head := pad("", 17)
			if n == 1 {
				p.f("\n")
				head = pad("  link address", 17)
			}
			p.f("%s\n", p.paragraph(head, labelOf(o, i)+" "+exchangeText(o, &x), 17))
		}
	}
	if n > mostExchanges {
		p.f("%s%d more\n", pad("", 17), n-mostExchanges)
	}
	if p.verbose {
		p.entries(r)
	}
}

func unremarkable(x *observe.Exchange) bool {
	took, ok := x.Took()
	return ok && took < slowExchange && x.Requests == 1 && len(answerers(x)) == 1
}

// answerers are the different MACs that answered.
func answerers(x *observe.Exchange) []string {
	var out []string
	seen := map[string]bool{}
	for _, c := range x.Claims {
		if !seen[c.MAC] {
			seen[c.MAC] = true
			out = append(out, c.MAC)
		}
	}
	return out
}

func exchangeText(o *observe.Observation, x *observe.Exchange) string {
	who := "this host"
	if !x.Outgoing {
		who = "somebody"
		if x.Asker.IsValid() {
			who = x.Asker.String()
		}
	}
	text := fmt.Sprintf("%+.1f ms: %s asked for %s", float64(x.First.Sub(o.Started))/1e6, who, x.Asked)
	if x.Requests > 1 {
		text += fmt.Sprintf(" %d times", x.Requests)
	}
	took, ok := x.Took()
	if !ok {
		return text + ", no answer"
	}
	if macs := answerers(x); len(macs) > 0 {
		text += ", " + strings.Join(macs, " and ") + " answered"
	}
	return text + " after " + short(took)
}

// entries shows how the kernel's own entries went.
func (p *printer) entries(r *prober.Round) {
	last := map[string]observe.EntryState{}
	head := "  kernel entry   "
	for i := range r.Observations {
		o := &r.Observations[i]
		for k := range o.Entries {
			e := &o.Entries[k]
			if last[e.Addr.String()] == e.State {
				continue
			}
			last[e.Addr.String()] = e.State
			p.f("%s\n", p.paragraph(head, strings.TrimSpace(fmt.Sprintf("%s %+.1f ms: %s is %s %s", labelOf(o, i), float64(e.At.Sub(o.Started))/1e6, e.Addr, e.State, e.MAC)), 17))
			head = pad("", 17)
		}
	}
}

// neighbor is what a neighbor module adds: how long answers took, and which side was met unknown.
func (p *printer) neighbor(r *prober.Round) {
	const indent = 17
	p.f("\n")
	if t := r.NeighborTimes(); len(t.Answers)+t.Unanswered > 0 {
		text := fmt.Sprintf("%d questions", len(t.Answers)+t.Unanswered)
		if n := len(t.Answers); n > 0 {
			text += fmt.Sprintf(", answered after %s / %s / %s (least / median / most)", short(t.Answers[0]), short(t.Answers[(n-1)/2]), short(t.Answers[n-1]))
		}
		if t.Repeated > 0 {
			text += fmt.Sprintf(", %d asked again", t.Repeated)
		}
		if t.Unanswered > 0 {
			text += fmt.Sprintf(", %d without answer", t.Unanswered)
		}
		p.f("%s\n", p.paragraph("  ARP or ND      ", text, indent))
	}
	c := &r.Diagnosis.FirstContact
	p.f("%s\n", p.paragraph("  queue here     ", contactText(&c.Local), indent))
	p.f("%s\n", p.paragraph("  queue there    ", contactText(&c.Remote), indent))
	for i := range r.Diagnosis.Notes {
		if n := &r.Diagnosis.Notes[i]; n.Verdict == diagnose.DuplicateAddress || n.Verdict == diagnose.NeighborFlapping || n.Verdict == diagnose.SlowPathNotStall {
			p.f("%s\n", p.paragraph("  note           ", n.Summary, indent))
		}
	}
}

func contactText(c *diagnose.Contact) string {
	if c.Tested {
		return c.Why
	}
	return "not tested: " + cmp.Or(c.Why, "nothing is resolved on the way there")
}
