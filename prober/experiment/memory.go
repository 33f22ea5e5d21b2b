package experiment

import (
	"fmt"
	"math"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// searchRungs is how many TSvals each flow of a search is asked with, at most.
const searchRungs = 5

// fewVals is up to how many each flow can be asked with all.
const fewVals = 5

// search looks for the remembered TSval: each flow begins with one that is refused, as far as is known, and repeats its SYN with newer ones
// until it is answered. So each flow keeps to one real server, and between them the flows ask as many TSvals as fit.
func (v *Investigation) search(seen []observe.Observation) plan.Burst {
	patience := oraclePatience(seen)
	b := plan.Burst{Listen: patience}
	m, ok := diagnose.ReadMemory(seen)
	if !ok {
		return b
	}
	wait := v.followEvery()
	q := diagnose.NextSearch(&m, wait+patience)
	if !q.Again {
		wait = 0
	}
	n := v.flows(16)
	vals := between(q, n*(searchRungs-2))
	gap := min(max(slowest(seen)/2, 4*time.Millisecond), 40*time.Millisecond)
	for i := range n {
		s := v.fixed(q.Lo, plan.Single(), plan.Reset)
		own := rungs(q, vals, i, n)
		at := make([]time.Duration, len(own))
		for k := range at {
			at[k] = time.Duration(k) * gap
			s.Clock.Turns = append(s.Clock.Turns, own[k]-q.Lo)
		}
		s.Ladder = plan.Custom(at...)
		b.Listen = max(b.Listen, at[len(at)-1]+patience)
		b.Arms = append(b.Arms, plan.Arm{Name: fmt.Sprintf("from TSval %d, %d", q.Lo, i), Via: plan.Raw, Script: s})
		v.shots(&b, i, 1, wait+time.Duration(i)*200*time.Microsecond, 0)
	}
	return b
}

// between lists up to n TSvals above q.Lo and below q.Hi: all of them, where there are so few.
func between(q diagnose.Search, n int) []wire.TSval {
	width := int64(q.Hi.Sub(q.Lo))
	out := make([]wire.TSval, 0, n)
	last := int64(0)
	for i := range n {
		d := width * int64(i+1) / int64(n+1)
		if q.Again {
			d = int64(math.Round(math.Pow(float64(width), float64(i)/float64(n))))
		}
		if d = max(d, last+1); d >= width {
			break
		}
		if q.Again && q.Lo.Add(d) == q.Next {
			d++
		}
		out = append(out, q.Lo.Add(d))
		last = d
	}
	return out
}

// rungs are the TSvals of flow i of n: the refused one, every n-th of vals, and in the end the one that is answered if nothing has moved.
// Where there are so few that each flow can have all, it has these, and the refused one twice. The last is asked twice, so that a flow without
// any answer says something under loss as well.
func rungs(q diagnose.Search, vals []wire.TSval, i, n int) []wire.TSval {
	out := []wire.TSval{q.Lo}
	if q.Again {
		out = append(out, q.Next)
	}
	if len(vals) <= fewVals {
		out = append(append(out, q.Lo), vals...)
	} else {
		for k := i; k < len(vals); k += n {
			out = append(out, vals[k])
		}
	}
	return append(out, q.Hi, q.Hi)
}

// slowest is the longest round trip seen.
func slowest(seen []observe.Observation) time.Duration {
	var d time.Duration
	for i := range seen {
		for j := range seen[i].Attempts {
			d = max(d, seen[i].Attempts[j].RTT)
		}
	}
	return d
}

// followEvery is the time between two looks at a memory that is followed.
func (v *Investigation) followEvery() time.Duration {
	follow := v.Host.Follow
	if follow == 0 {
		follow = diagnose.DefaultFollow
	}
	return min(max(follow/10, 700*time.Millisecond), 5*time.Second)
}
