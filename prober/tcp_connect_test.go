package prober

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober/lab/nft"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// serveTCP answers every connection to a port of the server with handle, which ends when its connection is closed.
func (r *rig) serveTCP(t testing.TB, port uint16, handle func(net.Conn)) {
	t.Helper()
	must(t, r.Err())
	var l net.Listener
	must(t, r.server.Do(func() (err error) {
		l, err = net.Listen("tcp", fmt.Sprintf("[::]:%d", port))
		return err
	}))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// tcpRound is one round of a tcp module on the client.
func (r *rig) tcpRound(t testing.TB, dst netip.AddrPort, m Module) Round {
	t.Helper()
	return r.tcpRoundOf(t, r.prober(dst.Addr()), Endpoint{Host: dst.Addr().String(), Port: dst.Port(), Addr: dst.Addr()}, dst, m)
}

func (r *rig) prober(allowed ...netip.Addr) *Prober {
	return &Prober{engine: r.engine, allow: AllowAddrs(allowed...), shared: newFlights(), pauses: newPauses()}
}

func (r *rig) tcpRoundOf(t testing.TB, p *Prober, ep Endpoint, dst netip.AddrPort, m Module) (out Round) {
	t.Helper()
	m.Kind, m.MaxStalled = KindTCP, -1
	if m.Timeout == 0 {
		m.Timeout = patience
	}
	must(t, r.client.Do(func() error {
		ctx, cancel := context.WithTimeout(t.Context(), m.Timeout)
		defer cancel()
		out = p.round(ctx, ep, dst, m.withDefaults())
		return nil
	}))
	return out
}

// connected checks the observation of an accepted connect and returns its attempt.
func connected(t testing.TB, r *Round) *observe.Attempt {
	t.Helper()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if len(r.Observations) != 1 || len(r.Observations[0].Attempts) != 1 {
		t.Fatalf("%+v", r.Observations)
	}
	o, a := &r.Observations[0], &r.Observations[0].Attempts[0]
	if a.Outcome != observe.Accepted || a.Handshake <= 0 || a.RTT <= 0 || a.Clock != observe.UserClock || a.LostBy != observe.ByTCPInfo {
		t.Errorf("attempt %+v", a)
	}
	if a.Kernel == nil || !a.Kernel.HasInfo || a.Kernel.Completed.IsZero() || a.Flow.Src.Port() == 0 || a.Flow.Dst != r.Addr {
		t.Errorf("kernel's view %+v of %s", a.Kernel, a.Flow)
	}
	if o.Captured || len(o.Unmeasured) != 1 || o.Unmeasured[0] != userTimed || o.Finished.Before(o.Started) {
		t.Errorf("observation %+v", o)
	}
	return a
}

func succeeded(t testing.TB, r *Round) {
	t.Helper()
	connected(t, r)
	if !r.Success || r.Why != "" || r.TCP == nil {
		t.Fatalf("success %v: %s", r.Success, r.Why)
	}
}

// failed checks that a round failed after its connect, and that the reason holds what is wanted.
func failed(t testing.TB, r *Round, why string) {
	t.Helper()
	connected(t, r)
	if r.Success || r.TCP == nil || !strings.Contains(r.Why, why) {
		t.Fatalf("success %v: %q, want %q", r.Success, r.Why, why)
	}
}

func steps(q ...QueryResponse) Module { return Module{TCP: &TCPOptions{QueryResponse: q}} }

func TestTCPConnect(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	for _, host := range []string{serverV4, serverV6} {
		round := r.tcpRound(t, on(host, 80), Module{})
		succeeded(t, &round)
		if a := connected(t, &round); a.Retransmissions != 0 || a.Flow.Src.Addr().Is4() != addr(host).Is4() {
			t.Errorf("%+v", a)
		}
		if diff := cmp.Diff(&TCPResult{}, round.TCP); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestTCPSourceAndInterface(t *testing.T) {
	t.Parallel()
	r := network(t)
	const second = "10.0.0.9"
	r.near.Addr(second + "/24")
	r.far.Knows(second, r.near)
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{})
	round := r.tcpRound(t, on(serverV4, 80), Module{Source: addr(second), Interface: r.near.Name})
	succeeded(t, &round)
	if a := connected(t, &round); a.Flow.Src.Addr() != addr(second) {
		t.Errorf("from %s", a.Flow.Src)
	}
	for why, m := range map[string]Module{
		"bind to 192.0.2.1:0: EADDRNOTAVAIL: not an address of this host": {Source: addr("192.0.2.1")},
		"bind to interface nosuch0: ENODEV: no such interface":            {Interface: "nosuch0"},
		"are of different families":                                       {Source: addr(clientV6)},
	} {
		round := r.tcpRound(t, on(serverV4, 80), m)
		if round.Success || !strings.Contains(round.Why, why) || round.Attempts()[0].Outcome != observe.NotSent {
			t.Errorf("%q: %+v", round.Why, round.Attempts()[0])
		}
	}
}

func TestTCPFirstSYNLost(t *testing.T) {
	t.Parallel()
	r := network(t)
	r.server.Serve(echoOn(80))
	r.start(t, EngineOptions{})
	must(t, r.server.SetRules(dropFirst(nft.IPv4, nft.Raw, "", 1, nft.SYN())))
	round := r.tcpRound(t, on(serverV4, 80), Module{})
	succeeded(t, &round)
	if a := connected(t, &round); a.Retransmissions != 1 || !a.Stalled() {
		t.Errorf("%+v", a)
	}
}

func TestTCPNotAccepted(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	r.listen(t, nil)
	must(t, r.server.SetRules(nft.Table{Family: nft.IPv4, Name: "refusals", Chains: []nft.Chain{{Hook: nft.Input,
		Rules: []nft.Rule{{nft.TCP(), nft.DstPort(82), nft.Unreachable()}}}}}))
	cases := []struct {
		name    string
		dst     netip.AddrPort
		timeout time.Duration
		outcome observe.Outcome
		why     string
	}{
		{"nobody listens, IPv4", on(serverV4, 81), patience, observe.Refused, "connect to 10.0.0.2:81: refused: ECONNREFUSED: RST"},
		{"nobody listens, IPv6", on(serverV6, 81), patience, observe.Refused, "connect to [fd00::2]:81: refused: ECONNREFUSED: RST"},
		{"a filter's ICMP error", on(serverV4, 82), patience, observe.Unreachable,
			"connect to 10.0.0.2:82: unreachable: ECONNREFUSED, ICMP port unreachable from 10.0.0.2"},
		{"nobody answers", on(ghostV4, 80), 300 * ms, observe.TimedOut, "connect to 10.0.0.66:80: timed out: no answer within the deadline"},
		{"no route", on("203.0.113.1", 80), patience, observe.NotSent, "no SYN was sent: connect to 203.0.113.1:80: ENETUNREACH: no route"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			round := r.tcpRound(t, c.dst, Module{Timeout: c.timeout})
			if round.Err != nil || round.Success || round.Why != c.why || round.TCP == nil {
				t.Errorf("success %v, %q, error %v", round.Success, round.Why, round.Err)
			}
			if as := round.Attempts(); len(as) != 1 || as[0].Outcome != c.outcome {
				t.Errorf("%s", outcomes(&round.Observations[0]))
			}
		})
	}
}

func TestTCPNothingTried(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{Limits: Limits{PerTargetRate: 0.001, PerTargetBurst: 1, GlobalRate: 1e6, GlobalBurst: 1e6, HalfOpen: 1, Unanswered: 1}})
	peer := r.listen(t, nil)
	dst := on(serverV4, 80)
	round := r.tcpRoundOf(t, r.prober(addr(serverV6)), Endpoint{Host: "vip.example", Port: 80}, dst, Module{})
	if e, ok := errors.AsType[*NotAllowedError](round.Err); !ok || e.Entry != serverV4 || round.Success || len(round.Observations) != 0 || round.TCP != nil {
		t.Errorf("%+v", round)
	}
	if n := len(peer.segments(isSYN)); n != 0 {
		t.Errorf("%d SYNs left", n)
	}
	round = r.tcpRound(t, dst, Module{})
	succeeded(t, &round)
	round = r.tcpRound(t, dst, Module{Timeout: 200 * ms})
	if e, ok := errors.AsType[*BudgetError](round.Err); !ok || e.Limit != "per_target_rate" {
		t.Errorf("%+v", round)
	}
	must(t, r.engine.Close())
	if round = r.tcpRound(t, dst, Module{}); !errors.Is(round.Err, errClosed) {
		t.Errorf("%+v", round)
	}
}

