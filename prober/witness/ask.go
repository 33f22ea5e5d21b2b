package witness

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/testimony"
)

// ask hears one proof, each of its counters in turn, until one holds.
func (r *hearing) ask(p *proof) diagnose.Testimony {
	var best diagnose.Testimony
	for i := range p.counters {
		t := r.counter(p, &p.counters[i])
		if i == 0 || rank(t.Effect) > rank(best.Effect) {
			best = t
		}
	}
	return best
}

// rank orders effects by how much they say.
func rank(e diagnose.Effect) int {
	return slices.Index([]diagnose.Effect{diagnose.EffectUnsaid, diagnose.EffectRefuted, diagnose.EffectUnmatched, diagnose.EffectBackground, diagnose.EffectUpgraded}, e)
}

// counter hears one counter.
func (r *hearing) counter(p *proof, k *telling) diagnose.Testimony {
	t := diagnose.Testimony{Verdict: p.verdicts[0], Counter: neighborTable(k.name, r.target.Addr().Is6()), Effect: diagnose.EffectUnsaid, P: 1, Alpha: Alpha / looks}
	if known, ok := testimony.Find(t.Counter); ok {
		t.Means, t.Others = known.Means, also(&known)
	}
	if why := r.impossible(p); why != "" {
		t.Effect, t.Why = diagnose.EffectRefuted, why
		return t
	}
	readings := r.together(k, t.Counter)
	if len(readings) == 0 {
		t.Why = r.unsaid(t.Counter)
		return t
	}
	heard := r.of(p)
	c := compare(heard.cut(readings))
	c.count(&t)
	heard.byServer(&t, k, c.dosed)
	heard.byBurst(&t, readings)
	q := heard.queues(p, c.dosed)
	t.State = q.String()
	t.Effect = c.decide(&t, k, q, r.direct() != nil && r.since(k.from))
	t.Why = r.sentence(&t)
	return t
}

// of is the hearing with the SYNs that a proof asks about.
func (r *hearing) of(p *proof) hearing {
	heard := *r
	if !p.arrived {
		heard.vain = slices.DeleteFunc(slices.Clone(r.vain), func(v vain) bool { return v.arrived })
	}
	return heard
}

// also is what else moves a counter: what is known of it, and traffic that is not ours, of the whole namespace or machine.
func also(c *testimony.Counter) string {
	whole := "other clients of the server, at any of its ports"
	if c.Scope == testimony.Machine {
		whole = "other traffic of the whole machine, all network namespaces together"
	}
	if c.Also == "" {
		return whole
	}
	return whole + "; " + c.Also
}

// byServer fills in by how much each server's counter rose over the stretches with SYNs in vain.
func (r *hearing) byServer(t *diagnose.Testimony, k *telling, dosed []stretch) {
	for i := range r.witnesses {
		w := &r.witnesses[i]
		c := diagnose.ServerCount{Server: w.Server, Source: w.Source, Kernel: w.Kernel, Absent: !tells(w, t.Counter)}
		for _, s := range dosed {
			if c.Absent || s.after >= len(w.Statements) {
				continue
			}
			before, _ := k.value(&w.Statements[s.first], t.Counter)
			after, _ := k.value(&w.Statements[s.after], t.Counter)
			c.Seen += after - before
		}
		t.Servers = append(t.Servers, c)
	}
}

// byBurst fills in what each burst should have moved, and what moved from the last reading before it to the first after it.
func (r *hearing) byBurst(t *diagnose.Testimony, readings []reading) {
	for i := range r.seen {
		o := &r.seen[i]
		b := diagnose.BurstCount{Label: cmp.Or(o.Label, string(o.Kind)), Arms: r.arms(i)}
		for _, v := range r.vain {
			if v.burst == i {
				b.Expected++
			}
		}
		first := sort.Search(len(readings), func(k int) bool { return readings[k].answered.After(o.Started) }) - 1
		after := sort.Search(len(readings), func(k int) bool { return readings[k].asked.After(o.Finished) })
		if first < 0 || after >= len(readings) || !readings[first].ok || !readings[after].ok {
			continue
		}
		b.Seen = readings[after].value - readings[first].value
		if b.Expected > 0 || b.Seen > 0 {
			t.Bursts = append(t.Bursts, b)
		}
	}
}

