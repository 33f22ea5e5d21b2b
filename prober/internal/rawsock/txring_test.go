package rawsock

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// fill puts packets into the volley of any sender that has slots.
func fill(g interface {
	Slot() []byte
	Add(n int) int
}, packets []Packet) {
	for i := range packets {
		b := g.Slot()
		copy(b, packets[i].Link[:])
		g.Add(copy(b[LinkRoom:], packets[i].Data))
	}
}

// farEnd tells the source ports of our segments as they arrive at the far end.
func farEnd(t *testing.T, host *peer) <-chan uint16 {
	t.Helper()
	var tap *Tap
	must(t, inside(host.ns, func() (err error) {
		tap, err = OpenTap(TapConfig{Ports: []Ports{ours}})
		return err
	}))
	came := make(chan uint16, 4096)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- tap.Run(ctx, func(f *Frame) {
			if f != nil && !f.Outgoing {
				came <- binary.BigEndian.Uint16(f.Net[20:])
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
		must(t, tap.Close())
	})
	return came
}

// Every packet of several volleys, full and not, arrives once and in order.
func TestTxRingSendsEachPacketOnce(t *testing.T) {
	host := newPeer(t)
	came := farEnd(t, host)
	for _, bypass := range []bool{false, true} {
		p := openPath(t, far4)
		packets := sink(templates(t, p, far4, VolleySize))
		r, err := NewTxRing(p.route)
		must(t, err)
		if bypass {
			must(t, r.Bypass())
		}
		for _, n := range []int{1, VolleySize, 7, VolleySize, VolleySize, VolleySize, VolleySize, 3} {
			fill(r, packets[:n])
			bad, err := r.Flush()
			if err != nil || len(bad) > 0 {
				t.Fatalf("a volley of %d: %v not taken, %v", n, bad, err)
			}
			for i := range n {
				if got := <-came; got != uint16(61000+i) {
					t.Fatalf("bypass %t: packet %d of a volley of %d is from port %d", bypass, i, n, got)
				}
			}
		}
		must(t, r.Close())
	}
}

// What the kernel does not take of a volley is told, and the rest of it goes.
func TestTxRingSkipsWhatIsNotTaken(t *testing.T) {
	host := newPeer(t)
	came := farEnd(t, host)
	p := openPath(t, far4)
	packets := sink(templates(t, p, far4, 10))
	r, err := NewTxRing(p.route)
	must(t, err)
	defer func() { must(t, r.Close()) }()
	refused := []int{0, 4, 5, 9}
	for range 70 { // around the ring and on
		fill(r, packets)
		for _, i := range refused {
			binary.NativeEndian.PutUint16(r.frame(i)[txVnet+txHdrLen:], 4000) // more header than packet: EINVAL
		}
		bad, err := r.Flush()
		if err != nil || !slices.Equal(bad, refused) {
			t.Fatalf("not taken: %v, %v", bad, err)
		}
		for i := range packets {
			if !slices.Contains(refused, i) {
				if got := <-came; got != uint16(61000+i) {
					t.Fatalf("packet %d is from port %d", i, got)
				}
			}
		}
	}
	must(t, netlink.LinkSetDown(host.near))
	fill(r, packets)
	if bad, err := r.Flush(); !errors.Is(err, ErrInterfaceDown) || len(bad) != len(packets) {
		t.Errorf("on a device that is down: %v not taken, %v", bad, err)
	}
	must(t, netlink.LinkSetUp(host.near))
	fill(r, packets)
	if bad, err := r.Flush(); err != nil || len(bad) > 0 {
		t.Errorf("after it came back: %v not taken, %v", bad, err)
	}
}

func TestSendersAllocateNothing(t *testing.T) {
	newPeer(t)
	p := openPath(t, far4)
	packets := sink(templates(t, p, far4, VolleySize))
	ring, err := NewTxRing(p.route)
	must(t, err)
	xdp, err := NewXDP(p.route)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		skip(t, "this kernel has no AF_XDP")
	}
	must(t, err)
	for name, g := range map[string]interface {
		Slot() []byte
		Add(n int) int
		Flush() ([]int, error)
		Close() error
	}{"ring": ring, "AF_XDP": xdp} {
		if n := testing.AllocsPerRun(20, func() {
			fill(g, packets)
			_, _ = g.Flush()
		}); n != 0 {
			t.Errorf("%s: %v allocations for %d packets", name, n, len(packets))
		}
		must(t, g.Close())
	}
}
