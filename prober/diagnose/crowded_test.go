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

// deviceOf are counters of devices, "eth0.tx_dropped", 8 and so on.
func deviceOf(pairs ...any) map[string]int64 {
	m := map[string]int64{}
	for i := 0; i < len(pairs); i += 2 {
		m["link."+pairs[i].(string)] = int64(pairs[i+1].(int))
	}
	return m
}

// exactly are bursts that miss so many each, and as many the device dropped, and more.
func exactly(more int, stalls ...int) []observe.Observation {
	var out []observe.Observation
	for _, n := range stalls {
		out = append(out, stalling(n, deviceOf("eth0.tx_dropped", n+more)))
	}
	return out
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
		{"the device dropped as many, behind the tap", repeated(2, stalling(8, deviceOf("eth0.tx_dropped", 8))), nil, true},
		{"the device missed a quarter of them on the way in", repeated(2, stalling(8, deviceOf("eth0.rx_missed_errors", 2))), nil, true},
		{"a VLAN counts what the queue below it refused", repeated(2, stalling(8, deviceOf("eth0.100.tx_packets", 90, "eth0.100.tx_dropped", 4, "eth0.tx_packets", 90))), nil, true},
		{"near miss: one less", repeated(2, stalling(8, deviceOf("eth0.rx_missed_errors", 1))), []diagnose.Verdict{stall}, false},
		{"near miss: the same drop in two counters is one", repeated(2, stalling(8, deviceOf("eth0.rx_missed_errors", 1, "eth0.rx_fifo_errors", 1, "eth0.rx_over_errors", 1))),
			[]diagnose.Verdict{stall}, false},
		{"near miss: protocols that nobody here speaks", repeated(2, stalling(8, deviceOf("eth0.rx_dropped", 1000))), []diagnose.Verdict{stall}, false},
		{"near miss: the device drops one of a million all the time", repeated(4, stalling(8, deviceOf("eth0.tx_dropped", 100, "eth0.tx_packets", 100_000_000))), []diagnose.Verdict{stall}, false},
		{"five different numbers are the device's to the packet", exactly(0, 3, 8, 5, 6, 4), []diagnose.Verdict{own}, true},
		{"near miss: four are", exactly(0, 3, 8, 5, 6, 6), nil, true},
		{"near miss: five are off by one", exactly(1, 3, 8, 5, 6, 4), nil, true},
		{"near miss: five are, and one burst misses something without", append(exactly(0, 3, 8, 5, 6, 4), stalling(3, deviceOf())), []diagnose.Verdict{stall}, true},
		{"near miss: five are, and in a sixth more is missing than the device dropped", append(exactly(0, 3, 8, 5, 6, 4), stalling(8, deviceOf("eth0.tx_dropped", 3))), nil, true},
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
			if c.note && len(c.want) == 0 && !strings.Contains(d.Headline, "own backlog") && !strings.Contains(d.Headline, "own device") {
				t.Errorf("headline %q does not say why nothing is named", d.Headline)
			}
		})
	}
}
