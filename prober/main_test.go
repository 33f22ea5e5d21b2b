package prober

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/socket"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestMain(m *testing.M) {
	// The first thread must never be another host's: topo takes its namespace for home.
	runtime.LockOSThread()
	flag.Parse()
	// These tests wait, on ladders and time-outs; they do not compute.
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	os.Exit(enter(func() int {
		if topo.Inside() {
			// The examples probe this process itself.
			if err := netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo", Index: 1}}); err != nil {
				panic(err)
			}
		}
		return m.Run()
	}))
}

// enter is topo.Enter, but where root runs the tests all of the machine's first users exist inside as well: tcpdump insists on becoming
// another one than root.
func enter(run func() int) int {
	topo.MaybeChild()
	if topo.Inside() || os.Geteuid() != 0 || topo.Supported() != nil {
		return topo.Enter(run)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	topo.Reexec(cmd)
	all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1 << 16}}
	cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings, cmd.SysProcAttr.GidMappingsEnableSetgroups = all, all, true
	code, err := topo.Wait(cmd)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// patience bounds every wait of a test; it never measures anything.
const patience = 20 * time.Second

const ms = time.Millisecond

// rig is a client that probes and a server, real kernels both, on one cable; each knows the other's link address.
type rig struct {
	*topo.Net
	client, server *topo.Host
	near, far      *topo.Link
	engine         *engine
}

