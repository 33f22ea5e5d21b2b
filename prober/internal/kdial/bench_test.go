package kdial

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// acceptor is a process of its own that accepts and closes, so that its work is not counted as the dialers'.
const acceptorMark = "KDIAL_TEST_ACCEPTOR"

func TestAcceptorProcess(t *testing.T) {
	if os.Getenv(acceptorMark) == "" {
		return // only BenchmarkConnect's child does something here
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("listening %s\n", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = c.Close()
	}
}

func acceptor(b *testing.B) netip.AddrPort {
	b.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestAcceptorProcess$")
	cmd.Env = append(os.Environ(), acceptorMark+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if a, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
			return netip.MustParseAddrPort(a)
		}
	}
	b.Fatal("the acceptor said nothing")
	return netip.AddrPort{}
}

func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkConnect makes bursts with a Dialer and with net.Dialer, a goroutine each and both with a timeout, in turn, and
// reports the CPU time of both and their ratio. The kernel's handshake over loopback is in both figures. "announced" has
// started called with the flow before each connect, as a capture wants it.
func BenchmarkConnect(b *testing.B) {
	for _, n := range []int{10, 200, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkConnect(b, n, nil) })
		b.Run(fmt.Sprintf("%d,announced", n), func(b *testing.B) {
			benchmarkConnect(b, n, func(int, netip.AddrPort, time.Time) {})
		})
	}
}

func benchmarkConnect(b *testing.B, n int, started func(int, netip.AddrPort, time.Time)) {
	dst, d := acceptor(b), dialer(b)
	conns := make([]Conn, n)
	for i := range conns {
		conns[i] = Conn{Index: i, Dst: dst}
	}
	var ours, theirs time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		t0 := cpu(b)
		accepted := 0
		if err := d.Run(context.Background(), conns, time.Minute, started, func(r Result) {
			if r.Outcome == observe.Accepted {
				accepted++
			}
		}); err != nil || accepted != n {
			b.Fatalf("%d of %d accepted, %v", accepted, n, err)
		}
		t1 := cpu(b)
		dialEach(b, dst, n)
		ours, theirs = ours+t1-t0, theirs+cpu(b)-t1
	}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(n*rounds) }
	b.ReportMetric(each(ours), "cpu-µs/connect")
	b.ReportMetric(each(theirs), "net.Dialer-cpu-µs/connect")
	b.ReportMetric(float64(theirs)/float64(ours), "net.Dialer/ours")
}

func dialEach(b *testing.B, dst netip.AddrPort, n int) {
	var wg sync.WaitGroup
	address := dst.String()
	for range n {
		wg.Go(func() {
			d := net.Dialer{Timeout: time.Minute}
			c, err := d.DialContext(context.Background(), "tcp", address)
			if err != nil {
				b.Error(err)
				return
			}
			if raw, err := c.(*net.TCPConn).SyscallConn(); err == nil {
				_ = raw.Control(func(fd uintptr) {
					_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
				})
			}
			_ = c.Close()
		})
	}
	wg.Wait()
}
