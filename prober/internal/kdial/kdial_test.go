package kdial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// told is what the callbacks were called with.
type told struct {
	local   map[int]netip.AddrPort
	results map[int]Result
	twice   []int
}

func dialer(t testing.TB) *Dialer {
	t.Helper()
	d, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func run(ctx context.Context, d *Dialer, conns []Conn, deadline time.Duration) (told, error) {
	got := told{local: map[int]netip.AddrPort{}, results: map[int]Result{}}
	err := d.Run(ctx, conns, deadline, func(i int, local netip.AddrPort, _ time.Time) {
		got.local[i] = local
	}, func(r Result) {
		if _, ok := got.results[r.Index]; ok {
			got.twice = append(got.twice, r.Index)
		}
		got.results[r.Index] = r
	})
	return got, err
}

func mustRun(t testing.TB, d *Dialer, conns []Conn, deadline time.Duration) told {
	t.Helper()
	got, err := run(t.Context(), d, conns, deadline)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.results) != len(conns) || len(got.twice) != 0 {
		t.Fatalf("%d results for %d connects, twice: %v", len(got.results), len(conns), got.twice)
	}
	return got
}

// listen accepts and holds connections until the test ends.
func listen(t testing.TB, address string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

// closedPort is a port that was free a moment ago.
func closedPort(t testing.TB, host string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return netip.MustParseAddrPort(l.Addr().String())
}

func openFiles(t testing.TB) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

func TestAcceptedAndRefused(t *testing.T) {
	d := dialer(t)
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			open, shut := listen(t, net.JoinHostPort(host, "0")), closedPort(t, host)
			got := mustRun(t, d, []Conn{
				{Index: 7, Dst: open},
				{Index: 8, Dst: shut},
				{Index: 9, Dst: open, Src: netip.AddrPortFrom(open.Addr(), 0), Close: plan.CloseFirst},
			}, time.Minute)
			for i, want := range map[int]observe.Outcome{7: observe.Accepted, 8: observe.Refused, 9: observe.Accepted} {
				r := got.results[i]
				if r.Outcome != want || !r.View.HasInfo || r.View.Completed.Before(r.View.Started) || r.View.Info.TotalRetrans != 0 {
					t.Errorf("connect %d: %+v, want %s", i, r, want)
				}
				if l := got.local[i]; l != r.View.Local || l.Addr() != open.Addr() || l.Port() == 0 {
					t.Errorf("connect %d: started with %s, ended as %s", i, l, r.View.Local)
				}
			}
			if e := got.results[8].View.Errno; e != "ECONNREFUSED" {
				t.Errorf("refused: errno %q", e)
			}
			if i := got.results[7].View.Info; i.Options&1 == 0 || i.SndMSS == 0 || i.RTO == 0 {
				t.Errorf("accepted: %+v: no timestamps, MSS or RTO", i)
			}
		})
	}
}

// Without started no port is taken before connect(2), and the one that was used is still told.
func TestWithoutStarted(t *testing.T) {
	d, open := dialer(t), listen(t, "127.0.0.1:0")
	var got []Result
	err := d.Run(t.Context(), []Conn{{Dst: open}, {Index: 1, Dst: open, Src: netip.MustParseAddrPort("127.0.0.2:0")}}, time.Minute,
		nil, func(r Result) { got = append(got, r) })
	if err != nil {
		t.Fatal(err)
	}
	addrs := map[netip.Addr]int{}
	for _, r := range got {
		if r.Outcome != observe.Accepted || r.View.Local.Port() == 0 {
			t.Errorf("%+v", r)
		}
		addrs[r.View.Local.Addr()]++
	}
	want := map[netip.Addr]int{netip.MustParseAddr("127.0.0.1"): 1, netip.MustParseAddr("127.0.0.2"): 1}
	if diff := cmp.Diff(want, addrs, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("local addresses (-want +got):\n%s", diff)
	}
}

