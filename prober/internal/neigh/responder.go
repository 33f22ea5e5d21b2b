package neigh

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Borrow is an address that nobody on the link has (ask ProbeFree first) and how requests for it are answered.
type Borrow struct {
	IfIndex int
	Addr    netip.Addr
	// MAC is what is answered; the zero value is the interface's own. Another one puts the interface into promiscuous
	// mode while the responder runs, and needs the owner's word: switches with port security shut ports for it.
	MAC wire.MAC
	// Delay is how long every answer waits; negative: no answer is ever sent, and requests are only counted.
	Delay time.Duration
	// Hold returns when answers may begin; Delay counts from then where the request came before. An error ends the responder. Nil: at once.
	Hold func(ctx context.Context) error
	// Only is who is answered, by address or by MAC: others that ask are counted. The zero value answers everybody.
	Only Peer
}

// Peer is a host on the link.
type Peer struct {
	Addr netip.Addr
	MAC  wire.MAC
}

// is reports whether a message comes from the peer, by either of its names: who asks may choose another address of its own than
// the one it is known by (arp_announce), and answer from another MAC than it asks from (VRRP).
func (p Peer) is(m message) bool {
	return p == Peer{} || m.sender == p.Addr || m.mac == p.MAC
}

// Conflict is another host that has, or is about to take, the borrowed address: it must not be used any longer.
type Conflict struct {
	Addr netip.Addr
	By   wire.MAC
}

func (e *Conflict) Error() string { return fmt.Sprintf("%s belongs to %s now", e.Addr, e.By) }

// Responder answers ARP requests or Neighbor Solicitations for one borrowed address.
type Responder struct {
	borrow Borrow
	link   link
	limit  Limiter
	due    chan answer
	counts Counts
}

// Counts are what a responder saw. Valid once Run has returned.
type Counts struct {
	Requests int            // for the address, from hosts with one
	Others   int            // likewise, from hosts that are not to be answered
	Answers  int            // sent
	Withheld int            // not answered: the limiter did not allow it before the end
	Late     int            // not answered: too many were waiting
	Ignored  map[string]int // frames by disposition
}

// answer is one reply and when to send it.
type answer struct {
	at  time.Time
	mac wire.MAC
	ip  netip.Addr
}

// pending is how many answers may wait. A resolver asks about once a second.
const pending = 64

// NewResponder opens the socket, so that requests are seen from here on; Run answers them. It needs CAP_NET_RAW. Answers
// take a token of the limiter each.
func NewResponder(b Borrow, limit Limiter) (*Responder, error) {
	b.Addr = b.Addr.Unmap().WithZone("")
	if !hostAddr(b.Addr) || b.MAC.IsMulticast() {
		return nil, fmt.Errorf("answer for %s as %s: not an address or MAC that a host can have", b.Addr, b.MAC)
	}
	l, err := dial(b.IfIndex, b.Addr)
	if err != nil {
		return nil, fmt.Errorf("answer for %s: %w", b.Addr, err)
	}
	if b.MAC == (wire.MAC{}) {
		b.MAC = l.port().mac
	}
	if b.MAC != l.port().mac {
		if err := l.port().conn.SetPromiscuous(true); err != nil { // ends with the socket (packet(7))
			return nil, errors.Join(fmt.Errorf("answer for %s as %s: %w", b.Addr, b.MAC, err), l.close())
		}
	}
	return &Responder{borrow: b, link: l, limit: limit, due: make(chan answer, pending)}, nil
}

// MAC is the hardware address that is answered.
func (r *Responder) MAC() wire.MAC { return r.borrow.MAC }

// Counts are what was seen; call it after Run.
func (r *Responder) Counts() Counts {
	c := r.counts
	c.Ignored = r.link.port().ignored
	return c
}

// Run answers until ctx ends, and then returns nil, or until a *Conflict shows. It closes the socket.
func (r *Responder) Run(ctx context.Context) error {
	g, inner := errgroup.WithContext(ctx)
	stop := context.AfterFunc(inner, func() { _ = r.link.port().conn.SetReadDeadline(past()) })
	defer stop()
	g.Go(func() error { return r.listen(inner) })
	g.Go(func() error { return r.reply(inner) })
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = nil
	}
	if e := r.link.close(); err == nil && e != nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("answer for %s on %s: %w", r.borrow.Addr, r.link.port().ifi.Name, err)
	}
	return nil
}

// listen reads requests and queues their answers.
func (r *Responder) listen(ctx context.Context) error {
	for {
		m, err := r.link.read()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return err
		}
		if err := r.request(m); err != nil {
			return err
		}
	}
}

// request queues the answer to one message, or finds a conflict in it: somebody speaks from the address, or probes for it as
// hosts do before they take one (RFC 5227 §2.1.1, RFC 4862 §5.4).
func (r *Responder) request(m message) error {
	switch {
	case m.mac == r.link.port().mac || m.mac == r.borrow.MAC:
		return nil // our own, sent back by the link
	case m.sender == r.borrow.Addr, !m.sender.IsValid() && m.target == r.borrow.Addr:
		return &Conflict{r.borrow.Addr, m.mac}
	case !m.request || m.target != r.borrow.Addr:
		return nil
	}
	if !r.borrow.Only.is(m) {
		r.counts.Others++
		return nil
	}
	r.counts.Requests++
	if r.borrow.Delay < 0 {
		return nil
	}
	select {
	case r.due <- answer{time.Now().Add(r.borrow.Delay), m.mac, m.sender}:
	default:
		r.counts.Late++
	}
	return nil
}

// reply sends the queued answers when they are due; they are, in the order they came.
func (r *Responder) reply(ctx context.Context) error {
	var from time.Time
	if r.borrow.Hold != nil {
		if err := r.borrow.Hold(ctx); err != nil {
			return err
		}
		from = time.Now().Add(r.borrow.Delay)
	}
	for {
		var a answer
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case a = <-r.due:
		}
		if a.at.Before(from) {
			a.at = from
		}
		if err := r.send(ctx, a); err != nil {
			return err
		}
	}
}

func (r *Responder) send(ctx context.Context, a answer) error {
	if d := time.Until(a.at); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
	if err := r.limit.Wait(ctx); err != nil {
		r.counts.Withheld++
		return nil
	}
	if err := r.link.answer(r.borrow.Addr, r.borrow.MAC, a.ip, a.mac); err != nil {
		return err
	}
	r.counts.Answers++
	return nil
}
