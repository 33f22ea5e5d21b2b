package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

// some are n attempts that ended alike, the i-th after base and i steps.
func some(n int, o observe.Outcome, base, step time.Duration) []observe.Attempt {
	out := make([]observe.Attempt, n)
	for i := range out {
		d := base + time.Duration(i)*step
		out[i] = observe.Attempt{Index: i, Via: plan.Kernel, Outcome: o}
		switch o {
		case observe.Accepted:
			out[i].RTT, out[i].Handshake = d, d
		case observe.Refused:
			out[i].RTT, out[i].Handshake, out[i].Reason = d, d, "ECONNREFUSED: RST"
		case observe.TimedOut:
			out[i].Reason = "no answer within the deadline"
		case observe.Reset:
			out[i].RTT, out[i].Reason = d, fmt.Sprintf("RST %s after the SYN-ACK", d)
		case observe.LocalDrop:
			out[i].Reason = "no SYN of this attempt was seen leaving the host"
		case observe.OutcomeUnknown:
			out[i].Reason = "interrupted before an answer: interrupt signal received"
		case observe.NotSent, observe.Unreachable:
		}
	}
	return out
}

// late are attempts that stalled for lost SYNs, a second each.
func late(n, lost int) []observe.Attempt {
	out := some(n, observe.Accepted, 150*time.Microsecond, 3*time.Microsecond)
	for i := range out {
		out[i].Retransmissions, out[i].Lost = lost, lost
		out[i].Handshake += time.Duration(lost) * time.Second
	}
	return out
}

// burst is an observation of these attempts, one after the other.
func burst(label string, kind plan.Kind, attempts ...[]observe.Attempt) observe.Observation {
	o := observe.Observation{Label: label, Kind: kind, Captured: true}
	for _, a := range attempts {
		o.Attempts = append(o.Attempts, a...)
	}
	return o
}

func connects(attempts ...[]observe.Attempt) observe.Observation {
	return burst("connect", plan.KindConnect, attempts...)
}

func fine(n int) observe.Observation {
	return connects(some(n, observe.Accepted, 87*time.Microsecond, 1700*time.Nanosecond))
}

func probed(target, addr string, d diagnose.Diagnosis, obs ...observe.Observation) prober.Round {
	return prober.Round{Target: target, Addr: netip.MustParseAddrPort(addr), Module: "connect", Kind: prober.KindConnect, Observations: obs,
		Diagnosis: d, Success: d.Healthy(), Kernel: "6.18.5", Ladder: plan.Linear(time.Second, 4, 6)}
}

// numbered gives an observation three frames for each attempt: SYN, answer, and an end that comes when all are answered.
func numbered(from int, o observe.Observation) observe.Observation {
	o.Recorded = &observe.Recording{Snap: 256}
	n := len(o.Attempts)
	for i := range o.Attempts {
		o.Attempts[i].Arm = "kernel"
		for _, at := range []int{from + 2*i, from + 2*i + 1, from + 2*n + i} {
			o.Recorded.Frames = append(o.Recorded.Frames, observe.Frame{Attempt: i, Number: at, At: time.Unix(int64(at), 0)})
		}
	}
	return o
}

// concludes is a diagnosis of one cause.
func concludes(v diagnose.Verdict, l diagnose.Level, headline string) diagnose.Diagnosis {
	return diagnose.Diagnosis{Headline: headline, Causes: []diagnose.Cause{{Verdict: v, Level: l}}}
}

func well(n int) diagnose.Diagnosis {
	return concludes(diagnose.Healthy, diagnose.Confirmed, fmt.Sprintf("healthy: %d of %d connections accepted without a lost SYN, slowest handshake 102µs", n, n))
}

func neighborQueue() diagnose.Diagnosis {
	d := concludes(diagnose.LocalARPQueueOverflow, diagnose.Proven, "local_arp_queue_overflow (proven): 7 of 10 first SYNs were dropped by this host's "+
		"own neighbour queue while it asked for 192.0.2.10; only the last 3 survived")
	c := &d.Causes[0]
	c.P = 1.0 / 120
	c.Evidence = []string{"this host asked for 192.0.2.10 at +120µs; the answer took 54.87ms",
		"connects 0–6 never put their first SYN on the wire, though TCP_INFO counts it and its repeat",
		"connects 7–9 left right after the answer: exactly the last 3, which random loss does once in 120, and that is a sentence too long for one line"}
	c.Disproof = "a first SYN of the lost ones on the wire; a warm repeat of the same burst that loses as many"
	c.Remedy = "raise net.ipv4.neigh.<dev>.unres_qlen_bytes on this host (unres_qlen before 3.3, where the default is 3 packets); keep the entry warm, " +
		"or open connections to a new host one at a time"
	d.Notes = []diagnose.Finding{{Verdict: diagnose.AcceptQueueOverflow, Level: diagnose.Inconclusive, Summary: "the listener's queue was not full in this round",
		Settle: "counters of the server"}}
	return d
}

