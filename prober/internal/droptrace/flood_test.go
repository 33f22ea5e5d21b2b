package droptrace

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// floodFor is how long TestFlood floods: at most 10 s.
var floodFor = flag.Duration("droptrace.flood", 300*time.Millisecond, "how long TestFlood drops 100,000 packets a second in a namespace of its own, at most 10s")

// floodRate is how many packets TestFlood drops a second, as far as the machine can send them.
const floodRate = 100_000

// TestFlood: every drop of a flood is counted, those of flows that the table has no room for in sum; the tables do not grow, and a service beside it
// answers. With -v it tells what the tracing costs.
func TestFlood(t *testing.T) {
	privileged(t)
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		t.Logf("without the kernel's account of time: %v", err)
	} else {
		defer stats.Close()
	}
	for _, c := range []struct {
		story string
		flows int
	}{{"one flow", 1}, {"more flows than the table holds", 4 * mostFlows}} {
		t.Run(c.story, func(t *testing.T) {
			inNamespace(t, func(netns uint32) {
				if tr := open(t, netns); tr != nil {
					defer tr.Close()
					flooded(t, tr, c.flows)
				}
			})
		})
	}
}

func flooded(t *testing.T, tr *Tracer, flows int) {
	memory := tr.memory(t)
	served, stop := echoes(t)
	before := noPorts(t)
	runs, ns, _ := tr.Cost()
	began := time.Now()
	sent := pour(t, flows, min(*floodFor, 10*time.Second))
	took := time.Since(began)
	dropped := noPorts(t) - before
	n := stop()
	got, err := tr.Read()
	if err != nil {
		t.Error(err)
		return
	}
	runs2, ns2, err := tr.Cost()
	if err != nil {
		t.Error(err)
		return
	}
	if told := got.Reasons["NO_SOCKET"]; told+got.Missed < dropped || told > dropped {
		t.Errorf("%d drops are counted and %d missed; the kernel's own counter rose by %d", told, got.Missed, dropped)
	}
	lines := uint64(0)
	for i := range got.Drops {
		lines += got.Drops[i].N
	}
	all := uint64(0)
	for _, k := range got.Reasons {
		all += k
	}
	if lines+got.Untold.Drops != all {
		t.Errorf("%d drops by flow and %d untold, of %d", lines, got.Untold.Drops, all)
	}
	if len(got.Drops) > mostFlows || tr.memory(t) != memory {
		t.Errorf("%d flows in %d octets; it began with %d octets", len(got.Drops), tr.memory(t), memory)
	}
	if n == 0 {
		t.Error("the service beside the flood answered nothing")
	}
	t.Logf("%d datagrams in %s (%.0f/s), %d dropped, %d counted, %d of them without a flow, %d missed; tables of %d octets; %d round trips of %s beside it", sent,
		took.Round(time.Millisecond), float64(sent)/took.Seconds(), dropped, got.Reasons["NO_SOCKET"], got.Untold.Drops, got.Missed, memory, n, served)
	if events := runs2 - runs; events > 0 && ns2 > ns {
		per := float64(ns2-ns) / float64(events)
		t.Logf("%.0f ns an event: %.1f %% of a core at %d events a second", per, 100*per*floodRate/1e9, floodRate)
	}
}

// memory is what the tables hold, in octets of the kernel's.
func (t *Tracer) memory(tb testing.TB) uint64 {
	var sum uint64
	for _, m := range []*ebpf.Map{t.flows, t.totals, t.retrans, t.neighbours} {
		info, err := m.Info()
		if err != nil {
			tb.Error(err)
			return 0
		}
		n, _ := info.Memlock()
		sum += n
	}
	return sum
}

// pour sends datagrams to nobody, at floodRate as far as it can, on so many flows in turn.
func pour(t *testing.T, flows int, d time.Duration) int {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer unix.Close(s)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	sent := 0
	for began := time.Now(); time.Since(began) < d; <-tick.C {
		// what a busy machine is behind is not caught up at once: the time is bounded
		for due := min(int(time.Since(began).Seconds()*floodRate), sent+floodRate/100); sent < due; sent++ {
			i := sent % flows
			to := unix.SockaddrInet4{Addr: [4]byte{127, 1, byte(i >> 14), 1}, Port: 1 + i&0x3fff}
			_ = unix.Sendto(s, []byte("x"), 0, &to)
		}
	}
	return sent
}

// noPorts is how many datagrams came to nobody in this thread's namespace (Udp NoPorts of /proc/net/snmp).
func noPorts(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		t.Error(err)
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var in, none uint64
		if n, _ := fmt.Sscanf(line, "Udp: %d %d", &in, &none); n == 2 {
			return none
		}
	}
	t.Error("no Udp counters")
	return 0
}

// echoes asks a service of the namespace for answers, one after the other, until stop, which says how many came.
func echoes(t *testing.T) (where netip.AddrPort, stop func() int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return where, func() int { return 0 }
	}
	where = netip.MustParseAddrPort(l.Addr().String())
	c, err := net.Dial("tcp", where.String())
	if err != nil {
		t.Error(err)
		return where, func() int { l.Close(); return 0 }
	}
	go func() {
		if s, err := l.Accept(); err == nil {
			_, _ = io.Copy(s, s)
			s.Close()
		}
	}()
	answers := make(chan int, 1)
	done := make(chan struct{})
	go func() {
		n, b := 0, []byte("x")
		for over := false; !over; {
			if _, err := c.Write(b); err != nil {
				break
			}
			if _, err := io.ReadFull(c, b); err != nil {
				break
			}
			n++
			select {
			case <-done:
				over = true
			default:
			}
		}
		answers <- n
	}()
	return where, func() int {
		close(done)
		n := <-answers
		c.Close()
		l.Close()
		return n
	}
}
