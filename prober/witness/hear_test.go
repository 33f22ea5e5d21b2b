package witness

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// room is eight seconds in which bursts of SYNs go without an answer at some moments, and a server is asked five times a second.
type room struct {
	doses    []time.Duration // of ten SYNs each
	counter  string
	own      int                       // by how much each of these SYNs moves it
	others   func(time.Duration) int64 // what else has moved it by then
	queue    *observe.ListenQueue
	kernel   string
	source   string
	settings map[string]string
	members  int // 0: the target itself is asked
}

const burstSize = 10

func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func target() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.10:80") }

// observations are one burst each.
func (r *room) observations() []observe.Observation {
	var out []observe.Observation
	for i, d := range r.doses {
		o := observe.Observation{Kind: plan.KindSticky, Label: "sticky", Captured: true, Started: start().Add(d), Finished: start().Add(d + 100*time.Millisecond), Arms: []plan.Arm{{Name: "raw"}}}
		for k := range burstSize {
			o.Attempts = append(o.Attempts, observe.Attempt{Index: k, Arm: "raw", Answered: -1, Outcome: observe.TimedOut,
				Flow: wire.Flow{Src: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1000+100*i+k)), Dst: target()},
				SYNs: []observe.SYN{{At: start().Add(d + time.Duration(k)*time.Millisecond)}}})
		}
		out = append(out, o)
	}
	return out
}

// at is the counter at a time.
func (r *room) at(d time.Duration) int64 {
	var n int64
	for _, dose := range r.doses {
		for k := range burstSize {
			if dose+time.Duration(k)*time.Millisecond < d {
				n += int64(r.own)
			}
		}
	}
	if r.others != nil {
		n += r.others(d)
	}
	return 1000 + n
}

func (r *room) witnesses() []observe.Witness {
	w := observe.Witness{Server: target().String(), Direct: true, Source: observe.SourceVipprobe, Kernel: r.kernel, Settings: r.settings}
	if r.source != "" {
		w.Source = r.source
	}
	for d := -2 * time.Second; d < 8*time.Second; d += 200 * time.Millisecond {
		s := observe.Statement{Asked: start().Add(d), Answered: start().Add(d + time.Millisecond), Counters: map[string]int64{"TcpExt.ListenDrops": 7}}
		if r.counter != "" {
			s.Counters[r.counter] = r.at(d)
		}
		if r.queue != nil {
			s.Listeners = []observe.ListenQueue{*r.queue}
		}
		w.Statements = append(w.Statements, s)
	}
	if r.members == 0 {
		return []observe.Witness{w}
	}
	w.Direct = false
	out := []observe.Witness{w}
	for i := 1; i < r.members; i++ {
		other := w
		other.Server = fmt.Sprintf("192.0.2.%d:80", 20+i)
		other.Statements = nil
		for _, s := range w.Statements {
			other.Statements = append(other.Statements, observe.Statement{Asked: s.Asked, Answered: s.Answered, Counters: map[string]int64{r.counter: 55}})
		}
		out = append(out, other)
	}
	return out
}

// far are moments far enough apart for quiet between them.
func far(n int) []time.Duration {
	var out []time.Duration
	for i := range n {
		out = append(out, time.Duration(i)*900*time.Millisecond+90*time.Millisecond)
	}
	return out
}

// steady is a background of n a second, one by one.
func steady(n float64) func(time.Duration) int64 {
	return func(d time.Duration) int64 { return int64(n * (d + 2*time.Second).Seconds()) }
}

func cause(v diagnose.Verdict, l diagnose.Level) diagnose.Diagnosis {
	return diagnose.Diagnosis{Causes: []diagnose.Cause{{Verdict: v, Level: l, Summary: "as seen from outside"}}}
}