// twice is a round with a second cause, arms to compare, and a budget that ended it.
func twice(r prober.Round) prober.Round {
	second := diagnose.Cause{Verdict: diagnose.TWRecyclePAWSDropSNAT, Level: diagnose.Confirmed, P: 8e-5,
		Summary:  "SYNs are dropped by their TSval: 16 of 16 silent from 3126046329 to 978562681, 0 of 16 on the other half of the circle",
		Evidence: []string{"one", "two", "three", "four", "five: the remembered TSval is 511940362"},
		Disproof: "an answer that does not depend on the TSval", Remedy: "set net.ipv4.tcp_tw_recycle=0 on the real servers (removed in 4.12)",
		Arms: []diagnose.Arm{{Name: "quadrant 0", TSval: 978562681, HasTSval: true, N: 8, Answered: 8}, {Name: "T0-2", N: 8, Silent: 8, P: 8e-5}}}
	r.Diagnosis.Causes = append(slices.Clone(r.Diagnosis.Causes), second)
	r.Diagnosis.Notes = nil
	r.Why, r.Untested = "its time was over", []diagnose.Want{{Kind: plan.KindOracle, Why: "what TSval does the server remember?"},
		{Kind: plan.KindOther, Why: "does another port of the same address lose as much?"}}
	return r
}

// reasoned is a round with its reasoning, made up but for its form.
func reasoned(r prober.Round) prober.Round {
	r.Reasoning = []experiment.Thought{{
		Kind: plan.KindConnect, Label: "first contact", Asked: "first contact, as applications make it", Why: "cheap, and nothing can be said before it",
		Took: 1027 * time.Millisecond, SYNs: 17, Connections: 10, Harm: "ordinary connections, aborted at once",
		Seen:     "3 of 10 accepted at once, 7 stalled; SYNs never left this host; this host was asking for the next hop meanwhile",
		Possible: []diagnose.Suspect{{Verdict: diagnose.LocalARPQueueOverflow, Odds: 0.9712}, {Verdict: diagnose.ProberLocalDrop, Odds: 0.021}, {Verdict: diagnose.Healthy, Odds: 0.004}},
		Out: []diagnose.Suspect{{Verdict: diagnose.PortClosed, Out: true, Because: "no SYN was refused with RST"}, {Verdict: diagnose.ACLDrop, Out: true, Because: "some flows were answered"},
			{Verdict: diagnose.LocalARPUnresolved, Out: true, Because: "some flows were answered"}},
	}, {
		Kind: plan.KindConnect, Label: "repeat 1", Asked: "the same again at once: does first contact differ?", Why: "would tell local_arp_queue_overflow from prober_local_drop",
		Took: 3 * time.Millisecond, SYNs: 10, Connections: 10, Harm: "ordinary connections, aborted at once", Seen: "10 of 10 accepted at once; the same burst again, warm, lost nothing",
		Named: r.Diagnosis.Causes[:1],
	}}
	return r
}

const noCapture = "no capture: open packet socket: needs CAP_NET_RAW (run as root, grant it with setcap cap_net_raw+ep or " +
	"AmbientCapabilities=CAP_NET_RAW, or enter a user and network namespace): operation not permitted; losses are counted by TCP_INFO alone"

