package handshake

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// acked begins every exchange: SYN, SYN-ACK, our ACK, and what follows it at once.
func acked(follow ...string) []step {
	then := Established
	if len(follow) > 0 && follow[0][0] == 'R' {
		then = Reset
	}
	if len(follow) > 0 && follow[0][0] == 'F' {
		then = FinWait
	}
	return []step{{0, nil, []string{"S 0"}, SynSent}, {10 * ms, synAck(), append([]string{". 1 ack 1"}, follow...), then}}
}

func TestExchanges(t *testing.T) {
	t.Parallel()
	hello := []byte("hello")
	for _, tc := range []struct {
		name  string
		then  plan.Exchange
		steps []step
	}{
		{"abort at once", plan.Exchange{}, acked("R. 1 ack 1")},
		{"abort after a while; the SYN-ACK's repeat is acknowledged until then, and reset after", plan.Exchange{CloseDelay: 50 * ms}, append(acked(),
			step{20 * ms, synAck(), []string{". 1 ack 1"}, Established}, step{59 * ms, nil, nil, Established},
			step{60 * ms, nil, []string{"R. 1 ack 1"}, Reset}, step{70 * ms, synAck(), []string{"R 1"}, Reset})},
		{"a SYN-ACK of another server is not acknowledged", plan.Exchange{CloseDelay: time.Hour}, append(acked(),
			step{20 * ms, &wire.Segment{Flags: wire.SYN | wire.ACK, Seq: irs + 7, Ack: iss + 1}, nil, Established})},
		{"data, its acknowledgment, abort", plan.Exchange{Data: hello}, append(acked(`P. 1 ack 1 "hello"`),
			step{30 * ms, from(wire.ACK, 1, 6, ""), []string{"R. 6 ack 1"}, Reset})},
		{"data after a delay", plan.Exchange{Data: hello, DataDelay: 100 * ms, CloseDelay: 5 * ms}, append(acked(),
			step{50 * ms, from(wire.ACK, 1, 1, ""), nil, Established}, step{110 * ms, nil, []string{`P. 1 ack 1 "hello"`}, Established},
			step{120 * ms, from(wire.ACK, 1, 6, ""), nil, Established}, step{125 * ms, nil, []string{"R. 6 ack 1"}, Reset})},
		{"data is repeated, from the first octet that is missing", plan.Exchange{Data: hello}, append(acked(`P. 1 ack 1 "hello"`),
			step{1009 * ms, nil, nil, Established}, step{1010 * ms, nil, []string{`P. 1 ack 1 "hello"`}, Established},
			step{1100 * ms, from(wire.ACK, 1, 3, ""), nil, Established}, step{3010 * ms, nil, []string{`P. 3 ack 1 "llo"`}, Established},
			step{3100 * ms, from(wire.ACK, 1, 6, ""), []string{"R. 6 ack 1"}, Reset})},
		{"data that is never acknowledged ends in resets at every place where the peer may be", plan.Exchange{Data: hello}, append(acked(`P. 1 ack 1 "hello"`),
			step{1010 * ms, nil, []string{`P. 1 ack 1 "hello"`}, Established}, step{3010 * ms, nil, []string{`P. 1 ack 1 "hello"`}, Established},
			step{7010 * ms, nil, []string{`P. 1 ack 1 "hello"`}, Established}, step{15010 * ms, nil, []string{`P. 1 ack 1 "hello"`}, Established},
			step{31010 * ms, nil, []string{`P. 1 ack 1 "hello"`}, Established}, step{63010 * ms, nil, []string{"R. 1 ack 1", "R. 6 ack 1"}, Reset})},
		{"an answer is acknowledged, and so is its repeat", plan.Exchange{Data: hello, CloseDelay: 50 * ms}, append(acked(`P. 1 ack 1 "hello"`),
			step{20 * ms, from(wire.ACK|wire.PSH, 1, 6, "world"), []string{". 6 ack 6"}, Established},
			step{21 * ms, from(wire.ACK|wire.PSH, 1, 6, "world"), []string{". 6 ack 6"}, Established},
			step{70 * ms, nil, []string{"R. 6 ack 6"}, Reset})},
		{"no more is acknowledged than is read, and the end is what was planned", plan.Exchange{Data: hello, Reads: 5, CloseDelay: 50 * ms}, append(acked(`P. 1 ack 1 "hello"`),
			step{20 * ms, from(wire.ACK|wire.PSH, 1, 6, "world"), []string{". 6 ack 6"}, Established},
			step{21 * ms, from(wire.ACK|wire.PSH, 6, 6, "again"), nil, Established}, step{22 * ms, from(wire.ACK|wire.PSH, 1, 6, "world"), nil, Established},
			step{70 * ms, nil, []string{"R. 6 ack 6"}, Reset})},
		{"a FIN behind what is read is reset, as any", plan.Exchange{Data: hello, Reads: 5, CloseDelay: 50 * ms}, append(acked(`P. 1 ack 1 "hello"`),
			step{20 * ms, from(wire.ACK|wire.PSH, 1, 6, "world"), []string{". 6 ack 6"}, Established},
			step{21 * ms, from(wire.ACK|wire.FIN, 6, 6, ""), []string{"R. 6 ack 6"}, Reset})},
		{"data past a gap is acknowledged where the gap is", plan.Exchange{Data: hello, CloseDelay: 50 * ms}, append(acked(`P. 1 ack 1 "hello"`),
			step{20 * ms, from(wire.ACK|wire.PSH, 6, 6, "later"), []string{". 6 ack 1"}, Established})},
		{"data with a hole in front, reset where the peer waits for it and behind the end", plan.Exchange{Holed: &plan.Holed{Segments: 3, Size: 2, Gap: 10 * ms}, CloseDelay: 50 * ms},
			append(acked(`P. 3 ack 1 "\n\n"`), step{15 * ms, from(wire.ACK, 1, 1, ""), nil, Established}, step{20 * ms, nil, []string{`P. 5 ack 1 "\n\n"`}, Established},
				step{25 * ms, synAck(), []string{". 7 ack 1"}, Established}, step{30 * ms, nil, []string{`P. 7 ack 1 "\n\n"`}, Established},
				step{35 * ms, from(wire.ACK|wire.PSH, 1, 1, "hi"), []string{". 9 ack 3"}, Established},
				step{79 * ms, nil, nil, Established}, step{80 * ms, nil, []string{"R. 1 ack 3", "R. 9 ack 3"}, Reset})},
		{"a peer that closes while the hole is open is reset", plan.Exchange{Holed: &plan.Holed{Segments: 3, Size: 2, Gap: 10 * ms}}, append(acked(`P. 3 ack 1 "\n\n"`),
			step{15 * ms, from(wire.ACK|wire.FIN, 1, 1, ""), []string{"R. 1 ack 1", "R. 5 ack 1"}, Reset})},
		{"close first, to the end", plan.Exchange{Close: plan.CloseFirst}, append(acked("F. 1 ack 1"),
			step{20 * ms, from(wire.ACK, 1, 2, ""), nil, FinWait}, step{30 * ms, from(wire.ACK|wire.FIN, 1, 2, ""), []string{". 2 ack 2"}, Closed},
			step{40 * ms, from(wire.ACK|wire.FIN, 1, 2, ""), []string{". 2 ack 2"}, Closed}, step{50 * ms, from(wire.ACK, 2, 2, ""), nil, Closed})},
		{"close first, the peer's FIN with its ACK", plan.Exchange{Close: plan.CloseFirst}, append(acked("F. 1 ack 1"),
			step{20 * ms, from(wire.ACK|wire.FIN, 1, 2, ""), []string{". 2 ack 2"}, Closed})},
		{"simultaneous close", plan.Exchange{Close: plan.CloseFirst}, append(acked("F. 1 ack 1"),
			step{20 * ms, from(wire.ACK|wire.FIN, 1, 1, ""), []string{". 2 ack 2"}, FinWait}, step{30 * ms, from(wire.ACK, 2, 2, ""), nil, Closed})},
		{"a FIN that is lost is repeated", plan.Exchange{Close: plan.CloseFirst}, append(acked("F. 1 ack 1"),
			step{1010 * ms, nil, []string{"F. 1 ack 1"}, FinWait}, step{1020 * ms, from(wire.ACK, 1, 2, ""), nil, FinWait}, step{time.Hour, nil, nil, FinWait})},
		{"close first after data: both are repeated until acknowledged", plan.Exchange{Data: hello, Close: plan.CloseFirst}, append(acked(`P. 1 ack 1 "hello"`),
			step{20 * ms, from(wire.ACK, 1, 6, ""), []string{"F. 6 ack 1"}, FinWait}, step{1020 * ms, nil, []string{"F. 6 ack 1"}, FinWait},
			step{1030 * ms, from(wire.ACK|wire.FIN, 1, 7, ""), []string{". 7 ack 2"}, Closed})},
		{"wait for the peer's FIN: the server closes first", plan.Exchange{Close: plan.WaitForPeer}, append(acked(),
			step{time.Minute, nil, nil, Established}, step{time.Minute, from(wire.ACK|wire.FIN, 1, 1, ""), []string{". 1 ack 2", "F. 1 ack 2"}, LastAck},
			step{time.Minute + 10*ms, from(wire.ACK, 2, 2, ""), nil, Closed})},
		{"wait for the peer with data, its answer and its FIN in one", plan.Exchange{Data: hello, Close: plan.WaitForPeer}, append(acked(`P. 1 ack 1 "hello"`),
			step{20 * ms, from(wire.ACK|wire.PSH|wire.FIN, 1, 6, "bye"), []string{". 6 ack 5", "F. 6 ack 5"}, LastAck},
			step{30 * ms, from(wire.ACK|wire.FIN, 4, 6, ""), []string{". 7 ack 5"}, LastAck}, step{40 * ms, from(wire.ACK, 5, 7, ""), nil, Closed})},
		{"wait for the peer, and be late with our own FIN", plan.Exchange{Close: plan.WaitForPeer, CloseDelay: 100 * ms}, append(acked(),
			step{20 * ms, from(wire.ACK|wire.FIN, 1, 1, ""), []string{". 1 ack 2"}, PeerDone}, step{30 * ms, from(wire.ACK|wire.FIN, 1, 1, ""), []string{". 1 ack 2"}, PeerDone},
			step{120 * ms, nil, []string{"F. 1 ack 2"}, LastAck}, step{130 * ms, from(wire.ACK, 2, 2, ""), nil, Closed})},
		{"the peer closes before the data of an abort was answered: its FIN is never acknowledged", plan.Exchange{Data: hello},
			append(acked(`P. 1 ack 1 "hello"`), step{20 * ms, from(wire.ACK|wire.FIN, 1, 1, ""), []string{"R. 1 ack 1", "R. 6 ack 1"}, Reset})},
		{"the peer closes before the data of a wait was answered", plan.Exchange{Data: hello, Close: plan.WaitForPeer}, append(acked(`P. 1 ack 1 "hello"`),
			step{20 * ms, from(wire.ACK|wire.FIN, 1, 1, ""), []string{". 6 ack 2", "F. 6 ack 2"}, LastAck},
			step{1020 * ms, nil, []string{`P. 1 ack 2 "hello"`, "F. 6 ack 2"}, LastAck}, step{1030 * ms, from(wire.ACK, 2, 7, ""), nil, Closed})},
		{"the peer resets", plan.Exchange{CloseDelay: time.Hour}, append(acked(), step{20 * ms, from(wire.RST, 1, 0, ""), nil, Aborted}, step{2 * time.Hour, nil, nil, Aborted})},
		{"an RST with an old number, or a window ahead, is not the peer's", plan.Exchange{CloseDelay: time.Hour}, append(acked(),
			step{20 * ms, from(wire.RST, 0, 0, ""), nil, Established}, step{20 * ms, from(wire.RST, 1+window, 0, ""), nil, Established})},
		{"what is not the peer's is not answered", plan.Exchange{CloseDelay: time.Hour}, append(acked(),
			step{20 * ms, from(wire.ACK|wire.PSH, 1, 2, "ack of what we never sent"), nil, Established},
			step{20 * ms, from(wire.ACK|wire.PSH, 1, 0, "ack before our SYN"), nil, Established},
			step{20 * ms, from(wire.ACK|wire.PSH, -1, 1, "before its first octet"), nil, Established},
			step{20 * ms, from(wire.ACK|wire.PSH, 1+window, 1, "a window ahead"), nil, Established},
			step{20 * ms, from(wire.FIN, 1, 1, "no ACK"), nil, Established})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			converse(t, plan.Script{OnSYNACK: plan.Acknowledge, Then: tc.then}, tc.steps)
		})
	}
}

