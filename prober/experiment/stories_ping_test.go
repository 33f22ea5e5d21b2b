package experiment_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Echo names nothing by itself: what it may change is what a silent address is said to be.
func pingStories() []story {
	return []story{
		{name: "echo answered, TCP silent",
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.EchoOnly(seed) }},
		{name: "near miss: neither echo nor TCP answered",
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.NothingThere(seed) }},
		{name: "near miss: echo silent, TCP answered", right: only(diagnose.Healthy), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.EchoFiltered(seed, false) }},
		{name: "filtered, and echo silent as well", right: only(diagnose.ACLDrop), share: 1,
			world: func(seed uint64, _ *rand.Rand) *fakenet.World { return fakenet.EchoFiltered(seed, true) }},
		{name: "one echo a second, TCP silent",
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.EchoLimited(seed, upTo(r, 0.5, 1)) }},
		{name: "host gone, echo answered by a router", plain: true,
			world: func(seed uint64, r *rand.Rand) *fakenet.World { return fakenet.EchoByAnother(seed, r.IntN(2) == 0) }},
	}
}

// TestEchoContrast: what is said of a silent address depends on echo, and says how little that proves.
func TestEchoContrast(t *testing.T) {
	for _, c := range []struct {
		name       string
		world      *fakenet.World
		want, lack []string
	}{
		{"TCP silent, echo answered", fakenet.EchoOnly(1), []string{"something is up at this address", "6 of 6 answered", "overrules nothing"}, []string{"the host is down"}},
		{"TCP silent, echo answered, IPv6", fakenet.EchoOnly(1).IPv6(), []string{"something is up at this address", "6 of 6 answered"}, []string{"the host is down"}},
		{"neither", fakenet.NothingThere(1), []string{"so is ICMP echo", "its silence adds little", "0 of 6 answered"}, []string{"something is up"}},
		{"limited", fakenet.EchoLimited(1, 1), []string{"something is up at this address", "1 of 6 answered", "a limit on echo replies, or loss"}, nil},
		{"by a router in the host's name", fakenet.EchoByAnother(1, false), []string{"another device may answer echo"}, []string{"in its own name"}},
		{"by a router in its own name", fakenet.EchoByAnother(1, true), []string{"0 of 6 answered", "203.0.113.1] answered echo requests"}, []string{"something is up"}},
		{"another port answers: not asked", fakenet.ACL(1, false), nil, []string{"ICMP echo"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := investigate(c.world, 1, 10, false)
			var text []string
			for _, f := range slices.Concat(res.diagnosis.Causes, res.diagnosis.Notes) {
				text = append(append(text, f.Summary), f.Evidence...)
			}
			all := strings.Join(text, "\n")
			for _, want := range c.want {
				if !strings.Contains(all, want) {
					t.Errorf("%q is not said:\n%s", want, all)
				}
			}
			for _, lack := range c.lack {
				if strings.Contains(all, lack) {
					t.Errorf("%q is said:\n%s", lack, all)
				}
			}
		})
	}
}

// TestEchoOnlyWhereSilent: an address that answers SYNs is not asked by echo.
func TestEchoOnlyWhereSilent(t *testing.T) {
	for _, w := range []*fakenet.World{fakenet.Clean(1), fakenet.CleanVIP(1, 3), fakenet.Closed(1), fakenet.SYNLoss(1, 0.3)} {
		res := investigate(w, 1, 10, false)
		for i := range res.seen {
			if res.seen[i].Kind == plan.KindPing || len(res.seen[i].Pings) > 0 {
				t.Errorf("burst %d asks by echo: %v", i, named(&res.diagnosis))
			}
		}
	}
}
