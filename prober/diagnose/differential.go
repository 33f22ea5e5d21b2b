package diagnose

import (
	"cmp"
	"math"
	"slices"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// Suspect is a cause in the differential diagnosis: what an investigation still has to think of, or need not any more.
type Suspect struct {
	Verdict Verdict
	// Odds is its share among the causes weighed, 0 … 1. The likelihoods behind it are rough words (never, seldom, mostly); it orders
	// experiments and thoughts, and no verdict rests on it.
	Odds float64
	// Out: it is ruled out, Because of that.
	Out     bool
	Because string
}

// ruledOut is how much less likely than the likeliest a cause must be to be ruled out.
const ruledOut = 1.0 / 200

// Differential weighs the causes against what was observed, likeliest first. Observations that a named cause accounts for count no more:
// what is weighed is what is left to explain. It depends on the observations alone.
type Differential struct {
	Suspects []Suspect
	// Named are the causes that the rules name so far, firmest first: they are not among the suspects.
	Named []Cause

	weights []weighed
	known   map[string]answer
}

// weighed is a cause with its share.
type weighed struct {
	prediction
	share float64
}

// Weigh makes the differential diagnosis of a round so far; named is what Judge makes of it.
func Weigh(in Input, named *Diagnosis) Differential {
	d := Differential{known: map[string]answer{}}
	in.explained, in.read = map[int]bool{}, &readOnce{}
	for i := range named.Causes {
		c := &named.Causes[i]
		if c.Verdict == Healthy || c.Verdict == SYNStallUnclassified {
			continue
		}
		d.Named = append(d.Named, *c)
		for _, k := range c.explains {
			in.explained[k] = true
		}
	}
	for _, f := range facts() {
		d.known[f.name] = f.read(&in)
	}
	d.weigh()
	d.judge(len(d.Named) > 0)
	return d
}

// weigh gives each cause its share: flat odds before anything was seen, multiplied by the likelihood of each fact known.
func (d *Differential) weigh() {
	causes, known := predictions(), facts()
	known = slices.DeleteFunc(known, func(f fact) bool { return d.known[f.name] == unknown })
	logs := make([]float64, 0, len(causes))
	for _, p := range causes {
		if slices.ContainsFunc(d.Named, func(c Cause) bool { return c.Verdict == p.verdict }) {
			continue
		}
		l := 0.0
		for i := range known {
			l += math.Log(p.of(&known[i], d.known[known[i].name]))
		}
		d.weights = append(d.weights, weighed{prediction: p})
		logs = append(logs, l)
	}
	if len(logs) == 0 {
		return
	}
	top, total := slices.Max(logs), 0.0
	for i := range logs {
		d.weights[i].share = math.Exp(logs[i] - top)
		total += d.weights[i].share
	}
	for i := range d.weights {
		d.weights[i].share /= total
	}
	slices.SortStableFunc(d.weights, func(a, b weighed) int { return cmp.Compare(b.share, a.share) })
}

// judge says of each cause whether it is ruled out, and why. Where a cause is named and nothing is left to explain, that rules out the rest.
func (d *Differential) judge(named bool) {
	nothing := named && d.known["trouble"] != yes
	for i := range d.weights {
		w := &d.weights[i]
		s := Suspect{Verdict: w.verdict, Odds: w.share}
		switch {
		case nothing && w.verdict != Healthy:
			s.Out, s.Odds, s.Because = true, 0, string(d.Named[0].Verdict)+" accounts for what was seen"
		case nothing:
			continue
		case w.share < ruledOut*d.weights[0].share:
			s.Out, s.Because = true, d.against(w)
		}
		d.Suspects = append(d.Suspects, s)
	}
}

// against is the fact that speaks most against a cause, compared with the likeliest one.
func (d *Differential) against(w *weighed) string {
	worst, why := 0.0, ""
	for _, f := range facts() {
		a := d.known[f.name]
		if a == unknown {
			continue
		}
		if l := math.Log(w.of(&f, a)) - math.Log(d.weights[0].of(&f, a)); l < worst {
			worst, why = l, f.text(a)
		}
	}
	return why
}

func (f *fact) text(a answer) string {
	if a == no {
		return f.no
	}
	return f.yes
}

// Gain is how much an experiment is expected to tell about the causes left, in bits: the mutual information of the suspects and the facts
// that it decides and that are not known yet. It is 0 for an experiment that decides none.
func (d *Differential) Gain(k plan.Kind) float64 {
	bits := 0.0
	for _, f := range facts() {
		if d.known[f.name] == unknown && slices.Contains(f.decides, k) {
			bits += d.information(&f)
		}
	}
	return bits
}

// information is the mutual information of the suspects and one fact, in bits.
func (d *Differential) information(f *fact) float64 {
	pYes := 0.0
	for i := range d.weights {
		pYes += d.weights[i].share * d.weights[i].of(f, yes)
	}
	bits := entropy(pYes)
	for i := range d.weights {
		bits -= d.weights[i].share * entropy(d.weights[i].of(f, yes))
	}
	return max(bits, 0)
}

func entropy(p float64) float64 {
	if p <= 0 || p >= 1 {
		return 0
	}
	return -p*math.Log2(p) - (1-p)*math.Log2(1-p)
}

// Separates names the causes that an experiment would tell apart: those that say yes to the most telling fact it decides, and those that
// say no, each likeliest first and not ruled out. It is empty where it would tell nothing new.
func (d *Differential) Separates(k plan.Kind) (yesSide, noSide []Verdict) {
	var best *fact
	most := 0.01
	for _, f := range facts() {
		if d.known[f.name] != unknown || !slices.Contains(f.decides, k) {
			continue
		}
		if bits := d.information(&f); bits > most {
			best, most = &f, bits
		}
	}
	if best == nil {
		return nil, nil
	}
	for _, s := range d.Suspects {
		if s.Out {
			continue
		}
		i := slices.IndexFunc(d.weights, func(w weighed) bool { return w.verdict == s.Verdict })
		switch p := d.weights[i].of(best, yes); {
		case p > float64(even):
			yesSide = append(yesSide, s.Verdict)
		case p < float64(even):
			noSide = append(noSide, s.Verdict)
		}
	}
	return yesSide, noSide
}

// Learned are the facts that an experiment of the kind made known and that are worth a word, as they read: what is out of the ordinary, and what the
// experiment was for.
func (d *Differential) Learned(before *Differential, k plan.Kind) []string {
	var out []string
	for _, f := range facts() {
		a := d.known[f.name]
		if a == unknown || before.known[f.name] == a {
			continue
		}
		ordinary := a == no && f.usual <= seldom || a == yes && f.usual >= mostly
		if !ordinary || f.decides[0] == k && k != plan.KindConnect {
			out = append(out, f.text(a))
		}
	}
	return out
}
