package neigh

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/packet"

	"github.com/vipprobe/vipprobe/prober/wire"
)

var _ Limiter = (*tokens)(nil)

// tokens counts what is taken, and gives without end or until empty.
type tokens struct {
	mu    sync.Mutex
	taken int
	max   int // 0: without end
}

func (k *tokens) Wait(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.max > 0 && k.taken == k.max {
		return errors.New("no tokens left")
	}
	k.taken++
	return ctx.Err()
}

var (
	near4, far4, none4 = netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("10.9.0.77")
	near6, far6, none6 = netip.MustParseAddr("fd09::1"), netip.MustParseAddr("fd09::2"), netip.MustParseAddr("fd09::77")
	borrowed           = netip.MustParseAddr("10.9.0.50")
	borrowed6          = netip.MustParseAddr("fd09::50")
	byMAC              = wire.MAC{0x02, 0xbb, 0, 0, 0, 0x50}
)

func TestProbeFree(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	for _, addr := range []struct{ near, far, none netip.Addr }{{near4, far4, none4}, {near6, far6, none6}} {
		taken, err := ProbeFree(t.Context(), &tokens{}, p.near, addr.far, Quick())
		if err != nil || taken.Free || taken.By != p.farMAC || taken.Rival || taken.Sent != 1 {
			t.Errorf("%s is in use: %+v, %v", addr.far, taken, err)
		}
		p.there(func() { // nobody learns us from a probe
			if e, ok, err := find(p.far, addr.near); ok || err != nil {
				t.Errorf("the other side knows %+v, %v", e, err)
			}
		})
		limit := &tokens{}
		free, err := ProbeFree(t.Context(), limit, p.near, addr.none, Quick())
		if err != nil || !free.Free || free.Sent != 3 || limit.taken != 3 {
			t.Errorf("%s is free: %+v, %d tokens, %v", addr.none, free, limit.taken, err)
		}
	}
}

