package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/results"
	"github.com/vipprobe/vipprobe/targets"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 5, 0, time.UTC)

func round(at time.Time, lost int) prober.Round {
	a := observe.Attempt{Outcome: observe.Accepted, Handshake: time.Millisecond, Retransmissions: lost, Lost: lost, SYNs: []observe.SYN{{At: at}}}
	r := prober.Round{Target: "vip:443", Addr: netip.MustParseAddrPort("192.0.2.10:443"), Started: at, Duration: time.Millisecond, Success: true,
		Observations: []observe.Observation{{Attempts: []observe.Attempt{a}}}}
	r.Diagnosis.Causes = []diagnose.Cause{{Verdict: diagnose.Healthy, Level: diagnose.Confirmed}}
	if lost > 0 {
		r.Diagnosis.Causes = []diagnose.Cause{{Verdict: diagnose.LocalARPQueueOverflow, Level: diagnose.Proven}}
	}
	return r
}

type kept struct {
	*Recorder
	t     *testing.T
	store *results.Store
}

func start(t *testing.T) *kept {
	t.Helper()
	store, err := results.Open(t.Context(), results.Options{OnError: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &kept{New(store, evidence.Origin{Program: "test"}, func(err error) { t.Error(err) }), t, store}
}

// Targets are all that were probed, by name.
func (k *kept) Targets() []Target {
	list := k.List("")
	slices.SortFunc(list, func(a, b Brief) int {
		return strings.Compare(a.Target+" "+a.Addr, b.Target+" "+b.Addr)
	})
	return k.Look(list)
}

func (k *kept) rounds() []results.Round {
	k.t.Helper()
	if err := k.store.Flush(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
	list, _, err := k.store.Reader().Rounds(k.t.Context(), results.Filter{}, results.Cursor{}, 1000)
	if err != nil {
		k.t.Fatal(err)
	}
	return list
}

// attempts is how many connections the history of vip:443 has.
func (k *kept) attempts() (n, stalled uint64) {
	k.t.Helper()
	if err := k.store.Flush(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
	h, err := k.store.Reader().History(k.t.Context(), results.SeriesFilter{Target: "vip:443", From: epoch.Add(-time.Hour), To: epoch.Add(time.Hour), Step: time.Hour})
	if err != nil {
		k.t.Fatal(err)
	}
	for i := range h.Buckets {
		n, stalled = n+h.Buckets[i].Figures.Attempts, stalled+h.Buckets[i].Figures.Stalled
	}
	return n, stalled
}

// TestWhatIsWorthARow: changes always, rounds alike each 10 s, all that was seen each minute; and every connection in the history.
func TestWhatIsWorthARow(t *testing.T) {
	k := start(t)
	for i := range 120 { // two minutes ill, after one round that was well
		k.Observe("j", "connect", nil, []prober.Round{round(epoch.Add(time.Duration(i)*time.Second), min(i, 1))})
	}
	k.Observe("j", "connect", nil, []prober.Round{round(epoch.Add(2*time.Minute), 0)})
	k.Observe("j", "connect", nil, []prober.Round{round(epoch.Add(2*time.Minute+time.Second), 1)})
	rows, details := 0, 0
	for _, r := range k.rounds() {
		rows++
		if r.Detail {
			details++
		}
	}
	if rows != 13 || details != 3 {
		t.Errorf("%d rows, %d with all that was seen; want 13 (every 10 s) and 3 (every minute)", rows, details)
	}
	if n, stalled := k.attempts(); n != 122 || stalled != 120 {
		t.Errorf("%d connections, %d stalled; want 122 and 120", n, stalled)
	}
	if got := k.Thinned(); got[ThinnedRow] != 107 || got[ThinnedDetail] != 10 {
		t.Errorf("left out: %v", got)
	}
	all := k.Targets()
	if len(all) != 1 || string(marks(all[0].Recent)) != strings.Repeat("s", 58)+".s" || all[0].Last.ID == 0 {
		t.Errorf("%+v", all)
	}
}

func marks(m []Mark) (out []byte) {
	for _, x := range m {
		out = append(out, byte(x))
	}
	return out
}

// TestManyIllTargetsAreBounded: a network that is down makes thousands of rounds ill at once; all are rows, few are kept whole.
func TestManyIllTargetsAreBounded(t *testing.T) {
	k := start(t)
	for i := range 1000 {
		r := round(epoch, 1)
		r.Target = fmt.Sprintf("vip%d:443", i)
		k.Observe("j", "connect", nil, []prober.Round{r})
	}
	details := 0
	for _, r := range k.rounds() {
		if r.Detail {
			details++
		}
	}
	if details < detailBurst || details > 2*detailBurst {
		t.Errorf("%d of 1000 rounds are kept whole; want about %d", details, detailBurst)
	}
}

func TestHealthyRoundsOfFewWords(t *testing.T) {
	k := start(t)
	k.Healthy("j", "syn", nil, &prober.Healthy{Target: "vip:443", Addr: netip.MustParseAddrPort("192.0.2.10:443"), Started: epoch, Connections: 3,
		RTTs: []time.Duration{time.Millisecond, 2 * time.Millisecond}})
	if n := len(k.rounds()); n != 0 {
		t.Errorf("%d rows", n)
	}
	if n, stalled := k.attempts(); n != 3 || stalled != 0 {
		t.Errorf("%d connections, %d stalled", n, stalled)
	}
	if all := k.Targets(); len(all) != 1 || all[0].Worst != 2*time.Millisecond || all[0].Recent[0] != MarkWell {
		t.Errorf("%+v", all)
	}
}

// TestAnAddressThatANameLeftIsForgotten: after an hour in which another address of the name was probed, and not before; nobody asks in vain.
func TestAnAddressThatANameLeftIsForgotten(t *testing.T) {
	k := start(t)
	at := func(addr string, after time.Duration) {
		k.Healthy("j", "syn", nil, &prober.Healthy{Target: "vip:443", Addr: netip.MustParseAddrPort(addr), Started: epoch.Add(after), Connections: 1})
	}
	k.Healthy("j", "syn", nil, &prober.Healthy{Target: "rare:443", Addr: netip.MustParseAddrPort("192.0.2.30:443"), Started: epoch, Connections: 1})
	at("192.0.2.10:443", 0)
	at("192.0.2.11:443", time.Hour)
	old := k.List("vip:443")
	if len(old) != 2 {
		t.Errorf("after an hour: %+v", old)
	}
	at("192.0.2.11:443", time.Hour+time.Second)
	if list := k.List(""); len(list) != 2 || len(k.List("vip:443")) != 1 || k.List("vip:443")[0].Addr != "192.0.2.11:443" {
		t.Errorf("after more than an hour: %+v", list)
	}
	for i, x := range k.Look(old) {
		if gone := old[i].Addr == "192.0.2.10:443"; gone != (x.Last.Target == "") {
			t.Errorf("%s: %+v", old[i].Addr, x)
		}
	}
}

// TestADiagnosisStandsBesideItsTarget: it is listed and shown there, and its experiments are not counted as everyday connections.
func TestADiagnosisStandsBesideItsTarget(t *testing.T) {
	k := start(t)
	k.Observe("j", "connect", nil, []prober.Round{round(epoch, 1)})
	d := round(epoch.Add(time.Second), 1)
	d.Reasoning = []experiment.Thought{{}}
	member := d
	member.Member, member.Target = true, "real:443"
	k.Diagnosed("j", "connect", nil, "vip:443", []prober.Round{d, member})
	all := k.Targets()
	if len(all) != 1 || all[0].Diagnosis == nil || !all[0].Diagnosis.Detail || all[0].Diagnosis.ID == all[0].Last.ID {
		t.Fatalf("%+v", all)
	}
	if n, _ := k.attempts(); n != 1 {
		t.Errorf("%d connections; want that of the round alone", n)
	}
	if list := k.rounds(); len(list) != 3 || !list[0].Member && !list[1].Member {
		t.Errorf("%+v", list)
	}
}

// TestFramesAreNumberedInACopy: the round may be in other hands; what is kept names the frames of its capture.
func TestFramesAreNumberedInACopy(t *testing.T) {
	k := start(t)
	r := round(epoch, 1)
	r.Observations[0].Recorded = &observe.Recording{Snap: 60, Frames: []observe.Frame{{At: epoch, Outgoing: true, Bare: true, Orig: 60, Data: make([]byte, 60)}}}
	k.Asked("run", []prober.Round{r})
	if n := r.Observations[0].Recorded.Frames[0].Number; n != 0 {
		t.Errorf("the caller's frame has number %d", n)
	}
	list := k.rounds()
	content, err := k.store.Reader().Content(t.Context(), list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	var v view.Round
	if err := json.Unmarshal(content, &v); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([][2]int{{1, 1}}, v.Observations[0].Recorded.InCapture); d != "" {
		t.Error(d)
	}
}

func TestFailuresAndReloads(t *testing.T) {
	k := start(t)
	k.Fail("j", "connect", "gone:443", nil)
	r := round(epoch, 0)
	r.Err, r.Observations = errors.New("no route"), nil
	k.Observe("j", "connect", nil, []prober.Round{r})
	if list := k.rounds(); len(list) != 2 || list[0].Error == "" || list[0].Success {
		t.Errorf("%+v", list)
	}
	if all := k.Targets(); len(all) != 2 || all[0].Recent[0] != MarkError {
		t.Errorf("%+v", all)
	}
	k.Retain([]targets.Job{{Name: "j", Targets: []string{"vip:443"}}})
	if all := k.Targets(); len(all) != 1 || all[0].Last.Target != "vip:443" {
		t.Errorf("after a reload without it: %+v", all)
	}
}

// BenchmarkHealthy is what a healthy round of ten connections costs, the store's own work beside it.
func BenchmarkHealthy(b *testing.B) {
	store, err := results.Open(b.Context(), results.Options{QueueBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	rec := New(store, evidence.Origin{}, func(err error) { b.Error(err) })
	h := &prober.Healthy{Addr: netip.MustParseAddrPort("192.0.2.10:443"), Started: time.Now(), Connections: 10, RTTs: make([]time.Duration, 10)}
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("vip%d:443", i)
	}
	for _, h.Target = range names { // each is new once
		rec.Healthy("j", "syn", nil, h)
	}
	if err := store.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		h.Target = names[i%len(names)]
		rec.Healthy("j", "syn", nil, h)
		if i++; i%1000 == 0 {
			if err := store.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
