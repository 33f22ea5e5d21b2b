package prober

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/sweep"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// watched makes a request one that is followed, and counts what is told.
func watched(q SweepRequest, repeats int) (SweepRequest, map[string]int) {
	told := map[string]int{}
	q.Watch = &SweepWatch{Repeats: repeats,
		Over: func(r sweep.Result) {
			word := r.State.String()
			if r.Stalled() {
				word = "stalled"
			}
			told[word]++
		},
		LeftOut: func(netip.AddrPort, error) { told["left out"]++ }}
	return q, told
}

// chained is one sequence of targets behind another.
func chained(a, b SweepRequest) SweepRequest {
	first, second := a.Targets, b.Targets
	a.Targets = func(yield func(netip.AddrPort) bool) {
		for x := range first {
			if !yield(x) {
				return
			}
		}
		second(yield)
	}
	return a
}

func wantTold(t *testing.T, got, want map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Fewer flows may be without an answer than there are targets: those that answer make room for the rest. What has no way is left out.
func TestWatchedSweepGoesOnAsAnswersComeIn(t *testing.T) {
	t.Parallel()
	r := broad(t, EngineOptions{Limits: Limits{Unanswered: 50, GlobalRate: 1e5}})
	q, told := watched(chained(sweepTo(netip.MustParseAddrPort("10.64.0.0:80"), 300), chained(sweepTo(netip.MustParseAddrPort("10.64.2.0:81"), 100),
		sweepTo(netip.MustParseAddrPort("203.0.113.1:80"), 3))), 1)
	report, err := r.sweep(t, q, "10.64.0.0/16", "203.0.113.0/24")
	must(t, err)
	wantTold(t, told, map[string]int{"accepted": 300, "refused": 100, "left out": 3})
	if s := report.Book.Summarize(); s.Timed != 400 || s.Unseen != 0 {
		t.Errorf("%+v, ignored %v", s, report.Ignored)
	}
}

// What nobody answers uses up the room: the sweep waits for it, says so, and when it is cut short nothing that it did not wait for is called silent.
func TestWatchedSweepWaitsForRoom(t *testing.T) {
	t.Parallel()
	r := broad(t, EngineOptions{Limits: Limits{Unanswered: 50, GlobalRate: 1e5}})
	r.listen(t, nil)
	r.client.Route("10.9.0.0/16", ghostV4)
	must(t, r.Err())
	q, told := watched(sweepTo(netip.MustParseAddrPort("10.9.0.0:80"), 80), 0)
	q.Wait = 50 * ms
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	room := 0
	q.Watch.Progress = func(p SweepProgress) {
		if p.Unanswered > 0 && p.Over == p.Sent {
			room = p.Unanswered
			cancel()
		}
	}
	p := &Prober{engine: r.engine, pauses: newPauses()}
	p.allow, _ = ParseAllow([]string{"10.9.0.0/16"})
	must(t, r.client.Do(func() error {
		if report, err := p.Sweep(ctx, q); !errors.Is(err, context.Canceled) || report == nil {
			t.Errorf("%v, %v", report, err)
		}
		return nil
	}))
	if room < 49 || room > 50 { // the SYN that looks at the way has no answer either
		t.Errorf("%d are without an answer; the limit is 50", room)
	}
	wantTold(t, told, map[string]int{"silent": room, "not_sent": 80 - room})
	if b := r.engine.budget; b.open != 0 || b.silenced != 50 {
		t.Errorf("afterwards %d flows are under way and %d without an answer, want none and 50", b.open, b.silenced)
	}
}

// A peer that answers only the second SYN of every other port, and one port never.
func TestWatchedSweepSendsAgain(t *testing.T) {
	t.Parallel()
	for _, host := range []string{ghostV4, ghostV6} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			r := network(t)
			number, seen := map[wire.Seq]int{}, map[wire.Seq]int{}
			r.listen(t, func(p *peer, s *wire.Segment) {
				if !isSYN(s) || s.Dst.Addr() != addr(host) {
					return
				}
				if seen[s.Seq]++; seen[s.Seq] == 1 {
					number[s.Seq] = len(number)
				}
				// 0 is the kernel's own, which looks at the way
				if n := number[s.Seq]; n != 3 && (n%2 == 0 && n > 0) == (seen[s.Seq] == 2) {
					p.send(synAckTo(s))
				}
			})
			r.start(t, EngineOptions{})
			q, told := watched(sweepTo(on(host, 80), 1), 1)
			q.Shots, q.Wait = 8, 500*ms
			report, err := r.sweep(t, q, host)
			must(t, err)
			wantTold(t, told, map[string]int{"accepted": 3, "stalled": 4, "silent": 1})
			got := map[int]int{}
			for i := range report.Book.Len() {
				res := report.Book.Result(i)
				got[res.Again]++
				if res.Stalled() && (!res.Timed || res.Took < sweep.StallTime) {
					t.Errorf("%s: took %s", res.Flow, res.Took)
				}
			}
			if diff := cmp.Diff(map[int]int{0: 3, 1: 5}, got); diff != "" {
				t.Errorf("SYNs sent again (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWatchedSweepRefuses(t *testing.T) {
	t.Parallel()
	r := broad(t, EngineOptions{})
	for _, x := range []struct {
		story   string
		repeats int
		first   string
		want    string
	}{
		{"too many repeats", 4, "10.64.0.0:80", "4 repeats"},
		{"nothing can be reached", 0, "203.0.113.1:80", "no route"},
		{"nothing is permitted", 0, "10.65.0.1:80", "not on the allow list"},
	} {
		q, _ := watched(sweepTo(netip.MustParseAddrPort(x.first), 3), x.repeats)
		report, err := r.sweep(t, q, "10.64.0.0/16", "203.0.113.0/24")
		if err == nil || report != nil {
			t.Errorf("%s: %v, %v", x.story, report, err)
			continue
		}
		wantText(t, x.story, fmt.Sprint(err), x.want)
	}
}
