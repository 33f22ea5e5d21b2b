package lab_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

func TestMain(m *testing.M) { os.Exit(topo.Enter(m.Run)) }

// private skips where this machine has no private namespaces (a failure in CI).
func private(t *testing.T) {
	t.Helper()
	if topo.Inside() {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("private namespaces are not available")
	}
	t.Skip("private namespaces are not available: see the message at the top")
}

// start builds a scenario.
func start(t *testing.T, name string, set map[string]string) *lab.Running {
	t.Helper()
	private(t)
	sc, ok := lab.Find(name)
	if !ok {
		t.Fatalf("no scenario %s", name)
	}
	run, err := sc.Start(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.Close)
	return run
}

// tally is what became of a burst of connects, by the kernel's own account.
type tally struct{ atOnce, repeated, refused, silent, unreachable int }

// burst begins n connections from the client to an address one right after the other, and waits for each up to three seconds.
func burst(t *testing.T, run *lab.Running, to string, n int) tally {
	t.Helper()
	target := netip.MustParseAddrPort(to)
	fds := make([]unix.PollFd, 0, n)
	if err := run.Client().Do(func() error {
		for range n {
			fd, err := connecting(target)
			if err != nil {
				return err
			}
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT})
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	var got tally
	for end := time.Now().Add(3 * time.Second); len(fds) > 0; {
		if ready, err := unix.Poll(fds, int(time.Until(end).Milliseconds())); ready == 0 && err == nil || time.Now().After(end) {
			break
		}
		fds = slices.DeleteFunc(fds, func(p unix.PollFd) bool {
			if p.Revents != 0 {
				got.add(t, int(p.Fd))
			}
			return p.Revents != 0
		})
	}
	got.silent = len(fds)
	for _, p := range fds {
		unix.Close(int(p.Fd))
	}
	return got
}

// connecting opens a socket and begins to connect it. Closing it will send RST.
func connecting(to netip.AddrPort) (int, error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return 0, err
	}
	if err := unix.Connect(fd, sa); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return 0, err
	}
	return fd, nil
}

// add counts a connect that has come to its end, and closes it.
func (y *tally) add(t *testing.T, fd int) {
	defer unix.Close(fd)
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		t.Error(err)
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Error(err)
		return
	}
	switch {
	case syscall.Errno(code) == unix.ECONNREFUSED:
		y.refused++
	case syscall.Errno(code) == unix.EHOSTUNREACH:
		y.unreachable++
	case code != 0:
		t.Errorf("connect ended with %v", syscall.Errno(code))
	case info.Total_retrans > 0: // right after connect: of the SYN
		y.repeated++
	default:
		y.atOnce++
	}
}

// What ordinary connects see of each fault whose first sight is certain. Bursts of 10.
func TestFaultsShowThemselvesToOrdinaryConnects(t *testing.T) {
	cases := []struct {
		name string
		set  map[string]string
		want tally
	}{
		{"clean", nil, tally{atOnce: 10}},
		{"arp-client", nil, tally{atOnce: 3, repeated: 7}},
		{"arp-client", map[string]string{"qlen": "9"}, tally{atOnce: 9, repeated: 1}},
		{"arp-client", map[string]string{"qlen": "10"}, tally{atOnce: 10}},
		{"arp-server", nil, tally{atOnce: 3, repeated: 7}},
		{"arp-both", nil, tally{atOnce: 2, repeated: 8}},
		{"nd-client", nil, tally{atOnce: 3, repeated: 7}},
		{"nd-server", nil, tally{atOnce: 3, repeated: 7}},
		{"nd-server", map[string]string{"qlen": "10"}, tally{atOnce: 10}},
		{"remote-arp-dead", map[string]string{"delay": "2s"}, tally{repeated: 10}},
		{"vip-moved", nil, tally{silent: 10}},
		{"recycle-direct", nil, tally{atOnce: 10}},
		{"recycle-vip", nil, tally{silent: 10}},
		{"recycle-vip", map[string]string{"recycle": "3.10"}, tally{silent: 10}},
		{"recycle-vip", map[string]string{"recycle": "off"}, tally{atOnce: 10}},
		{"recycle-vip", map[string]string{"closer": "client"}, tally{atOnce: 10}},
		{"recycle-vip", map[string]string{"gap": "0"}, tally{atOnce: 10}},
		{"monitor-own-clock", nil, tally{silent: 10}},
		{"monitor-no-ts", nil, tally{atOnce: 10}},
		{"monitor-no-ts", map[string]string{"recycle": "3.10"}, tally{silent: 10}},
		{"l7-proxy", nil, tally{atOnce: 10}},
		{"ts-normalized", nil, tally{atOnce: 10}},
		{"accept-full", nil, tally{silent: 10}},
		{"accept-full", map[string]string{"backlog": "4000"}, tally{atOnce: 10}},
		{"syncookies", nil, tally{atOnce: 10}},
		{"defer-accept", nil, tally{atOnce: 10}},
		{"acl-drop", nil, tally{silent: 10}},
		{"rp-filter", nil, tally{silent: 10}},
		{"rp-filter", map[string]string{"rp_filter": "2"}, tally{atOnce: 10}},
		{"syn-ratelimit", nil, tally{atOnce: 5, repeated: 5}},
		{"conntrack-limit", nil, tally{atOnce: 10}},
		{"conntrack-limit", map[string]string{"limit": "20"}, tally{silent: 10}},
		{"snat-exhaustion", nil, tally{atOnce: 10}},
		{"snat-exhaustion", map[string]string{"ports": "4"}, tally{silent: 10}},
		{"snat-exhaustion", map[string]string{"ports": "10000"}, tally{atOnce: 10}},
		{"blackhole-1of3", map[string]string{"broken": "3"}, tally{silent: 10}},
		{"refuse-1of3", map[string]string{"broken": "3"}, tally{refused: 10}},
		{"slow-synack", nil, tally{repeated: 10}},
		{"local-dnat", nil, tally{atOnce: 10}},
		{"ts-rewritten", nil, tally{silent: 10}},
		{"ts-stripped", nil, tally{atOnce: 10}},
		{"cal-snat", nil, tally{silent: 10}},
		{"cal-snat", map[string]string{"recycle": "off"}, tally{atOnce: 10}},
		{"ad-monitor-l7", nil, tally{atOnce: 10}},
		{"ad-monitor-separate-snat", nil, tally{atOnce: 10}},
		{"ad-monitor-separate-snat", map[string]string{"rewrite": "false"}, tally{silent: 10}},
		{"ad-monitor-separate-snat", map[string]string{"recycle": "3.10", "timestamps": "false"}, tally{silent: 10}},
		{"ad-monitor-shared-snat", nil, tally{silent: 10}},
	}
	each(t, len(cases), func(i int) error {
		c := cases[i]
		return during(t, c.name, c.set, func(run *lab.Running) error {
			if got := burst(t, run, run.Target(), 10); got != c.want {
				return fmt.Errorf("of 10 connects %+v, want %+v", got, c.want)
			}
			return nil
		})
	})
}

