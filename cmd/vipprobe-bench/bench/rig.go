package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// The network: the client's kernel sends answered to a server that answers at every address, and sunk to a link address that nobody has, so
// that the far end drops each packet as soon as it sees it.
const (
	clientAddr, serverAddr, nobody = "10.0.0.1", "10.0.0.2", "10.0.0.3"
	answered, sunk                 = "10.64.0.0/10", "10.128.0.0/10"
	sinkMAC                        = "02:00:00:00:ff:fe"
	port                           = 80
)

// rig is the network and what its two ends are.
type rig struct {
	*topo.Net
	client, server *topo.Host
	near, far      *topo.Link
	steered        error // why the responder has no core of its own; nil: it can have one
}

func newRig(ctx context.Context) (*rig, error) {
	n := topo.New(ctx)
	r := &rig{Net: n, client: n.Host("client"), server: n.Host("server")}
	r.near, r.far = n.Cable(r.client, r.server)
	r.near.Addr(clientAddr+"/24").Knows(serverAddr, r.far)
	r.far.Addr(serverAddr+"/24").Knows(clientAddr, r.near)
	r.near.Knows(nobody, &topo.Link{MAC: mac(sinkMAC)})
	r.client.Route(answered, serverAddr)
	r.client.Route(sunk, nobody)
	r.server.LocalPrefix(answered)
	// Cookies alone: no SYN is refused for want of room, and none leaves anything behind.
	r.server.Sysctl("net.ipv4.tcp_syncookies", "2")
	r.server.Sysctl("net.core.somaxconn", "65535")
	r.client.Sysctl("net.ipv4.ip_local_port_range", "10000 59999")
	r.server.Serve(topo.Service{Port: port, Then: topo.Echo, Backlog: 65535})
	if err := n.Err(); err != nil {
		n.Close()
		return nil, err
	}
	n.Go(r.nudge)
	r.steered = errors.New("there is only one core")
	if runtime.NumCPU() > 1 {
		r.steered = errors.Join(r.far.Steer(responderCore), r.far.Steer(-1))
	}
	return r, nil
}

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err) // a constant of ours
	}
	return m
}

// nudge sends the client a datagram now and then: who reads a capture without a time-out notices that it was told to end only when something comes.
func (r *rig) nudge(ctx context.Context) {
	var c net.Conn
	if err := r.server.Do(func() (err error) {
		c, err = (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(clientAddr, "9"))
		return err
	}); err != nil {
		return
	}
	defer c.Close()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _ = c.Write([]byte{0}) // refused by ICMP: all the same
		}
	}
}

// responderCore answers in the parts where the responder is apart; contestants then run on the first core.
const responderCore = 1

// placement is which core does what while a part of the benchmark runs.
type placement uint8

const (
	// sharing: what the other end's kernel does for a packet is done within the system call that sends it.
	sharing placement = iota
	// apart: the responder has a core of its own, and so has the contestant. Answers are received where they were sent.
	apart
	// wired: as apart, but the contestant's core receives the answers too, as it would from a wire.
	wired
)

// place arranges the cores until back is called.
func (r *rig) place(p placement) (back func(), err error) {
	if p == sharing || r.together() {
		return func() {}, nil
	}
	back = func() {
		_ = r.client.Pin(-1) // what fails here fails the next part
		_ = r.far.Steer(-1)
		_ = r.near.Steer(-1)
	}
	err = errors.Join(r.far.Steer(responderCore), r.client.Pin(0))
	if p == wired {
		err = errors.Join(err, r.near.Steer(0))
	}
	if err != nil {
		back()
		return nil, err
	}
	return back, nil
}

// together reports whether the responder works on the sender's core.
func (r *rig) together() bool { return r.steered != nil }

// usage is what a process has cost.
type usage struct {
	cpu, wall time.Duration
	sent      uint64 // packets that the client's device sent meanwhile
	out       []byte // its standard output
	late      bool   // it was killed at its deadline
}

// deadline bounds every process.
const deadline = 20 * time.Second

// run runs a program in the client's namespace to its end, or kills it at the deadline, which is no error where patience says so.
func (r *rig) run(ctx context.Context, limit time.Duration, argv ...string) (usage, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	before, err := r.sentPackets()
	if err != nil {
		return usage{}, err
	}
	cmd := r.client.Command(ctx, argv[0], argv[1:]...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	began := time.Now()
	err = r.client.Run(cmd)
	u := usage{wall: time.Since(began), out: out.Bytes(), late: ctx.Err() != nil}
	if cmd.ProcessState == nil {
		return u, err
	}
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	after, errAfter := r.sentPackets()
	u.sent = after - before
	if err != nil && !u.late {
		return u, fmt.Errorf("%s: %w: %s", argv[0], err, lastLine(said.String()+out.String()))
	}
	return u, errAfter
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// sentPackets is what the client's device has sent.
func (r *rig) sentPackets() (n uint64, err error) {
	err = r.client.Do(func() error {
		n, err = r.near.SentPackets()
		return err
	})
	return n, err
}

// busy keeps every core occupied until stop.
func (r *rig) busy() (stop func(), err error) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	var cmds []*exec.Cmd
	stop = func() {
		cancel()
		for _, c := range cmds {
			_ = c.Wait() // killed
		}
	}
	for range runtime.NumCPU() {
		c := r.server.Command(ctx, "sh", "-c", "while :; do :; done")
		if err := r.server.Start(c); err != nil {
			stop()
			return nil, errors.Join(errors.New("keep a core busy"), err)
		}
		cmds = append(cmds, c)
	}
	return stop, nil
}

// at is the n-th address of a prefix.
func at(prefix string, n int) netip.Addr {
	a := netip.MustParsePrefix(prefix).Addr().As4()
	v := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	v += uint32(n)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

func text(n int) string { return strconv.Itoa(n) }