// The rig's addresses. What lies under ghost is routed to the server's link address and is nobody's: see peer.
const (
	clientV4, serverV4, ghostV4 = "10.0.0.1", "10.0.0.2", "10.0.0.66"
	clientV6, serverV6, ghostV6 = "fd00::1", "fd00::2", "fd00::66"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func on(host string, port uint16) netip.AddrPort { return netip.AddrPortFrom(addr(host), port) }

// private skips where this machine has no private namespaces, and fails where CI must have them.
func private(t testing.TB) {
	t.Helper()
	if topo.Inside() {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("private namespaces are not available")
	}
	t.Skip("SKIPPED: private namespaces are not available: see the message at the top")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// network builds client and server without an engine.
func network(t testing.TB) *rig {
	t.Helper()
	private(t)
	n := topo.New(context.Background())
	t.Cleanup(n.Close)
	r := &rig{Net: n, client: n.Host("client"), server: n.Host("server")}
	for _, h := range []*topo.Host{r.client, r.server} {
		h.Sysctl("net.ipv6.icmp.ratelimit", "0")
	}
	r.near, r.far = n.Cable(r.client, r.server)
	r.near.Addr(clientV4 + "/24").Addr(clientV6 + "/64")
	r.far.Addr(serverV4 + "/24").Addr(serverV6 + "/64")
	for _, a := range []string{serverV4, serverV6, ghostV4, ghostV6} {
		r.near.Knows(a, r.far)
	}
	r.far.Knows(clientV4, r.near).Knows(clientV6, r.near)
	return r
}

// start checks what was built and starts the client's engine.
func (r *rig) start(t testing.TB, opts EngineOptions) *rig {
	t.Helper()
	must(t, r.Err())
	if opts.Limits == (Limits{}) {
		opts.Limits = Limits{PerTargetRate: 1e6, PerTargetBurst: 1e6, GlobalRate: 1e6, GlobalBurst: 1e6, HalfOpen: 1e6, Unanswered: 1e6}
	}
	if opts.RingBytes == 0 {
		opts.RingBytes = 4 << 20
	}
	must(t, r.client.Do(func() (err error) {
		r.engine, err = newEngine(opts)
		return err
	}))
	t.Cleanup(func() { must(t, r.engine.Close()) })
	if err := r.engine.capturing(); err != nil {
		t.Fatal(err)
	}
	return r
}

// newRig is network and start, with an echo service on port 80.
func newRig(t testing.TB, opts EngineOptions) *rig {
	t.Helper()
	r := network(t)
	r.server.Serve(topo.Service{Port: 80, Then: topo.Echo})
	return r.start(t, opts)
}

func allowAll(netip.Addr) error { return nil }

// try executes a burst on the client.
func (r *rig) try(ctx context.Context, q request) (obs observe.Observation, err error) {
	if q.check == nil {
		q.check = allowAll
	}
	if q.target == "" {
		q.target = "the test's"
	}
	fail := r.client.Do(func() error {
		obs, err = r.engine.run(ctx, q)
		return nil
	})
	return obs, errors.Join(err, fail)
}

// burst executes one and expects it to be made.
func (r *rig) burst(t testing.TB, b plan.Burst) observe.Observation {
	t.Helper()
	obs, err := r.try(t.Context(), request{burst: &b})
	must(t, err)
	return obs
}

// arms are the two ways of a connect: the kernel's, and one of our own with the kernel's look.
func kernelArm(l plan.Ladder) plan.Arm {
	return plan.Arm{Name: "kernel", Via: plan.Kernel, Script: plan.Script{Ladder: l, Then: plan.Exchange{Close: plan.Abort}}}
}

func rawArm(l plan.Ladder) plan.Arm {
	return plan.Arm{Name: "raw", Via: plan.Raw, Script: plan.Script{Ladder: l, OnSYNACK: plan.Reset, Clock: plan.TSClock{Start: 0xfffffff0, Hz: 1000},
		Options: wire.LinuxSYN(1400, 0, 7)}}
}

func rawArmWithoutTS(l plan.Ladder) plan.Arm {
	a := rawArm(l)
	a.Name, a.Script.Options = "raw without timestamps", wire.LinuxSYNWithoutTimestamps(1400, 7)
	return a
}

// to is a burst of n shots of every arm to every destination.
func to(listen time.Duration, n int, arms []plan.Arm, dsts ...netip.AddrPort) plan.Burst {
	b := plan.Burst{Label: "test", Arms: arms, Listen: listen}
	for i := range arms {
		for _, dst := range dsts {
			for range n {
				b.Shots = append(b.Shots, plan.Shot{Arm: i, Flow: wire.Flow{Dst: dst}})
			}
		}
	}
	return b
}

// outcomes lists the outcomes and reasons of an observation in words, for messages.
func outcomes(o *observe.Observation) string {
	var b strings.Builder
	for i := range o.Attempts {
		a := &o.Attempts[i]
		fmt.Fprintf(&b, "%s %s: %s %q\n", a.Arm, a.Flow, a.Outcome, a.Reason)
	}
	return b.String()
}

// peer is what lies at the far end of the cable, on a packet socket: it keeps every frame that the client sends, and answers for addresses
// that the server's kernel does not have.
type peer struct {
	link   *topo.Link
	client *topo.Link
	conn   *socket.Conn
	answer func(*peer, *wire.Segment)
	echo   func(*peer, *wire.Echo)

	mu     sync.Mutex
	frames []sniffed
	news   chan struct{} // closed and replaced with each frame
}

// sniffed is one frame of the client's.
type sniffed struct {
	at    time.Time
	frame []byte
	seg   wire.Segment
	tcp   bool
}

// listen starts a peer on the far end; answer may be nil.
func (r *rig) listen(t testing.TB, answer func(*peer, *wire.Segment)) *peer {
	t.Helper()
	return r.pinged(t, answer, nil)
}

// pinged is listen with something that takes the client's ICMP echo requests as well.
func (r *rig) pinged(t testing.TB, answer func(*peer, *wire.Segment), echo func(*peer, *wire.Echo)) *peer {
	t.Helper()
	must(t, r.Err())
	p := &peer{link: r.far, client: r.near, answer: answer, echo: echo, news: make(chan struct{})}
	must(t, r.server.Do(func() (err error) {
		if p.conn, err = socket.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0, "peer", nil); err != nil {
			return err
		}
		return errors.Join(p.conn.SetsockoptInt(unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			p.conn.SetsockoptInt(unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20),
			p.conn.SetsockoptInt(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			p.conn.Bind(&unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: r.far.Index})) // ETH_P_ALL in network order
	}))
	var wg sync.WaitGroup
	wg.Go(p.run)
	t.Cleanup(func() {
		p.conn.Close()
		wg.Wait()
	})
	return p
}

func (p *peer) run() {
	b, oob := make([]byte, 1<<16), make([]byte, 128)
	for {
		n, controls, _, _, err := p.conn.Recvmsg(context.Background(), b, oob, 0)
		if err != nil {
			return
		}
		s := sniffed{at: stamp(oob[:controls]), frame: slices.Clone(b[:n])}
		s.tcp = n > 14 && wire.Parse(s.frame[14:], &s.seg) == wire.ReasonNone
		p.mu.Lock()
		p.frames = append(p.frames, s)
		close(p.news)
		p.news = make(chan struct{})
		p.mu.Unlock()
		if s.tcp && p.answer != nil {
			p.answer(p, &s.seg)
		}
		var e wire.Echo
		if p.echo != nil && n > 14 && wire.ParseEcho(s.frame[14:], &e) == wire.ReasonNone {
			p.echo(p, &e)
		}
	}
}

// stamp is the kernel's time of a frame.
func stamp(oob []byte) time.Time {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(list) == 0 || len(list[0].Data) < 16 {
		panic(fmt.Sprintf("no time of receipt: %v", err))
	}
	d := list[0].Data
	return time.Unix(int64(binary.NativeEndian.Uint64(d)), int64(binary.NativeEndian.Uint64(d[8:])))
}

// send puts a segment on the wire towards the client.
func (p *peer) send(s wire.Segment) {
	s.DF = true
	if s.HopLimit == 0 {
		s.HopLimit = 64
	}
	b := make([]byte, 14+s.Size())
	if _, err := s.Encode(b[14:]); err != nil {
		panic(err)
	}
	p.sendFrame(s.Src.Addr().Is4(), b)
}

// reply answers an echo request, changed as the caller likes.
func (p *peer) reply(e wire.Echo, change func(*wire.Echo)) {
	e.Src, e.Dst, e.Reply, e.HopLimit, e.Payload = e.Dst, e.Src, true, 61, slices.Clone(e.Payload)
	change(&e)
	b := make([]byte, 14+e.Size())
	if _, err := e.Encode(b[14:]); err != nil {
		panic(err)
	}
	p.sendFrame(e.Src.Is4(), b)
}

// sendFrame fills in the link header and sends.
func (p *peer) sendFrame(v4 bool, b []byte) {
	copy(b, p.client.MAC)
	copy(b[6:], p.link.MAC)
	b[12], b[13] = 0x86, 0xdd
	if v4 {
		b[12], b[13] = 0x08, 0x00
	}
	for errors.Is(p.conn.Sendto(context.Background(), b, 0, &unix.SockaddrLinklayer{Ifindex: p.link.Index}), unix.ENOBUFS) {
		runtime.Gosched() // the backlog that veth delivers to is full
	}
}

// segments are the TCP segments so far that match.
func (p *peer) segments(match func(*wire.Segment) bool) []sniffed {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []sniffed
	for i := range p.frames {
		if p.frames[i].tcp && match(&p.frames[i].seg) {
			out = append(out, p.frames[i])
		}
	}
	return out
}

// await waits until at least n segments match.
func (p *peer) await(t testing.TB, n int, match func(*wire.Segment) bool) []sniffed {
	t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		news := p.news
		p.mu.Unlock()
		if got := p.segments(match); len(got) >= n {
			return got
		}
		select {
		case <-news:
		case <-timeout:
			t.Fatalf("%d segments in %s, want %d", len(p.segments(match)), patience, n)
		}
	}
}

func isSYN(s *wire.Segment) bool { return s.Flags&(wire.SYN|wire.ACK) == wire.SYN }
func isRST(s *wire.Segment) bool { return s.Flags&wire.RST != 0 }

// synAckTo is the honest answer to a SYN.
func synAckTo(s *wire.Segment) wire.Segment {
	ack := wire.Segment{Src: s.Dst, Dst: s.Src, Seq: 5000, Ack: s.Seq + 1, Flags: wire.SYN | wire.ACK, Window: 65000}
	if val, _, ok := s.Options.Timestamps(); ok {
		ack.Options.AppendMSS(1460).AppendTimestamps(777, val)
	}
	return ack
}

// barrier returns when everything that the client had sent has reached the peer: a marker sent last has come.
func (r *rig) barrier(t testing.TB, p *peer) {
	t.Helper()
	const port = 9999
	marker := func(s *wire.Segment) bool { return s.Dst.Port() == port }
	n := len(p.segments(marker))
	b := to(50*ms, 1, []plan.Arm{kernelArm(plan.Single())}, on(ghostV4, port))
	r.burst(t, b)
	p.await(t, n+1, marker)
}

func echoOn(port uint16) topo.Service { return topo.Service{Port: port, Then: topo.Echo} }

func closingOn(port uint16) topo.Service { return topo.Service{Port: port, Then: topo.CloseFirst} }
