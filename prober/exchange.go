package prober

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/kdial"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// exchange is the data phase of one connection.
type exchange struct {
	conn net.Conn
	what plan.Transfer
	dst  netip.AddrPort

	sent, received atomic.Int64
	status         int
	why            error // nil: all that was to be moved was
	info           observe.DataInfo
	congestion     string
	hasInfo        bool
	rto            time.Duration
}

// The clock of the watch over an exchange, and how long it may stand still where nobody says.
const (
	sampleTime  = 20 * time.Millisecond
	standsStill = 4 * time.Second
	// trailTime is the least retransmission timeout and the longest delayed acknowledgment of Linux (include/net/tcp.h TCP_RTO_MIN,
	// TCP_DELACK_MAX, 6.18).
	trailTime = 200 * time.Millisecond
)

// errStood is why an exchange was given up that stood still, errCut why one was that moved on.
var (
	errStood = errors.New("nothing moved")
	errCut   = errors.New("its time was over")
)

// run moves the octets, and gives up where nothing moves any more or ctx ends.
func (x *exchange) run(ctx context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(ctx, func() { _ = x.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	watched := make(chan struct{})
	moved := make(chan struct{})
	go func() {
		defer close(watched)
		x.watch(moved, cancel)
	}()
	err := x.move(ctx)
	close(moved)
	<-watched
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
		if errors.Is(cause, context.DeadlineExceeded) {
			err = errCut
		}
	}
	x.why = err
	if err == nil {
		x.trail(ctx)
	}
	cancel(nil)
	x.sample()
}

// trail waits for what may still come: a duplicate SACK for a copy that was needless, a late original.
func (x *exchange) trail(ctx context.Context) {
	x.sample()
	pause(ctx, min(2*x.info.RTT+trailTime, time.Second))
}

// sample reads the kernel's account.
func (x *exchange) sample() {
	info, name, ok := kdial.ReadData(x.conn)
	if !ok {
		return
	}
	x.info, x.congestion, x.hasInfo = info, name, true
	if info.Backoff == 0 && info.RTO > 0 && (x.rto == 0 || info.RTO < x.rto) {
		x.rto = info.RTO
	}
}

// watch samples the kernel's account, and cancels an exchange that stands still.
func (x *exchange) watch(moved <-chan struct{}, cancel context.CancelCauseFunc) {
	patience := cmp.Or(x.what.Patience, standsStill)
	tick := time.NewTicker(sampleTime)
	defer tick.Stop()
	var last int64
	since := time.Now()
	for {
		select {
		case <-moved:
			return
		case now := <-tick.C:
			x.sample()
			if p := int64(x.info.BytesAcked) + x.received.Load(); p != last {
				last, since = p, now
			}
			if now.Sub(since) >= patience {
				cancel(fmt.Errorf("%w for %s", errStood, patience))
				return
			}
		}
	}
}

// move does what the transfer says.
func (x *exchange) move(ctx context.Context) error {
	switch x.what.Way {
	case plan.Get:
		return x.get()
	case plan.Post:
		return x.post()
	case plan.Echo:
		return x.echo()
	case plan.Sink:
		if err := x.send(x.what.Bytes); err != nil {
			return err
		}
		return x.acknowledged(ctx)
	case plan.Source:
		return x.receive(x.conn, x.what.Bytes, true)
	case plan.WayUnknown:
	}
	return fmt.Errorf("%s is no way to exchange data", x.what.Way)
}

// chunk is what is written at a time: a pattern that no compressor on the way makes small.
func chunk() []byte {
	b := make([]byte, 64<<10)
	s := uint32(0x9e3779b9)
	for i := range b {
		s ^= s << 13
		s ^= s >> 17
		s ^= s << 5
		b[i] = byte(s)
	}
	return b
}

func (x *exchange) send(n int64) error {
	b := chunk()
	for n > 0 {
		k, err := x.conn.Write(b[:min(n, int64(len(b)))])
		x.sent.Add(int64(k))
		n -= int64(k)
		if err != nil {
			return fmt.Errorf("send: %w", below(err))
		}
	}
	return nil
}

// receive reads n octets; less is an error but where it may end sooner.
func (x *exchange) receive(from io.Reader, n int64, sooner bool) error {
	b := make([]byte, 64<<10)
	for n > 0 {
		k, err := from.Read(b[:min(n, int64(len(b)))])
		x.received.Add(int64(k))
		n -= int64(k)
		switch {
		case errors.Is(err, io.EOF) && sooner && x.received.Load() > 0:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the server closed after %d octets", x.received.Load())
		case err != nil:
			return fmt.Errorf("receive: %w", below(err))
		}
	}
	return nil
}

// below is the error below the operation that net wraps around it, which names addresses that the report has already.
func below(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

func (x *exchange) echo() error {
	var sending error
	var wg sync.WaitGroup
	wg.Go(func() { sending = x.send(x.what.Bytes) })
	err := x.receive(x.conn, x.what.Bytes, false)
	if err != nil {
		_ = x.conn.SetWriteDeadline(time.Unix(1, 0))
	}
	wg.Wait()
	if err == nil {
		err = sending
	}
	return err
}

// acknowledged waits until the peer's TCP has all that was sent.
func (x *exchange) acknowledged(ctx context.Context) error {
	tick := time.NewTicker(sampleTime / 10)
	defer tick.Stop()
	for {
		info, _, ok := kdial.ReadData(x.conn)
		if !ok {
			return errors.New("the connection was reset")
		}
		if info.Unacked == 0 && info.NotSent == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// request is the head of an HTTP/1.1 request (RFC 9112 §3).
func (x *exchange) request(method string, body int64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: vipprobe\r\nAccept-Encoding: identity\r\nConnection: close\r\n", method,
		cmp.Or(x.what.Path, "/"), cmp.Or(x.what.Host, x.dst.String()))
	if body > 0 {
		fmt.Fprintf(&b, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", body)
	}
	b.WriteString("\r\n")
	return b.String()
}

func (x *exchange) write(text string) error {
	n, err := io.WriteString(x.conn, text)
	x.sent.Add(int64(n))
	if err != nil {
		return fmt.Errorf("send the request: %w", below(err))
	}
	return nil
}

// get reads an answer to its end, or as much of it as is asked for.
func (x *exchange) get() error {
	if err := x.write(x.request("GET", 0)); err != nil {
		return err
	}
	r, err := x.answer()
	if err != nil {
		return err
	}
	return x.receive(r, max(x.what.Bytes-x.received.Load(), 0), true)
}

func (x *exchange) post() error {
	if err := x.write(x.request("POST", x.what.Bytes)); err != nil {
		return err
	}
	if err := x.send(x.what.Bytes); err != nil {
		return err
	}
	_, err := x.answer()
	return err
}

// firstLine bounds what is read for the status line (RFC 9112 §4).
const firstLine = 4096

// answer reads the status line; what follows it is still to be read.
func (x *exchange) answer() (io.Reader, error) {
	r := bufio.NewReaderSize(x.conn, firstLine)
	line, err := r.ReadSlice('\n')
	x.received.Add(int64(len(line)))
	if err != nil {
		return nil, fmt.Errorf("receive the status line: %w", below(err))
	}
	version, rest, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	x.status, err = strconv.Atoi(string(code))
	if !bytes.HasPrefix(version, []byte("HTTP/1.")) || err != nil {
		x.status = 0
		return nil, fmt.Errorf("no HTTP answer: %.40q", line)
	}
	return r, nil
}
