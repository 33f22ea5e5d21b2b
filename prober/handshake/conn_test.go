package handshake

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// The ISS lies so that sequence numbers pass 2³² on the way.
const iss, irs = wire.Seq(0xfffffffd), wire.Seq(0x7ffffffe)

const ms = time.Millisecond

// step is one event of a conversation and what it draws. in is nil where only time passes.
type step struct {
	at   time.Duration
	in   *wire.Segment
	want []string
	then State
}

// show writes a Send with its numbers counted from ISS and IRS.
func show(s *Send) string {
	line := fmt.Sprintf("%s %d", s.Flags, s.Seq.Sub(iss))
	if s.Flags&wire.ACK != 0 {
		line += fmt.Sprintf(" ack %d", s.Ack.Sub(irs))
	}
	if len(s.Payload) > 0 {
		line += fmt.Sprintf(" %q", s.Payload)
	}
	if s.HasTS {
		line += fmt.Sprintf(" ts %d/%d", s.TSval, s.TSecr)
	}
	if s.HasSack {
		line += fmt.Sprintf(" sack %d-%d", s.SackFrom.Sub(irs), s.SackTo.Sub(irs))
	}
	return line
}

func converse(t *testing.T, script plan.Script, steps []step) {
	t.Helper()
	c := New(&script, iss)
	for i, st := range steps {
		var got []string
		for _, s := range c.Step(st.at, st.in, nil) {
			got = append(got, show(&s))
		}
		if diff := cmp.Diff(st.want, got); diff != "" {
			t.Fatalf("step %d at %s (-want +got):\n%s", i, st.at, diff)
		}
		if c.State() != st.then {
			t.Fatalf("step %d at %s: state %s, want %s", i, st.at, c.State(), st.then)
		}
	}
}

// The peer's segments; numbers count from IRS and ISS.
func synAck() *wire.Segment { return synAckTo(iss + 1) }

func synAckTo(ack wire.Seq) *wire.Segment {
	return &wire.Segment{Flags: wire.SYN | wire.ACK, Seq: irs, Ack: ack}
}

func from(flags wire.Flags, seq, ack int, payload string) *wire.Segment {
	return &wire.Segment{Flags: flags, Seq: irs.Add(seq), Ack: iss.Add(ack), Payload: []byte(payload), Length: len(payload)}
}

func timestamps(s *wire.Segment, val, ecr wire.TSval) *wire.Segment {
	s.Options.AppendTimestamps(val, ecr)
	return s
}

func TestTheLadderIsClimbed(t *testing.T) {
	t.Parallel()
	script := plan.Script{Options: wire.LinuxSYN(1460, 0, 7), Clock: plan.TSClock{Start: 0xffffffff, Hz: 1000}, Ladder: plan.Custom(0, time.Second, 3*time.Second)}
	converse(t, script, []step{
		{0, nil, []string{"S 0 ts 4294967295/0"}, SynSent},
		{999 * ms, nil, nil, SynSent},
		{1000 * ms, nil, []string{"S 0 ts 999/0"}, SynSent},
		{3100 * ms, nil, []string{"S 0 ts 3099/0"}, SynSent},
		{time.Hour, nil, nil, SynSent},
	})
}

func TestNothingIsAnsweredBeforeTheFirstSYN(t *testing.T) {
	t.Parallel()
	converse(t, plan.Script{}, []step{{0, synAck(), nil, Unsent}, {0, from(wire.RST|wire.ACK, 0, 1, ""), nil, Unsent}})
}

func TestAnEmptyLadderSendsOneSYN(t *testing.T) {
	t.Parallel()
	converse(t, plan.Script{}, []step{{0, nil, []string{"S 0"}, SynSent}, {time.Hour, nil, nil, SynSent}})
}

