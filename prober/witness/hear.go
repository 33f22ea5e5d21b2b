package witness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// Alpha bounds how often a counter that has nothing to do with our SYNs is taken for their witness, for one counter of one round. Four causes are
// asked about (see proofs), so one round in 250 at worst; and only where the outside had found the same silence.
const Alpha = 1e-3

// looks is how often counts may be tested before they are believed: as they are, and once more after a longer quiet (see Lacks). Each has its share of Alpha.
const looks = 2

// Hear holds a diagnosis against what the servers said of themselves while the observations were made: the causes that were named, or where none
// was named the silence itself. Without witnesses it changes nothing. behind are observations of the target's members that were made at the same
// time: their SYNs move the same counters.
func Hear(d *diagnose.Diagnosis, seen []observe.Observation, witnesses []observe.Witness, behind ...observe.Observation) {
	r := newHearing(seen, witnesses)
	r.alongside(behind)
	if len(witnesses) == 0 || len(r.vain) == 0 {
		return
	}
	for _, p := range proofs() {
		t := r.ask(&p)
		i := slices.IndexFunc(d.Causes, func(c diagnose.Cause) bool { return slices.Contains(p.verdicts, c.Verdict) })
		switch {
		case i >= 0:
			t.Verdict = d.Causes[i].Verdict
			weigh(d, i, &t)
		case holds(&t) && undecided(d):
			d.Causes = []diagnose.Cause{p.finding(&t, r)}
		case holds(&t) && !p.arrived && r.direct() != nil && contradicted(d):
			d.Notes = append([]diagnose.Finding{refuted(&d.Causes[0], "each of these SYNs arrived and was counted by the listener itself")}, d.Notes...)
			d.Causes = []diagnose.Cause{p.finding(&t, r)}
		case holds(&t):
			t.Effect = diagnose.EffectBeside
		case t.Effect != diagnose.EffectBackground:
			continue // nobody named it, and nothing speaks for it
		}
		d.Testimony = append(d.Testimony, t)
	}
	d.Joined()
}

// weigh upgrades or refutes a cause that was named from outside, or leaves it as it is.
func weigh(d *diagnose.Diagnosis, i int, t *diagnose.Testimony) {
	c := &d.Causes[i]
	switch {
	case holds(t):
		c.Evidence = append(counted(t), c.Evidence...)
		c.Level = diagnose.Proven
	case t.Effect == diagnose.EffectRefuted:
		d.Notes = append([]diagnose.Finding{refuted(c, t.Why)}, d.Notes...)
		d.Causes = slices.Delete(slices.Clone(d.Causes), i, i+1)
	}
}

// refuted is a cause that the server's counters speak against, as a note.
func refuted(c *diagnose.Cause, why string) diagnose.Finding {
	f := *c
	f.Level, f.Settle = diagnose.Inconclusive, "the same again while the server's counters are read; a capture on the server"
	f.Summary = fmt.Sprintf("%s is refuted by the server: %s. From outside it had looked so: %s", c.Verdict, why, c.Summary)
	return f
}

// contradicted reports whether the one cause that was named says that SYNs do not reach the listener, when it has counted them.
func contradicted(d *diagnose.Diagnosis) bool {
	never := []diagnose.Verdict{diagnose.ACLDrop, diagnose.ForwardSYNLoss, diagnose.ECMPPathLoss, diagnose.BlackholeBackend, diagnose.SYNRateLimited,
		diagnose.ReversePathFilter, diagnose.ConntrackTableFull, diagnose.SNATPortExhaustion}
	return len(d.Causes) == 1 && slices.Contains(never, d.Causes[0].Verdict)
}

// undecided reports whether the rules have named nothing but that something is wrong.
func undecided(d *diagnose.Diagnosis) bool {
	return !slices.ContainsFunc(d.Causes, func(c diagnose.Cause) bool {
		return c.Verdict != diagnose.SYNStallUnclassified && c.Verdict != diagnose.InsufficientSamples
	})
}

// holds reports whether a testimony stands: what was expected moved, by as much, and neither chance nor background explains it.
func holds(t *diagnose.Testimony) bool {
	return t.Effect == diagnose.EffectUpgraded || t.Effect == diagnose.EffectNamed
}

// sentence writes a testimony for people: the counts, the background, the listener, and what else moves the counter.
func (r *hearing) sentence(t *diagnose.Testimony) string {
	what := "SYNs without answer"
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %+d for the %d %s", r.whose(t), t.Counter, t.Seen, t.Expected, what)
	if t.Quiet > 0 {
		fmt.Fprintf(&b, "; without them it rose by %.2g a second (%d stretches, %s in all)", t.Background, t.Quiet, t.QuietTime.Round(100*time.Millisecond))
	}
	if t.P < 1 {
		fmt.Fprintf(&b, ", p = %.2g against α = %g", t.P, t.Alpha)
	}
	if t.State != "" {
		b.WriteString("; " + t.State)
	}
	return b.String()
}

// counted are the reasons that a testimony gives for a cause.
func counted(t *diagnose.Testimony) []string {
	return []string{t.Why, "what else moves " + t.Counter + ": " + t.Others}
}

// whose names the servers behind a testimony, those whose counters moved first.
func (r *hearing) whose(t *diagnose.Testimony) string {
	if len(t.Servers) == 1 {
		return t.Servers[0].Server + " itself counted"
	}
	list := slices.Clone(t.Servers)
	slices.SortStableFunc(list, func(a, b diagnose.ServerCount) int { return int(b.Seen - a.Seen) })
	parts := make([]string, 0, len(list))
	for _, s := range list {
		if s.Absent {
			parts = append(parts, s.Server+" does not say")
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %+d", s.Server, s.Seen))
	}
	return "the servers themselves (" + strings.Join(parts, ", ") + ") counted"
}
