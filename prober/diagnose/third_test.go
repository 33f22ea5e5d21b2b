package diagnose

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// sentAgain is a round of n connections that were accepted once, whose handshakes' ACKs were sent again: answers lists what each flow drew, and fresh how many bare ACKs beside
// them drew an RST.
func sentAgain(fresh int, answers ...[]observe.Answer) *Input {
	start := time.Unix(1_700_000_000, 0)
	connect := observe.Observation{Kind: plan.KindConnect, Captured: true, Started: start, Finished: start.Add(time.Millisecond)}
	stray := observe.Observation{Kind: plan.KindStray, Captured: true, Started: start.Add(time.Second), Finished: start.Add(2 * time.Second),
		Arms: []plan.Arm{{Name: "bare ACK", Via: plan.Raw}, {Name: ThirdAgain, Via: plan.Raw}}}
	flow := func(p int) wire.Flow {
		return wire.Flow{Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 10}), uint16(p)), Dst: netip.MustParseAddrPort("192.0.2.80:80")}
	}
	for i, list := range answers {
		at := start.Add(time.Duration(i) * time.Microsecond)
		connect.Attempts = append(connect.Attempts, observe.Attempt{Index: i, Via: plan.Kernel, Flow: flow(20000 + i), ISS: 6, Outcome: observe.Accepted, SYNs: []observe.SYN{{At: at}},
			Answers: []observe.Answer{{At: at.Add(time.Millisecond), Kind: observe.SYNACK, Seq: 99}}})
		stray.Attempts = append(stray.Attempts, observe.Attempt{Index: i, Via: plan.Raw, Arm: ThirdAgain, Flow: flow(20000 + i), SYNs: make([]observe.SYN, 6), Answers: list})
	}
	for i := range fresh {
		stray.Attempts = append(stray.Attempts, observe.Attempt{Via: plan.Raw, Arm: "bare ACK", Flow: flow(30000 + i), SYNs: make([]observe.SYN, 1), Answers: []observe.Answer{{Kind: observe.RST}}})
	}
	return &Input{Observations: []observe.Observation{connect, stray}, read: &readOnce{}}
}

func TestSwallowedACKs(t *testing.T) {
	t.Parallel()
	right, wrong := observe.Answer{Kind: observe.RST, Seq: 100}, observe.Answer{Kind: observe.RST, Seq: 100 + ThirdOff}
	swallows, gone, nothing := []observe.Answer{wrong, wrong, wrong}, []observe.Answer{right, wrong}, []observe.Answer(nil)
	live := []observe.Answer{{Kind: observe.BareACK}, wrong}
	for _, tc := range []struct {
		name  string
		in    *Input
		level Level
	}{
		{"two flows of four bring a cookie back to a full queue", sentAgain(8, gone, gone, swallows, swallows), Suspected},
		{"three do", sentAgain(8, gone, swallows, swallows, swallows), Confirmed},
		{"one does, and few bare ACKs beside it", sentAgain(2, gone, gone, gone, swallows), Inconclusive},
		{"one does, and eight bare ACKs beside it", sentAgain(8, swallows), Suspected},
		{"all are gone: no cookies, or a filter for SYNs", sentAgain(8, gone, gone, gone, gone), Inconclusive},
		{"one is taken: there is room", sentAgain(8, live, swallows, swallows, swallows), Inconclusive},
		{"the wrong number is swallowed as well: something drops what belongs to no connection", sentAgain(8, nothing, nothing, nothing, nothing), Inconclusive},
		{"so it is on most", sentAgain(8, nothing, nothing, nothing, nothing, swallows, swallows), Suspected},
	} {
		s := readSwallowed(tc.in)
		if got := s.level(); got != tc.level {
			t.Errorf("%s: %s, want %s: %+v", tc.name, got, tc.level, s)
		}
	}
}

// TestThirdsAreOfTheLastAnswer: only where nothing was answered since, and not longer than a cookie is good for.
func TestThirdsAreOfTheLastAnswer(t *testing.T) {
	t.Parallel()
	in := sentAgain(0, nil, nil)
	first := in.Observations[:1]
	if got := Thirds(first); len(got) != 2 || got[0].Seq != 7 || got[0].Ack != 100 {
		t.Errorf("of two connections: %+v", got)
	}
	silent := observe.Observation{Kind: plan.KindQuadrants, Captured: true, Finished: first[0].Finished.Add(time.Second), Attempts: make([]observe.Attempt, 2)}
	if got := Thirds(append(first[:1:1], silent)); len(got) != 2 {
		t.Errorf("before silence: %+v", got)
	}
	served := silent
	served.Attempts = []observe.Attempt{{Answers: []observe.Answer{{Kind: observe.SYNACK}}}}
	if got := Thirds(append(first[:1:1], served)); len(got) != 0 {
		t.Errorf("before an answer: %+v", got)
	}
	silent.Finished = first[0].Finished.Add(cookieLife + time.Second)
	if got := Thirds(append(first[:1:1], silent)); len(got) != 0 {
		t.Errorf("long before: %+v", got)
	}
}