func TestHalfOpenIsResetAtOnce(t *testing.T) {
	t.Parallel()
	syn := step{0, nil, []string{"S 0"}, SynSent}
	script := plan.Script{Ladder: plan.Custom(0, time.Second), OnSYNACK: plan.Reset}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"one RST for one SYN-ACK, and for each repeat one", []step{syn, {1, synAck(), []string{"R 1"}, Reset}, {2, synAck(), []string{"R 1"}, Reset},
			{time.Second, nil, nil, Reset}}},
		{"ack ISS+2 is not ours", []step{syn, {1, synAckTo(iss + 2), nil, SynSent}, {time.Second, nil, []string{"S 0"}, SynSent}}},
		{"ack ISS is not ours", []step{syn, {1, synAckTo(iss), nil, SynSent}}},
		{"a bare ACK is never answered", []step{syn, {1, from(wire.ACK, 0, 1, ""), nil, SynSent}, {2, from(wire.ACK, 9, 77, ""), nil, SynSent}}},
		{"data before the handshake is never answered", []step{syn, {1, from(wire.ACK|wire.PSH, 1, 1, "x"), nil, SynSent}}},
		{"a SYN of the peer's own is never answered", []step{syn, {1, from(wire.SYN, 0, 0, ""), nil, SynSent}}},
		{"refused", []step{syn, {1, from(wire.RST|wire.ACK, 0, 1, ""), nil, Refused}, {time.Second, nil, nil, Refused}}},
		{"RST for another ISN", []step{syn, {1, from(wire.RST|wire.ACK, 0, 2, ""), nil, SynSent}}},
		{"RST without ACK", []step{syn, {1, from(wire.RST, 1, 0, ""), nil, SynSent}}},
		{"a SYN-ACK after the refusal is still reset", []step{syn, {1, from(wire.RST|wire.ACK, 0, 1, ""), nil, Refused}, {2, synAck(), []string{"R 1"}, Refused}}},
		{"after the end a bare ACK, data and FIN are not answered", []step{syn, {1, synAck(), []string{"R 1"}, Reset},
			{2, from(wire.ACK, 1, 1, ""), nil, Reset}, {3, from(wire.ACK|wire.PSH, 1, 1, "x"), nil, Reset}, {4, from(wire.ACK|wire.FIN, 1, 1, ""), nil, Reset}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			converse(t, script, tc.steps)
		})
	}
}

func TestAPersistentFlowIsAskedAgainAfterEachReset(t *testing.T) {
	t.Parallel()
	converse(t, plan.Script{Ladder: plan.Custom(0, time.Second, 2*time.Second), OnSYNACK: plan.Reset, Persist: true}, []step{
		{0, nil, []string{"S 0"}, SynSent},
		{1, synAck(), []string{"R 1"}, SynSent},
		{time.Second, nil, []string{"S 0"}, SynSent},
		{time.Second + 1, synAckTo(iss + 2), nil, SynSent},
		{time.Second + 2, synAck(), []string{"R 1"}, SynSent},
		{2 * time.Second, nil, []string{"S 0"}, SynSent},
		{2*time.Second + 1, synAck(), []string{"R 1"}, Reset},
		{time.Hour, nil, nil, Reset},
	})
}

func TestAnUndeterredFlowIsAskedAgainAfterEachRefusal(t *testing.T) {
	t.Parallel()
	script := plan.Script{Ladder: plan.Custom(0, time.Second, 2*time.Second), OnSYNACK: plan.Reset, Persist: true, Undeterred: true}
	refusal := func() *wire.Segment { return &wire.Segment{Flags: wire.RST | wire.ACK, Ack: iss + 1} }
	converse(t, script, []step{
		{0, nil, []string{"S 0"}, SynSent},
		{1, refusal(), nil, SynSent},
		{time.Second, nil, []string{"S 0"}, SynSent},
		{time.Second + 1, synAck(), []string{"R 1"}, SynSent},
		{2 * time.Second, nil, []string{"S 0"}, SynSent},
		{2*time.Second + 1, refusal(), nil, Refused},
		{time.Hour, nil, nil, Refused},
	})
	c := New(&script, iss)
	for at := range 3 {
		c.Step(time.Duration(at)*time.Second, nil, nil)
		c.Unreachable()
		if last := at == 2; (c.State() == Dead) != last {
			t.Errorf("after ICMP to SYN %d: state %s", at, c.State())
		}
	}
}

// A SYN with an older TSval than the one before must not meet what that one left at the listener; one with a newer TSval may, and a reset
// would unmake the NAT entry that keeps the flow on its server.
func TestOnlyATSvalThatGoesBackIsPrecededByAReset(t *testing.T) {
	t.Parallel()
	script := plan.Script{Options: wire.LinuxSYN(1460, 0, 7), Ladder: plan.Custom(0, 100*ms, 200*ms, 300*ms), OnSYNACK: plan.Reset, Persist: true,
		Clock: plan.TSClock{Start: 0xfffffff0, Turns: []wire.TSval{0, 0x20, 0x1f, 0x1f}}}
	converse(t, script, []step{
		{0, nil, []string{"S 0 ts 4294967280/0"}, SynSent},
		{100 * ms, nil, []string{"S 0 ts 16/0"}, SynSent}, // newer, past 2³²
		{200 * ms, nil, []string{"R 1", "S 0 ts 15/0"}, SynSent},
		{300 * ms, nil, []string{"S 0 ts 15/0"}, SynSent},
	})
}

