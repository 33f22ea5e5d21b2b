package diagnose

import (
	"fmt"
	"math"
	"strings"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/retrans"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// noise is the share of segments that a path may lose, or put out of order, without a fault: one in ten thousand. unproven is the share of needless
// copies that no duplicate SACK proves, since it was lost itself or came too late.
const (
	noise    = 1e-4
	unproven = 0.05
)

// leastP stands for all that is less: to go by the arithmetic alone would claim more than any measurement can.
const leastP = 1e-12

// dataRules is how many rules of the data phase rest on chance: loss and order, two ways each, and losses that keep to a flow. Together they name
// a cause that is not there once in 10,000 rounds; each divides its share by the bursts that it has looked at.
const dataRules = 5

// firmData is the level of a p-value of the data phase.
func firmData(p float64, looks int) Level {
	switch p *= float64(max(looks, 1)) * dataRules; {
	case p < naming:
		return Confirmed
	case p < 1e-2:
		return Inconclusive
	}
	return LevelUnknown
}

// gentle is how often the gentle burst is made before loss that it does not show is held for our own doing.
const gentleBursts = 2

// checkDataLoss: segments are lost while little of ours is in flight, so that no queue on the way can be full of it.
func checkDataLoss(in *Input) []Finding {
	all := transfers(in)
	var out []Finding
	for _, h := range []Heading{Towards, Back} {
		if f, ok := dataLoss(in, all, h); ok {
			out = append(out, f)
		}
	}
	return out
}

// lossChance is the probability of so many moments of loss, or more, on a path without a fault.
func lossChance(c *Carried) float64 {
	if c.Segments <= 0 || c.Moments == 0 {
		return 1
	}
	p0 := noise + unproven*float64(c.Spurious.Total()+c.Reordered)/float64(c.Segments)
	return max(stats.BinomialAtLeast(min(c.Moments, c.Segments), c.Segments, min(p0, 1)), leastP)
}

func dataLoss(in *Input, all []dataFlow, h Heading) (Finding, bool) {
	asked, gentle := sumCarried(all, h, plan.KindTransfer), sumCarried(all, h, plan.KindGentle)
	if asked.Moments+gentle.Moments < 2 || firmData(lossChance(&asked), 1) < Inconclusive && firmData(lossChance(&gentle), 1) < Inconclusive {
		return Finding{}, false
	}
	bursts := in.bursts(plan.KindGentle)
	p := lossChance(&gentle)
	f := Finding{Verdict: PathLoss, Level: Inconclusive, P: p, Summary: lossSummary(&asked, &gentle), Evidence: lossEvidence(all, &asked, &gentle, p),
		Disproof: "a data phase of the same size without retransmissions that duplicate SACKs do not prove needless",
		Remedy: "follow the path from the hop next to the sender: errors and drops of each port (ethtool -S, show interface), a bad optic or cable, a policer, a full shaper or a host that drops " +
			"(softnet, ring buffers). BBR keeps the rate up where loss is no sign of a full queue; it mends nothing"}
	again := Want{Kind: plan.KindGentle, Why: "does it lose as well with little in flight, when no queue can be full of ours?", Most: 4}
	switch {
	case gentle.Counted || asked.Counted:
		f.Settle = "a capture: without one tail loss probes and needless copies cannot be told from loss"
		if bursts == 0 {
			f.Wants = []Want{again}
		} else if firmData(p, bursts) >= Confirmed {
			f.Level = Suspected
		}
	case firmData(p, bursts) >= Confirmed && !ownDoing(&asked, &gentle):
		f.Level = Confirmed
	case bursts < gentleBursts || !ownDoing(&asked, &gentle) && firmData(p, bursts) >= Inconclusive && bursts < again.Most:
		f.Settle, f.Wants = again.Why, []Want{again}
	default:
		f.Summary = fmt.Sprintf("%s of %s segments were lost at full rate, and %s of %s with little in flight: a queue on the way overflows with what is sent at once, as it does on "+
			"any path that is narrower than its ends", number(asked.Lost), number(asked.Segments), number(gentle.Lost), number(gentle.Segments))
		f.Settle = "whether that queue is longer or shorter than it should be: the rates of the ports on the way"
	}
	if f.Level >= Suspected {
		f.oneWay(in)
		if k, ok := keepsToFlows(all, h); ok && f.Level == Confirmed {
			f.Verdict, f.P = ECMPPathLoss, k.p
			f.Summary = fmt.Sprintf("%d of %d connections lose %s segments %s, the other %d none: one of several paths or servers behind the address is lossy",
				k.lossy, k.flows, number(k.lost), h, k.flows-k.lossy)
			f.Evidence = append(f.Evidence, fmt.Sprintf("as many losses at random over all connections would leave %d of them clean with p = %.2g", k.flows-k.lossy, k.p),
				"source ports that lose: "+ports(k.ports))
			f.Remedy = "trace a lossy and a clean flow side by side with fixed ports and compare where they part (ECMP, LAG member, one uplink), or probe each real server directly; " +
				"check that link's errors and drops"
		}
	}
	return f, true
}

// ownDoing reports whether far less is lost with little in flight than at full rate: what is left may be the tail of the same queue.
func ownDoing(asked, gentle *Carried) bool {
	a, g := silences{silent: min(asked.Lost, asked.Segments), n: asked.Segments}, silences{silent: min(gentle.Lost, gentle.Segments), n: gentle.Segments}
	return a.silent*g.n > 4*g.silent*a.n && fisher(a, g) < naming
}

func lossSummary(asked, gentle *Carried) string {
	c, how := gentle, " with little in flight"
	if gentle.Moments == 0 {
		c, how = asked, ""
	}
	share := stats.Wilson(stats.Arm{Hits: min(c.Lost, c.Segments), N: max(c.Segments, 1)}, 0.99)
	return fmt.Sprintf("%s of %s data segments were lost %s%s (%s)", number(c.Lost), number(c.Segments), c.Heading, how, percents(share.Low, share.High))
}

func percents(low, high float64) string { return fmt.Sprintf("%.2g–%.2g %%", 100*low, 100*high) }

func lossEvidence(all []dataFlow, asked, gentle *Carried, p float64) []string {
	var out []string
	for _, c := range []struct {
		c   *Carried
		how string
	}{{asked, "as asked for"}, {gentle, "with little in flight"}} {
		if c.c.Segments == 0 {
			continue
		}
		out = append(out, fmt.Sprintf("%s: %s segments on %d connections, sent again: %s; %s lost in %d moments, needless: %s", c.how, number(c.c.Segments), c.c.Flows,
			classes(&c.c.Copies), number(c.c.Lost), c.c.Moments, classes(&c.c.Spurious)))
	}
	if gentle.Segments > 0 {
		out = append(out, fmt.Sprintf("so many on a path that loses one segment in %d: p %s; a queue that is full of our own data is ruled out there", int(1/noise), chanceText(p)))
	}
	if arms := byArm(all, asked.Heading); len(arms) > 1 {
		out = append(out, "by congestion control: "+strings.Join(arms, "; "))
	}
	return out
}

// chanceText writes a p-value with its sign.
func chanceText(p float64) string {
	if p <= leastP {
		return fmt.Sprintf("< %.0e", leastP)
	}
	return fmt.Sprintf("= %.2g", p)
}

// byArm tells what each congestion control met.
func byArm(all []dataFlow, h Heading) []string {
	var names []string
	sums := map[string]*Carried{}
	for i := range all {
		m := &all[i]
		if m.kind != plan.KindTransfer {
			continue
		}
		if sums[m.arm] == nil {
			sums[m.arm] = &Carried{Heading: h}
			names = append(names, m.arm)
		}
		sums[m.arm].add(&m.ways[h])
	}
	var out []string
	for _, n := range names {
		c := sums[n]
		out = append(out, fmt.Sprintf("%s: %s of %s sent again, %s lost", n, number(c.Copies.Total()), number(c.Segments), number(c.Lost)))
	}
	return out
}

// classes spells counts by class; "none" where there are none.
func classes(c *retrans.Counts) string {
	var out []string
	for _, k := range retrans.Classes() {
		if c[k] > 0 {
			out = append(out, fmt.Sprintf("%s %s", number(c[k]), k))
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// number writes a count with its thousands apart.
func number(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// keeping is how losses spread over connections.
type keeping struct {
	flows, lossy, lost int
	ports              []int
	p                  float64
}

// keepsToFlows asks whether losses keep to some connections: the chance that as many moments of loss, spread at random over all segments, leave so
// many connections clean. Each burst's connections have ports of their own, so that a moment of loss for all looks like chance.
func keepsToFlows(all []dataFlow, h Heading) (keeping, bool) {
	k := keeping{}
	total, spared, moments, clean := 0, 0, 0, 0
	for i := range all {
		m := &all[i]
		c := &m.ways[h]
		if m.kind == plan.KindSmall || m.stalled() || c.Segments == 0 || c.Counted {
			continue
		}
		k.flows++
		total += c.Segments
		moments += c.Moments
		k.lost += c.Lost
		if c.Moments == 0 {
			clean++
			spared += c.Segments
			continue
		}
		k.lossy++
		k.ports = append(k.ports, int(m.flow.Flow.Src.Port()))
	}
	if clean < 2 || k.lossy < 2 || moments < 2*k.lossy {
		return k, false
	}
	k.p = math.Min(1, math.Exp(logChoose(k.flows, clean)+logChoose(total-spared, moments)-logChoose(total, moments)))
	return k, firmData(k.p, 1) >= Confirmed
}

func ports(list []int) string {
	var out []string
	for i, p := range list {
		if i == 8 {
			out = append(out, fmt.Sprintf("%d more", len(list)-i))
			break
		}
		out = append(out, fmt.Sprint(p))
	}
	return strings.Join(out, ", ")
}
