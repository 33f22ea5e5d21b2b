package rawsock

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// templates are n SYNs to a port that the peer drops without an answer.
func templates(t testing.TB, p *path, dst netip.Addr, n int) []Packet {
	t.Helper()
	packets := make([]Packet, n)
	for i := range packets {
		syn := p.syn(uint16(61000+i), netip.AddrPortFrom(dst, 9))
		packets[i] = Packet{Link: p.link, Data: encode(t, &syn)}
	}
	return packets
}

// sink makes the far end's address one that nobody answers for, so that only sending is measured: the peer takes the frame
// off its device and drops it, for it is to another host's MAC.
func sink(packets []Packet) []Packet {
	for i := range packets {
		packets[i].Link[5] ^= 1
	}
	return packets
}

// cpuTime is what this process has used so far, user and system.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perPacket reports the CPU time of the benchmark by packet; n packets an iteration.
func perPacket(b *testing.B, n int, before time.Duration) {
	packets := float64(b.N * n)
	b.ReportMetric(float64(cpuTime(b)-before)/packets, "cpu-ns/pkt")
	b.ReportMetric(float64(b.Elapsed())/packets, "ns/pkt")
}

func BenchmarkLinkSender(b *testing.B) {
	for _, dst := range []netip.Addr{far4, far6} {
		b.Run(dst.String(), func(b *testing.B) {
			newPeer(b)
			p := openPath(b, dst)
			packets := sink(templates(b, p, dst, batchSize))
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if _, err := p.sender.Send(packets); err != nil {
					b.Fatal(err)
				}
			}
			perPacket(b, len(packets), before)
		})
	}
}

func BenchmarkLocalSender(b *testing.B) {
	newPeer(b)
	dst := netip.MustParseAddr("127.0.0.1")
	p := openPath(b, dst)
	packets := templates(b, p, dst, batchSize) // the closed port's RSTs are part of it
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		if _, err := p.sender.Send(packets); err != nil {
			b.Fatal(err)
		}
	}
	perPacket(b, len(packets), before)
}

// BenchmarkTap sends batches and reads each frame off the ring: subtract BenchmarkLinkSender for the cost of receiving.
func BenchmarkTap(b *testing.B) {
	for _, batch := range []int{64, 512, 2048} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			newPeer(b)
			p := openPath(b, far4)
			packets := sink(templates(b, p, far4, batch))
			m := startMeter(b)
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if _, err := p.sender.Send(packets); err != nil {
					b.Fatal(err)
				}
			}
			m.await(uint64(b.N * batch))
			perPacket(b, batch, before)
			st, err := m.tap.Stats()
			must(b, err)
			b.ReportMetric(float64(st.Drops), "drops")
		})
	}
}

// meter is a tap whose reader only counts.
type meter struct {
	tap   *Tap
	count atomic.Uint64
	block chan struct{} // a block has been read
}

func startMeter(t testing.TB) *meter {
	t.Helper()
	tap, err := OpenTap(TapConfig{Ports: []Ports{ours}})
	must(t, err)
	m := &meter{tap: tap, block: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tap.Run(ctx, m.take) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
		must(t, tap.Close())
	})
	return m
}

func (m *meter) take(f *Frame) {
	if f != nil {
		if f.Outgoing {
			m.count.Add(1)
		}
		return
	}
	select {
	case m.block <- struct{}{}:
	default:
	}
}

// await returns when n frames have been read or were lost.
func (m *meter) await(n uint64) {
	for m.count.Load() < n {
		<-m.block
		if st, err := m.tap.Stats(); err != nil || st.Drops > 0 && m.count.Load()+st.Drops >= n {
			return
		}
	}
}

func TestSendAllocatesNothing(t *testing.T) {
	newPeer(t)
	for _, dst := range []netip.Addr{far4, far6, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		p := openPath(t, dst)
		packets := templates(t, p, dst, 3*batchSize/2)
		packets[7].Data = nil // the path of a packet that is refused, too
		if n := testing.AllocsPerRun(20, func() { _, _ = p.sender.Send(packets) }); n != 0 {
			t.Errorf("%T to %s: %v allocations a call", p.sender, dst, n)
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	newPeer(t)
	p := openPath(t, far4)
	packets := sink(templates(t, p, far4, batchSize))
	m := startMeter(t)
	sent := uint64(0)
	if n := testing.AllocsPerRun(20, func() {
		_, _ = p.sender.Send(packets)
		sent += uint64(len(packets))
		for m.count.Load() < sent {
			<-m.block
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d frames", n, len(packets))
	}
}

func BenchmarkRoute(b *testing.B) {
	host := newPeer(b)
	must(b, netlink.NeighSet(&netlink.Neigh{
		LinkIndex: host.near.Attrs().Index, IP: far4.AsSlice(), HardwareAddr: host.mac[:], State: netlink.NUD_PERMANENT,
	}))
	held, err := NewRouter()
	must(b, err)
	defer held.Close()
	for name, rt := range map[string]*Router{"socket each": {}, "held": held} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r, err := rt.Route(Query{Dst: far4})
				must(b, err)
				_, err = rt.NextHopMAC(b.Context(), r)
				must(b, err)
			}
		})
	}
}