// A thousand at once without any capability, on an address of the host's choosing and on one of ours, in several Runs.
func TestThousandUnprivileged(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	f := newFilter(t, nftables.ChainHookInput)
	f.dropFirst(7001, 1)
	f.flush()
	open, slow := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:7001")
	d := dialer(t)
	before := openFiles(t)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread that lost its capabilities ends with the goroutine
			if err := dropCapabilities(); err != nil {
				t.Error(err)
				return
			}
			var conns []Conn
			for i := range 1000 {
				dst := open
				if i%10 == 0 {
					dst = slow
				}
				conns = append(conns, Conn{Index: i, Dst: dst, Src: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 0)})
			}
			got, err := run(t.Context(), d, conns, 30*time.Second)
			if err != nil || len(got.results) != len(conns) {
				t.Errorf("%d results, %v", len(got.results), err)
			}
			for i, r := range got.results {
				want := uint32(0)
				if i%10 == 0 {
					want = 1
				}
				if r.Outcome != observe.Accepted || r.View.Info.TotalRetrans != want {
					t.Errorf("connect %d: %+v", i, r)
				}
			}
		})
	}
	wg.Wait()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func dropCapabilities() error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&h, &none[0])
}

func TestCancel(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	f := newFilter(t, nftables.ChainHookInput)
	f.drop(7009)
	f.flush()
	d := dialer(t)
	before := openFiles(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	var conns []Conn
	for i := range 100 {
		conns = append(conns, Conn{Index: i, Dst: netip.MustParseAddrPort("127.0.0.1:7009")})
	}
	conns[99].Offset = time.Hour
	got := told{local: map[int]netip.AddrPort{}, results: map[int]Result{}}
	var wg sync.WaitGroup
	err := d.Run(ctx, conns, time.Hour, func(i int, l netip.AddrPort, _ time.Time) {
		got.local[i] = l
		if len(got.local) == 99 {
			wg.Go(func() { cancel(enough) })
		}
	}, func(r Result) { got.results[r.Index] = r })
	wg.Wait()
	if !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
	for i := range conns {
		want := observe.OutcomeUnknown
		if i == 99 {
			want = observe.NotSent
		}
		if r, ok := got.results[i]; !ok || r.Outcome != want || !strings.Contains(r.Reason, "enough") {
			t.Errorf("connect %d: %+v, want %s", i, r, want)
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	// and the epoll set that was broken off serves the next burst
	open := listen(t, "127.0.0.1:0")
	if r := mustRun(t, d, []Conn{{Dst: open}}, time.Minute).results[0]; r.Outcome != observe.Accepted {
		t.Errorf("after a cancel: %+v", r)
	}
}

func TestCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := run(ctx, dialer(t), []Conn{{Dst: netip.MustParseAddrPort("127.0.0.1:1")}}, time.Minute)
	if !errors.Is(err, context.Canceled) || got.results[0].Outcome != observe.NotSent || len(got.local) != 0 {
		t.Errorf("%v: %+v", err, got)
	}
}

func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	open := listen(t, "127.0.0.1:0")
	d := dialer(t)
	limit := unix.Rlimit{Cur: uint64(openFiles(t)) + 20, Max: uint64(openFiles(t)) + 20}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	conns := make([]Conn, 50)
	for i := range conns {
		conns[i] = Conn{Index: i, Dst: open, Src: netip.AddrPortFrom(open.Addr(), 0)}
	}
	got := mustRun(t, d, conns, time.Minute)
	n := map[observe.Outcome]int{}
	for i := range conns {
		r := got.results[i]
		n[r.Outcome]++
		if r.Outcome == observe.NotSent && !strings.Contains(r.Reason, "RLIMIT_NOFILE") {
			t.Errorf("connect %d: %q does not name the limit", i, r.Reason)
		}
	}
	if n[observe.Accepted] == 0 || n[observe.NotSent] == 0 || n[observe.Accepted]+n[observe.NotSent] != len(conns) {
		t.Errorf("outcomes %v", n)
	}
}
