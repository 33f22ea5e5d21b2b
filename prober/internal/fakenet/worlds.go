package fakenet

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Every world's vantage is 192.0.2.10. A lone server is 192.0.2.80 on its own link; a VIP is 198.51.100.80 behind the router
// 192.0.2.1, and its members are 10.1.0.1 and up, reached through the balancer, whose SNAT address is 10.1.255.1. The port is 80.
const port = 80

func target() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 80}), port)
}

func vip() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, 80}), port)
}

func router() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 1}) }

func snatAddr() netip.Addr { return netip.AddrFrom4([4]byte{10, 1, 255, 1}) }

func memberAddr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i + 1)}), port)
}

// HTTP is an application that answers the first data with a short reply and closes first.
func HTTP() App {
	return App{Reply: []byte("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nok\n"), Close: CloseOnData, Delay: 200 * time.Microsecond}
}

// Server is a world with one healthy web server on the vantage's own link, behind the given elements.
func Server(seed uint64, elements ...Element) (*World, *Host) {
	h := NewHost(target(), seed)
	h.Ports[port].App = HTTP()
	return New(seed, target(), append(elements, h)...), h
}

// VIP is a world with a balancer of n healthy members behind a router, and its SNAT.
func VIP(seed uint64, n int) (*World, *Balancer) {
	b := &Balancer{VIP: vip(), SNAT: &SNAT{Addrs: []netip.Addr{snatAddr()}}}
	for i := range n {
		h := NewHost(memberAddr(i), seed+uint64(i)*101)
		h.Ports[port].App = HTTP()
		b.Members = append(b.Members, &Member{Addr: memberAddr(i), Host: h})
	}
	return behindRouter(seed, b), b
}

func behindRouter(seed uint64, elements ...Element) *World {
	w := New(seed, vip(), append([]Element{&Router{Addr: router()}}, elements...)...)
	w.Client.Gateway, w.Near.Addr = router(), router()
	return w
}

// Clean is a healthy server; CleanVIP a healthy balancer of n healthy members.
func Clean(seed uint64) *World {
	w, _ := Server(seed)
	return w
}

// CleanVIP is a healthy balancer of n healthy members.
func CleanVIP(seed uint64, n int) *World {
	w, _ := VIP(seed, n)
	return w
}

// Jittery is a healthy server far away: a long path whose delay varies by jitter and loses nothing.
func Jittery(seed uint64, oneWay, jitter time.Duration) *World {
	w, _ := Server(seed)
	w.OneWay, w.Jitter = oneWay, jitter
	return w
}

// Far moves a world's far side away: oneWay each way.
func Far(w *World, oneWay time.Duration) *World {
	w.OneWay = oneWay
	return w
}

// Closed is a host without a listener.
func Closed(seed uint64) *World {
	w, h := Server(seed)
	clear(h.Ports)
	return w
}

// SlowSYNACK is a server whose SYN-ACKs are d late, and nothing lost.
func SlowSYNACK(seed uint64, d time.Duration) *World {
	w, h := Server(seed)
	h.Ports[port].Slow = d
	return w
}

// SlowRTO gives the vantage's kernel an initial RTO of rto and no linear timeouts, as kernels ≤ 3.0 have with 3 s.
func (w *World) SlowRTO(rto time.Duration) *World {
	w.Client.Ladder = plan.Exponential(rto, 5)
	return w
}

// LocalQueue is a first contact: the vantage must ask for the server, which answers after delay, and its own neighbour queue holds q
// packets.
func LocalQueue(seed uint64, q int, delay time.Duration) *World {
	w, _ := Server(seed)
	w.Client.Neighbors.Queue, w.Client.Neighbors.Warm = q, false
	w.Client.Link = map[netip.Addr]Station{w.Target.Addr(): {Delay: delay}}
	w.Near.Learns = true
	return w
}

// LocalDead is a next hop that answers no request.
func LocalDead(seed uint64) *World {
	w := LocalQueue(seed, 0, 0)
	w.Client.Link[w.Target.Addr()] = Station{Silent: true}
	return w
}

// LocalWakes is a next hop that answers no request for a time after the first contact began, and promptly from then on.
func LocalWakes(seed uint64, after time.Duration) *World {
	w := LocalQueue(seed, 256, 0)
	w.Client.Link[w.Target.Addr()] = Station{Silent: true, Since: w.now + after}
	return w
}