// stories are what a person may be shown, by the name of the golden file.
func stories() map[string]func(*printer) error {
	of := func(rounds ...prober.Round) []result {
		var out []result
		for _, r := range rounds {
			out = append(out, result{target: r.Target, rounds: []prober.Round{r}})
		}
		return out
	}
	probe := func(rs []result) func(*printer) error {
		return func(p *printer) error { return renderProbe(p, rs, false) }
	}
	stalled := probed("192.0.2.10:443", "192.0.2.10:443", neighborQueue(), connects(late(7, 1), some(3, observe.Accepted, 55*time.Millisecond, time.Microsecond)), fine(10))
	closed := probed("192.0.2.22:443", "192.0.2.22:443", concludes(diagnose.PortClosed, diagnose.Confirmed,
		"port_closed (confirmed): 20 of 20 connections were refused with an RST to the SYN"),
		connects(some(10, observe.Refused, 90*time.Microsecond, time.Microsecond)), connects(some(10, observe.Refused, 80*time.Microsecond, time.Microsecond)))
	healthy := probed("192.0.2.21:443", "192.0.2.21:443", well(20), fine(10), fine(10))
	blind := probed("192.0.2.21:443", "192.0.2.21:443", well(20), fine(10), fine(10))
	for i := range blind.Observations {
		blind.Observations[i].Captured, blind.Observations[i].Unmeasured = false, []string{noCapture}
	}
	mixed := probed("web.example.org:443", "[2001:db8:10::10]:443", concludes(diagnose.SYNStallUnclassified, diagnose.Suspected,
		"syn_stall_unclassified (suspected): 4 of 300 connections stalled and 2 failed; the cause is not separated yet"),
		connects(late(3, 1), some(95, observe.Accepted, 20*time.Millisecond, time.Microsecond), some(2, observe.TimedOut, 0, 0)), fine(100),
		connects(late(1, 3), fine(99).Attempts))
	mixed.Observations[2].CaptureDrops = 12
	mixed.Diagnosis.Causes[0].Remedy = "run the experiments that separate the causes left: vipprobe diagnose"
	cut := probed("192.0.2.30:80", "192.0.2.30:80", diagnose.Diagnosis{Headline: "inconclusive: nothing could be measured"},
		connects(some(10, observe.OutcomeUnknown, 0, 0)))
	refused := prober.Round{Target: "198.51.100.1:80", Addr: netip.MustParseAddrPort("198.51.100.1:80"), Err: errors.New("no route")}
	long := probed("a-name-that-is-much-longer-than-a-column.example.org:8443", "192.0.2.23:8443", well(20), fine(10), fine(10))
	table := append(of(healthy, stalled, closed, mixed, refused, long, cut), result{target: "nope.example.org:80", err: errors.New("no such host")})
	patient := probed("192.0.2.21:443", "192.0.2.21:443", well(70), fine(10), fine(10), fine(10), fine(10), connects(late(1, 2), fine(9).Attempts), fine(10), fine(10))
	mail := probed("mail.example.org:25", "192.0.2.25:25", well(1), fine(1))
	mail.Kind, mail.Success, mail.Why = prober.KindTCP, false, "query_response[1]: no line matched \"^250 \" before the end"
	mail.TCP = &prober.TCPResult{FailedDueToRegex: true, TLSVersion: "TLS 1.3", Subject: "CN=mail.example.org", EarliestExpiry: time.Unix(1900000000, 0)}
	tried := probed("192.0.2.10:443", "192.0.2.10:443", neighborQueue(),
		burst("first contact", plan.KindConnect, late(7, 1), some(3, observe.Accepted, 55*time.Millisecond, time.Microsecond)),
		burst("repeat 1", plan.KindConnect, fine(10).Attempts),
		burst("quadrants", plan.KindQuadrants, fine(16).Attempts), burst("quadrants", plan.KindQuadrants, fine(16).Attempts),
		burst("sizes", plan.KindSizes, some(8, observe.Reset, 345*time.Microsecond, 95*time.Microsecond)), observe.Observation{Label: "survey", Kind: plan.KindSurvey})
	tried.Why = "target 192.0.2.10:443: limits.unanswered: 1990 flows had no answer within the last 2m0s; 16 more could pass 2000"
	kept := probed("192.0.2.10:443", "192.0.2.10:443", neighborQueue(), numbered(1, connects(late(7, 1), some(3, observe.Accepted, 55*time.Millisecond, time.Microsecond))),
		numbered(31, fine(10)), numbered(1000, burst("quadrants", plan.KindQuadrants, fine(32).Attempts)))
	kept.Diagnosis.Causes[0].Arms = []diagnose.Arm{{Name: "kernel", N: 20, Answered: 13, Silent: 7, P: 0.004}}
	all := watchStories()
	maps.Copy(all, map[string]func(*printer) error{
		"recorded": func(p *printer) error { return renderDiagnosis(p, of(kept)) },
		"healthy":  probe(of(healthy)), "stalled": probe(of(stalled)), "refused": probe(of(closed)), "blind": probe(of(blind)), "cut": probe(of(cut)),
		"not-probed": probe(of(refused)), "table": probe(table), "repeats": probe(of(patient)), "many": probe(of(mixed)),
		"first-contact-only": probe(of(probed("192.0.2.21:443", "192.0.2.21:443", well(10), fine(10)), probed("192.0.2.22:443", "192.0.2.22:443", well(10), fine(10)))),
		"dialogue":           probe(of(mail)),
		"compare":            func(p *printer) error { return renderProbe(p, of(stalled, healthy, refused), true) },
		"diagnosis":          func(p *printer) error { return renderDiagnosis(p, of(tried)) },
		"diagnosis-healthy":  func(p *printer) error { return renderDiagnosis(p, of(healthy, refused)) },
		"diagnosis-two":      func(p *printer) error { return renderDiagnosis(p, of(twice(tried))) },
		"diagnosis-explained": func(p *printer) error {
			p.explain = true
			return renderDiagnosis(p, of(reasoned(tried)))
		},
		"diagnosis-narrow": func(p *printer) error {
			p.width = 80
			return renderDiagnosis(p, of(twice(tried)))
		},
		"diagnosis-markdown": func(p *printer) error {
			p.explain = true
			return markdown(p, append(of(twice(reasoned(tried)), refused), result{target: "nope.example.org:80", err: errors.New("no such host")}))
		},
		"colour": func(p *printer) error {
			p.colour = true
			return errors.Join(renderProbe(p, table[:5], false), renderDiagnosis(p, of(tried)))
		},
	})
	return all
}

