package profile

import (
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

const peerISS = wire.Seq(4294967290) // the answer passes 2³²

// held is an answer of ten segments whose first was not acknowledged, and so many behind it were; its repeat came after wait, or never where 0.
func held(arm string, acks int, wait time.Duration) observe.Attempt {
	t0 := time.Unix(1000, 0)
	var sack wire.Options
	sack.Append(wire.OptSACKPermitted)
	data := func(at time.Duration, n int) observe.Answer {
		return observe.Answer{At: t0.Add(at), Kind: observe.Data, Seq: peerISS + 1, Length: n}
	}
	a := observe.Attempt{Arm: arm, Outcome: observe.Accepted, RTT: ms, SYNs: []observe.SYN{{At: t0}},
		Sent:    []observe.Sent{{At: t0.Add(101 * ms), Flags: wire.ACK, Ack: peerISS + 1}, {At: t0.Add(101 * ms), Flags: wire.ACK | wire.PSH, Ack: peerISS + 1, Length: 1}},
		Answers: []observe.Answer{{At: t0.Add(ms), Kind: observe.SYNACK, Seq: peerISS, Options: sack}, data(102*ms, 10*smallMSS)}}
	for range acks {
		a.Sent = append(a.Sent, observe.Sent{At: t0.Add(202 * ms), Flags: wire.ACK, Ack: peerISS + 1})
	}
	if wait > 0 {
		a.Answers = append(a.Answers, data(202*ms+ms+wait, smallMSS))
	}
	return a
}

func recovered(list ...observe.Attempt) *Profile {
	o := observe.Observation{Kind: plan.KindProfile, Captured: true, Arms: []plan.Arm{{Name: armHoled}, {Name: armHoled2}}, Attempts: list}
	return &Profile{Values: Read([]observe.Observation{o})}
}

// row is nine trials whose repeats came after these times, the last time for all that follow, and three more each of those that are asked again.
func row(waits ...time.Duration) []observe.Attempt {
	var list []observe.Attempt
	at := func(k int) time.Duration { return waits[min(k, len(waits))-1] }
	for k := 1; k <= recoveryFlows; k++ {
		list = append(list, held(armHoled, k, at(k)))
	}
	for _, k := range confirms([]observe.Observation{{Attempts: list}}) {
		for range recoveryAgain {
			list = append(list, held(armHoled2, k, at(k)))
		}
	}
	return list
}

func TestWhatRepeatsSayOfReordering(t *testing.T) {
	const soon, timed = 2 * ms, 28 * ms
	lost := row(timed, timed, soon)
	lost[2] = held(armHoled, 3, timed) // an acknowledgment of it was lost
	lost = append(lost, held(armHoled2, 3, soon))
	slow := row(timed, timed, soon)
	slow[1].RTT = 25 * ms // of nine handshakes one was held up; its repeat was not
	refused := held(armHoled, 3, soon)
	refused.Answers[0].Options = wire.Options{}
	short := held(armHoled, 0, 0)
	large := held(armHoled, 3, soon)
	large.Answers[2].Length = 536
	early := held(armHoled, 3, soon)
	early.Answers = append(early.Answers[:2:2], observe.Answer{At: early.Answers[1].At.Add(50 * ms), Kind: observe.Data, Seq: peerISS + 1, Length: smallMSS})
	for _, tc := range []struct {
		name      string
		list      []observe.Attempt
		after     string
		state     State
		loss, why string
	}{
		{name: "three at once, fewer by time", list: row(timed, timed, soon), after: "3", state: Measured, loss: "on"},
		{name: "three at once, fewer never", list: row(0, 0, soon), after: "3", state: Measured, loss: "off"},
		{name: "fewer only by a tail loss probe", list: row(150*ms, 150*ms, soon), after: "3", state: Measured, loss: "off"},
		{name: "one is enough", list: row(soon), after: "1", state: Measured},
		{name: "time alone", list: row(timed), after: "≥ 10", state: AtLeast, loss: "on"},
		{name: "nothing but the time-out", list: row(0), after: "≥ 10", state: AtLeast, loss: "off"},
		{name: "a handshake held up", list: slow, after: "3", state: Measured, loss: "on"},
		{name: "one acknowledgment lost, and asked again", list: lost, after: "3", state: Measured, loss: "on"},
		{name: "not asked again", list: row(timed, timed, soon)[:recoveryFlows], after: "1 to 3", state: Between, loss: "on"},
		{name: "all late by as much as a busy machine makes it", list: row(12 * ms), state: NotMeasured, why: unsteady},
		{name: "late beyond the threshold: at most that", list: row(timed, timed, soon, soon, timed), after: "1 to 3", state: Between},
		{name: "waits too different for one timer: at most that", list: row(timed, 2*timed, soon), after: "1 to 3", state: Between},
		{name: "some by time, some never", list: row(timed, 0, soon), after: "3", state: Measured},
		{name: "no SACK", list: []observe.Attempt{refused, refused, refused}, state: NotMeasured, why: "the SYN-ACK does not permit SACK, and a plain duplicate cannot be told from a window update"},
		{name: "a short answer", list: []observe.Attempt{short, short, short}, state: NotMeasured, why: "the answer is short: ask for something longer"},
		{name: "other segments", list: append(row(timed, timed, soon), large), state: NotMeasured, why: otherSegments},
		{name: "a time-out before", list: []observe.Attempt{early, early, early}, state: NotMeasured, why: "the first segment was repeated before anything was acknowledged"},
		{name: "not asked for", state: NotMeasured, why: NotAsked},
	} {
		p := recovered(tc.list...)
		v, _ := p.Value(Reordering)
		loss, _ := p.Value(LossByTime)
		if v.Text != tc.after || v.State != tc.state || tc.why != "" && v.Why != tc.why || loss.Text != tc.loss || loss.Known() != (tc.loss != "") {
			t.Errorf("%s: %s %q (%s); by time %s %q (%s)", tc.name, v.State, v.Text, v.Why, loss.State, loss.Text, loss.Why)
		}
	}
}

// completed is a connection whose ACK left late, and what it met after that.
func completed(arm string, after ...observe.Answer) observe.Attempt {
	t0 := time.Unix(1000, 0)
	a := observe.Attempt{Arm: arm, Outcome: observe.Accepted, RTT: ms, ISS: 7, SYNs: []observe.SYN{{At: t0}}, Sent: []observe.Sent{{At: t0.Add(5000 * ms), Flags: wire.ACK}},
		Answers: []observe.Answer{{At: t0.Add(ms), Kind: observe.SYNACK, Seq: peerISS}}}
	for _, x := range after {
		if x.At.IsZero() {
			x.At = t0.Add(5001 * ms)
		}
		a.Answers = append(a.Answers, x)
	}
	return a
}

func TestWhatALateACKMeets(t *testing.T) {
	t0 := time.Unix(1000, 0)
	rst := observe.Answer{Kind: observe.RST, Flags: wire.RST, Seq: peerISS + 1}
	abort := observe.Answer{Kind: observe.RST, Flags: wire.RST | wire.ACK, Seq: peerISS + 1}
	alive := observe.Answer{Kind: observe.BareACK, Seq: peerISS + 1, Ack: 8}
	stray := observe.Answer{Kind: observe.BareACK, Seq: peerISS.Add(9), Ack: 8}
	repeat := observe.Answer{At: t0.Add(1000 * ms), Kind: observe.SYNACK, Seq: peerISS}
	for _, tc := range []struct {
		name     string
		one, two []observe.Answer
		want     string
	}{
		{"taken", []observe.Answer{alive}, []observe.Answer{{Kind: observe.Data, Length: 3}}, "yes"},
		{"taken, and ended by the application", []observe.Answer{abort}, []observe.Answer{abort}, "yes"},
		{"forgotten", []observe.Answer{rst}, []observe.Answer{rst}, "no"},
		{"repeated after all", []observe.Answer{repeat, alive}, []observe.Answer{alive}, "no"},
		{"one of each", []observe.Answer{alive}, []observe.Answer{rst}, ""},
		{"one alone", []observe.Answer{alive}, nil, ""},
		{"an ACK of another connection", []observe.Answer{stray}, []observe.Answer{stray}, ""},
		{"silence", nil, nil, ""},
	} {
		o := observe.Observation{Kind: plan.KindProfile, Captured: true, Arms: []plan.Arm{{Name: armLate}},
			Attempts: []observe.Attempt{completed(armLate, tc.one...), completed(armLate, tc.two...)}}
		p := Profile{Values: Read([]observe.Observation{o})}
		if v, _ := p.Value(SYNCookies); v.Text != tc.want || v.Known() != (tc.want != "") || !v.Known() && v.Why == "" {
			t.Errorf("%s: %+v, want %q", tc.name, v, tc.want)
		}
	}
}

func TestWhatAFullAcceptQueueAnswers(t *testing.T) {
	rst := observe.Answer{Kind: observe.RST, Flags: wire.RST, Seq: peerISS + 1}
	abort := observe.Answer{Kind: observe.RST, Flags: wire.RST | wire.ACK, Seq: peerISS + 1}
	again := observe.Answer{At: time.Unix(1006, 0), Kind: observe.SYNACK, Seq: peerISS}
	idle := completed(armIdle)
	defers := completed(armIdle, again)
	ok := completed(armFill)
	for _, tc := range []struct {
		name string
		list []observe.Attempt
		want string
	}{
		{"reset", []observe.Attempt{idle, idle, ok, completed(armFill, rst)}, "on"},
		{"silent, and the SYN-ACK again", []observe.Attempt{idle, idle, ok, completed(armFill, again)}, "off"},
		{"room for all", []observe.Attempt{idle, idle, ok, ok}, ""},
		{"the application's own reset", []observe.Attempt{idle, idle, ok, completed(armFill, abort)}, ""},
		{"all reset", []observe.Attempt{idle, idle, completed(armFill, rst), completed(armFill, rst)}, ""},
		{"both", []observe.Attempt{idle, idle, ok, completed(armFill, rst), completed(armFill, again)}, ""},
		{"a listener that waits for data", []observe.Attempt{defers, defers, ok, completed(armFill, again)}, ""},
	} {
		o := observe.Observation{Kind: plan.KindProfile, Captured: true, Arms: []plan.Arm{{Name: armFill}}, Attempts: tc.list}
		p := Profile{Values: Read([]observe.Observation{o})}
		if v, _ := p.Value(AbortOnOverflow); v.Text != tc.want || v.Known() != (tc.want != "") || !v.Known() && v.Why == "" {
			t.Errorf("%s: %+v, want %q", tc.name, v, tc.want)
		}
	}
}
