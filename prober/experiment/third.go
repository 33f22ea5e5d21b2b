package experiment

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// thirdRungs is how often a flow is asked, with the right number and with another in turn.
const thirdRungs = 6

// thirdAgain sends the third segments of the last handshakes that were answered, right and wrong, with a few bare ACKs among them: a valid SYN cookie that is swallowed
// shows a full accept queue. Where it is taken after all, it carries a line end, so that the connection shows itself, and is reset.
func (v *Investigation) thirdAgain(b *plan.Burst, s plan.Script, seen []observe.Observation) {
	list := diagnose.Thirds(seen)
	if len(list) == 0 {
		return
	}
	all := v.flows(16)
	list = list[max(len(list)-max(3*all/4, 1), 0):]
	b.Shots = b.Shots[:min(len(b.Shots), all-len(list))]
	gap := patience(seen) / 4
	at := make([]time.Duration, thirdRungs)
	for i := range at {
		at[i] = time.Duration(i) * gap
	}
	s.Ladder, s.Then.Data = plan.Custom(at...), []byte("\r\n")
	b.Arms = append(b.Arms, plan.Arm{Name: diagnose.ThirdAgain, Via: plan.Raw, Script: s})
	for _, t := range list {
		f := wire.Flow{Src: t.Flow.Src, Dst: v.Dst}
		b.Shots = append(b.Shots, plan.Shot{Arm: len(b.Arms) - 1, Flow: f, Again: strayed(seen, f), ISS: &t.Seq, Acks: []wire.Seq{t.Ack, t.Ack + diagnose.ThirdOff}})
	}
	v.Rand.Shuffle(len(b.Shots), func(i, j int) { b.Shots[i], b.Shots[j] = b.Shots[j], b.Shots[i] })
	for i := range b.Shots {
		b.Shots[i].Offset = time.Duration(i) * 10 * time.Millisecond
	}
	b.Listen += at[thirdRungs-1]
}

// strayed reports whether a flow had bare ACKs of ours before.
func strayed(seen []observe.Observation, f wire.Flow) bool {
	return slices.ContainsFunc(seen, func(o observe.Observation) bool {
		return o.Kind == plan.KindStray && slices.ContainsFunc(o.Attempts, func(a observe.Attempt) bool { return a.Flow == f && len(a.SYNs) > 0 })
	})
}
