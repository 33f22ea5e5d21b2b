package prober

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/sweep"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// sweepTo is a request to n addresses from first on.
func sweepTo(first netip.AddrPort, n int) SweepRequest {
	return SweepRequest{Wait: patience, Targets: func(yield func(netip.AddrPort) bool) {
		for a, k := first.Addr(), 0; k < n && yield(netip.AddrPortFrom(a, first.Port())); k++ {
			a = a.Next()
		}
	}}
}

// sweep runs one on the client.
func (r *rig) sweep(t testing.TB, q SweepRequest, allowed ...string) (report *SweepReport, err error) {
	t.Helper()
	allow, err := ParseAllow(allowed)
	must(t, err)
	p := &Prober{engine: r.engine, allow: allow, pauses: newPauses()}
	must(t, r.client.Do(func() error {
		report, err = p.Sweep(t.Context(), q)
		return nil
	}))
	return report, err
}

// broad is a rig whose server has whole prefixes.
func broad(t testing.TB, opts EngineOptions) *rig {
	t.Helper()
	r := network(t)
	r.server.LocalPrefix("10.64.0.0/16")
	r.server.LocalPrefix("fd64::/64")
	r.client.Route("10.64.0.0/16", serverV4)
	r.client.Route("fd64::/64", serverV6)
	r.server.Sysctl("net.ipv4.tcp_syncookies", "2")
	r.server.Serve(echoOn(80))
	return r.start(t, opts)
}

func TestSweepFindsWhoAcceptsAndWhoRefuses(t *testing.T) {
	t.Parallel()
	r := broad(t, EngineOptions{})
	for _, x := range []struct {
		first string
		want  sweep.State
	}{{"10.64.0.0:80", sweep.Accepted}, {"10.64.1.0:81", sweep.Refused}, {"[fd64::100]:80", sweep.Accepted}} {
		q := sweepTo(netip.MustParseAddrPort(x.first), 300)
		q.Shots = 2
		report, err := r.sweep(t, q, "10.64.0.0/16", "fd64::/64")
		must(t, err)
		s := report.Book.Summarize()
		if s.States[x.want] != 600 || s.Unseen != 0 || s.Timed != 600 {
			t.Errorf("%s: %+v, ignored %v", x.first, s, report.Ignored)
		}
	}
}

// The listener's kernel answers again and again what nobody resets.
func TestSweepResetsWhatItOpensAndWhatComesLate(t *testing.T) {
	t.Parallel()
	r := network(t)
	held := make(chan wire.Segment, 1)
	p := r.listen(t, func(p *peer, s *wire.Segment) {
		if isSYN(s) && s.Dst.Addr() == addr(ghostV4) {
			p.send(synAckTo(s))
			held <- *s
		}
	})
	r.start(t, EngineOptions{})
	q := sweepTo(on(ghostV4, 80), 1)
	report, err := r.sweep(t, q, ghostV4)
	must(t, err)
	if s := report.Book.Summarize(); s.States[sweep.Accepted] != 1 {
		t.Fatalf("%+v", s)
	}
	first := <-held
	for n := range 2 {
		p.await(t, n+1, func(s *wire.Segment) bool { return isRST(s) && s.Src == first.Src && s.Seq == first.Seq+1 })
		p.send(synAckTo(&first)) // late, and after the sweep is over
	}
}

func TestSweepRefuses(t *testing.T) {
	t.Parallel()
	r := broad(t, EngineOptions{Limits: Limits{HalfOpen: 4, Unanswered: 50}})
	dst := netip.MustParseAddrPort("10.64.0.0:80")
	for story, x := range map[string]struct {
		change func(*SweepRequest)
		allow  string
		want   string
	}{
		"off the list":       {func(*SweepRequest) {}, "10.64.0.0/30", "not on the allow list"},
		"too many at once":   {func(q *SweepRequest) { q.Shots = 5 }, "10.64.0.0/16", "the limits permit 1 to 4"},
		"too many in flight": {func(q *SweepRequest) { q.Shots = 4 }, "10.64.0.0/16", "unanswered"},
		"nothing to probe":   {func(q *SweepRequest) { q.Targets = sweepTo(dst, 0).Targets }, "10.64.0.0/16", "no targets"},
		"blind with a tap":   {func(q *SweepRequest) { q.Transmit = TransmitBlind }, "10.64.0.0/16", "without capture"},
		"too fast":           {func(q *SweepRequest) { q.Rate = 1e9 }, "10.64.0.0/16", "the limit is"},
	} {
		q := sweepTo(dst, 20)
		x.change(&q)
		report, err := r.sweep(t, q, x.allow)
		if err == nil || report != nil {
			t.Errorf("%s: %v, %v", story, report, err)
			continue
		}
		wantText(t, story, err.Error(), x.want)
	}
}

func TestSweepCutShortSaysWhatItDidNotSend(t *testing.T) {
	t.Parallel()
	r := broad(t, EngineOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	q := sweepTo(netip.MustParseAddrPort("10.64.0.0:80"), 1000)
	q.Rate = 100
	p := &Prober{engine: r.engine, allow: AllowAddrs(), pauses: newPauses()}
	p.allow, _ = ParseAllow([]string{"10.64.0.0/16"})
	must(t, r.client.Do(func() error {
		report, err := p.Sweep(ctx, q)
		if err == nil || report == nil {
			t.Fatalf("%v, %v", report, err)
		}
		s := report.Book.Summarize()
		if s.States[sweep.NotSent] == 0 || s.States[sweep.NotSent]+s.States[sweep.Accepted] != 1000 {
			t.Errorf("%+v", s)
		}
		return nil
	}))
}

// blind starts the client's engine without a capture.
func (r *rig) blind(t testing.TB) {
	t.Helper()
	must(t, r.client.Do(func() (err error) {
		r.engine, err = newEngine(EngineOptions{NoCapture: true, Limits: Limits{GlobalRate: 1e6, PerTargetBurst: 1e6, GlobalBurst: 1e6, HalfOpen: 1e6, Unanswered: 1e6}})
		return err
	}))
	t.Cleanup(func() { must(t, r.engine.Close()) })
}

func wantText(t testing.TB, story, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%s: %q does not say %q", story, text, want)
	}
}

func inCI() bool { return os.Getenv("CI") == "true" }

func TestBlindSweepsLeave(t *testing.T) {
	t.Parallel()
	const shots = 700 // several volleys of each kind
	for _, how := range []Transmit{TransmitBlind, TransmitXDP} {
		r := network(t)
		p := r.listen(t, nil)
		must(t, r.Err())
		r.blind(t)
		q := sweepTo(on(ghostV4, 80), 1)
		q.Shots, q.Transmit = shots, how
		report, err := r.sweep(t, q, ghostV4)
		if err != nil && how == TransmitXDP && !inCI() {
			t.Logf("SKIPPED: AF_XDP: %v", err)
			continue
		}
		must(t, err)
		if s := report.Book.Summarize(); s.States[sweep.Pending] != shots {
			t.Errorf("%d: %+v", how, s)
		}
		p.await(t, shots, isSYN)
	}
}
