package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Input is what one round showed, and the facts of the prober's own host that the rules need.
type Input struct {
	Observations []observe.Observation
	// Ladder is this machine's own.
	Ladder plan.Ladder
	// Queue is how many SYNs this machine keeps for a next hop that is not resolved yet, on the device towards the target; the zero value: not
	// known.
	Queue Queue
	// Priming is what the caller permitted.
	Priming Priming
	// Follow is how long a remembered clock is worth following; 0: DefaultFollow.
	Follow time.Duration

	// explained marks observations whose losses a finding has accounted for: later rules leave them alone.
	explained map[int]bool
	// read is what several rules read from the same observations.
	read *readOnce
	// crowding is what this host's own backlog and devices may have done, once a diagnosis has read it.
	crowding crowding
}

// rule is one node of the tree. It judges the whole round; findings it names silence those of the rules listed in silences.
type rule struct {
	name     string
	check    func(*Input) []Finding
	silences []Verdict
}

// rules is the tree, parents before children.
func rules() []rule {
	return []rule{
		{"clock step", checkClockStep, []Verdict{SYNStallUnclassified}},
		{"capture drops", checkCaptureDrops, []Verdict{SYNStallUnclassified}},
		{"own drops", checkCrowded, []Verdict{SYNStallUnclassified}},
		{"refused rate", checkRefusedRate, []Verdict{VIPPoolEmpty, PortClosed, ACLDrop, BlackholeBackend, ECMPPathLoss, ForwardSYNLoss, SYNACKLoss, SYNStallUnclassified}},
		{"pool", checkPool, []Verdict{PortClosed, ACLDrop, ECMPPathLoss, BlackholeBackend}},
		{"neighbour table", checkTable, []Verdict{LocalARPUnresolved, ProberLocalDrop, SYNStallUnclassified}},
		{"local neighbour unresolved", checkLocalUnresolved, []Verdict{LocalARPQueueOverflow, SYNStallUnclassified}},
		{"local neighbour queue", checkLocalQueue, []Verdict{SYNStallUnclassified, SlowPathNotStall}},
		{"remote neighbour queue", checkRemoteQueue, []Verdict{SYNStallUnclassified, SlowPathNotStall}},
		{"local drop", checkLocalDrop, []Verdict{SYNStallUnclassified}},
		{"remote neighbour unresolved", checkRemoteUnresolved, []Verdict{SYNStallUnclassified, SlowPathNotStall, ForwardSYNLoss, SYNACKLoss}},
		{"segment", checkSegment, []Verdict{PortClosed, SYNStallUnclassified, BlackholeBackend, ECMPPathLoss}},
		{"closed port", checkClosed, nil},
		{"icmp", checkICMP, []Verdict{SYNStallUnclassified}},
		{"old connections", checkBareACK, []Verdict{TWRecyclePAWSDropSNAT, TWRecyclePAWSDrop, ClientRandomTSVsRecycle, TSClockDomainConflict, SYNStallUnclassified, ForwardSYNLoss, SYNACKLoss, BlackholeBackend, SYNRateLimited}},
		{"echo", checkEcho, []Verdict{ClientPAWSReject, AcceptQueueOverflow, LBFullProxyMasks, SYNStallUnclassified}},
		{"stripped options", checkStripped, nil},
		{"client rejects", checkClientReject, []Verdict{SYNStallUnclassified}},
		{"port reuse", checkReuse, nil},
		{"ecn", checkECN, []Verdict{SNATPortRace, ForwardSYNLoss, SYNStallUnclassified}},
		{"slow path", checkSlow, []Verdict{SYNACKLoss, ForwardSYNLoss, SYNRateLimited, SYNStallUnclassified}},
		{"one-tick flip", checkFlip, []Verdict{SYNStallUnclassified}},
		{"no timestamps", checkPlain, []Verdict{BlackholeBackend, ACLDrop, ForwardSYNLoss, SYNACKLoss, SYNRateLimited, SYNStallUnclassified, AcceptQueueOverflow}},
		{"leaping memory", checkCircle, []Verdict{TWRecyclePAWSDropSNAT, TWRecyclePAWSDrop, ClientRandomTSVsRecycle, TSClockDomainConflict, BlackholeBackend, ECMPPathLoss, ForwardSYNLoss, SYNACKLoss, SYNRateLimited, SYNStallUnclassified, AcceptQueueOverflow}},
		{"timestamps", checkQuadrants, []Verdict{BlackholeBackend, ForwardSYNLoss, SYNACKLoss, SYNRateLimited, SYNStallUnclassified, AcceptQueueOverflow}},
		{"aborted handshakes", checkAborted, nil},
		{"held connections", checkHold, []Verdict{BlackholeBackend, ForwardSYNLoss, SYNRateLimited, SYNStallUnclassified}},
		{"short queue", checkShortQueue, []Verdict{BlackholeBackend, ECMPPathLoss, ForwardSYNLoss, SYNACKLoss, SYNRateLimited, SNATPortRace, SYNStallUnclassified}},
		{"silence", checkSilence, []Verdict{BlackholeBackend, ForwardSYNLoss, SYNRateLimited, SYNStallUnclassified}},
		{"rate", checkRate, []Verdict{BlackholeBackend, ForwardSYNLoss, SYNACKLoss, SYNStallUnclassified}},
		{"sticky loss", checkSticky, []Verdict{ForwardSYNLoss, SYNACKLoss, SYNStallUnclassified}},
		{"uneven loss", checkUneven, []Verdict{ForwardSYNLoss, SYNACKLoss, SYNStallUnclassified}},
		{"race", checkRace, []Verdict{ForwardSYNLoss, SYNACKLoss, SYNRateLimited, SYNStallUnclassified}},
		{"random loss", checkRandomLoss, []Verdict{SYNStallUnclassified, AcceptQueueOverflow}},
		{"served", checkServed, []Verdict{MTUBlackhole, SYNStallUnclassified}},
		{"stuck transfers", checkStuck, []Verdict{MTUBlackhole, PathLoss, ECMPPathLoss}},
		{"sizes", checkSizes, []Verdict{PathLoss}},
		{"data loss", checkDataLoss, nil},
		{"data order", checkDataOrder, nil},
		{"needless probes", checkProbes, nil},
		{"fingerprints", checkFingerprints, nil},
		{"cookies", checkCookies, nil},
		{"deferred accept", checkDeferred, nil},
		{"slow neighbour", checkSlowNeighbor, nil},
		{"proxy", checkProxy, nil},
		{"stalls", checkStalls, nil},
	}
}

