package profile

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// stamped is an answer that came at a time, took so long, and has a TSval.
func stamped(at, took time.Duration, val wire.TSval) observe.Attempt {
	t0 := time.Unix(1000, 0)
	return observe.Attempt{Arm: armFull, Outcome: observe.Accepted, RTT: took, SYNs: []observe.SYN{{At: t0.Add(at - took)}},
		Answers: []observe.Answer{{At: t0.Add(at), Kind: observe.SYNACK, HasTS: true, TSval: val}}}
}

func TestWhereTimestampsStart(t *testing.T) {
	first := wire.TSval(1<<32 - 3) // the clock passes 2³²
	one := []observe.Attempt{stamped(10*ms, ms, first), stamped(14*ms, ms, first+4), stamped(18*ms, ms, first+8)}
	for _, tc := range []struct {
		name string
		last observe.Attempt
		want string
	}{
		{"all on time", stamped(22*ms, ms, first+12), "one clock"},
		{"an answer held up on its way", stamped(90*ms, 69*ms, first+12), "one clock"},
		{"a SYN held up on its way", stamped(90*ms, 69*ms, first+80), "one clock"},
		{"a SYN cookie", stamped(22*ms, ms, first+12-63), "one clock"},
		{"near miss: further behind than a cookie", stamped(22*ms, ms, first+12-90), "2 clocks in 4 connections"},
		{"near miss: ahead, as no cookie is", stamped(22*ms, ms, first+12+90), "2 clocks in 4 connections"},
		{"near miss: held up, but not as long", stamped(190*ms, 69*ms, first+12), "2 clocks in 4 connections"},
	} {
		p := &Profile{Values: Read([]observe.Observation{{Kind: plan.KindProfile, Captured: true, Attempts: append(one[:3:3], tc.last)}})}
		if v, _ := p.Value(TimestampStart); v.Text != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, v.Text, tc.want)
		}
	}
}
