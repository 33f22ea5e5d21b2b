package profile

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// closing runs a Revisit against a server that does the same with every connection and answers each SYN that comes back as met says.
func closing(t *testing.T, v *Revisit, change func(a *observe.Attempt), answer func(arm string, skip wire.Seq) *observe.Answer) *Profile {
	t.Helper()
	var seen []observe.Observation
	t0 := time.Unix(1000, 0)
	for range 5 {
		b, more := v.Next(seen)
		if !more {
			break
		}
		o := observe.Observation{Kind: b.Kind, Captured: true, Arms: b.Arms}
		for i, s := range b.Shots {
			a := observe.Attempt{Index: i, Arm: b.Arms[s.Arm].Name, Flow: s.Flow, Outcome: observe.Accepted, SYNs: []observe.SYN{{At: t0}}}
			switch {
			case s.ISS == nil:
				a.ISS = wire.Seq(4294967000 + i)
				a.Flow.Src = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(40000+i))
				served(&a, len(v.Request))
				if change != nil {
					change(&a)
				}
			case answer != nil:
				a.ISS = *s.ISS
				if x := answer(a.Arm, wire.Seq(uint32(a.Flow.Src.Port()))); x != nil {
					a.Answers = append(a.Answers, *x)
				}
			}
			o.Attempts = append(o.Attempts, a)
		}
		seen = append(seen, o)
	}
	return &Profile{Values: ReadTimeWait(seen, "")}
}

// served is a connection whose request was answered and closed by the server, to its end.
func served(a *observe.Attempt, request int) {
	const peer = wire.Seq(100)
	t0 := a.SYNs[0].At
	next := a.ISS.Add(1 + request)
	a.Answers = []observe.Answer{{At: t0, Kind: observe.SYNACK, Seq: peer, Ack: a.ISS + 1}, {At: t0.Add(ms), Kind: observe.FIN, Flags: wire.FIN | wire.ACK, Seq: peer + 1, Ack: next, Length: 20},
		{At: t0.Add(2 * ms), Kind: observe.BareACK, Flags: wire.ACK, Seq: peer + 22, Ack: next + 1}}
	a.Sent = []observe.Sent{{At: t0, Flags: wire.ACK, Seq: a.ISS + 1, Ack: peer + 1}, {At: t0, Flags: wire.ACK | wire.PSH, Seq: a.ISS + 1, Ack: peer + 1, Length: request},
		{At: t0.Add(ms), Flags: wire.ACK, Seq: next, Ack: peer + 22}, {At: t0.Add(ms), Flags: wire.FIN | wire.ACK, Seq: next, Ack: peer + 22}}
}

func TestWhatTimeWaitMakesOfLaterSYNs(t *testing.T) {
	request := []byte("bye")
	syn := &observe.Answer{Kind: observe.SYNACK, Flags: wire.SYN | wire.ACK, Seq: 9}
	// the old connection's numbers: its client's depend on the flow
	challenge := func(skip wire.Seq) *observe.Answer {
		return &observe.Answer{Kind: observe.BareACK, Flags: wire.ACK, Seq: 122, Ack: 4294967000 + (skip - 40000) + 1 + wire.Seq(len(request)) + 1}
	}
	linux := func(ends bool) func(string, wire.Seq) *observe.Answer {
		return func(arm string, skip wire.Seq) *observe.Answer {
			switch {
			case arm == armKill:
				return nil
			case arm == armHigher, arm == armNewer, arm == armKilled && ends:
				return syn
			}
			return challenge(skip)
		}
	}
	all := func(x *observe.Answer) func(string, wire.Seq) *observe.Answer {
		return func(string, wire.Seq) *observe.Answer { return x }
	}
	lossy := func(arm string, skip wire.Seq) *observe.Answer {
		if skip%2 == 0 && arm != armHigher {
			return nil
		}
		return linux(true)(arm, skip)
	}
	notOurs := func(_ string, skip wire.Seq) *observe.Answer { return challenge(skip + 1) }
	for _, tc := range []struct {
		name                           string
		change                         func(a *observe.Attempt)
		answer                         func(string, wire.Seq) *observe.Answer
		isn, stamp, oldISN, old, reset string
	}{
		{"Linux", nil, linux(true), "accepted", "accepted", "challenge ACK", "challenge ACK", "ends it"},
		{"Linux with tcp_rfc1337", nil, linux(false), "accepted", "accepted", "challenge ACK", "challenge ACK", "ignored"},
		{"nothing is kept", nil, all(syn), "accepted", "accepted", "accepted", "accepted", ""},
		{"every other is lost", nil, lossy, "accepted", "accepted", "challenge ACK", "challenge ACK", "ends it"},
		{"resets", nil, all(&observe.Answer{Kind: observe.RST, Flags: wire.RST | wire.ACK}), "rst", "rst", "rst", "rst", ""},
		{"out of reach", nil, all(nil), "", "", "", "", ""},
		{"ACKs of another connection", nil, notOurs, "", "", "", "", ""},
		{"the client closed first", func(a *observe.Attempt) { a.Answers[1].Ack++ }, all(syn), "", "", "", "", ""},
		{"our FIN was never acknowledged", func(a *observe.Attempt) { a.Answers = a.Answers[:2] }, all(syn), "", "", "", "", ""},
		{"we had to abort", func(a *observe.Attempt) { a.Sent = append(a.Sent, observe.Sent{Flags: wire.RST | wire.ACK}) }, all(syn), "", "", "", "", ""},
		{"the server reset it", func(a *observe.Attempt) {
			a.Answers = append(a.Answers, observe.Answer{Kind: observe.RST, Flags: wire.RST})
		}, all(syn), "", "", "", "", ""},
		{"it stayed open", func(a *observe.Attempt) { a.Answers, a.Sent = a.Answers[:1], a.Sent[:2] }, all(syn), "", "", "", "", ""},
	} {
		v := &Revisit{Dst: netip.MustParseAddrPort("192.0.2.9:80"), MSS: 1460, Request: request, Stamped: true, Rand: rand.New(rand.NewPCG(1, 2))}
		p := closing(t, v, tc.change, tc.answer)
		for n, want := range map[Name]string{TimeWaitISN: tc.isn, TimeWaitTimestamp: tc.stamp, TimeWaitOldISN: tc.oldISN, TimeWaitOldStamp: tc.old, TimeWaitRST: tc.reset} {
			if got, _ := p.Value(n); got.Text != want || got.Known() != (want != "") || !got.Known() && got.Why == "" {
				t.Errorf("%s: %s: %+v, want %q", tc.name, n, got, want)
			}
		}
	}
}

