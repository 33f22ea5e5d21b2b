package experiment_test

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
)

var (
	wildWorlds = flag.Int("wild", 60, "networks that TestWild draws")
	wildFrom   = flag.Int("wildfrom", 0, "pass over so many networks of TestWild first")
	wildSeed   = flag.Uint64("wildseed", 0, "explain this network of TestWild alone")
	wildOnly   = flag.String("wildonly", "", "draw only faults whose names contain this")
)

// wild is a network drawn at random: a make of pool and path, none to three faults with parameters of their own, and a vantage whose kernel,
// options and distance are drawn as well. Its oracle is what it was made of.
type wild struct {
	seed   uint64
	r      *rand.Rand
	w      *fakenet.World
	pool   *fakenet.Balancer
	server *fakenet.Host
	// near and far stand on the path, next to the wire and before what answers.
	near, far []fakenet.Element
	names     []string
	may       []diagnose.Verdict // what may be named
	notes     []string           // parameters, for whoever looks closer
	burst     int
	halfOpen  int
	prime     bool
	six       bool
	guarded   bool // all ports but the service's are silent
	settle    time.Duration
	most      time.Duration
}

// hazard is a fault that a wild network may have.
type hazard struct {
	name string
	// may be named where it is; something else may not. Nothing listed: it has no name of ours, and no cause may be named.
	may []diagnose.Verdict
	// of makes it, and reports false where the network has no place for it.
	of func(x *wild) bool
}

func (x *wild) note(format string, args ...any) {
	x.notes = append(x.notes, fmt.Sprintf(format, args...))
}

// skewed is a number of lo … hi, spread evenly over its logarithm.
func skewed(r *rand.Rand, lo, hi float64) float64 { return lo * math.Pow(hi/lo, r.Float64()) }

func skewedTime(r *rand.Rand, lo, hi time.Duration) time.Duration {
	return time.Duration(skewed(r, float64(lo), float64(hi)))
}

