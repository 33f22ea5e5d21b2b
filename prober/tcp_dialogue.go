package prober

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
)

// What a peer may make a round read: a line as long as blackbox_exporter takes one (bufio.MaxScanTokenSize), and this much in all.
const (
	maxLine = bufio.MaxScanTokenSize
	maxRead = 8 << 20
)

// dialogue is what follows a tcp module's connect: TLS and the steps of query_response.
type dialogue struct {
	conn  net.Conn // the TCP connection, or TLS over it
	in    *allowance
	lines *bufio.Scanner
	last  string // line read
	host  string // server name, where the configuration has none
	tls   *tls.Config
	out   *TCPResult
}

func newDialogue(conn net.Conn, host string, config *tls.Config, out *TCPResult) *dialogue {
	d := &dialogue{host: host, tls: config, out: out, in: &allowance{left: maxRead}}
	d.over(conn)
	return d
}

// over goes on over conn. Lines that came before and have not been asked for are dropped, as blackbox_exporter does; nobody must
// believe, after STARTTLS, what came in clear (RFC 3207 §4.2).
func (d *dialogue) over(conn net.Conn) {
	d.conn, d.in.from = conn, conn
	d.lines = bufio.NewScanner(d.in)
	d.lines.Buffer(nil, maxLine)
}

// run has the whole dialogue. The error is one sentence that names the step.
func (d *dialogue) run(ctx context.Context, o TCPOptions) error {
	if o.TLS {
		if err := d.secure(ctx); err != nil {
			return err
		}
	}
	for i := range o.QueryResponse {
		if err := d.step(ctx, &o.QueryResponse[i]); err != nil {
			return fmt.Errorf("query_response[%d]: %w", i, err)
		}
	}
	if c, ok := d.conn.(*tls.Conn); ok {
		_ = c.Close() // close_notify is a courtesy: nothing is waited for after it
	}
	return nil
}

// step awaits a line, sends, and turns to TLS, as far as q asks for each, in this order.
func (d *dialogue) step(ctx context.Context, q *QueryResponse) error {
	send := q.Send
	if q.Expect != "" {
		re, err := regexp.Compile(q.Expect)
		if err != nil {
			return fmt.Errorf("expect: %w", err)
		}
		line, match, err := d.await(ctx, re)
		if err != nil {
			return err
		}
		send = string(re.Expand(nil, []byte(send), line, match))
		for _, l := range q.Labels {
			if d.out.ExpectInfo == nil {
				d.out.ExpectInfo = map[string]string{}
			}
			d.out.ExpectInfo[l.Name] = string(re.Expand(nil, []byte(l.Value), line, match))
		}
	}
	if send != "" {
		if _, err := io.WriteString(d.conn, send+"\n"); err != nil {
			return fmt.Errorf("send: %w", unhidden(ctx, err))
		}
	}
	if q.StartTLS {
		return d.secure(ctx)
	}
	return nil
}

// await reads until a line matches. The line is valid until the next one is read. Only a peer that ends its side without a match has failed
// the expression: where time or patience ended first, the line may have been to come.
func (d *dialogue) await(ctx context.Context, re *regexp.Regexp) (line []byte, match []int, err error) {
	n := 0
	for d.lines.Scan() {
		if match := re.FindSubmatchIndex(d.lines.Bytes()); match != nil {
			d.out.FailedDueToRegex = false
			return d.lines.Bytes(), match, nil
		}
		n++
		d.last = clipped(d.lines.Text())
	}
	switch err := d.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, nil, fmt.Errorf("a line is longer than %d octets", maxLine)
	case err != nil:
		return nil, nil, fmt.Errorf("expect %q: %w after %s", re, unhidden(ctx, err), d.seen(n))
	}
	d.out.FailedDueToRegex = true
	return nil, nil, fmt.Errorf("expect %q: the peer closed after %s", re, d.seen(n))
}

// seen tells of n lines that did not match.
func (d *dialogue) seen(n int) string {
	switch n {
	case 0:
		return "no line"
	case 1:
		return fmt.Sprintf("the line %q", d.last)
	}
	return fmt.Sprintf("%d lines, the last %q", n, d.last)
}

// clipped is as much of a peer's line as a message may hold.
func clipped(s string) string {
	const most = 120
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// unhidden gives the reason why the connection was closed under an operation, where it was ours.
func unhidden(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("the time of the round was over")
	case cause != nil:
		return cause
	}
	return err
}

// allowance reads from a peer until that has sent more than it may.
type allowance struct {
	from io.Reader
	left int
}

func (a *allowance) Read(b []byte) (int, error) {
	if a.left <= 0 {
		return 0, fmt.Errorf("the peer sent more than %d octets", maxRead)
	}
	n, err := a.from.Read(b[:min(len(b), a.left)])
	a.left -= n
	return n, err
}
