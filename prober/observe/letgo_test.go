package observe

import (
	"testing"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// answered is an attempt whose last SYN before the answer left at one time, and whose answer came at another, in ms.
type answered struct {
	via        plan.Via
	left, came float64
}

func apart(n int, gap, after float64, came func(i int) float64) []answered {
	var out []answered
	for i := range n {
		out = append(out, answered{plan.Raw, float64(i) * gap, after + came(i)})
	}
	return out
}

func TestAnswersThatAreLetGoTogetherWereHeld(t *testing.T) {
	t.Parallel()
	at1 := func(i int) float64 { return float64(i) / 100 }
	each := func(i int) float64 { return float64(i) * 3 }
	kernel := apart(16, 3, 260, at1)
	for i := range kernel {
		kernel[i].via = plan.Kernel
	}
	for _, c := range []struct {
		name string
		list []answered
		asks bool // a neighbour was being asked for
		want int
	}{
		{"sixteen SYNs over 45 ms, all answered within 0.15 ms", apart(16, 3, 260, at1), false, 16},
		{"each answered one round trip later", apart(16, 3, 10, each), false, 0},
		{"three are too few", apart(3, 30, 260, at1), false, 0},
		{"SYNs that left together", apart(16, 0.1, 260, at1), false, 0},
		{"a queue of this host let them go, as somebody was being asked for", apart(16, 3, 260, at1), true, 0},
		{"kernel connects leave together", kernel, false, 0},
		{"half of them held, the rest later one by one", append(apart(8, 3, 260, at1), apart(8, 3, 300, each)...), false, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var x Correlator
			if c.asks {
				x.obs.Neighbor = make([]NeighborEvent, 1)
			}
			for _, a := range c.list {
				x.obs.Attempts = append(x.obs.Attempts, Attempt{Via: a.via, SYNs: []SYN{{At: at(a.left)}}, Answers: []Answer{{At: at(a.came), Kind: SYNACK}}})
				x.state = append(x.state, flowState{before: 1})
			}
			if got := len(x.letGo()); got != c.want {
				t.Errorf("%d were held, want %d", got, c.want)
			}
		})
	}
}