func TestHear(t *testing.T) {
	const (
		paws   = diagnose.TWRecyclePAWSDrop
		accept = diagnose.AcceptQueueOverflow
		synq   = diagnose.SYNQueueFullDrop
	)
	full := &observe.ListenQueue{Addr: netip.MustParseAddrPort("[::]:80"), Queued: 2, Backlog: 1}
	empty := &observe.ListenQueue{Addr: netip.MustParseAddrPort("[::]:80"), Backlog: 128}
	half := &observe.ListenQueue{Addr: netip.MustParseAddrPort("[::]:80"), Backlog: 64, HalfOpen: 49, Counted: true}
	fewHalf := &observe.ListenQueue{Addr: netip.MustParseAddrPort("[::]:80"), Backlog: 64, HalfOpen: 12, Counted: true}
	noCookies := map[string]string{"net.ipv4.tcp_syncookies": "0", "net.ipv4.tcp_max_syn_backlog": "64"}
	cookies := map[string]string{"net.ipv4.tcp_syncookies": "1", "net.ipv4.tcp_max_syn_backlog": "64"}
	for _, c := range []struct {
		story  string
		room   room
		before diagnose.Diagnosis
		want   diagnose.Verdict // the first cause; empty: none
		level  diagnose.Level
		effect diagnose.Effect // of the first testimony; empty: there is none
	}{
		{"each refused SYN is counted", room{doses: far(6), counter: "TcpExt.PAWSPassive", own: 1, kernel: "3.10.0-1160.el7"}, cause(paws, diagnose.Confirmed), paws, diagnose.Proven, diagnose.EffectUpgraded},
		{"one burst, nothing else moves", room{doses: far(1), counter: "TcpExt.PAWSPassive", own: 1, kernel: "3.10.0"}, cause(paws, diagnose.Confirmed), paws, diagnose.Proven, diagnose.EffectUpgraded},
		{"others are refused just as fast", room{doses: far(6), counter: "TcpExt.PAWSPassive", own: 1, others: steady(60), kernel: "3.10.0"}, cause(paws, diagnose.Confirmed), paws, diagnose.Confirmed, diagnose.EffectBackground},
		{"three for each of ours", room{doses: far(6), counter: "TcpExt.PAWSPassive", own: 3, kernel: "3.10.0"}, cause(paws, diagnose.Confirmed), paws, diagnose.Confirmed, diagnose.EffectUnmatched},
		{"the counter stands still", room{doses: far(6), counter: "TcpExt.PAWSPassive", kernel: "3.10.0"}, cause(paws, diagnose.Confirmed), "", 0, diagnose.EffectRefuted},
		{"it stands still, the kernel unknown", room{doses: far(6), counter: "TcpExt.PAWSPassive"}, cause(paws, diagnose.Confirmed), paws, diagnose.Confirmed, diagnose.EffectUnmatched},
		{"no such sysctl in 6.18", room{doses: far(6), kernel: "6.18.44"}, cause(paws, diagnose.Confirmed), "", 0, diagnose.EffectRefuted},
		{"4.11 has it still", room{doses: far(6), kernel: "4.11.12"}, cause(paws, diagnose.Confirmed), paws, diagnose.Confirmed, diagnose.EffectUnsaid},
		{"a node_exporter that does not export it", room{doses: far(6), kernel: "3.10.0", source: observe.SourceNodeExporter}, cause(paws, diagnose.Confirmed), paws, diagnose.Confirmed, diagnose.EffectUnsaid},
		{"one member counts them all", room{doses: far(6), counter: "TcpExt.PAWSPassive", own: 1, kernel: "3.10.0", members: 3}, cause(diagnose.TWRecyclePAWSDropSNAT, diagnose.Suspected), diagnose.TWRecyclePAWSDropSNAT, diagnose.Proven, diagnose.EffectUpgraded},
		{"no member counts them", room{doses: far(6), counter: "TcpExt.PAWSPassive", kernel: "3.10.0", members: 3}, cause(diagnose.TWRecyclePAWSDropSNAT, diagnose.Suspected), diagnose.TWRecyclePAWSDropSNAT, diagnose.Suspected, diagnose.EffectUnmatched},
		{"silence, and a full accept queue counts it", room{doses: far(6), counter: "TcpExt.ListenOverflows", own: 1, queue: full, kernel: "6.18.0"}, cause(diagnose.SYNStallUnclassified, diagnose.Suspected), accept, diagnose.Proven, diagnose.EffectNamed},
		{"silence, and another listener overflows", room{doses: far(6), counter: "TcpExt.ListenOverflows", others: steady(60), queue: empty, kernel: "6.18.0"}, cause(diagnose.SYNStallUnclassified, diagnose.Suspected), diagnose.SYNStallUnclassified, diagnose.Suspected, diagnose.EffectBackground},
		{"another listener overflows when we send, ours is empty", room{doses: far(6), counter: "TcpExt.ListenOverflows", own: 1, queue: empty, kernel: "6.18.0"}, cause(diagnose.SYNStallUnclassified, diagnose.Suspected), diagnose.SYNStallUnclassified, diagnose.Suspected, diagnose.EffectBackground},
		{"a flood, and the queue of half-open ones stands at its limit", room{doses: far(6), counter: "TcpExt.ListenDrops", own: 1, others: steady(200), queue: half, settings: noCookies, kernel: "6.18.0"}, cause(diagnose.SYNStallUnclassified, diagnose.Suspected), synq, diagnose.Proven, diagnose.EffectNamed},
		{"a flood, and cookies are on", room{doses: far(6), counter: "TcpExt.ListenDrops", own: 1, others: steady(200), queue: half, settings: cookies, kernel: "6.18.0"}, cause(diagnose.SYNStallUnclassified, diagnose.Suspected), diagnose.SYNStallUnclassified, diagnose.Suspected, diagnose.EffectBackground},
		{"a flood elsewhere", room{doses: far(6), counter: "TcpExt.ListenDrops", others: steady(200), queue: fewHalf, settings: noCookies, kernel: "6.18.0"}, cause(diagnose.SYNStallUnclassified, diagnose.Suspected), diagnose.SYNStallUnclassified, diagnose.Suspected, diagnose.EffectBackground},
		{"a filter was named, but the listener counted each", room{doses: far(6), counter: "TcpExt.ListenOverflows", own: 1, queue: full, kernel: "6.18.0"}, cause(diagnose.ACLDrop, diagnose.Confirmed), accept, diagnose.Proven, diagnose.EffectNamed},
		{"a cause that the counter does not contradict stays", room{doses: far(6), counter: "TcpExt.ListenOverflows", own: 1, queue: full, kernel: "3.10.0"}, cause(paws, diagnose.Proven), paws, diagnose.Proven, diagnose.EffectUnsaid},
		{"nothing went in vain", room{counter: "TcpExt.ListenOverflows", others: steady(60), kernel: "6.18.0"}, cause(diagnose.Healthy, diagnose.Confirmed), diagnose.Healthy, diagnose.Confirmed, ""},
	} {
		t.Run(c.story, func(t *testing.T) {
			d := c.before
			Hear(&d, c.room.observations(), c.room.witnesses())
			var got diagnose.Verdict
			var level diagnose.Level
			if len(d.Causes) > 0 {
				got, level = d.Causes[0].Verdict, d.Causes[0].Level
			}
			if got != c.want || level != c.level {
				t.Errorf("cause %q %s, want %q %s", got, level, c.want, c.level)
			}
			var effect diagnose.Effect
			why := ""
			if len(d.Testimony) > 0 {
				effect, why = d.Testimony[0].Effect, d.Testimony[0].Why
			}
			if effect != c.effect {
				t.Errorf("effect %q, want %q: %s", effect, c.effect, why)
			}
		})
	}
}

