package prober

import (
	"errors"
	"slices"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// ReplayedError is why nothing could be probed, as a stored round says: of the error itself only its text was kept.
type ReplayedError struct{ Text string }

func (e *ReplayedError) Error() string { return e.Text }

// input is what the rules are asked about a round, live and replayed.
func (r *Round) input() diagnose.Input {
	return diagnose.Input{Observations: r.Observations, Ladder: r.Ladder, Queue: r.OwnQueue, Priming: r.Priming, Follow: r.Follow}
}

// Store is what has to be kept of rounds so that they can be judged again. The observations are shared and not copied.
func Store(rounds []Round) []evidence.Round {
	out := make([]evidence.Round, len(rounds))
	for i := range rounds {
		r := &rounds[i]
		out[i] = evidence.Round{Target: r.Target, Addr: r.Addr, Module: r.Module, Kind: string(r.Kind), Started: r.Started.Round(0),
			Duration: r.Duration, Lookup: r.Lookup, Ladder: r.Ladder, Kernel: r.Kernel, OwnQueue: r.OwnQueue, Priming: r.Priming, Follow: r.Follow, Member: r.Member,
			Success: r.Success, Why: r.Why, Reasoned: len(r.Reasoning) > 0, Untested: r.Untested, Witnesses: r.Witnesses, Observations: r.Observations}
		if r.Err != nil {
			out[i].Error = r.Err.Error()
		}
		if r.TCP != nil {
			d := evidence.Dialogue(*r.TCP)
			out[i].TCP = &d
		}
		if r.Check != nil {
			c := evidence.CheckTiming(r.Check.Timing)
			out[i].Check = &c
		}
	}
	return out
}

// Replay judges stored rounds again, with the rules of this program and no network. As they were stored, the real servers of a VIP stand
// behind it.
func Replay(stored []evidence.Round) []Round {
	var out []Round
	for len(stored) > 0 {
		vip := take(&stored, false)
		members := take(&stored, true)
		if len(members) > 0 || slices.ContainsFunc(vip, func(r Round) bool { return len(r.Witnesses) > 0 }) {
			vip = compare(vip, members)
		}
		out = append(out, vip...)
	}
	return out
}

// take judges the rounds in front that are members', or are not, and takes them off the list.
func take(stored *[]evidence.Round, members bool) (out []Round) {
	for len(*stored) > 0 && (*stored)[0].Member == members {
		out = append(out, replay(&(*stored)[0]))
		*stored = (*stored)[1:]
	}
	return out
}

func replay(s *evidence.Round) Round {
	r := Round{Target: s.Target, Addr: s.Addr, Module: s.Module, Kind: Kind(s.Kind), Started: s.Started, Duration: s.Duration, Lookup: s.Lookup,
		Ladder: s.Ladder, Kernel: s.Kernel, OwnQueue: s.OwnQueue, Priming: s.Priming, Follow: s.Follow, Member: s.Member, Success: s.Success, Why: s.Why,
		Untested: s.Untested, Witnesses: s.Witnesses, Observations: s.Observations}
	if s.TCP != nil {
		t := TCPResult(*s.TCP)
		r.TCP = &t
	}
	for i := range r.Observations {
		for k := range r.Observations[i].Transfers {
			r.Observations[i].Transfers[k].Judge()
		}
		for k := range r.Observations[i].Holed {
			r.Observations[i].Holed[k].Judge()
		}
	}
	switch {
	case s.Error != "":
		r.Err = &ReplayedError{s.Error}
		return r
	case r.Kind == KindNeighborQueue:
		r.Err = &ReplayedError{"a round of module " + s.Module + " is a measurement: there is nothing to judge again; see " + evidence.DiagnosisFile}
		return r
	case r.Kind == KindPAWS:
		r.readTimestamps()
	case s.Check != nil:
		r.readCheck(experiment.CheckTiming(*s.Check))
	}
	r.conclude()
	if !s.Reasoned {
		r.Reasoning = nil
	}
	return r
}

// Replayed reports whether an error was read from a stored round.
func Replayed(err error) bool {
	_, is := errors.AsType[*ReplayedError](err)
	return is
}

// Cites are the numbers of the frames that a finding rests on: those of the attempts that were not served at once, in the observations whose
// losses it accounts for, and where it is about neighbours their frames too. There are none where no frames were recorded, or where
// several causes share the losses and the finding does not say which are its own.
func (r *Round) Cites(f *diagnose.Finding) []int {
	bursts := f.Explains()
	if len(bursts) == 0 && len(r.Diagnosis.Causes) == 1 && f == &r.Diagnosis.Causes[0] && f.Verdict != diagnose.Healthy {
		for i := range r.Observations {
			bursts = append(bursts, i)
		}
	}
	var out []int
	for _, i := range bursts {
		if i < 0 || i >= len(r.Observations) {
			continue
		}
		o := &r.Observations[i]
		n := observe.NumbersOf(o)
		hit := 0
		for k := range o.Attempts {
			if a := &o.Attempts[k]; a.Outcome != observe.Accepted || a.Retransmissions > 0 {
				out = append(out, n.Attempt(k)...)
				hit++
			}
		}
		if hit > 0 && f.Verdict.OfNeighbor() {
			out = append(out, n.Attempt(-1)...)
		}
	}
	return out
}

// CitesArm are the numbers of the frames of all attempts of an arm, by its name; none where nothing was recorded, or where the row of the
// table is none of the arms that were sent.
func (r *Round) CitesArm(name string) []int {
	var out []int
	for i := range r.Observations {
		o := &r.Observations[i]
		n := observe.NumbersOf(o)
		for k := range o.Attempts {
			if o.Attempts[k].Arm == name {
				out = append(out, n.Attempt(k)...)
			}
		}
	}
	return out
}