// Diagnose runs the tree over a round, and tells what stands beside the causes.
func Diagnose(in Input) Diagnosis {
	in.read = &readOnce{}
	d := judge(&in)
	d.lateReset(&in)
	d.describe(&in)
	return d
}

// Judge is Diagnose without what is only told: causes, notes and what they want, on which the choice of the next experiment rests. It has no headline, no
// clocks, stacks, responders or measurements, and no first contact.
func Judge(in Input) Diagnosis {
	in.read = &readOnce{}
	d := judge(&in)
	d.lateReset(&in)
	return d
}

// judge names causes and health.
func judge(in *Input) Diagnosis {
	var d Diagnosis
	in.explained = map[int]bool{}
	in.crowding = readCrowding(in)
	silenced := map[Verdict]bool{}
	for _, r := range rules() {
		named := false
		for _, f := range in.excused(r.check, r.check(in)) {
			if silenced[f.Verdict] {
				continue
			}
			if f.Level >= Suspected && !f.Verdict.Benign() {
				d.Causes = append(d.Causes, f)
				named = true
				for _, i := range f.explains {
					in.explained[i] = true
				}
			} else {
				d.Notes = append(d.Notes, f)
			}
		}
		if named {
			for _, v := range r.silences {
				silenced[v] = true
			}
		}
	}
	slices.SortStableFunc(d.Causes, func(a, b Cause) int { return cmp.Compare(b.Level, a.Level) })
	d.health(in)
	return d
}

// health is named where there is nothing else to name.
func (d *Diagnosis) health(in *Input) {
	if len(d.Causes) > 0 {
		return
	}
	f := checkHealthy(in)
	if f.Level >= Suspected {
		f = d.dataHealth(in, f)
	}
	if f.Level >= Suspected {
		d.Causes = append(d.Causes, f)
	} else {
		d.Notes = append(d.Notes, f)
	}
}

// describe fills in what stands beside the causes, and writes the headline.
func (d *Diagnosis) describe(in *Input) {
	for i := range in.Observations {
		o := &in.Observations[i]
		if d.Started.IsZero() || o.Started.Before(d.Started) {
			d.Started = o.Started
		}
		if o.Finished.After(d.Finished) {
			d.Finished = o.Finished
		}
	}
	for i := range d.Causes {
		d.RateLimit = cmp.Or(d.RateLimit, d.Causes[i].limit)
	}
	d.FirstContact = FirstContactOf(in)
	if slices.ContainsFunc(d.Causes, func(c Cause) bool { return onTimestamps(c.Verdict) }) {
		d.Clocks = clocks(in)
	}
	d.Headline = headline(d)
	d.Responders = readResponders(in)
	d.Measurements = measure(in, &d.Responders)
	d.Stacks = stacksOf(in)
	d.attribute()
}

