package diagnose

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/stats"
)

// Share is how many of N attempts stalled or failed.
type Share struct{ Bad, N int }

func (s Share) String() string { return fmt.Sprintf("%d of %d", s.Bad, s.N) }

// CompareVIP says in one sentence what a VIP's share and its real servers' share, taken in the same second, mean together. The
// shares are held to differ at α = 0.01 by Fisher's exact test.
func CompareVIP(vip, reals Share) string {
	const alpha = 0.01
	worse := stats.FisherGreater(stats.Arm{Hits: vip.Bad, N: vip.N}, stats.Arm{Hits: reals.Bad, N: reals.N})
	better := stats.FisherGreater(stats.Arm{Hits: reals.Bad, N: reals.N}, stats.Arm{Hits: vip.Bad, N: vip.N})
	switch {
	case vip.N == 0 || reals.N == 0:
		return "nothing to compare: one side could not be probed"
	case vip.Bad == 0 && reals.Bad == 0:
		return "neither the VIP nor a real server stalled or failed"
	case worse < alpha:
		return fmt.Sprintf("the VIP is worse (%s against %s, p = %.2g): look at the balancer, its SNAT, and the path behind it", vip, reals, worse)
	case better < alpha:
		return fmt.Sprintf("the real servers are worse from here than through the VIP (%s against %s, p = %.2g): the balancer hides or avoids what is wrong with them",
			reals, vip, better)
	}
	return fmt.Sprintf("VIP %s, real servers %s: no difference that chance could not make (p = %.2g); more attempts would settle it", vip, reals, min(worse, better))
}
