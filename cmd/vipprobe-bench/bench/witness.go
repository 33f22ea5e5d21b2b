package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/vipprobe/vipprobe/cmd/vipprobe-bench/figures"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// The contestants of the clock.
const (
	oursRaw    = figures.Ours + " (raw SYN)"
	oursKernel = figures.Ours + " (kernel connect)"
)

// errorOf is the figure of so many handshakes at once.
func errorOf(concurrent int, loaded bool) string {
	state := "idle"
	if loaded {
		state = "cores loaded"
	}
	return fmt.Sprintf("handshake time against tcpdump, p99 of the error, %d at once, %s", concurrent, state)
}

// times sets what contestants say of their handshakes against a tcpdump beside them.
func (c *course) times(ctx context.Context, round int) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		return
	}
	for _, loaded := range []bool{false, true} {
		for _, x := range []struct{ concurrent, targets int }{{1, 100}, {100, 5}, {1000, 1}} {
			for _, who := range []struct{ name, what string }{{oursRaw, "syn"}, {oursKernel, "connect"}, {"net.Dialer", "dial"}} {
				if ctx.Err() != nil {
					return
				}
				j := job{what: who.what, prefix: answered, targets: x.targets, shots: x.concurrent, repeat: 1, wait: time.Second, tap: true}
				c.clock(ctx, round, errorOf(x.concurrent, loaded), who.name, "", loaded, func(ctx context.Context) ([]timed, error) {
					u, err := c.rig.run(ctx, deadline, j.args()...)
					if err != nil {
						return nil, err
					}
					return ofWorker(u)
				})
			}
			c.peersClocks(ctx, round, x.concurrent, loaded)
		}
	}
}

// handshakeKey is a flow as tcpdump and a contestant both know it.
type handshakeKey struct {
	port uint16
	dst  string
}

// beside runs a contestant beside a tcpdump and returns the 99th percentile of the error of its handshake times, in µs.
func (c *course) beside(ctx context.Context, loaded bool, run func(context.Context) ([]timed, error)) (float64, error) {
	w, err := c.witness(ctx)
	if err != nil {
		return 0, err
	}
	stop := func() {}
	if loaded {
		if stop, err = c.rig.busy(); err != nil {
			return 0, errors.Join(err, w.end())
		}
	}
	times, err := run(ctx)
	stop()
	saw := w.testify()
	if err != nil {
		return 0, err
	}
	return compare(times, saw)
}

// compare is the 99th percentile of the errors, in µs. Handshakes of which tcpdump saw a repeated SYN are left out: which was answered nobody knows.
func compare(times []timed, saw map[handshakeKey]*exchange) (float64, error) {
	var off []float64
	alone := byTarget(saw)
	for _, t := range times {
		x := saw[handshakeKey{t.Port, t.Dst}]
		if t.Port == 0 {
			x = alone[t.Dst]
		}
		if x == nil || x.syns != 1 || x.answer.IsZero() {
			continue
		}
		off = append(off, float64((t.Took-x.answer.Sub(x.syn)).Abs().Nanoseconds())/1e3)
	}
	if len(off) == 0 || 2*len(off) < len(times) {
		return 0, fmt.Errorf("tcpdump saw %d of %d handshakes", len(off), len(times))
	}
	slices.Sort(off)
	return figures.Quantile(off, 0.99), nil
}

// byTarget finds the exchange of each target that had one alone: some contestants do not tell their ports.
func byTarget(saw map[handshakeKey]*exchange) map[string]*exchange {
	all := map[string]*exchange{}
	for key, x := range saw {
		if _, another := all[key.dst]; another {
			x = nil
		}
		all[key.dst] = x
	}
	return all
}

// exchange is what tcpdump saw of one handshake.
type exchange struct {
	syn, answer time.Time
	syns        int
}

// witness is a tcpdump on the client's device.
type witness struct {
	cmd *exec.Cmd
	saw chan map[handshakeKey]*exchange
}

func (c *course) witness(ctx context.Context) (*witness, error) {
	w := &witness{saw: make(chan map[handshakeKey]*exchange, 1)}
	w.cmd = c.rig.client.Command(ctx, "tcpdump", "-i", c.rig.near.Name, "-w", "-", "-U", "--immediate-mode", "--time-stamp-precision=nano",
		"-s", "128", "-B", "32768", "-Z", "root", "tcp[tcpflags] & tcp-syn != 0")
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	said, err := w.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.rig.client.Start(w.cmd); err != nil {
		return nil, fmt.Errorf("start tcpdump: %w", err)
	}
	go func() { w.saw <- listen(out) }()
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "listening on") {
			go func() { _, _ = io.Copy(io.Discard, said) }()
			return w, nil
		}
	}
	return nil, errors.Join(errors.New("tcpdump does not listen"), w.end())
}

func (w *witness) end() error {
	_ = w.cmd.Process.Signal(os.Interrupt)
	return w.cmd.Wait()
}

// testify ends the capture and returns what it saw.
func (w *witness) testify() map[handshakeKey]*exchange {
	_ = w.cmd.Process.Signal(os.Interrupt)
	saw := <-w.saw
	_ = w.cmd.Wait() // interrupted
	return saw
}

// listen reads a capture to its end.
func listen(out io.Reader) map[handshakeKey]*exchange {
	all := map[handshakeKey]*exchange{}
	capture, err := pcapgo.NewReader(out)
	if err != nil {
		return all
	}
	for {
		frame, info, err := capture.ReadPacketData()
		if err != nil {
			return all
		}
		var seg wire.Segment
		if len(frame) > 14 {
			if r := wire.Parse(frame[14:], &seg); r == wire.ReasonNone {
				note(all, &seg, info.Timestamp)
			}
		}
	}
}

func note(all map[handshakeKey]*exchange, seg *wire.Segment, at time.Time) {
	key := handshakeKey{seg.Src.Port(), seg.Dst.Addr().String()}
	answer := seg.Flags.Has(wire.SYN | wire.ACK)
	if answer {
		key = handshakeKey{seg.Dst.Port(), seg.Src.Addr().String()}
	}
	x := all[key]
	if x == nil {
		x = &exchange{}
		all[key] = x
	}
	switch {
	case !answer && x.syns == 0:
		x.syn, x.syns = at, 1
	case !answer:
		x.syns++
	case x.answer.IsZero():
		x.answer = at
	}
}
