package diagnose_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// stalling is a burst of twenty connects, so many of which were answered at their first repeat, while this host's counters rose as told.
func stalling(stalls int, counters map[string]int64) observe.Observation {
	start := time.Unix(1000, 0)
	o := observe.Observation{Kind: plan.KindConnect, Captured: true, Started: start, Finished: start.Add(4 * time.Second), Counters: counters}
	for i := range 20 {
		began := start.Add(time.Duration(i) * 100 * time.Millisecond)
		a := observe.Attempt{Index: i, Via: plan.Kernel, Outcome: observe.Accepted, Answered: 0, Handshake: time.Millisecond, RTT: time.Millisecond,
			Flow: wire.Flow{Dst: netip.MustParseAddrPort("192.0.2.1:80")}, SYNs: []observe.SYN{{At: began, HasTS: true, TSval: wire.TSval(i)}}}
		if i < stalls {
			a.SYNs = append(a.SYNs, observe.SYN{At: began.Add(time.Second), HasTS: true, TSval: wire.TSval(i + 1000)})
			a.Answered, a.Retransmissions, a.Lost, a.LostBy, a.Handshake = 1, 1, 1, observe.ByTSecr, 1001*time.Millisecond
		}
		last := a.SYNs[len(a.SYNs)-1]
		a.Answers = []observe.Answer{{At: last.At.Add(time.Millisecond), Kind: observe.SYNACK, HasTS: true, TSecr: last.TSval}}
		o.Attempts = append(o.Attempts, a)
	}
	return o
}

func dropped(n int64) map[string]int64 { return map[string]int64{"softnet.dropped": n} }

// shareOf are the counters of a host whose one CPU dropped so many packets of so many.
func shareOf(n, of int64) map[string]int64 {
	return map[string]int64{"softnet.dropped": n, "softnet.worst_dropped": n, "softnet.worst_processed": of - n}
}

func repeated(n int, o observe.Observation) []observe.Observation {
	return slices.Repeat([]observe.Observation{o}, n)
}

// What this host drops itself excuses the path as far as it can have made the losses, and no further.
func TestOwnBacklogExcuses(t *testing.T) {
	t.Parallel()
	const stall, own = diagnose.SYNStallUnclassified, diagnose.ProberLocalDrop
	for _, c := range []struct {
		name string
		seen []observe.Observation
		want []diagnose.Verdict // named as causes
		note bool               // the backlog is noted, or named
	}{
		{"nothing dropped here", repeated(2, stalling(8, dropped(0))), []diagnose.Verdict{stall}, false},
		{"counters not read", repeated(2, stalling(8, nil)), []diagnose.Verdict{stall}, false},
		{"as many dropped as are missing", repeated(2, stalling(8, dropped(8))), nil, true},
		{"very many dropped", repeated(2, stalling(8, dropped(1_000_000))), nil, true},
		{"a quarter of what is missing", repeated(2, stalling(8, dropped(2))), nil, true},
		{"near miss: one less, most were lost elsewhere for certain", repeated(2, stalling(8, dropped(1))), []diagnose.Verdict{stall}, false},
		{"near miss: dropped while nothing was missing", append(repeated(2, stalling(8, dropped(0))), stalling(0, dropped(1000))), []diagnose.Verdict{stall}, false},
		{"near miss: as much is missing in a burst without drops", append(repeated(2, stalling(8, dropped(0))), stalling(8, dropped(1000))), []diagnose.Verdict{stall}, true},
		{"only bursts with drops miss anything", append(repeated(5, stalling(3, dropped(100))), repeated(5, stalling(0, dropped(0)))...), []diagnose.Verdict{own}, true},
		{"the same, but for one without", append(append(repeated(5, stalling(3, dropped(100))), repeated(5, stalling(0, dropped(0)))...), stalling(1, dropped(0))), nil, true},
		{"one of ten dropped all the time", repeated(4, stalling(8, shareOf(10_000, 100_000))), nil, true},
		{"near miss: one of a million dropped all the time, eight of twenty missing", repeated(4, stalling(8, shareOf(100, 100_000_000))), []diagnose.Verdict{stall}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := diagnose.Diagnose(diagnose.Input{Observations: c.seen, Ladder: plan.Exponential(time.Second, 6)})
			var got []diagnose.Verdict
			for i := range d.Causes {
				got = append(got, d.Causes[i].Verdict)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("named %v, want %v: %s", got, c.want, d.Headline)
			}
			noted := slices.ContainsFunc(append(d.Causes, d.Notes...), func(f diagnose.Finding) bool { return f.Verdict == own })
			if noted != c.note {
				t.Errorf("the backlog is noted: %v, want %v", noted, c.note)
			}
			if c.note && len(c.want) == 0 && !strings.Contains(d.Headline, "own backlog") {
				t.Errorf("headline %q does not say why nothing is named", d.Headline)
			}
		})
	}
}
