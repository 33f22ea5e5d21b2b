package profile

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

const ms = time.Millisecond

// chunk is captured data: where it begins, how long it is, when it came.
type chunk struct {
	at       time.Duration
	from, to int
	fin      bool
}

func sent(rtt time.Duration, list ...chunk) *observe.Attempt {
	t0 := time.Unix(1000, 0)
	const irs = wire.Seq(4294967000) // passes 2³² within the first segments
	a := &observe.Attempt{Arm: armData, RTT: rtt, SYNs: []observe.SYN{{At: t0}}, Answers: []observe.Answer{{At: t0.Add(rtt), Kind: observe.SYNACK, Seq: irs}}}
	for _, c := range list {
		x := observe.Answer{At: t0.Add(rtt + c.at), Kind: observe.Data, Seq: irs.Add(1 + c.from), Length: c.to - c.from}
		if c.fin {
			x.Flags = wire.FIN
		}
		a.Answers = append(a.Answers, x)
	}
	return a
}

func TestFlights(t *testing.T) {
	for _, tc := range []struct {
		name     string
		rtt      time.Duration
		got      []chunk
		segments int
		ended    bool
		wait     time.Duration
	}{
		{"ten at once, the first repeated", ms, []chunk{{0, 0, 1280, false}, {200 * ms, 0, 128, false}}, 10, false, 200 * ms},
		{"one by one", ms, []chunk{{0, 0, 128, false}, {0, 128, 256, false}, {0, 256, 384, false}, {200 * ms, 0, 128, false}}, 3, false, 200 * ms},
		{"a tail loss probe with new data", ms, []chunk{{0, 0, 1280, false}, {4 * ms, 1280, 1408, false}, {200 * ms, 0, 128, false}}, 10, false, 4 * ms},
		{"paced over a long round trip", 50 * ms, []chunk{{0, 0, 256, false}, {10 * ms, 256, 384, false}, {20 * ms, 384, 512, false}, {120 * ms, 384, 512, false}}, 4, false, 100 * ms},
		{"segments of 536 all the same", ms, []chunk{{0, 0, 536, false}, {0, 536, 1072, false}, {200 * ms, 0, 536, false}}, 2, false, 200 * ms},
		{"the answer ended", ms, []chunk{{0, 0, 300, true}, {200 * ms, 0, 300, true}}, 1, true, 200 * ms},
		{"nothing was repeated", ms, []chunk{{0, 0, 1280, false}}, 10, false, 0},
	} {
		f, ok := readFlight(sent(tc.rtt, tc.got...))
		if n := (f.octets + f.segment - 1) / f.segment; !ok || n != tc.segments || f.ended != tc.ended || f.wait != tc.wait {
			t.Errorf("%s: %d segments of %d, ended %t, repeated after %s", tc.name, n, f.segment, f.ended, f.wait)
		}
	}
	if _, ok := readFlight(sent(ms)); ok {
		t.Error("no data, and a flight")
	}
}