func headline(d *Diagnosis) string {
	if len(d.Causes) == 0 {
		trouble := slices.ContainsFunc(d.Notes, func(n Finding) bool { return n.Verdict == SYNStallUnclassified })
		for i := range d.Notes {
			if trouble && d.Notes[i].Verdict == SlowPathNotStall {
				continue // slow answers are the lesser trouble
			}
			if !d.Notes[i].Verdict.Benign() {
				return fmt.Sprintf("inconclusive: %s", d.Notes[i].Summary)
			}
		}
		return "inconclusive"
	}
	c := &d.Causes[0]
	if c.Verdict == Healthy {
		return "healthy: " + c.Summary
	}
	return fmt.Sprintf("%s (%s): %s", c.Verdict, c.Level, c.Summary)
}

// fewAttempts is below what health can be claimed of at all firmly.
const fewAttempts = 8

// countServed counts attempts, those that were served at once, those of which nothing is known, and which of these were interrupted; worst is
// the slowest handshake of those that were served.
func countServed(in *Input) (n, ok, unsent, cut int, worst time.Duration) {
	for a := range attempts(in) {
		if a.Via == plan.Raw && a.Outcome == observe.NotSent {
			continue // raw SYNs are a means of ours; kernel connects are what users make
		}
		n++
		switch {
		case a.Outcome == observe.OutcomeUnknown:
			cut++
			unsent++
		case a.Outcome == observe.NotSent:
			unsent++
		case connected(a) && (a.Retransmissions == 0 && a.Late == observe.NotLate || hurried(a)):
			ok++
			worst = max(worst, a.Handshake)
		}
	}
	return n, ok, unsent, cut, worst
}

// checkHealthy: every attempt accepted, none stalled, none slow. "Healthy" claims only what was tried: connections.
func checkHealthy(in *Input) Finding {
	n, ok, unsent, cut, worst := countServed(in)
	f := Finding{Verdict: InsufficientSamples, Level: Inconclusive, Summary: "nothing could be measured", Settle: "a probe that can be sent"}
	switch {
	case cut > 0 && n == unsent:
		f.Summary, f.Settle = fmt.Sprintf("interrupted before any of %d attempts was answered", n), "the same again, to its end"
		return f
	case n == unsent:
		return f
	case cut > 0 && unsent*10 > n:
		f.Summary, f.Settle = fmt.Sprintf("interrupted: of %d of %d attempts it is not known what became of them", unsent, n), "the same again, to its end"
		return f
	case unsent*10 > n:
		f.Summary = fmt.Sprintf("%d of %d attempts were never made", unsent, n)
		return f
	case ok+unsent < n:
		f.Summary = fmt.Sprintf("%d of %d attempts were not served at once, and no rule explains them", n-ok-unsent, n)
		f.Settle = "more attempts, and the experiments that separate the causes left"
		return f
	}
	if silent, held := refused(in); silent > 0 {
		f.Summary = fmt.Sprintf("%d of %d connections had no answer while others were held open, and no rule explains them", silent, held)
		f.Settle = "the same again; another service behind the same path to compare with (--contrast)"
		return f
	}
	if u := readUses(in); u.lost() > 1 {
		f.Summary = fmt.Sprintf("%d of %d SYNs on flows that had ended had no answer, and no rule explains them", u.lost(), 2*u.flows)
		f.Settle = "the same again; a packet trace at the balancer"
		return f
	}
	f = Finding{
		Verdict: Healthy, Level: Confirmed,
		Summary:  fmt.Sprintf("%d of %d connections accepted without a lost SYN, slowest handshake %s", ok, ok, worst.Round(time.Microsecond)),
		Evidence: []string{fmt.Sprintf("no SYN of %d connections was repeated", ok)},
		Disproof: fmt.Sprintf("a stalled or failed attempt under the same conditions; with %d attempts a loss rarer than %.2g %% goes unseen once in twenty times", ok, 300/float64(ok)),
		Remedy:   "none needed",
	}
	if ok < fewAttempts {
		f.Level = Suspected
	}
	return f
}
