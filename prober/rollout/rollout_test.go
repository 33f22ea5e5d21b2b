package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/profile"
)

func TestChecksThatCannotBeRead(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "empty",
		"stall_ratio":                    "no comparison",
		"stall_ratio <":                  "no comparison; want NAME",
		"stall_ratio < < 1":              "no comparison; want NAME",
		"stall_ratio < often":            "want a number",
		"stall_ratio < 2":                "a share is 0 to 1",
		"stall_ratio < NaN":              "a share is 0 to 1",
		"p99 < 5":                        "want a time like 5ms",
		"p99 < -5ms":                     "want a time like 5ms",
		"speed > 3":                      `"speed" is not known; known are stall_ratio`,
		"cold.mss = 1460":                `"cold.mss" is not known`,
		"timestamps < on":                "want a number",
		"syn_ack_rto = 1":                "want a time",
		"no worries":                     `want "finding"`,
		"no finding >= inconclusive":     `level "inconclusive"`,
		"no finding bad_luck":            `verdict "bad_luck" is not known`,
		"no finding healthy or so":       `one verdict`,
		"time_wait_rst = sometimes":      `"sometimes": time_wait_rst is one of ends it, ignored`,
		"time_wait_old_isn > accepted":   "want a number",
		"reordering < soon":              "want a number",
		"like":                           `want "baseline"`,
		"like baseline but mss":          `want "except"`,
		"like baseline except":           `want "except"`,
		"like baseline except mss, mood": `value "mood" is not known`,
	} {
		if _, err := ParseCheck(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func bursts(n, stalled, failed int, each time.Duration) []Burst {
	b := Burst{Connects: n, Stalled: stalled, Failed: failed}
	for range n - failed {
		b.Times = append(b.Times, each)
	}
	return []Burst{b}
}

func with(v profile.Value) *Facts {
	return &Facts{Profile: &profile.Profile{Values: []profile.Value{v}}}
}

func number(n profile.Name, s profile.State, x, low, high float64) *Facts {
	return with(profile.Value{Name: n, State: s, Text: "x", Number: x, Low: low, High: high, HasNumber: true})
}

func word(n profile.Name, s string) *Facts {
	return with(profile.Value{Name: n, State: profile.Measured, Text: s})
}

func found(v diagnose.Verdict, l diagnose.Level) *Facts {
	return &Facts{Diagnosed: true, Findings: []diagnose.Finding{{Verdict: v, Level: l, Summary: "so it is"}}}
}

func TestJudge(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		check string
		facts *Facts
		want  State
	}{
		{"reordering >= 3", number(profile.Reordering, profile.Measured, 3, 3, 3), Pass},
		{"reordering >= 3", number(profile.Reordering, profile.Between, 3, 1, 3), Unknown},
		{"reordering <= 3", number(profile.Reordering, profile.AtLeast, 10, 10, 0), Fail},
		{"time_wait_rst = ends it", word(profile.TimeWaitRST, "ends it"), Pass},
		{"time_wait_rst = ends it", word(profile.TimeWaitRST, "ignored"), Fail},
		{"time_wait_isn = accepted", with(profile.Value{Name: profile.TimeWaitISN, State: profile.NotMeasured, Why: "the server does not close first"}), Unknown},
		{"time_wait_old_isn != accepted", word(profile.TimeWaitOldISN, "challenge ACK"), Pass},
		{"abort_on_overflow = off", word(profile.AbortOnOverflow, "on"), Fail},
		{"loss_by_time = on", word(profile.LossByTime, "on"), Pass},
		{"stall_ratio < 0.01", &Facts{Bursts: bursts(101, 0, 0, ms)}, Pass},
		{"stall_ratio < 1%", &Facts{Bursts: bursts(101, 1, 0, ms)}, Pass},
		{"stall_ratio < 0.01", &Facts{Bursts: bursts(101, 2, 0, ms)}, Fail},
		{"stall_ratio < 0.001", &Facts{Bursts: bursts(100, 0, 0, ms)}, Unknown}, // one in a thousand does not show in a hundred
		{"stall_ratio < 0.001", &Facts{Bursts: bursts(100, 1, 0, ms)}, Fail},
		{"failure_ratio <= 0", &Facts{Bursts: bursts(10, 0, 0, ms)}, Pass},
		{"failure_ratio <= 0", &Facts{Bursts: bursts(10, 0, 1, ms)}, Fail},
		{"stall_ratio < 0.01", &Facts{Why: "no route"}, Unknown},
		{"p99 < 5ms", &Facts{Bursts: bursts(100, 0, 0, ms)}, Pass},
		{"p99 < 5ms", &Facts{Bursts: bursts(100, 0, 1, ms)}, Pass},
		{"p99 < 5ms", &Facts{Bursts: bursts(100, 0, 2, ms)}, Fail}, // what fails is slower than all
		{"max < 5ms", &Facts{Bursts: bursts(100, 0, 1, ms)}, Fail},
		{"cold.p50 < 5ms", &Facts{Bursts: append(bursts(10, 0, 0, 9*ms), bursts(90, 0, 0, ms)...)}, Fail},
		{"warm.p50 < 5ms", &Facts{Bursts: append(bursts(10, 0, 0, 9*ms), bursts(90, 0, 0, ms)...)}, Pass},
		{"p50 < 5ms", &Facts{Bursts: append(bursts(10, 0, 0, 9*ms), bursts(90, 0, 0, ms)...)}, Pass},
		{"warm.p50 < 5ms", &Facts{Bursts: bursts(10, 0, 0, ms)}, Unknown},
		{"timestamps = on", word(profile.Timestamps, "on"), Pass},
		{"timestamps = on", word(profile.Timestamps, "off"), Fail},
		{"timestamps != on", word(profile.Timestamps, "off"), Pass},
		{"timestamps = on", with(profile.Value{Name: profile.Timestamps, State: profile.NotMeasured, Why: "lost"}), Unknown},
		{"timestamps = on", with(profile.Value{Name: profile.Timestamps, State: profile.Varies, Text: "on ×3, off ×1"}), Fail},
		{"timestamps = on", &Facts{}, Unknown},
		{"mss = 1460", number(profile.MSS, profile.Measured, 1460, 1460, 1460), Pass},
		{"mss = 1460", number(profile.MSS, profile.Measured, 1400, 1400, 1400), Fail},
		{"mss != 1460", number(profile.MSS, profile.Measured, 1400, 1400, 1400), Pass},
		{"mss = none", word(profile.MSS, "none"), Pass},
		{"syn_ack_rto = 1s", number(profile.SYNACKRTO, profile.Measured, 1.1, 1.1, 1.1), Pass}, // a timer is late
		{"syn_ack_rto = 1s", number(profile.SYNACKRTO, profile.Measured, 3, 3, 3), Fail},
		{"remote_neighbor_queue >= 64", number(profile.NeighborQueue, profile.AtLeast, 256, 256, 0), Pass},
		{"remote_neighbor_queue >= 64", number(profile.NeighborQueue, profile.AtLeast, 50, 50, 0), Unknown},
		{"remote_neighbor_queue >= 64", number(profile.NeighborQueue, profile.Measured, 3, 3, 3), Fail},
		{"listener_backlog >= 128", number(profile.Backlog, profile.Between, 100, 100, 200), Unknown},
		{"listener_backlog >= 128", number(profile.Backlog, profile.Between, 4, 4, 5), Fail},
		{"listener_backlog >= 128", number(profile.Backlog, profile.Between, 128, 128, 129), Pass},
		{"listener_backlog < 128", number(profile.Backlog, profile.AtLeast, 128, 128, 0), Fail},
		{"listener_backlog != 5", number(profile.Backlog, profile.Between, 8, 8, 9), Pass},
		{"data_rto = 1s", number(profile.DataRTO, profile.AtLeast, 1, 1, 0), Unknown},
		{"data_rto = 1s", number(profile.DataRTO, profile.AtLeast, 4, 4, 0), Fail},
		{"no finding", found(diagnose.Healthy, diagnose.Confirmed), Pass},
		{"no finding", found(diagnose.BlackholeBackend, diagnose.Suspected), Fail},
		{"no finding >= confirmed", found(diagnose.BlackholeBackend, diagnose.Suspected), Pass},
		{"no finding >= confirmed forward_syn_loss", found(diagnose.BlackholeBackend, diagnose.Proven), Pass},
		{"no finding blackhole_backend", found(diagnose.BlackholeBackend, diagnose.Proven), Fail},
		{"no finding", &Facts{Why: "interrupted"}, Unknown},
		{"like baseline", word(profile.SACK, "on"), Unknown},
	} {
		c, err := ParseCheck(tc.check)
		if err != nil {
			t.Errorf("%q: %v", tc.check, err)
			continue
		}
		r := Judge([]Check{c}, tc.facts)[0]
		if r.State != tc.want || (r.State != Pass) && r.Why == "" && r.Got == "" {
			t.Errorf("%q: %s (got %q, why %q), want %s", tc.check, r.State, r.Got, r.Why, tc.want)
		}
	}
}

func TestLikeTheBaseline(t *testing.T) {
	golden := &profile.Profile{Values: []profile.Value{{Name: profile.SACK, State: profile.Measured, Text: "on"}, {Name: profile.ClosedPort, State: profile.Measured, Text: "rst"},
		{Name: profile.ECN, State: profile.Measured, Text: "on"}}}
	host := func(sack, closed, ecn string) *Facts {
		p := &profile.Profile{}
		for n, s := range map[profile.Name]string{profile.SACK: sack, profile.ClosedPort: closed, profile.ECN: ecn} {
			v := profile.Value{Name: n, State: profile.Measured, Text: s}
			if s == "" {
				v.State, v.Why = profile.NotMeasured, "lost"
			}
			p.Set(v)
		}
		return &Facts{Profile: p, Baseline: golden}
	}
	for _, tc := range []struct {
		check string
		facts *Facts
		want  State
	}{
		{"like baseline", host("on", "rst", "on"), Pass},
		{"like baseline", host("on", "rst", "off"), Pass}, // informative
		{"like baseline", host("off", "rst", "on"), Fail},
		{"like baseline except sack", host("off", "rst", "on"), Pass},
		{"like baseline except sack, closed_port", host("off", "silent", "on"), Pass},
		{"like baseline except sack", host("off", "silent", "on"), Fail},
		{"like baseline", host("on", "", "on"), Unknown},
		{"like baseline except closed_port", host("on", "", "on"), Pass},
	} {
		c, err := ParseCheck(tc.check)
		if err != nil {
			t.Fatal(err)
		}
		if r := Judge([]Check{c}, tc.facts)[0]; r.State != tc.want {
			t.Errorf("%q: %s (got %q, why %q), want %s", tc.check, r.State, r.Got, r.Why, tc.want)
		}
	}
}

// However many connects a check asks for, as many good ones pass it, and fewer by half do not.
func TestAPassIsEarned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Check{Subject: Connects, Metric: StallRatio, Op: Less, Number: rapid.Float64Range(0.0003, 0.2).Draw(t, "share"), HasNumber: true}
		n := c.Connections()
		if got := Judge([]Check{c}, &Facts{Bursts: bursts(n, 0, 0, 1)})[0].State; got != Pass {
			t.Fatalf("%d good connects: %s", n, got)
		}
		if got := Judge([]Check{c}, &Facts{Bursts: bursts(n/2, 0, 0, 1)})[0].State; got != Unknown {
			t.Fatalf("%d good connects of %d: %s", n/2, n, got)
		}
	})
}

func TestWorst(t *testing.T) {
	if Worst(nil) != Pass || Worst([]Result{{State: Pass}, {State: Unknown}}) != Unknown || Worst([]Result{{State: Unknown}, {State: Fail}, {State: Pass}}) != Fail {
		t.Error("the worst is not the worst")
	}
}

func FuzzParseCheck(f *testing.F) {
	for _, s := range []string{"stall_ratio < 0.001", "cold.p99 < 5ms", "no finding >= suspected", "like baseline except mss, hops", "timestamps = on"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCheck(s)
		if err != nil {
			return
		}
		again, err := ParseCheck(c.Text)
		if err != nil || again.Subject != c.Subject || again.Op != c.Op || again.Number != c.Number || !slices.Equal(again.Except, c.Except) {
			t.Errorf("%q reads as %+v, and its text %q as %+v: %v", s, c, c.Text, again, err)
		}
	})
}