// TestSentence holds the sentence to its figures.
func TestSentence(t *testing.T) {
	r := room{doses: far(1), counter: "TcpExt.PAWSPassive", own: 1, kernel: "3.10.0"}
	d := cause(diagnose.TWRecyclePAWSDrop, diagnose.Confirmed)
	Hear(&d, r.observations(), r.witnesses())
	want := "192.0.2.10:80 itself counted TcpExt.PAWSPassive +10 for the 10 SYNs without answer; without them it rose by 0 a second"
	if got := d.Testimony[0].Why; !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s…", got, want)
	}
}

// TestByChance lets a counter move at random, in single events and in heaps, that have nothing to do with our SYNs: it must not be taken for their
// witness more often than α, with room for chance.
func TestByChance(t *testing.T) {
	const rounds = 700
	for name, heap := range map[string]int{"single events": 1, "heaps of ten": 10} {
		r := rand.New(rand.NewPCG(7, uint64(heap)))
		upgraded := 0
		for range rounds {
			rate := 0.2 * float64(int(1)<<r.IntN(9)) / float64(heap) // heaps a second
			var events []time.Duration
			for at := -2 * time.Second; at < 8*time.Second; at += time.Duration(r.ExpFloat64() / rate * float64(time.Second)) {
				events = append(events, at)
			}
			x := room{doses: far(1 + r.IntN(8)), counter: "TcpExt.PAWSPassive", kernel: "3.10.0", others: func(d time.Duration) (n int64) {
				for _, e := range events {
					if e < d {
						n += int64(heap)
					}
				}
				return n
			}}
			d := cause(diagnose.TWRecyclePAWSDrop, diagnose.Confirmed)
			Hear(&d, x.observations(), x.witnesses())
			if d.Testimony[0].Effect == diagnose.EffectUpgraded {
				upgraded++
			}
		}
		if most := 5; upgraded > most { // α of 700 is 0.7; six or more happen once in 10,000
			t.Errorf("%s: %d of %d counters that had nothing to do with it upgraded the verdict, want at most %d", name, upgraded, rounds, most)
		}
	}
}
