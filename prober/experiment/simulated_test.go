package experiment_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// story is one kind of network and what an investigation of it must, may and must not name.
type story struct {
	name string
	// world builds it; r is the story's own dice, so that one seed is one network.
	world func(seed uint64, r *rand.Rand) *fakenet.World
	// right lists the sets of which one must be named in full.
	right [][]diagnose.Verdict
	// also may be named beside, or in place.
	also []diagnose.Verdict
	// share is the least part of the seeds for which it is; 0: nothing is promised but that nothing wrong is named.
	share float64
	// quiet: the fault may well not show in what an investigation sends, so that health is no wrong answer.
	quiet bool
	// prime permits connections that the server closes first.
	prime bool
	// settle is how long the world lives before anybody looks.
	settle time.Duration
	// plain leaves path, ladder and burst as the world made them.
	plain bool
	// pending says which rule is wrong and how; the row then asserts that it is still not right, and fails once it is.
	pending string
	// rare is the share of the seeds for which something wrong may be named by chance while rules name at p < 1e-2 after several looks;
	// it bounds and asserts nothing, as any change of plan moves such a seed.
	rare float64
	// seeds, if more than the usual number are wanted; few: a quarter of it will do.
	seeds int
	few   bool
}

// usualSeeds is how many networks of a story are tried where nobody says.
const usualSeeds = 20

// How to look closer: go test ./prober/experiment -run 'TestStories/STORY' -v -seed N explains one network, -seeds N tries more of them.
var (
	moreSeeds = flag.Int("seeds", usualSeeds, "networks of each story")
	oneSeed   = flag.Uint64("seed", 0, "explain this network alone")
)

// result is one investigation from end to end.
type result struct {
	world     *fakenet.World
	seen      []observe.Observation
	trace     []experiment.Step
	diagnosis diagnose.Diagnosis
	took      time.Duration // of the world's own time
}

// patient is how long an investigation may take, as prober.DiagnoseOptions has it by default.
const patient = 60 * time.Second

// investigate is the adaptive loop of prober.Diagnose, in virtual time.
func investigate(w *fakenet.World, seed uint64, burst int, prime bool) result {
	return pursue(w, seed, patient, func(s *experiment.Setup) { s.Burst, s.MayPrime = burst, prime })
}

// pursue is investigate for so long, with a setup of the caller's.
func pursue(w *fakenet.World, seed uint64, most time.Duration, change func(*experiment.Setup)) result {
	inv := &experiment.Investigation{
		Host: diagnose.Input{Ladder: w.Client.Ladder}, Rand: rand.New(rand.NewPCG(seed, 1)),
		Setup: experiment.Setup{Source: netip.AddrPortFrom(netip.Addr{}, 0), Dst: w.Target, Burst: 10, Ladder: w.Client.Ladder,
			Listen: 9500 * time.Millisecond, MSS: 1460, HalfOpen: 16, NoRaw: w.Tap.Off, Others: w.Client.Others},
	}
	change(&inv.Setup)
	in := diagnose.Input{Ladder: w.Client.Ladder, Priming: diagnose.Priming{May: inv.MayPrime, Anyway: inv.PrimeAnyway, Heal: inv.Heal}}
	began := w.Elapsed()
	for w.Elapsed()-began < most {
		b, more := inv.Next(in.Observations)
		if !more {
			break
		}
		in.Observations = append(in.Observations, w.RunTogether(inv.With(b, in.Observations)...)...)
	}
	return result{w, in.Observations, inv.Trace(), diagnose.Diagnose(in), w.Elapsed() - began}
}

// named lists what a diagnosis names, sorted.
func named(d *diagnose.Diagnosis) []diagnose.Verdict {
	var out []diagnose.Verdict
	for i := range d.Causes {
		if !slices.Contains(out, d.Causes[i].Verdict) {
			out = append(out, d.Causes[i].Verdict)
		}
	}
	slices.Sort(out)
	return out
}