// arms counts the SYNs in vain of a burst by arm, where it has several.
func (r *hearing) arms(burst int) string {
	arms := r.seen[burst].Arms
	if len(arms) < 2 {
		return ""
	}
	n := map[string]int{}
	for _, v := range r.vain {
		if v.burst == burst {
			n[v.arm]++
		}
	}
	parts := make([]string, 0, len(arms))
	for i := range arms {
		parts = append(parts, fmt.Sprintf("%s %d", arms[i].Name, n[arms[i].Name]))
	}
	return strings.Join(parts, ", ")
}

// queues are what the target's listener was at the readings around SYNs in vain.
type queues struct {
	shown, full int
	text        string // of a full one, else of any
}

// always allows for a queue that is listed while it is emptied and filled again: four of five will do.
func (q queues) always() bool { return q.shown >= fewReadings && q.full*5 >= q.shown*4 }

func (q queues) never() bool { return q.shown >= fewReadings && q.full == 0 }

func (q queues) String() string {
	switch {
	case q.shown == 0:
		return ""
	case q.full == 0:
		return fmt.Sprintf("%s: not full at any of %d readings around them", q.text, q.shown)
	}
	return fmt.Sprintf("%s: full at %d of %d readings around them", q.text, q.full, q.shown)
}

// queues looks at the one server's listener. Through a VIP it cannot be known which member a SYN went to.
func (r *hearing) queues(p *proof, dosed []stretch) (q queues) {
	w := r.direct()
	if p.state == nil || w == nil {
		return q
	}
	for _, s := range dosed {
		for k := s.first; k <= s.after && k < len(w.Statements); k++ {
			l, ok := w.Statements[k].Listener(r.target)
			if !ok {
				continue
			}
			st := p.state(w, l)
			if !st.known {
				continue
			}
			q.shown++
			if st.full {
				q.full++
			}
			if q.text == "" || st.full {
				q.text = st.text
			}
		}
	}
	return q
}

// direct is the one witness where that is the target itself; else nil.
func (r *hearing) direct() *observe.Witness {
	if len(r.witnesses) != 1 || !r.witnesses[0].Direct {
		return nil
	}
	return &r.witnesses[0]
}

// since reports whether all witnesses are known to run a kernel of a version or later.
func (r *hearing) since(v testimony.Kernel) bool {
	for i := range r.witnesses {
		k, ok := release(r.witnesses[i].Kernel)
		if !ok || v == (testimony.Kernel{}) || k.Before(v) {
			return false
		}
	}
	return true
}

// release takes the version from a kernel's release: "3.10.0-1160.el7.x86_64" is 3, 10, 0.
func release(s string) (v testimony.Kernel, ok bool) {
	s, _, _ = strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	for i := range min(len(parts), len(v)) {
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return v, i >= 2
		}
		v[i] = n
	}
	return v, len(parts) >= 2
}

// impossible says why the fault cannot be at the target, whatever its counters do; empty: it can.
func (r *hearing) impossible(p *proof) string {
	w := r.direct()
	if w == nil || p.gone == (testimony.Kernel{}) || !r.since(p.gone) {
		return ""
	}
	return fmt.Sprintf("%s runs Linux %s: %s", w.Server, w.Kernel, p.why)
}

// unsaid says why no server tells a counter.
func (r *hearing) unsaid(counter string) string {
	parts := make([]string, 0, len(r.witnesses))
	for i := range r.witnesses {
		w := &r.witnesses[i]
		switch {
		case !slices.ContainsFunc(w.Statements, func(s observe.Statement) bool { return s.Counters != nil }):
			parts = append(parts, strings.Join(append([]string{w.Server + " said nothing"}, w.Missing...), ": "))
		case w.Source == observe.SourceNodeExporter:
			parts = append(parts, fmt.Sprintf("the node_exporter of %s does not export %s (--collector.netstat.fields chooses)", w.Server, counter))
		default:
			parts = append(parts, fmt.Sprintf("%s (Linux %s) has no counter %s", w.Server, cmp.Or(w.Kernel, "of unknown release"), counter))
		}
	}
	return strings.Join(parts, "; ")
}