// each runs n independent networks, many at once whatever -parallel says: they mostly wait.
func each(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	private(t)
	var g errgroup.Group
	g.SetLimit(12)
	for i := range n {
		g.Go(func() error {
			if err := f(i); err != nil {
				t.Error(err)
			}
			return nil
		})
	}
	_ = g.Wait() // each has reported its own
}

// during runs f while a scenario stands.
func during(t *testing.T, name string, set map[string]string, f func(*lab.Running) error) error {
	sc, ok := lab.Find(name)
	if !ok {
		return fmt.Errorf("no scenario %s", name)
	}
	run, err := sc.Start(t.Context(), set)
	if err != nil {
		return err
	}
	defer run.Close()
	if err := f(run); err != nil {
		return fmt.Errorf("%s: %w", story(name, set), err)
	}
	return nil
}

func story(name string, set map[string]string) string {
	for k, v := range set {
		name += " " + k + "=" + v
	}
	return name
}

func TestARPFaultIsArmedAgain(t *testing.T) {
	for _, name := range []string{"arp-client", "arp-server"} {
		t.Run(name, func(t *testing.T) {
			run := start(t, name, nil)
			for range 2 {
				if got, want := burst(t, run, run.Target(), 10), (tally{atOnce: 3, repeated: 7}); got != want {
					t.Errorf("cold: %+v, want %+v", got, want)
				}
				if got, want := burst(t, run, run.Target(), 10), (tally{atOnce: 10}); got != want {
					t.Errorf("warm: %+v, want %+v", got, want)
				}
				if err := run.Rearm(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestNewHostsAreColdEachInTheirWay(t *testing.T) {
	run := start(t, "new-hosts-arp", nil)
	want := []tally{{atOnce: 10}, {atOnce: 3, repeated: 7}, {atOnce: 10}, {atOnce: 3, repeated: 7}, {atOnce: 10}}
	for i, to := range run.Targets() {
		if got := burst(t, run, to, 10); got != want[i] {
			t.Errorf("%s: %+v, want %+v", to, got, want[i])
		}
	}
}

// The incident's figures: two checks of 3 s with 3 s between them, then the VIP refuses.
func TestKeepalivedEvictsTheOnlyServer(t *testing.T) {
	run := start(t, "greenplum-keepalived", map[string]string{"every": "200ms", "timeout": "300ms", "before_retry": "100ms"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if got := burst(t, run, run.Target(), 1); got.refused == 1 {
			return
		}
	}
	t.Error("the VIP never refused")
}

func TestEveryScenarioBuildsWithEveryNearMiss(t *testing.T) {
	type variant struct {
		name string
		set  map[string]string
	}
	var all []variant
	for _, sc := range lab.All() {
		if sc.Root != "" || sc.Heavy {
			continue
		}
		all = append(all, variant{sc.Name, nil})
		for _, m := range sc.NearMisses {
			all = append(all, variant{sc.Name, m.Set})
		}
	}
	each(t, len(all), func(i int) error {
		return during(t, all[i].name, all[i].set, func(run *lab.Running) error {
			for _, to := range run.Targets() {
				if _, err := netip.ParseAddrPort(to); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// A connection is made at once where neither its SYN nor the SYN-ACK is lost: (1−p)² of them. The bounds are seven standard deviations wide.
func TestAddedLossIsAsGreatAsAskedFor(t *testing.T) {
	const n, share = 300, 0.3
	for _, c := range []struct {
		story, name string
		set         map[string]string
	}{
		{"a cable", "clean", nil},
		{"behind a wire", "cal-snat", map[string]string{"recycle": "off"}},
		{"IPv6", "nd-client", map[string]string{"qlen": "400"}},
	} {
		private(t)
		sc, _ := lab.Find(c.name)
		run, err := sc.WithLoss(share).Start(t.Context(), c.set)
		if err != nil {
			t.Fatalf("%s: %v", c.story, err)
		}
		if got := burst(t, run, run.Target(), n); got.atOnce < 87 || got.atOnce > 207 || got.refused+got.unreachable > 0 {
			t.Errorf("%s: %+v of %d connects with %g of the segments lost each way, want 147 ± 60 at once and none refused", c.story, got, n, share)
		}
		run.Close()
	}
}