func TestIgnoredSYNACKsAreResetAtTheEnd(t *testing.T) {
	t.Parallel()
	script := plan.Script{OnSYNACK: plan.Ignore}
	c := New(&script, iss)
	c.Step(0, nil, nil)
	for range 3 {
		if got := c.Step(ms, synAck(), nil); len(got) != 0 || c.State() != HalfOpen || c.Settled() {
			t.Fatalf("%v, %s, settled %v", got, c.State(), c.Settled())
		}
	}
	got := c.Stop(time.Second, nil)
	if len(got) != 1 || show(&got[0]) != "R 1" || !c.Settled() {
		t.Errorf("at the end: %v, settled %v", got, c.Settled())
	}
}

func TestABareACKSentFirstIsEndedByItsRST(t *testing.T) {
	t.Parallel()
	script := plan.Script{First: wire.ACK}
	ack := step{0, nil, []string{". 0 ack " + fmt.Sprint(plan.FirstAck(iss).Sub(irs))}, SynSent}
	converse(t, script, []step{ack, {1, &wire.Segment{Flags: wire.RST, Seq: plan.FirstAck(iss) + 1}, nil, SynSent},
		{2, &wire.Segment{Flags: wire.RST, Seq: plan.FirstAck(iss)}, nil, Refused}})
}

// The end of an earlier handshake once more, and another number beside it: no RST ends that, and what the peer may have taken for a connection is reset.
func TestEarlierHandshakesAreEndedAgain(t *testing.T) {
	t.Parallel()
	script := plan.Script{First: wire.ACK, Ladder: plan.Custom(0, ms, 2*ms), Then: plan.Exchange{Data: []byte("hi")}}
	c := New(&script, iss)
	c.Acknowledge([]wire.Seq{irs + 1, irs + 1000})
	var got []string
	for at := range 3 {
		out := c.Step(time.Duration(at)*ms, nil, nil)
		for k := range out {
			got = append(got, show(&out[k]))
		}
		c.Step(time.Duration(at)*ms, &wire.Segment{Flags: wire.RST, Seq: irs + 1000}, nil)
	}
	if c.State() != SynSent || c.Settled() {
		t.Errorf("after RSTs: %s, settled %v", c.State(), c.Settled())
	}
	out := c.Stop(time.Second, nil)
	for k := range out {
		got = append(got, show(&out[k]))
	}
	if want := []string{". 0 ack 1 \"hi\"", ". 0 ack 1000 \"hi\"", ". 0 ack 1 \"hi\"", "R 2"}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestAnICMPErrorEndsAnUnansweredSYNOnly(t *testing.T) {
	t.Parallel()
	script := plan.Script{OnSYNACK: plan.Ignore}
	c := New(&script, iss)
	c.Step(0, nil, nil)
	c.Unreachable()
	if c.State() != Dead || !c.Settled() {
		t.Errorf("state %s", c.State())
	}
	c = New(&script, iss)
	c.Step(0, nil, nil)
	c.Step(1, synAck(), nil)
	c.Unreachable()
	if c.State() != HalfOpen {
		t.Errorf("after a SYN-ACK: state %s", c.State())
	}
}

func TestEveryStateHasAName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for s := Unsent; s <= Dead; s++ {
		if n := s.String(); n == "unknown" || seen[n] {
			t.Errorf("state %d is called %q", s, n)
		} else {
			seen[n] = true
		}
	}
	if State(99).String() != "unknown" {
		t.Error("a state that is none has a name")
	}
}

// A shot that is out of patience after its last SYN is settled, and a SYN-ACK that comes then is still reset.
func TestPatienceEnds(t *testing.T) {
	script := plan.Script{Ladder: plan.Custom(0, 100*ms), Patience: 400 * ms, OnSYNACK: plan.Acknowledge}
	converse(t, script, []step{
		{0, nil, []string{"S 0"}, SynSent},
		{100 * ms, nil, []string{"S 0"}, SynSent},
		{499 * ms, nil, nil, SynSent},
		{500 * ms, nil, nil, Dead},
		{501 * ms, synAck(), []string{"R 1"}, Dead},
	})
	script.OnSYNACK, script.Persist = plan.Reset, true
	converse(t, script, []step{
		{0, nil, []string{"S 0"}, SynSent},
		{1, synAck(), []string{"R 1"}, SynSent},
		{100 * ms, nil, []string{"S 0"}, SynSent},
		{101 * ms, synAck(), []string{"R 1"}, Reset},
	})
}