// TestGolden: each story as it stands in testdata/golden; no line of it is wider than a terminal.
func TestGolden(t *testing.T) {
	for name, tell := range stories() {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := tell(&printer{w: &b}); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata/golden", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if name == "colour" || name == "diagnosis-markdown" { // escapes count as characters; Markdown flows
				return
			}
			for l := range strings.Lines(b.String()) {
				l = strings.TrimSuffix(l, "\n")
				if n := utf8.RuneCountInString(l); n > lineWidth || strings.HasSuffix(l, " ") {
					t.Errorf("%d characters, or blanks at the end: %q", n, l)
				}
			}
		})
	}
}

// TestColourIsOnlyColour: without its escapes a coloured report is the plain one.
func TestColourIsOnlyColour(t *testing.T) {
	for name, tell := range stories() {
		var plain, coloured strings.Builder
		if err := errors.Join(tell(&printer{w: &plain}), tell(&printer{w: &coloured, colour: true})); err != nil {
			t.Fatal(err)
		}
		text := coloured.String()
		for _, c := range []colour{green, yellow, red, bold} {
			text = strings.ReplaceAll(text, "\x1b["+string(c)+"m", "")
		}
		want := plain.String()
		if name == "colour" {
			continue
		}
		if got := strings.ReplaceAll(text, "\x1b[0m", ""); got != want {
			t.Errorf("%s: %s", name, cmp.Diff(want, got))
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 999: "999ns", 1234: "1.23µs", 99951: "100µs", 123456: "123µs", 54870 * time.Microsecond: "54.9ms", 999999999: "1s",
		1003456 * time.Microsecond: "1.003s", 75 * time.Second: "1m15s",
	} {
		if got := short(d); got != want {
			t.Errorf("%d ns is %s, want %s", d, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, c := range []struct{ marks, want string }{
		{"..........", ".........."}, {strings.Repeat(".", 16), strings.Repeat(".", 16)}, {strings.Repeat(".", 17), "17×."},
		{strings.Repeat("1", 7) + strings.Repeat(".", 200) + "TT1", "8×1 200×. 2×T"}, {"", ""},
	} {
		if got := shorten(c.marks, 16); got != c.want {
			t.Errorf("%q is %q, want %q", c.marks, got, c.want)
		}
	}
}

// TestReasons: alike but for their times they are one, most frequent first, and what looks like a time but is none stays.
func TestReasons(t *testing.T) {
	var all []*observe.Attempt
	for _, why := range []string{"RST 1.5ms after the SYN-ACK", "", "ECONNREFUSED: RST", "RST 300µs after the SYN-ACK", "RST 2ms after the SYN-ACK",
		"host_unreachable from 192.0.2.254", "ECONNREFUSED: RST"} {
		all = append(all, &observe.Attempt{Reason: why})
	}
	want := []string{"3 × RST 300µs to 2ms after the SYN-ACK", "2 × ECONNREFUSED: RST", "1 × host_unreachable from 192.0.2.254"}
	if diff := cmp.Diff(want, reasons(all)); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

// TestMarks: every way that an attempt can end has its character and its word in the legend.
func TestMarks(t *testing.T) {
	seen := map[byte]bool{}
	for _, o := range append(observe.Outcomes(), observe.OutcomeUnknown) {
		a := &observe.Attempt{Outcome: o}
		m := mark(a)
		if seen[m] || legend(string(m)) == "" {
			t.Errorf("%s is %q, which says %q or is another's", o, m, legend(string(m)))
		}
		seen[m] = true
	}
	for want, a := range map[byte]*observe.Attempt{
		'1': {Outcome: observe.Accepted, Retransmissions: 1}, '9': {Outcome: observe.Accepted, Retransmissions: 9},
		'+': {Outcome: observe.Accepted, Retransmissions: 10}, 's': {Outcome: observe.Accepted, Retransmissions: 1, Late: observe.LateSlow},
	} {
		if got := mark(a); got != want {
			t.Errorf("%d repeats, late %q: %q, want %q", a.Retransmissions, a.Late, got, want)
		}
	}
}
