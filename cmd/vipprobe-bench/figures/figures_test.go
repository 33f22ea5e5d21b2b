package figures

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	nan := math.NaN()
	for _, x := range []struct {
		values []float64
		want   float64
		ok     bool
	}{{nil, 0, false}, {[]float64{nan}, 0, false}, {[]float64{3, 1, 2}, 2, true}, {[]float64{4, 1, nan, 2, 3}, 2.5, true}} {
		if got, ok := Median(x.values); got != x.want || ok != x.ok {
			t.Errorf("%v: %v, %t", x.values, got, ok)
		}
	}
}

func TestQuantile(t *testing.T) {
	s := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]float64{0.5: 5, 0.99: 10, 0: 1, 1: 10, 0.91: 10, 0.9: 9} {
		if got := Quantile(s, q); got != want {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
	if Quantile(nil, 0.5) != 0 {
		t.Error("of nothing")
	}
}

// example has two rounds, in the second of which the peer failed, and in the third ours.
func example() *Report {
	r := &Report{Rounds: 3, Took: time.Minute, Host: Host{Kernel: "Linux 6.18", CPU: "a CPU", Cores: 2, Versions: map[string]string{"peer": "1.0"}}}
	r.Add("cost", Ours, "µs", 0, 2)
	r.Add("cost", "peer", "µs", 0, 8)
	r.Add("cost", Ours, "µs", 1, 1)
	r.Add("cost", "peer", "µs", 2, 100)
	r.Note("cost", "peer", "peer --fast")
	r.Note("cost", "peer", "peer --fast")
	return r
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	r := example()
	r.Judge([]Target{{Figure: "cost", Over: "peer", Of: Ours, Least: 4}, {Figure: "cost", Over: "peer", Of: Ours, Least: 4.1},
		{Figure: "cost", Of: Ours, Most: 1.5, Unit: "µs"}, {Figure: "cost", Over: "absent", Of: Ours, Least: 1}})
	var got []string
	for _, v := range r.Verdicts {
		got = append(got, strings.Join([]string{number(v.Median), map[bool]string{true: "measured"}[v.Known], map[bool]string{true: "met"}[v.Met]}, " "))
	}
	if diff := cmp.Diff([]string{"4 measured met", "4 measured ", "1.5 measured met", "0  "}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	r := example()
	r.Judge([]Target{{Figure: "cost", Over: "peer", Of: Ours, Least: 5}, {Figure: "cost", Of: "absent", Most: 1}})
	r.Failures = []string{"round 2, peer: it broke"}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Linux 6.18, a CPU, 2 cores; medians of 3 rounds, 1m0s", "vipprobe    1.5 µs", "8 … 100", "MISSED", "not measured\n",
		"cost, peer:\n    peer --fast\n", "peer: 1.0", "not measured: round 2, peer: it broke"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Count(b.String(), "peer --fast") != 1 {
		t.Error("a command stands twice")
	}
}

func TestJSONHoldsNoNaN(t *testing.T) {
	r := example()
	r.Judge(nil)
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, &back); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.698: "0.698", 99.994: "99.99", 100: "100", 12345.6: "12346", 26.24: "26.2", 64: "64"} {
		if got := number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func TestRowsOfAFigureStandTogether(t *testing.T) {
	r := &Report{}
	for _, who := range []string{Ours, "peer"} {
		r.Add("sent", who, "µs", 0, 1)
		r.Add("matched", who, "µs", 0, 1)
	}
	r.Judge(nil)
	var got []string
	for i := range r.Rows {
		got = append(got, r.Rows[i].Figure+" "+r.Rows[i].Contestant)
	}
	if diff := cmp.Diff([]string{"sent " + Ours, "sent peer", "matched " + Ours, "matched peer"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