// wrong lists the named verdicts that the story does not permit. That a stall is not classified is no false cause where there is one.
func (s *story) wrong(d *diagnose.Diagnosis) []diagnose.Verdict {
	allowed := append(slices.Concat(s.right...), s.also...)
	healthy := slices.Contains(allowed, diagnose.Healthy)
	if !healthy {
		allowed = append(allowed, diagnose.SYNStallUnclassified)
	}
	if s.quiet {
		allowed = append(allowed, diagnose.Healthy)
	}
	return slices.DeleteFunc(named(d), func(v diagnose.Verdict) bool { return slices.Contains(allowed, v) })
}

func (s *story) isRight(d *diagnose.Diagnosis) bool {
	got := named(d)
	return slices.ContainsFunc(s.right, func(set []diagnose.Verdict) bool {
		return !slices.ContainsFunc(set, func(v diagnose.Verdict) bool { return !slices.Contains(got, v) })
	})
}

// build makes the network of a seed, with a path, a kernel and a burst size of its own.
func (s *story) build(seed uint64) (*fakenet.World, int) {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	w := s.world(seed, r)
	if s.plain {
		return w, 10
	}
	w.Wait(s.settle + lasting(r, 0, 2*time.Second))
	w.OneWay = time.Duration(50e3 * (1 + 600*r.Float64()*r.Float64()*r.Float64())) // 50 µs … 30 ms, mostly short
	w.Jitter = time.Duration(float64(w.OneWay) * 0.4 * r.Float64())
	if w.Client.Ladder.Name == "linear" && r.IntN(3) == 0 {
		w.Client.Ladder = plan.Exponential(time.Second, 6)
	}
	w.Client.HZ = []int{1000, 250, 100}[r.IntN(3)]
	return w, 8 + r.IntN(9)
}

// run investigates the network of a seed.
func (s *story) run(seed uint64) result {
	w, burst := s.build(seed)
	return investigate(w, seed, burst, s.prime)
}

// score is how a story went.
type score struct {
	n, right int
	wrong    []uint64 // seeds for which something wrong was named
	tally    map[string]int
	took     []time.Duration
}

func (c *score) String() string {
	return fmt.Sprintf("right %d of %d, wrong %d, median %s; %s", c.right, c.n, len(c.wrong), c.median().Round(10*time.Millisecond), count(c.tally))
}

// median is how long the middle one of the investigations took.
func (c *score) median() time.Duration {
	slices.Sort(c.took)
	return c.took[len(c.took)/2]
}

// score runs a story over n seeds.
func (s *story) score(n int) *score {
	c := &score{n: n, tally: map[string]int{}}
	for k := range n {
		seed := uint64(k)*7919 + 17
		res := s.run(seed)
		c.took = append(c.took, res.took)
		c.tally[strings.Join(strs(named(&res.diagnosis)), "+")]++
		if s.isRight(&res.diagnosis) {
			c.right++
		}
		if len(s.wrong(&res.diagnosis)) > 0 {
			c.wrong = append(c.wrong, seed)
		}
	}
	return c
}

// enough is how many seeds a share can be asserted on.
const enough = 200

// play runs a story over its seeds and holds it to what it promises.
func (s *story) play(t *testing.T) {
	if *oneSeed != 0 {
		t.Log(s.explain(*oneSeed))
		return
	}
	n := max(s.seeds, *moreSeeds)
	if testing.Short() {
		n /= 5
	} else if s.few {
		n /= 4
	}
	c := s.score(n)
	clean := float64(len(c.wrong)) <= s.rare*float64(c.n)
	ok := clean && float64(c.right) >= s.share*float64(c.n)
	switch {
	case s.pending != "" && ok && c.n >= enough:
		t.Errorf("now right: take the pending mark away (%s); %s", s.pending, c)
	case s.pending != "":
		t.Logf("pending: %s; %s", s.pending, c)
	case !clean:
		for _, seed := range c.wrong[:min(2, len(c.wrong))] {
			t.Errorf("seed %d:\n%s", seed, s.explain(seed))
		}
		t.Errorf("want %v and nothing wrong: %s", s.right, c)
	case !ok && c.n >= enough:
		t.Errorf("want %v for %.0f %% of the seeds: %s", s.right, 100*s.share, c)
	default:
		t.Log(c)
	}
}