// Closing the prober ends a round that waits for its peer, and Close waits for it.
func TestTCPClosedUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	asked := make(chan struct{})
	r.serveTCP(t, 2500, func(c net.Conn) {
		close(asked)
		_, _ = io.Copy(io.Discard, c)
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		<-asked
		if err := r.engine.Close(); err != nil {
			t.Error(err)
		}
	})
	round := r.tcpRound(t, on(serverV4, 2500), steps(QueryResponse{Expect: "."}))
	failed(t, &round, errClosed.Error())
	wg.Wait()
}

// Closing the prober ends a connect that nobody answers.
func TestTCPClosedWhileConnecting(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	peer := r.listen(t, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		peer.await(t, 1, isSYN)
		if err := r.engine.Close(); err != nil {
			t.Error(err)
		}
	})
	round := r.tcpRound(t, on(ghostV4, 80), Module{})
	wg.Wait()
	if want := "connect to 10.0.0.66:80: interrupted before an answer: " + errClosed.Error(); round.Err != nil || round.Success || round.Why != want {
		t.Errorf("success %v, %q, error %v", round.Success, round.Why, round.Err)
	}
}

// The server hears our FIN when a round is over, however that ends: no descriptor of the connection is left.
func TestTCPCloses(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	heard := make(chan error, 1)
	r.serveTCP(t, 2500, func(c net.Conn) {
		_, err := io.Copy(io.Discard, c)
		heard <- err
	})
	for _, c := range []struct {
		name string
		m    Module
	}{
		{"nothing to say", Module{}},
		{"something to send", steps(QueryResponse{Send: "QUIT"})},
		{"time is over", Module{Timeout: 200 * ms, TCP: &TCPOptions{QueryResponse: []QueryResponse{{Expect: "."}}}}},
	} {
		round := r.tcpRound(t, on(serverV4, 2500), c.m)
		connected(t, &round)
		select {
		case err := <-heard:
			if err != nil {
				t.Errorf("%s: the server heard %v, want our FIN", c.name, err)
			}
		case <-time.After(patience):
			t.Fatalf("%s: the connection is still open", c.name)
		}
	}
}
