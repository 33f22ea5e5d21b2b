package minute

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// TestSketchError holds the promise of the quantiles: exact at both ends, within 3.2 % (and half a microsecond) between.
func TestSketchError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		us := rapid.SliceOfN(rapid.Int64Range(0, int64(2*time.Hour/time.Microsecond)), 1, 200).Draw(t, "durations")
		var s Sketch
		for _, v := range us {
			s.Add(time.Duration(v) * time.Microsecond)
		}
		slices.Sort(us)
		for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.99, 1} {
			got, ok := s.Quantile(q)
			rank := max(1, int(math.Ceil(q*float64(len(us)))))
			want := float64(us[rank-1])
			if diff := math.Abs(float64(got/time.Microsecond) - want); !ok || diff > want*0.032+0.5 || (q == 0 || q == 1) && diff != 0 {
				t.Fatalf("quantile %g of %v: %s, want %g µs", q, us, got, want)
			}
		}
	})
}

func TestEmptySketchHasNoQuantile(t *testing.T) {
	var s Sketch
	if d, ok := s.Quantile(0.5); ok {
		t.Errorf("the median of nothing is %s", d)
	}
}

func TestBucketsAscend(t *testing.T) {
	last := -1
	for us := range uint64(1 << 20) {
		b := int(bucketOf(us))
		if b != last && b != last+1 {
			t.Fatalf("%d µs fall into bucket %d, the microsecond before into %d", us, b, last)
		}
		last = b
	}
	if got := bucketOf(math.MaxUint64); got != lastBucket {
		t.Errorf("the longest duration falls into %d, want %d", got, lastBucket)
	}
}

func point(t *rapid.T) Point {
	return Point{
		At:        time.Duration(rapid.Int64Range(0, 120_000).Draw(t, "ms")) * time.Millisecond,
		Handshake: time.Duration(rapid.Int64Range(0, 127_000_000).Draw(t, "µs")) * time.Microsecond,
		Outcome:   rapid.SampledFrom(append(observe.Outcomes(), observe.OutcomeUnknown)).Draw(t, "outcome"),
		Lost:      rapid.IntRange(0, 7).Draw(t, "lost"),
		Stalled:   rapid.Bool().Draw(t, "stalled"),
	}
}

func byTime(a, b Point) int { return int(a.At - b.At) }

// TestPointsComeBack encodes rounds one behind the other, as a minute of a target is stored.
func TestPointsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b []byte
		var want []Point
		for range rapid.IntRange(0, 4).Draw(t, "rounds") {
			round := rapid.SliceOf(rapid.Custom(point)).Draw(t, "points")
			slices.SortFunc(round, byTime)
			b = AppendPoints(b, round)
			want = append(want, round...)
		}
		got, err := ParsePoints(nil, b)
		if err != nil || cmp.Diff(want, got) != "" {
			t.Fatalf("%v %s", err, cmp.Diff(want, got))
		}
	})
}

func figures(points []Point) Figures {
	f := Figures{Rounds: 1}
	for i := range points {
		f.Note(&points[i])
	}
	return f
}

// TestFoldingInAnyOrder: a minute written in two parts is the minute written in one.
func TestFoldingInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := rapid.SliceOf(rapid.Custom(point)).Draw(t, "points")
		cut := rapid.IntRange(0, len(points)).Draw(t, "cut")
		whole, part, rest := figures(points), figures(points[:cut]), figures(points[cut:])
		whole.Rounds = 2
		read, left, err := ParseFigures(append(part.Append(nil), 7))
		if err != nil || len(left) != 1 {
			t.Fatal(err, left)
		}
		read.Merge(&rest)
		if d := cmp.Diff(whole, read, cmp.AllowUnexported(Sketch{}, cell{})); d != "" {
			t.Fatal(d)
		}
	})
}

// TestOutcomeNumbers: they are stored, so they stay what they are.
func TestOutcomeNumbers(t *testing.T) {
	want := map[string]int{"unknown": 0, "accepted": 1, "refused": 2, "reset": 3, "timed_out": 4, "unreachable": 5, "not_sent": 6, "local_drop": 7}
	got := map[string]int{}
	for n := range Outcomes {
		got[observe.Outcome(n).String()] = n
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// FuzzParse: what a damaged file holds is an error or figures, never a panic, and what was read is written the same.
func FuzzParse(f *testing.F) {
	some := figures([]Point{{At: time.Second, Handshake: 3 * time.Millisecond, Outcome: observe.Accepted, Lost: 2, Stalled: true}})
	f.Add(some.Append(nil))
	f.Add(AppendPoints(nil, []Point{{At: time.Second, Outcome: observe.Refused}}))
	f.Add([]byte{0x80})                               // a number that never ends
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x7f})    // a gap of 10 years
	f.Add([]byte{0, 3, 0, 0, 1, 1, 0, 1})             // the same bucket twice
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}) // 10^12 points
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, rest, err := ParseFigures(b); err == nil {
			again, _, err := ParseFigures(got.Append(nil))
			if err != nil || len(rest) > len(b) || cmp.Diff(got, again, cmp.AllowUnexported(Sketch{}, cell{})) != "" {
				t.Errorf("%x: %v", b, err)
			}
		}
		if got, err := ParsePoints(nil, b); err == nil {
			again, err := ParsePoints(nil, AppendPoints(nil, got))
			if err != nil || len(again) != len(got) {
				t.Errorf("%x: %v", b, err)
			}
		}
	})
}