// RemoteQueue is a server that must ask for the vantage, which answers after delay; the server's neighbour queue holds q packets.
func RemoteQueue(seed uint64, q int, delay time.Duration) *World {
	w, _ := Server(seed)
	w.Near.Knows, w.Near.Queue = false, q
	w.Client.Answers.Delay = delay
	return w
}

// RemoteDead is a server that asks for the vantage in vain.
func RemoteDead(seed uint64) *World {
	w := RemoteQueue(seed, 0, 0)
	w.Client.Answers.Silent = true
	return w
}

// BothQueues is a first contact on both sides, where neither learns from the other's request.
func BothQueues(seed uint64, q int, delay time.Duration) *World {
	w := LocalQueue(seed, q, delay)
	w.Near.Knows, w.Near.Learns, w.Near.Queue = false, false, q
	w.Client.Answers.Delay = delay
	return w
}

// DuplicateAddress has a second host answer requests for the server's address.
func DuplicateAddress(seed uint64) *World {
	w := LocalQueue(seed, 0, 0)
	w.Client.Link[w.Target.Addr()] = Station{Second: wire.MAC{2, 0, 0, 0, 0, 0x66}, Behind: 300 * time.Microsecond}
	return w
}

// Flapping is an address that two machines announce in turn, every so often.
func Flapping(seed uint64, every time.Duration) *World {
	f := &flapper{every: every}
	w, _ := Server(seed, f)
	f.macs = [2]wire.MAC{macOf(w.Target.Addr()), {2, 0, 0, 0, 0, 0x88}}
	return w
}

// flapper announces the target from two MACs in turn.
type flapper struct {
	every time.Duration
	macs  [2]wire.MAC
	n     int
}

// Take implements Element.
func (f *flapper) Take(h Hop, p *Packet) { h.Pass(p) }

func (f *flapper) begin(h Hop) {
	w := h.path.w
	w.After(f.every, func() {
		f.n++
		w.Announce(w.Target.Addr(), f.macs[f.n%2])
		f.begin(h)
	})
}

// TableFull is a vantage whose neighbour table has no room for the server.
func TableFull(seed uint64) *World {
	w := LocalQueue(seed, 0, 0)
	w.Client.Neighbors.Full = true
	return w
}

// SlowARP is a server that answers only the n-th request, and that after delay.
func SlowARP(seed uint64, n int, delay time.Duration) *World {
	w := LocalQueue(seed, 0, 0)
	w.Client.Link[w.Target.Addr()] = Station{Deaf: n - 1, Delay: delay}
	return w
}

// VIPMoved is an address that has moved to another machine without an announcement: the vantage still sends to the old MAC.
func VIPMoved(seed uint64) *World {
	w, _ := Server(seed)
	w.Near.Moved = wire.MAC{2, 0, 0, 0, 0, 0x77}
	w.Client.Neighbors.Stale = true
	return w
}

// CaptureDrops is a healthy server seen through a ring that loses a share of all frames.
func CaptureDrops(seed uint64, share float64) *World {
	w := Clean(seed)
	w.Tap.Lose = share
	return w
}

// LocalLoss is a healthy server and a vantage whose own output queue loses a share of what its kernel sends, and refuses as much of what
// its raw socket does.
func LocalLoss(seed uint64, share float64) *World {
	w := Clean(seed)
	w.Client.Lose, w.Client.Refuse = share, share
	return w
}

// Busy is a healthy server and a vantage so busy that a connect takes 5 ms and its process hears of an answer 300 ms late.
func Busy(seed uint64) *World {
	w := Clean(seed)
	w.Client.SocketCost, w.Client.Wake, w.Tap.Lag = 5*time.Millisecond, 300*time.Millisecond, 40*time.Millisecond
	return w
}

// ClockStep is a healthy server and a wall clock that is set once, after at, by step.
func ClockStep(seed uint64, at, step time.Duration) *World {
	w := Clean(seed)
	w.Tap.StepAt, w.Tap.Step = at, step
	return w
}

// Unprivileged is a healthy server probed without CAP_NET_RAW.
func Unprivileged(seed uint64) *World {
	w := Clean(seed)
	w.Tap.Off, w.Tap.Why = true, "open a packet socket: operation not permitted"
	return w
}

// LocalDNAT is a vantage whose own OUTPUT chain sends connects to the VIP to another address, as kube-proxy does.
func LocalDNAT(seed uint64) *World {
	w := Clean(seed)
	w.Client.LocalNAT = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 81}), 8080)
	w.Hosts[0].Ports[8080] = w.Hosts[0].Ports[port]
	return w
}