// What cannot be found out is an error, and no address is called free for it.
func TestProbeFreeErrors(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	limit := &tokens{}
	if c, err := ProbeFree(t.Context(), &tokens{max: 1}, p.near, none4, Quick()); err == nil || c.Free {
		t.Errorf("without tokens: %+v, %v", c, err)
	}
	for _, addr := range []string{"0.0.0.0", "224.0.0.1", "255.255.255.255", "127.0.0.1", "::", "ff02::1"} {
		if _, err := ProbeFree(t.Context(), limit, p.near, netip.MustParseAddr(addr), Quick()); err == nil {
			t.Errorf("probed for %s", addr)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if c, err := ProbeFree(ctx, &tokens{}, p.near, none4, Careful()); !errors.Is(err, enough) && !errors.Is(err, context.Canceled) || c.Free {
		t.Errorf("cancelled: %+v, %v", c, err)
	}
	if _, err := ProbeFree(t.Context(), limit, 1, far4, Quick()); err == nil || !strings.Contains(err.Error(), "has no neighbours") {
		t.Errorf("on loopback: %v", err)
	}
}

// Two that want one address at the same time do not both get it.
func TestProbeFreeRival(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	for _, addr := range []netip.Addr{none4, none6} {
		var wg sync.WaitGroup
		var here, there Claim
		var errHere, errThere error
		wg.Go(func() { here, errHere = ProbeFree(t.Context(), &tokens{}, p.near, addr, Quick()) })
		wg.Go(func() {
			p.there(func() { there, errThere = ProbeFree(t.Context(), &tokens{}, p.far, addr, Quick()) })
		})
		wg.Wait()
		if errHere != nil || errThere != nil {
			t.Fatal(errHere, errThere)
		}
		if here.Free && there.Free {
			t.Errorf("both got %s: %+v, %+v", addr, here, there)
		}
		if !here.Free && (!here.Rival || here.By != p.farMAC) || !there.Free && (!there.Rival || there.By != p.nearMAC) {
			t.Errorf("%+v, %+v", here, there)
		}
	}
}

// answering runs a responder on the near side while f runs, and returns what it counted. With yields it is not stopped, but
// must end by itself.
func answering(t *testing.T, b Borrow, yields bool, f func()) (Counts, error) {
	t.Helper()
	r, err := NewResponder(b, &tokens{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var fault error
	wg.Go(func() { fault = r.Run(ctx) })
	f()
	if !yields {
		cancel()
	}
	wg.Wait()
	return r.Counts(), fault
}

func TestResponder(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	for _, c := range []struct {
		addr    netip.Addr
		hostile [][]byte
		ignored map[string]int
	}{
		{
			borrowed, [][]byte{
				{0, 1, 8, 0, 255, 255},
				arpPacket(1, p.farMAC, "10.9.0.2", "10.9.0.50", func(b []byte) { b[4] = 4 }),
				arpPacket(9, p.farMAC, "10.9.0.2", "10.9.0.50", nil),
				arpPacket(1, wire.MAC{0xff}, "10.9.0.2", "10.9.0.50", nil),
			},
			map[string]int{"short": 1, "address_length": 1, "operation": 1, "sender_mac": 1},
		},
		{
			borrowed6, [][]byte{
				solicitation(t, func(b []byte) { b[7] = 64 }),
				solicitation(t, func(b []byte) { b[50]++ }),
				solicitation(t, nil)[:60],
			},
			map[string]int{"nd_hop_limit": 1, "nd_checksum": 1, "nd_short": 1},
		},
	} {
		for _, mac := range []wire.MAC{{}, byMAC} {
			want := mac
			if want == (wire.MAC{}) {
				want = p.nearMAC
			}
			delay := 50 * time.Millisecond
			counts, err := answering(t, Borrow{IfIndex: p.near, Addr: c.addr, MAC: mac, Delay: delay}, false, func() {
				p.there(func() {
					inject(t, p.far, c.hostile)
					start := time.Now()
					e, err := Warm(t.Context(), &tokens{}, p.far, c.addr)
					if err != nil || e.MAC != want {
						t.Errorf("the other side learned %+v, %v; want %s", e, err, want)
					}
					if took := time.Since(start); took < delay { // never before its time; how long after is the machine's affair
						t.Errorf("answered after %s", took)
					}
					if err := Forget(p.far, c.addr); err != nil {
						t.Error(err)
					}
				})
			})
			if err != nil || counts.Requests != 1 || counts.Answers != 1 {
				t.Errorf("%s: %+v, %v", c.addr, counts, err)
			}
			if diff := cmp.Diff(c.ignored, counts.Ignored); diff != "" {
				t.Errorf("%s: ignored (-want +got):\n%s", c.addr, diff)
			}
		}
	}
}

func solicitation(t *testing.T, bend func([]byte)) []byte {
	t.Helper()
	b := ndPacket(t, wire.ND{
		Kind: wire.NeighborSolicitation, Src: far6, Dst: wire.SolicitedNode(borrowed6), Target: borrowed6, Link: byMAC, HasLink: true,
	})
	if bend != nil {
		bend(b)
	}
	return b
}

// inject broadcasts payloads, ARP's or IPv6's by what they begin with.
func inject(t *testing.T, ifindex int, payloads [][]byte) {
	t.Helper()
	ifi, err := net.InterfaceByIndex(ifindex)
	if err != nil {
		t.Error(err)
		return
	}
	c, err := packet.Listen(ifi, packet.Raw, int(wire.EtherARP), nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	everyone := wire.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for _, payload := range payloads {
		e := wire.Ethernet{Dst: everyone, Src: wire.MAC(ifi.HardwareAddr), Type: wire.EtherARP}
		if payload[0]>>4 == 6 {
			e.Type = wire.EtherIPv6
		}
		frame := make([]byte, e.Size())
		wire.PutEthernet(frame, &e)
		if _, err := c.WriteTo(append(frame, payload...), &packet.Addr{HardwareAddr: everyone[:]}); err != nil {
			t.Error(err)
		}
	}
}

// A responder that never answers counts what is asked: the kernel's three requests (mcast_solicit).
func TestResponderSilent(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	for _, addr := range []netip.Addr{borrowed, borrowed6} {
		counts, err := answering(t, Borrow{IfIndex: p.near, Addr: addr, Delay: -1}, false, func() {
			p.there(func() {
				sysctl(t, "ipv4.neigh.far.retrans_time_ms", 200)
				sysctl(t, "ipv6.neigh.far.retrans_time_ms", 200)
				var unresolved *ErrUnresolved
				if _, err := Warm(t.Context(), &tokens{}, p.far, addr); !errors.As(err, &unresolved) {
					t.Errorf("resolved all the same: %v", err)
				}
			})
		})
		if err != nil || counts.Requests != 3 || counts.Answers != 0 {
			t.Errorf("%s: %+v, %v", addr, counts, err)
		}
	}
}

// Whoever claims the borrowed address gets it.
func TestResponderYields(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	probe := func(addr netip.Addr) func() {
		return func() {
			if c, err := ProbeFree(t.Context(), &tokens{}, p.far, addr, Quick()); err != nil || !c.Free {
				t.Errorf("the other was kept from %s: %+v, %v", addr, c, err)
			}
		}
	}
	speak := func(to netip.Addr) func() {
		return func() {
			if _, err := Warm(t.Context(), &tokens{}, p.far, to); err != nil {
				t.Error(err)
			}
		}
	}
	for _, c := range []struct {
		name string
		addr netip.Addr
		act  func()
	}{
		{"another probes for it", borrowed, probe(borrowed)},
		{"another probes for it, IPv6", borrowed6, probe(borrowed6)},
		{"another speaks from it", far4, speak(near4)},
	} {
		_, err := answering(t, Borrow{IfIndex: p.near, Addr: c.addr}, true, func() { p.there(c.act) })
		var conflict *Conflict
		if !errors.As(err, &conflict) || conflict.By != p.farMAC {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, b := range []Borrow{
		{IfIndex: p.near}, {IfIndex: p.near, Addr: netip.MustParseAddr("ff02::1")}, {IfIndex: p.near, Addr: borrowed, MAC: wire.MAC{1}},
		{IfIndex: 4711, Addr: borrowed}, {IfIndex: 1, Addr: borrowed6},
	} {
		if _, err := NewResponder(b, &tokens{}); err == nil {
			t.Errorf("answers for %+v", b)
		}
	}
}

// Answers wait until they may begin, and Delay counts from then.
func TestResponderHolds(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	const held, delay = 60 * time.Millisecond, 40 * time.Millisecond
	for _, addr := range []netip.Addr{borrowed, borrowed6} {
		start := time.Now()
		hold := func(ctx context.Context) error {
			timer := time.NewTimer(held)
			defer timer.Stop()
			select {
			case <-timer.C:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		counts, err := answering(t, Borrow{IfIndex: p.near, Addr: addr, Delay: delay, Hold: hold}, false, func() {
			p.there(func() {
				if e, err := Warm(t.Context(), &tokens{}, p.far, addr); err != nil || e.MAC != p.nearMAC {
					t.Errorf("the other side learned %+v, %v", e, err)
				}
				if took := time.Since(start); took < held+delay {
					t.Errorf("answered after %s", took)
				}
			})
		})
		if err != nil || counts.Answers != 1 {
			t.Errorf("%s: %+v, %v", addr, counts, err)
		}
	}
}

// Only the host that is meant is answered, known by its address or by its MAC.
func TestResponderAnswersOnlyItsPeer(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	for _, c := range []struct {
		name string
		only Peer
		want bool
	}{
		{"by address", Peer{Addr: far4}, true},
		{"by MAC, under another address", Peer{Addr: none4, MAC: p.farMAC}, true},
		{"by address, from another MAC", Peer{Addr: far4, MAC: byMAC}, true},
		{"somebody else", Peer{Addr: none4, MAC: byMAC}, false},
	} {
		counts, err := answering(t, Borrow{IfIndex: p.near, Addr: borrowed, Only: c.only}, false, func() {
			p.there(func() {
				sysctl(t, "ipv4.neigh.far.retrans_time_ms", 50)
				_, err := Warm(t.Context(), &tokens{}, p.far, borrowed)
				if (err == nil) != c.want {
					t.Errorf("%s: %v", c.name, err)
				}
				if err := Forget(p.far, borrowed); err != nil {
					t.Error(err)
				}
			})
		})
		if err != nil || (counts.Answers > 0) != c.want || (counts.Others > 0) == c.want {
			t.Errorf("%s: %+v, %v", c.name, counts, err)
		}
	}
}