// oneOf draws from a list.
func oneOf[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// draw makes the network of a seed.
func draw(seed uint64) *wild {
	x := &wild{seed: seed, r: rand.New(rand.NewPCG(seed, 0x817d)), burst: 10, most: patient}
	r := x.r
	if r.IntN(5) < 3 {
		x.w, x.pool = fakenet.VIP(seed, int(skewed(r, 1, 65)))
		x.makePool()
	} else {
		x.w, x.server = fakenet.Server(seed)
	}
	x.makeVantage()
	x.vary()
	list := slices.DeleteFunc(hazards(), func(h hazard) bool { return !strings.Contains(h.name, *wildOnly) })
	for range oneOf(r, 0, 1, 1, 1, 1, 1, 2, 2, 3) {
		h := list[r.IntN(len(list))]
		if !slices.Contains(x.names, h.name) && h.of(x) {
			x.names, x.may = append(x.names, h.name), append(x.may, h.may...)
		}
	}
	if slices.Contains(x.names, "timestamps stripped") && slices.Contains(x.names, "old servers behind SNAT") {
		x.may = append(x.may, diagnose.BlackholeBackend) // members that drop SYNs for want of timestamps, and get none with: nothing tells them from dead ones
	}
	if x.guarded && slices.Contains(x.names, "SYNs without timestamps dropped") {
		x.may = append(x.may, diagnose.TWRecyclePAWSDropSNAT) // no port tells it from old servers behind a balancer that gives all others one clock
	}
	x.w.Insert(append(x.near, x.far...)...)
	x.mayBeSix()
	x.w.Wait(x.settle + lasting(r, 0, 2*time.Second))
	return x
}

// makePool varies the balancer and its members.
func (x *wild) makePool() {
	r, b := x.r, x.pool
	b.Choose = oneOf(r, fakenet.FlowHash, fakenet.FlowHash, fakenet.FlowHash, fakenet.RoundRobin, fakenet.Random, fakenet.SourceHash)
	if r.IntN(3) == 0 {
		b.SNAT = nil
	}
	b.HopLimit = oneOf[uint8](r, 64, 64, 128, 255)
	if r.IntN(3) == 0 { // weights
		for _, m := range b.Members[:(len(b.Members)+1)/2] {
			for range r.IntN(4) {
				b.Members = append(b.Members, &fakenet.Member{Addr: m.Addr, Host: m.Host})
			}
		}
	}
	x.note("pool of %d, %s", len(b.Members), b.Choose)
}

// makeVantage varies the path's length and this host.
func (x *wild) makeVantage() {
	r, w, c := x.r, x.w, &x.w.Client
	w.OneWay = skewedTime(r, 20*time.Microsecond, 200*time.Millisecond)
	w.Jitter = time.Duration(float64(w.OneWay) * 0.5 * r.Float64() * r.Float64())
	c.Ladder = oneOf(r, c.Ladder, c.Ladder, plan.Exponential(time.Second, 6), plan.Exponential(time.Second, 6), plan.Exponential(3*time.Second, 5),
		plan.Exponential(time.Second, 2), plan.Linear(time.Second, 1, 6), plan.Linear(time.Second, 6, 8))
	c.HZ = oneOf(r, 1000, 250, 100)
	c.Clock.Per = oneOf(r, c.Clock.Per, fakenet.PerHostPair, fakenet.PerFlow, fakenet.Global)
	c.Clock.Hz = oneOf[uint32](r, 1000, 1000, 250, 100)
	c.NoTimestamps = r.IntN(20) == 0
	c.Scout = r.IntN(4) == 0
	if r.IntN(4) == 0 {
		c.Others = []netip.Addr{c.Source.Next()}
	}
	for _, h := range w.Hosts {
		h.HZ = oneOf(r, 1000, 250, 100)
		h.Clock.Hz, h.Clock.Per = oneOf[uint32](r, 1000, 1000, 250, 100), oneOf(r, fakenet.PerHostPair, fakenet.PerFlow, fakenet.Global)
		for _, l := range h.Ports {
			l.RTO = oneOf(r, 0, 0, 0, 3*time.Second)
			l.Retries = oneOf(r, 0, 0, 2, 1)
		}
	}
	x.burst = oneOf(r, 10, 10, 4, 16, 40)
	x.prime = r.IntN(8) == 0
	x.most = oneOf(r, patient, patient, patient, 20*time.Second, 120*time.Second)
	x.note("one way %s, jitter %s, %s, HZ %d, clock %s at %d, no TS %v, burst %d, prime %v, for %s", w.OneWay, w.Jitter, c.Ladder, c.HZ, c.Clock.Per,
		c.Clock.Hz, c.NoTimestamps, x.burst, x.prime, x.most)
}

// inquire is the adaptive loop with what the engine tells it of the time left.
func (x *wild) inquire() result {
	w := x.w
	inv := &experiment.Investigation{
		Host: diagnose.Input{Ladder: w.Client.Ladder}, Rand: rand.New(rand.NewPCG(x.seed, 1)),
		Setup: experiment.Setup{Source: netip.AddrPortFrom(netip.Addr{}, 0), Dst: w.Target, Burst: x.burst, Ladder: w.Client.Ladder,
			Listen: 9500 * time.Millisecond, MSS: 1460, HalfOpen: x.halfOpen, NoRaw: w.Tap.Off, Others: w.Client.Others, MayPrime: x.prime},
	}
	in := diagnose.Input{Ladder: w.Client.Ladder, Priming: diagnose.Priming{May: inv.MayPrime}}
	began := w.Elapsed()
	for w.Elapsed()-began < x.most {
		inv.Left = x.most - (w.Elapsed() - began)
		b, more := inv.Next(in.Observations)
		if !more {
			break
		}
		in.Observations = append(in.Observations, w.RunTogether(inv.With(b, in.Observations)...)...)
	}
	return result{w, in.Observations, inv.Trace(), diagnose.Diagnose(in), w.Elapsed() - began}
}

// story is what may be named of the network.
func (x *wild) story() *story {
	s := &story{also: x.may, quiet: true}
	if len(x.may) == 0 && len(x.names) == 0 {
		s.right = only(diagnose.Healthy)
	}
	return s
}

// misled are the notes that say something firm which is not so.
func (x *wild) misled(d *diagnose.Diagnosis) []diagnose.Verdict {
	var out []diagnose.Verdict
	for i := range d.Notes {
		if n := &d.Notes[i]; n.Level >= diagnose.Confirmed && !slices.Contains(x.may, n.Verdict) && !slices.Contains(out, n.Verdict) {
			out = append(out, n.Verdict)
		}
	}
	return out
}

// TestWild: networks drawn at random, with faults in pairs and parameters that nobody chose; what is named must be there. It fails where more
// are wrong than 1 in 10,000 makes at all likely (α = 0.01). For the figures, and to look closer:
//
//	go test ./prober/experiment -run TestWild -v -timeout 0 -wild 20000 [-wildfrom N] [-wildonly NAME]
//	go test ./prober/experiment -run TestWild -v -wildseed N
func TestWild(t *testing.T) {
	t.Parallel()
	if *wildSeed != 0 {
		t.Log(explainWild(*wildSeed))
		return
	}
	tallies := map[string]map[string]int{}
	total := stats.Arm{}
	for k := range *wildWorlds {
		seed := uint64(*wildFrom+k)*6151 + 29
		x := draw(seed)
		res := x.inquire()
		name := strings.Join(slices.Sorted(slices.Values(x.names)), " + ")
		if tallies[name] == nil {
			tallies[name] = map[string]int{}
		}
		tallies[name][strings.Join(strs(named(&res.diagnosis)), "+")]++
		total.N++
		if bad := x.story().wrong(&res.diagnosis); len(bad) > 0 {
			total.Hits++
			t.Logf("WRONG seed %d: %s; named %v of [%s]", seed, bad, levels(&res.diagnosis), name)
		}
		if bad := x.misled(&res.diagnosis); len(bad) > 0 {
			t.Logf("NOTE seed %d: %s of [%s]", seed, bad, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tallies)) {
		t.Logf("%-60s %s", name, count(tallies[name]))
	}
	t.Logf("wrong %d of %d, at most %.2g (95 %%)", total.Hits, total.N, atMost(total))
	hold(t, total)
}

// levels lists what is named with how firmly.
func levels(d *diagnose.Diagnosis) []string {
	var out []string
	for i := range d.Causes {
		out = append(out, fmt.Sprintf("%s:%s", d.Causes[i].Verdict, d.Causes[i].Level))
	}
	return out
}

func explainWild(seed uint64) string {
	x := draw(seed)
	res := x.inquire()
	var b strings.Builder
	fmt.Fprintf(&b, "faults %q, %s\nwrong: %v; %s\n", x.names, strings.Join(x.notes, "; "), x.story().wrong(&res.diagnosis), res.diagnosis.Headline)
	res.tell(&b)
	return b.String()
}
