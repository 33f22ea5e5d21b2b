package experiment

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// traits are what the investigation needs to know of an experiment beside its burst.
type traits struct {
	// most is how many bursts of the kind one investigation may make.
	most int
	// takes is how long a burst of the kind lasts where something is lost, beside waits times the patience of the moment.
	takes time.Duration
	waits float64
}

func traitsOf(k plan.Kind) traits {
	const ms = time.Millisecond
	known := map[plan.Kind]traits{
		plan.KindConnect: {4, 1500 * ms, 0}, plan.KindQuadrants: {20, 60 * ms, 2}, plan.KindSticky: {8, 50 * ms, 3}, plan.KindEven: {8, 720 * ms, 2}, plan.KindAgain: {6, 1400 * ms, 1},
		plan.KindOracle: {16, 100 * ms, 0}, plan.KindFollow: {24, 100 * ms, 0}, plan.KindSides: {6, 60 * ms, 1}, plan.KindCircle: {6, 10 * ms, 1}, plan.KindPlain: {2, 60 * ms, 1}, plan.KindLook: {3, 60 * ms, 1}, plan.KindVolley: {4, 10 * ms, 1}, plan.KindECN: {4, 60 * ms, 1}, plan.KindCells: {12, 450 * ms, 1}, plan.KindSurvey: {2, surveyTime, 0},
		plan.KindPaced: {4, 8 * pacedGap, 1}, plan.KindRate: {4, rateTime, 1}, plan.KindScope: {2, 3 * rateTime, 1}, plan.KindSizes: {2, 500 * ms, 2}, plan.KindServed: {2, servedWait, 2}, plan.KindReuse: {2, 50 * ms, 2},
		plan.KindOther: {4, 80 * ms, 1}, plan.KindStray: {3, 80 * ms, 1}, plan.KindStateful: {2, servedWait, 2}, plan.KindWalk: {2, 930 * ms, 1}, plan.KindSource: {2, 150 * ms, 1},
		plan.KindWatch: {6, 16 * watchGap, 1}, plan.KindHold: {3, 3 * time.Second, 2}, plan.KindFreed: {1, forgets, 1}, plan.KindBacklog: {2, backlogWait, 1}, plan.KindIdle: {2, idleWait, 3},
		plan.KindResolve: {2, 2500 * ms, 0}, plan.KindPing: {2, 1200 * ms, 0}, plan.KindTransfer: {3, 2 * time.Second, 0}, plan.KindGentle: {4, 2 * time.Second, 0},
		plan.KindSmall: {3, 2 * time.Second, 0}, plan.KindHoled: {2, holedSegments * holedGap, 2},
	}
	if t, ok := known[k]; ok {
		return t
	}
	return traits{2, 2 * time.Second, 1}
}

// seconds is how long a burst of the kind may last, and what any costs beside.
func (t traits) seconds(wait time.Duration) float64 {
	const each = 0.25
	return each + t.takes.Seconds() + t.waits*wait.Seconds()
}

// most is how many bursts of a wanted kind an investigation may make.
func most(w diagnose.Want) int {
	m := traitsOf(w.Kind).most
	if w.Most > 0 {
		m = min(m, w.Most)
	}
	return m
}
