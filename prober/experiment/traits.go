package experiment

import "github.com/vipprobe/vipprobe/prober/plan"

// traits are what the investigation needs to know of an experiment beside its burst.
type traits struct {
	// most is how many bursts of the kind one investigation may make, cost their order: what takes seconds comes after what takes
	// milliseconds.
	most, cost int
}

func traitsOf(k plan.Kind) traits {
	known := map[plan.Kind]traits{
		plan.KindConnect: {4, 4}, plan.KindQuadrants: {8, 1}, plan.KindSticky: {8, 2}, plan.KindEven: {8, 2}, plan.KindOracle: {16, 1}, plan.KindFollow: {24, 1}, plan.KindPlain: {2, 1},
		plan.KindPaced: {4, 3}, plan.KindRate: {4, 3}, plan.KindSizes: {2, 3}, plan.KindOther: {2, 1}, plan.KindSurvey: {2, 1}, plan.KindCells: {12, 1}, plan.KindWatch: {3, 5},
		plan.KindServed: {2, 2}, plan.KindReuse: {2, 2}, plan.KindStateful: {2, 2}, plan.KindWalk: {2, 3}, plan.KindSource: {2, 2}, plan.KindHold: {2, 5}, plan.KindBacklog: {2, 5},
		plan.KindAgain: {6, 2}, plan.KindPing: {2, 2}, plan.KindTransfer: {3, 4}, plan.KindGentle: {4, 4}, plan.KindSmall: {3, 4},
	}
	if t, ok := known[k]; ok {
		return t
	}
	return traits{2, 4}
}