// The SYNs that come back stand where they say, and those of a host that is not known to forget carry no timestamps.
func TestARevisitAsksWhatItSays(t *testing.T) {
	for _, stamped := range []bool{true, false} {
		v := &Revisit{Dst: netip.MustParseAddrPort("192.0.2.9:80"), MSS: 1460, Request: []byte("bye"), Stamped: stamped, Rand: rand.New(rand.NewPCG(1, 2))}
		first, _ := v.Next(nil)
		o := observe.Observation{Arms: first.Arms}
		for i := range first.Shots {
			arm := &first.Arms[first.Shots[i].Arm]
			a := observe.Attempt{Index: i, Arm: arm.Name, ISS: 5000, SYNs: []observe.SYN{{}}}
			served(&a, 3)
			for k := range a.Sent {
				a.Sent[k].HasTS, a.Sent[k].TSval = arm.Name == armStamped, 7000
			}
			o.Attempts = append(o.Attempts, a)
			if _, _, ts := arm.Script.Options.Timestamps(); ts != (arm.Name == armStamped) || ts && !stamped {
				t.Errorf("%s: timestamps %t", arm.Name, ts)
			}
		}
		kill, _ := v.Next([]observe.Observation{o})
		for _, s := range kill.Shots {
			if *s.ISS != 5005 || kill.Arms[s.Arm].Script.First != wire.RST || !s.Again {
				t.Errorf("RST at %d", *s.ISS)
			}
		}
		again, _ := v.Next([]observe.Observation{o, {Arms: kill.Arms}})
		comesBack(t, &again, stamped)
		if _, more := v.Next([]observe.Observation{o, {Arms: kill.Arms}, {Arms: again.Arms}}); more {
			t.Error("no end")
		}
	}
}

// comesBack checks the SYNs to connections whose numbers ended before 5005 and whose TSvals stood at 7000.
func comesBack(t *testing.T, b *plan.Burst, stamped bool) {
	t.Helper()
	want := map[string]int{armHigher: 2, armLower: 2, armKilled: 2}
	if stamped {
		want[armNewer], want[armOlder] = 2, 2
	}
	for _, s := range b.Shots {
		arm := &b.Arms[s.Arm]
		want[arm.Name]--
		above := arm.Name == armHigher || arm.Name == armOlder
		val, _, ts := arm.Script.Options.Timestamps()
		if above != wire.Seq(5005).Before(*s.ISS) || ts && wire.TSval(7000).Before(val) != (arm.Name == armNewer) || ts != (arm.Name == armNewer || arm.Name == armOlder) {
			t.Errorf("%s: from %d, TSval %d", arm.Name, *s.ISS, val)
		}
	}
	for name, n := range want {
		if n != 0 {
			t.Errorf("%s: %d missing", name, n)
		}
	}
}
