package diagnose

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

const t0 wire.TSval = 517740536

func when(ms int) time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(ms) * time.Millisecond)
}

// primeAttempt is a connection with our ISS 100 and the server's 500: SYN, SYN-ACK, a request of 10 octets, and what the story adds.
func primeAttempt(add func(*observe.Attempt)) *observe.Attempt {
	a := &observe.Attempt{Arm: PrimeArm + "http", Via: plan.Raw, ISS: 100, Outcome: observe.Accepted,
		SYNs: []observe.SYN{{At: when(0), TSval: t0, HasTS: true}},
		Sent: []observe.Sent{{At: when(2), Flags: wire.ACK, Seq: 101, Ack: 501, TSval: t0, HasTS: true},
			{At: when(2), Flags: wire.ACK | wire.PSH, Seq: 101, Ack: 501, TSval: t0, HasTS: true, Length: 10}},
		Answers: []observe.Answer{{At: when(1), Kind: observe.SYNACK, Flags: wire.SYN | wire.ACK, Seq: 500, Ack: 101, HasTS: true, TSecr: t0}}}
	add(a)
	return a
}

func from(at int, f wire.Flags, seq, ack wire.Seq, n int) func(*observe.Attempt) {
	return func(a *observe.Attempt) {
		kind := observe.BareACK
		switch {
		case f&wire.RST != 0:
			kind = observe.RST
		case f&wire.FIN != 0:
			kind = observe.FIN
		case n > 0:
			kind = observe.Data
		}
		a.Answers = append(a.Answers, observe.Answer{At: when(at), Kind: kind, Flags: f, Seq: seq, Ack: ack, Length: n, HasTS: true})
	}
}

func to(at int, f wire.Flags, seq, ack wire.Seq, val wire.TSval) func(*observe.Attempt) {
	return func(a *observe.Attempt) {
		a.Sent = append(a.Sent, observe.Sent{At: when(at), Flags: f, Seq: seq, Ack: ack, TSval: val, HasTS: f&wire.RST == 0})
	}
}

func TestWhoClosedFirstIsReadOffTheWire(t *testing.T) {
	reply := from(3, wire.ACK|wire.PSH, 501, 111, 20)
	fin := from(4, wire.ACK|wire.FIN, 521, 111, 0)
	for _, c := range []struct {
		story   string
		steps   []func(*observe.Attempt)
		end     ending
		certain bool
	}{
		{"a full close that the server began", []func(*observe.Attempt){reply, fin, to(5, wire.ACK, 111, 522, t0), to(5, wire.ACK|wire.FIN, 111, 522, t0),
			from(6, wire.ACK, 522, 112, 0)}, endClosed, true},
		{"its FIN comes with the data", []func(*observe.Attempt){from(3, wire.ACK|wire.FIN, 501, 111, 20), to(5, wire.ACK|wire.FIN, 111, 522, t0),
			from(6, wire.ACK, 522, 112, 0)}, endClosed, true},
		{"its FIN is acknowledged, ours is not", []func(*observe.Attempt){reply, fin, to(5, wire.ACK, 111, 522, t0), to(5, wire.ACK|wire.FIN, 111, 522, t0)}, endClosed, false},
		{"a reset after that", []func(*observe.Attempt){reply, fin, to(5, wire.ACK, 111, 522, t0), from(6, wire.RST, 522, 0, 0)}, endClosed, false},
		{"a reset before our acknowledgment", []func(*observe.Attempt){reply, fin, from(5, wire.RST, 522, 0, 0), to(6, wire.ACK, 111, 522, t0)}, endReset, false},
		{"its FIN is never acknowledged", []func(*observe.Attempt){reply, fin}, endLost, false},
		{"a FIN that acknowledges ours", []func(*observe.Attempt){reply, to(4, wire.ACK|wire.FIN, 111, 521, t0), from(5, wire.ACK|wire.FIN, 521, 112, 0),
			to(6, wire.ACK, 112, 522, t0)}, endOpen, false},
		{"kept open", []func(*observe.Attempt){reply}, endOpen, false},
		{"the request is never acknowledged", nil, endLost, false},
		{"reset", []func(*observe.Attempt){from(3, wire.RST|wire.ACK, 501, 111, 0)}, endReset, false},
		{"a segment with a later clock", []func(*observe.Attempt){reply, fin, to(5, wire.ACK|wire.FIN, 111, 522, t0+1), from(6, wire.ACK, 522, 112, 0)}, endMoved, false},
		{"a SYN-ACK that echoes something else", []func(*observe.Attempt){reply, fin, to(5, wire.ACK|wire.FIN, 111, 522, t0), from(6, wire.ACK, 522, 112, 0),
			func(a *observe.Attempt) { a.Answers[0].TSecr = 7 }}, endUnstamped, false},
		{"a SYN-ACK without timestamps", []func(*observe.Attempt){reply, func(a *observe.Attempt) { a.Answers[0].HasTS = false }}, endUnstamped, false},
		{"silence", []func(*observe.Attempt){func(a *observe.Attempt) { a.Answers, a.Outcome = nil, observe.TimedOut }}, endSilent, false},
		{"refused", []func(*observe.Attempt){func(a *observe.Attempt) { a.Answers, a.Outcome = nil, observe.Refused }}, endRefused, false},
	} {
		a := primeAttempt(func(a *observe.Attempt) {
			for _, s := range c.steps {
				s(a)
			}
		})
		end, p := followClose(a)
		if end != c.end || p.Certain != c.certain || (end == endClosed) != (p.T0 == t0) {
			t.Errorf("%s: %s, %+v; want %s, certain %t", c.story, end, p, c.end, c.certain)
		}
	}
}