func TestATimerIsLateAndNeverEarly(t *testing.T) {
	for in, want := range map[time.Duration]time.Duration{
		1003 * ms: time.Second, 1080 * ms: time.Second, 999 * ms: time.Second, 3040 * ms: 3 * time.Second, 208 * ms: 200 * ms, 301 * ms: 300 * ms, 2500 * ms: 2500 * ms,
	} {
		if got := roundTimer(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// repeats is an attempt whose SYN-ACKs came so long after the SYN.
func repeats(index int, at ...time.Duration) observe.Attempt {
	t0 := time.Unix(1000, 0)
	a := observe.Attempt{Index: index, Arm: armAlone, Outcome: observe.Accepted, SYNs: []observe.SYN{{At: t0}}}
	for _, d := range at {
		a.Answers = append(a.Answers, observe.Answer{At: t0.Add(d), Kind: observe.SYNACK})
	}
	if len(at) > 0 && at[0] < 100*ms {
		a.RTT = at[0]
	}
	return a
}

func TestSYNACKTimer(t *testing.T) {
	for _, tc := range []struct {
		name       string
		flows      [][]time.Duration
		watched    time.Duration
		rto, count string
		state      State // of the timer
	}{
		{"Linux", [][]time.Duration{{ms, 1004 * ms, 3010 * ms, 7030 * ms}, {ms, 1004 * ms, 3010 * ms, 7030 * ms}}, 7600 * ms, "1s", "≥ 3", Measured},
		{"the first SYN-ACK lost", [][]time.Duration{{1004 * ms, 3010 * ms}, {ms, 1002 * ms, 3010 * ms}}, 4 * time.Second, "1s", "≥ 2", Measured},
		{"a repeat lost", [][]time.Duration{{ms, 3010 * ms}, {ms, 1004 * ms, 3010 * ms}}, 4 * time.Second, "1s", "≥ 2", Measured},
		{"two hosts", [][]time.Duration{{ms, 2010 * ms}, {ms, 1004 * ms, 3010 * ms}}, 4 * time.Second, "1s, 2s", "≥ 2", Varies},
		{"no more than one", [][]time.Duration{{ms, 1004 * ms}, {ms, 1004 * ms}}, 7600 * ms, "1s", "1", Measured},
		{"none", [][]time.Duration{{ms}, {ms}}, 7600 * ms, "", "0", NotMeasured},
	} {
		o := observe.Observation{Kind: plan.KindProfile, Captured: true, Finished: time.Unix(1000, 0).Add(tc.watched)}
		for i, at := range tc.flows {
			o.Attempts = append(o.Attempts, repeats(i, at...))
		}
		p := Profile{Values: Read([]observe.Observation{o})}
		rto, _ := p.Value(SYNACKRTO)
		count, _ := p.Value(SYNACKRepeats)
		if rto.Text != tc.rto || rto.State != tc.state || count.Text != tc.count {
			t.Errorf("%s: %s %q, repeats %q", tc.name, rto.State, rto.Text, count.Text)
		}
	}
	// what the capture lost cannot be read from silence
	o := observe.Observation{Kind: plan.KindProfile, Captured: true, CaptureDrops: 1, Attempts: []observe.Attempt{repeats(0, ms)}}
	for _, v := range Read([]observe.Observation{o}) {
		if v.Known() || v.Why == "" {
			t.Errorf("with drops: %+v", v)
		}
	}
}

// A listener that repeats nothing is told to answer by cookie by its TSvals alone, and a loss is not taken for a setting.
func TestWhatSilenceIsNot(t *testing.T) {
	t0 := time.Unix(1000, 0)
	survey := func(tsvals []wire.TSval, repeated int, change func(o *observe.Observation)) *Profile {
		o := observe.Observation{Kind: plan.KindProfile, Captured: true, Finished: t0.Add(7600 * ms)}
		for i, val := range tsvals {
			a := repeats(i, ms)
			if a.Arm = armFull; i >= len(tsvals)-2 {
				a = repeats(i, append([]time.Duration{ms}, []time.Duration{1004 * ms, 3010 * ms, 7030 * ms}[:repeated]...)...)
			}
			a.Answers[0].HasTS, a.Answers[0].TSval = true, val
			o.Attempts = append(o.Attempts, a)
		}
		if change != nil {
			change(&o)
		}
		return &Profile{Values: Read([]observe.Observation{o})}
	}
	cookies := []wire.TSval{64 + 9, 128 + 9, 192 + 9, 320 + 9, 640 + 9, 6400 + 9, 64000 + 9, 9}
	own := []wire.TSval{64 + 9, 128 + 9, 192 + 9, 320 + 9, 640 + 9, 6400 + 9, 64000 + 9, 10}
	again := func(o *observe.Observation) {
		o.Attempts[0].SYNs = append(o.Attempts[0].SYNs, observe.SYN{At: t0.Add(1100 * ms)})
	}
	idle := func(second int) func(o *observe.Observation) {
		return func(o *observe.Observation) {
			for i := range 2 {
				a := repeats(len(o.Attempts), ms)
				if i < second {
					a = repeats(len(o.Attempts), ms, 1004*ms)
				}
				a.Arm, a.Sent = armIdle, []observe.Sent{{At: t0.Add(ms)}}
				o.Attempts = append(o.Attempts, a)
			}
		}
	}
	ecn := func(lost bool) func(o *observe.Observation) {
		return func(o *observe.Observation) {
			for range 2 {
				o.Attempts = append(o.Attempts, observe.Attempt{Index: len(o.Attempts), Arm: armECN, Outcome: observe.TimedOut, SYNs: []observe.SYN{{At: t0}, {At: t0.Add(1100 * ms)}}})
			}
			if lost {
				again(o)
			}
		}
	}
	for _, tc := range []struct {
		name string
		p    *Profile
		of   Name
		want string
	}{
		{"cookies", survey(cookies, 0, nil), SYNCookies, "yes"},
		{"nothing repeated, own clock", survey(own, 0, nil), SYNCookies, ""},
		{"repeated", survey(cookies, 2, nil), SYNCookies, "no"},
		{"three repeats", survey(own, 3, nil), SYNACKRepeats, "≥ 3"},
		{"one repeat and no more", survey(own, 1, nil), SYNACKRepeats, "1"},
		{"the same, a SYN had to be repeated", survey(own, 1, again), SYNACKRepeats, "≥ 1"},
		{"ECN setups dropped", survey(own, 1, ecn(false)), ECN, "dropped"},
		{"the same, a SYN had to be repeated", survey(own, 1, ecn(true)), ECN, ""},
		{"one idle connection repeated to", survey(own, 1, idle(1)), DeferAccept, ""},
		{"both, and nobody served", survey(own, 1, idle(2)), DeferAccept, ""},
		{"neither", survey(own, 1, idle(0)), DeferAccept, "no"},
	} {
		v, ok := tc.p.Value(tc.of)
		if !ok || v.Text != tc.want || v.Known() != (tc.want != "") || !v.Known() && v.Why == "" {
			t.Errorf("%s: %+v, want %q", tc.name, v, tc.want)
		}
	}
}

func host(values ...Value) *Profile { return &Profile{Values: values} }

func number(n Name, x float64) Value {
	v := Value{Name: n}
	v.number(x, "")
	return v
}

func atLeast(n Name, x float64) Value {
	v := number(n, x)
	v.State, v.High = AtLeast, 0
	return v
}

func TestCompare(t *testing.T) {
	on, off := Value{Name: Timestamps, State: Measured, Text: "on"}, Value{Name: Timestamps, State: Measured, Text: "off"}
	for _, tc := range []struct {
		name string
		a, b Value
		same bool
	}{
		{"one text", on, on, true},
		{"two texts", on, off, false},
		{"not measured", on, Value{Name: Timestamps, State: NotMeasured}, true},
		{"a timer that is late", number(SYNACKRTO, 1), number(SYNACKRTO, 1.1), true},
		{"another timer", number(SYNACKRTO, 1), number(SYNACKRTO, 1.5), false},
		{"at least less", number(NeighborQueue, 78), atLeast(NeighborQueue, 64), true},
		{"at least more", number(NeighborQueue, 78), atLeast(NeighborQueue, 256), false},
		{"distance", number(HandshakeTime, 0.0001), number(HandshakeTime, 0.0006), true},
		{"another site", number(HandshakeTime, 0.0001), number(HandshakeTime, 0.02), false},
	} {
		for _, pair := range [][2]Value{{tc.a, tc.b}, {tc.b, tc.a}} {
			if got := Compare(host(pair[0]), host(pair[1])); (len(got) == 0) != tc.same {
				t.Errorf("%s: %v", tc.name, got)
			}
		}
	}
	grave := Compare(host(number(Window, 1), number(NeighborQueue, 3)), host(number(Window, 2), number(NeighborQueue, 256)))
	if len(grave) != 2 || grave[0].Trait.Name != NeighborQueue {
		t.Errorf("the gravest is not first: %v", grave)
	}
}

// Of hosts that should be alike the odd ones come out, whatever their order, and every host is in exactly one group.
func TestGroupsFindTheOddOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(5, 30).Draw(t, "hosts")
		odd := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, 2, rapid.ID).Draw(t, "odd")
		var all []*Profile
		for i := range n {
			p := host(number(MSS, 1460), number(NeighborQueue, 256))
			if slices.Contains(odd, i) {
				p.Set(number(NeighborQueue, 3))
			}
			all = append(all, p)
		}
		groups := Group(all)
		if want := min(len(odd), 1) + 1; len(groups) != want {
			t.Fatalf("%d groups, want %d", len(groups), want)
		}
		seen := 0
		for i, g := range groups {
			seen += len(g.Members)
			for _, m := range g.Members {
				if slices.Contains(odd, m) != (i > 0) {
					t.Fatalf("host %d in group %d", m, i)
				}
			}
		}
		if seen != n || len(odd) > 0 && groups[1].Differs[0].Trait.Name != NeighborQueue {
			t.Fatalf("%d of %d hosts; %v", seen, n, groups)
		}
	})
}
