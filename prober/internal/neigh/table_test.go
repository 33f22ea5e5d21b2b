package neigh

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestTableWarmForget(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	for _, addr := range []netip.Addr{far4, far6} {
		limit := &tokens{}
		if e, ok, err := Table(p.near, addr); ok || err != nil {
			t.Fatalf("before: %+v, %v", e, err)
		}
		for range 2 { // the second finds it warm and sends nothing
			e, err := Warm(t.Context(), limit, p.near, addr)
			if err != nil || !e.State.Resolved() || e.MAC != p.farMAC || e.Addr != addr {
				t.Fatalf("warm %s: %+v, %v; want %s", addr, e, err, p.farMAC)
			}
		}
		if limit.taken != 1 {
			t.Errorf("%d tokens taken for one resolution", limit.taken)
		}
		if e, ok, err := find(p.near, addr); !ok || err != nil || e.MAC != p.farMAC {
			t.Errorf("list: %+v, %v, %v", e, ok, err)
		}
		for range 2 { // the second has nothing to do
			if err := Forget(p.near, addr); err != nil {
				t.Error(err)
			}
		}
		if e, ok, err := Table(p.near, addr); ok || err != nil {
			t.Errorf("after: %+v, %v", e, err)
		}
	}
}

func TestWarmErrors(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	for _, family := range []string{"ipv4", "ipv6"} {
		sysctl(t, family+".neigh.near.retrans_time_ms", 60)
	}
	for _, addr := range []netip.Addr{none4, none6} {
		_, err := Warm(t.Context(), &tokens{}, p.near, addr)
		var unresolved *ErrUnresolved
		if !errors.As(err, &unresolved) || unresolved.State != Failed || !strings.Contains(err.Error(), addr.String()+" on near: no answer (failed)") {
			t.Errorf("warm %s: %v", addr, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Warm(ctx, &tokens{}, p.near, far4); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if e, err := Warm(t.Context(), &tokens{}, 1, netip.MustParseAddr("127.0.0.1")); err != nil || e.State != NoARP {
		t.Errorf("loopback: %+v, %v", e, err)
	}
	if _, err := Warm(t.Context(), &tokens{}, 4711, far4); err == nil || !strings.Contains(err.Error(), "4711") {
		t.Errorf("no such interface: %v", err)
	}
}

func TestForgetRefuses(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	if err := netlink.NeighAdd(&netlink.Neigh{
		LinkIndex: p.near, Family: unix.AF_INET, State: int(Permanent), IP: borrowed.AsSlice(), HardwareAddr: byMAC[:],
	}); err != nil {
		t.Fatal(err)
	}
	if err := Forget(p.near, borrowed); err == nil || !strings.Contains(err.Error(), "permanent") {
		t.Errorf("an administrator's entry: %v", err)
	}
	if e, ok, err := Table(p.near, borrowed); !ok || err != nil || e.State != Permanent || e.MAC != byMAC {
		t.Errorf("it is %+v, %v, %v now", e, ok, err)
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread that lost its capabilities ends with the goroutine
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&h, &none[0]); err != nil {
			result <- err
			return
		}
		if _, err := Warm(context.Background(), &tokens{}, p.near, far4); err != nil {
			result <- errors.New("warm without capabilities: " + err.Error())
			return
		}
		result <- Forget(p.near, far4)
	}()
	if err := <-result; !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("without capability: %v", err)
	}
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	p := newPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	events, ready := make(chan Event, 100), make(chan struct{})
	var wg sync.WaitGroup
	var fault error
	wg.Go(func() {
		fault = Subscribe(ctx, func(e Event) {
			if e.Change == Subscribed {
				close(ready)
				return
			}
			if e.Entry.Addr == far4 {
				events <- e
			}
		})
	})
	<-ready
	if _, err := Warm(t.Context(), &tokens{}, p.near, far4); err != nil {
		t.Fatal(err)
	}
	if err := Forget(p.near, far4); err != nil {
		t.Fatal(err)
	}
	var got []Change
	resolved := false
	for e := range events {
		got = append(got, e.Change)
		resolved = resolved || e.Change == Updated && e.Entry.State == Reachable && e.Entry.MAC == p.farMAC
		if e.Change == Deleted {
			break
		}
	}
	if !resolved {
		t.Errorf("changes %v, none to reachable", got)
	}
	cancel()
	wg.Wait()
	if fault != nil {
		t.Error(fault)
	}
}

// What the kernel had to drop is told and the table followed again; anything else ends the subscription.
func TestSubscriptionEnds(t *testing.T) {
	var f fault
	f.set(unix.ENOBUFS)
	if lost, err := f.verdict(); !lost || err != nil {
		t.Errorf("buffer full: %v, %v", lost, err)
	}
	f.set(unix.EBADF)
	if lost, err := f.verdict(); lost || !errors.Is(err, unix.EBADF) {
		t.Errorf("socket gone: %v, %v", lost, err)
	}
	if lost, err := (&fault{}).verdict(); lost || err == nil {
		t.Errorf("no reason: %v, %v", lost, err)
	}
}