func strs(vs []diagnose.Verdict) []string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = string(v)
	}
	return out
}

func count(tally map[string]int) string {
	keys := make([]string, 0, len(tally))
	for k := range tally {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(tally[b]-tally[a], cmp.Compare(a, b)) })
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%d × [%s] ", tally[k], k)
	}
	return b.String()
}

// explain plays a seed once more and writes down what was named, why each burst was made and what passed the tap.
func (s *story) explain(seed uint64) string {
	const most = 60
	w, burst := s.build(seed)
	var lines []string
	w.Tap.Watch = func(at time.Time, out bool, seg *wire.Segment) {
		if len(lines) < most {
			arrow := "<"
			if out {
				arrow = ">"
			}
			lines = append(lines, fmt.Sprintf("  %s %s %v", at.Format("05.000000"), arrow, seg))
		}
	}
	res := investigate(w, seed, burst, s.prime)
	var b strings.Builder
	fmt.Fprintf(&b, "wrong: %v; one way %s, jitter %s, burst %d, %s\n", s.wrong(&res.diagnosis), w.OneWay, w.Jitter, burst, w.Client.Ladder)
	res.tell(&b)
	fmt.Fprintf(&b, "%s\n", strings.Join(lines, "\n"))
	return b.String()
}

// tell writes down what was named and why each burst was made.
func (res *result) tell(b *strings.Builder) {
	for _, c := range res.diagnosis.Causes {
		fmt.Fprintf(b, "  cause %s (%s): %s\n", c.Verdict, c.Level, c.Summary)
		for _, e := range c.Evidence {
			fmt.Fprintf(b, "    %s\n", e)
		}
	}
	for _, c := range res.diagnosis.Notes {
		fmt.Fprintf(b, "  note %s (%s): %s\n", c.Verdict, c.Level, c.Summary)
	}
	for i, st := range res.trace {
		o := &res.seen[i]
		fmt.Fprintf(b, "  %2d %-9s %5.1f + %4.1f s  %-60s %s\n", i, st.Kind, o.Started.Sub(res.seen[0].Started).Seconds(), o.Finished.Sub(o.Started).Seconds(), st.Why, outcomes(o))
	}
	for i := range res.seen {
		detail(b, i, &res.seen[i])
	}
}

// detail writes down the attempts of a burst that were not served at once.
func detail(b *strings.Builder, burst int, o *observe.Observation) {
	for i := range o.Attempts {
		a := &o.Attempts[i]
		if a.Outcome == observe.Accepted && a.Retransmissions == 0 && a.Handshake < 500*time.Millisecond {
			continue
		}
		fmt.Fprintf(b, "  burst %d %s/%s #%d %s, %d SYNs, answered %d, lost %d, unseen %d, rtt %s, handshake %s, late %q %s:", burst, o.Kind, a.Arm, a.Index,
			a.Outcome, len(a.SYNs), a.Answered, a.Lost, a.Unseen, a.RTT, a.Handshake, a.Late, a.Reason)
		for k := range a.Answers {
			fmt.Fprintf(b, " %s@%s", a.Answers[k].Kind, a.Answers[k].At.Sub(o.Started))
		}
		b.WriteByte('\n')
	}
}

// outcomes is one letter an attempt: . accepted, ! accepted after a repeat, - timed out, R refused, X reset, U unreachable, L lost in
// this host, N not sent.
func outcomes(o *observe.Observation) string {
	var b strings.Builder
	for i := range o.Attempts {
		a := &o.Attempts[i]
		letter := map[observe.Outcome]byte{observe.Accepted: '.', observe.TimedOut: '-', observe.Refused: 'R', observe.Reset: 'X',
			observe.Unreachable: 'U', observe.LocalDrop: 'L', observe.NotSent: 'N', observe.OutcomeUnknown: '?'}[a.Outcome]
		if a.Outcome == observe.Accepted && a.Retransmissions > 0 {
			letter = '!'
		}
		b.WriteByte(letter)
	}
	return b.String()
}