// flipOf is a primed round with flips whose blocks each have the arms silent as drawn: "x..." is T0−2 silent alone.
func flipOf(blocks ...string) []observe.Observation {
	a := primeAttempt(func(a *observe.Attempt) {
		for _, s := range []func(*observe.Attempt){from(3, wire.ACK|wire.FIN, 501, 111, 20), to(5, wire.ACK|wire.FIN, 111, 522, t0), from(6, wire.ACK, 522, 112, 0)} {
			s(a)
		}
	})
	arms := make([]plan.Arm, 4)
	o := observe.Observation{Kind: plan.KindFlip, Captured: true}
	for k, d := range FlipOffsets() {
		arms[k] = plan.Arm{Name: "T0", Via: plan.Raw, Script: plan.Script{Clock: plan.TSClock{Start: t0.Add(d)}}}
	}
	o.Arms = arms
	src, dst := netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("192.0.2.2:80")
	for b, row := range blocks {
		for k, d := range FlipOffsets() {
			x := observe.Attempt{Index: b*4 + k, Arm: "T0", Via: plan.Raw, Flow: wire.Flow{Src: src, Dst: dst}, Outcome: observe.Accepted,
				SYNs: []observe.SYN{{At: when(100 + b), TSval: t0.Add(d), HasTS: true}}}
			switch row[k] {
			case 'x':
				x.Outcome = observe.TimedOut
			case '-':
				x.Outcome = observe.NotSent
			}
			o.Attempts = append(o.Attempts, x)
		}
	}
	return []observe.Observation{{Kind: plan.KindPrime, Captured: true, Attempts: []observe.Attempt{*a}}, o}
}

func TestFlipDecides(t *testing.T) {
	rows := func(n int, row string) []string {
		return strings.Split(strings.TrimSuffix(strings.Repeat(row+" ", n), " "), " ")
	}
	for _, c := range []struct {
		story  string
		blocks []string
		want   flipState
	}{
		{"eight blocks, T0−2 silent alone", rows(8, "x..."), flipHolds},
		{"seven are too few for 3e-5", rows(7, "x..."), flipAsking},
		{"losses beside it say nothing", append(rows(7, "x..."), "xx..", "x..x"), flipAsking},
		{"and one more block does", append(rows(8, "x..."), "xx..", "x..x"), flipHolds},
		{"T0−2 answered once", append(rows(9, "x..."), "...."), flipAnswers},
		{"one tick further: T0−1 silent too", rows(4, "xx.."), flipShifted},
		{"T0 silent too: something newer", rows(4, "xxx."), flipShifted},
		{"everything silent", rows(4, "xxxx"), flipDeaf},
		{"a block with an arm that was not asked", append(rows(7, "x..."), "x.-."), flipAsking},
		{"nothing silent", rows(4, "...."), flipAnswers},
	} {
		f, ok := readFlip(flipOf(c.blocks...))
		if got := f.state(); !ok || got != c.want {
			t.Errorf("%s: %d, want %d (%s)", c.story, got, c.want, f.table())
		}
	}
}

// What is asked when the server may have forgotten counts for nothing.
func TestFlipKeepsWithinTheMemory(t *testing.T) {
	seen := flipOf("x...", "....")
	for k := range seen[1].Attempts {
		seen[1].Attempts[k].SYNs[0].At = when(60_000)
	}
	if f, _ := readFlip(seen); f.blocks != 0 || f.state() != flipAsking {
		t.Errorf("%d blocks, state %d", f.blocks, f.state())
	}
}

func TestRiskOfPriming(t *testing.T) {
	round := func(src, dst string) *Input {
		return &Input{Observations: []observe.Observation{{Kind: plan.KindConnect, Captured: true, Attempts: []observe.Attempt{{
			Flow: wire.Flow{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}, Outcome: observe.Accepted}}}}}
	}
	for _, c := range []struct {
		src, dst string
		want     bool
	}{
		{"10.0.0.1:1", "203.0.114.7:80", true},
		{"100.64.3.1:1", "203.0.114.7:80", true},
		{"[fd00::1]:1", "[2a00::1]:80", true},
		{"10.0.0.1:1", "192.168.3.4:80", false},
		{"203.0.114.1:1", "203.0.114.7:80", false},
		{"[2a00::2]:1", "[2a00::1]:80", false},
	} {
		if why := PrimeRisk(round(c.src, c.dst)); (why != "") != c.want {
			t.Errorf("%s → %s: %q", c.src, c.dst, why)
		}
	}
}