func TestTimestampsAreEchoed(t *testing.T) {
	t.Parallel()
	script := plan.Script{Options: wire.LinuxSYN(1460, 0, 7), Clock: plan.TSClock{Start: 100, Hz: 1000}, OnSYNACK: plan.Acknowledge,
		Then: plan.Exchange{CloseDelay: time.Hour}}
	converse(t, script, []step{
		{0, nil, []string{"S 0 ts 100/0"}, SynSent},
		{10 * ms, timestamps(synAck(), 5000, 100), []string{". 1 ack 1 ts 110/5000"}, Established},
		{20 * ms, timestamps(from(wire.ACK|wire.PSH, 1, 1, "x"), 5010, 110), []string{". 1 ack 2 ts 120/5010"}, Established},
		{30 * ms, timestamps(from(wire.ACK|wire.PSH, 1, 1, "x"), 5009, 110), []string{". 1 ack 2 ts 130/5010"}, Established},
	})
	converse(t, script, []step{
		{0, nil, []string{"S 0 ts 100/0"}, SynSent},
		{10 * ms, synAck(), []string{". 1 ack 1"}, Established},
	})
}

func TestStopResetsWhatIsOpenAndNothingElse(t *testing.T) {
	t.Parallel()
	hello := plan.Exchange{Data: []byte("hello"), Close: plan.CloseFirst}
	for _, tc := range []struct {
		name  string
		then  plan.Exchange
		steps []step
		want  []string
	}{
		{"before the SYN", plan.Exchange{}, nil, nil},
		{"unanswered", plan.Exchange{}, acked()[:1], nil},
		{"established", plan.Exchange{CloseDelay: time.Hour}, acked(), []string{"R. 1 ack 1"}},
		{"data in flight: the peer may have it or not", plan.Exchange{Data: []byte("hello"), CloseDelay: time.Hour}, acked(`P. 1 ack 1 "hello"`),
			[]string{"R. 1 ack 1", "R. 6 ack 1"}},
		{"FIN in flight", hello, append(acked(`P. 1 ack 1 "hello"`), step{20 * ms, from(wire.ACK, 1, 6, ""), []string{"F. 6 ack 1"}, FinWait}),
			[]string{"R. 6 ack 1", "R. 7 ack 1"}},
		{"data and FIN in flight: three places", plan.Exchange{Data: []byte("hello"), Close: plan.WaitForPeer}, append(acked(`P. 1 ack 1 "hello"`),
			step{20 * ms, from(wire.ACK|wire.FIN, 1, 1, ""), []string{". 6 ack 2", "F. 6 ack 2"}, LastAck}), []string{"R. 1 ack 2", "R. 6 ack 2", "R. 7 ack 2"}},
		{"FIN acknowledged, the peer's never came", plan.Exchange{Close: plan.CloseFirst}, append(acked("F. 1 ack 1"),
			step{20 * ms, from(wire.ACK, 1, 2, ""), nil, FinWait}), []string{"R. 2 ack 1"}},
		{"closed", plan.Exchange{Close: plan.CloseFirst}, append(acked("F. 1 ack 1"), step{20 * ms, from(wire.ACK|wire.FIN, 1, 2, ""), []string{". 2 ack 2"}, Closed}), nil},
		{"reset already", plan.Exchange{}, acked("R. 1 ack 1"), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			script := plan.Script{OnSYNACK: plan.Acknowledge, Then: tc.then}
			c := New(&script, iss)
			for _, st := range tc.steps {
				c.Step(st.at, st.in, nil)
			}
			var got []string
			for _, s := range c.Stop(time.Minute, nil) {
				got = append(got, show(&s))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("at the end (-want +got):\n%s", diff)
			}
			if !c.Settled() {
				t.Errorf("not settled in state %s", c.State())
			}
			if again := c.Stop(time.Minute, nil); len(again) > 0 {
				t.Errorf("stopped twice: %v", again)
			}
		})
	}
}
