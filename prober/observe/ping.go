package observe

import (
	"net/netip"
	"time"
)

// Ping is what became of one ICMP echo request of ours.
type Ping struct {
	Src, Dst netip.Addr
	ID, Seq  uint16
	// Handed is when it was given to the kernel, zero where it was not, and At the kernel's time on the tap, zero where the tap did not see it.
	Handed, At time.Time
	// Refused is why it was not sent; empty: it was.
	Refused string
	// Replies carry its identifier, its sequence number and its payload unchanged: who made them has seen it. The first few only.
	Replies []Reply
}

// Reply is one echo reply.
type Reply struct {
	At       time.Time
	From     netip.Addr
	HopLimit uint8
}

// maxReplies is how many replies to one request are kept: a second one is already out of order.
const maxReplies = 4

// Sent reports whether the request left this host, as far as is known.
func (p *Ping) Sent() bool { return p.Refused == "" && !(p.Handed.IsZero() && p.At.IsZero()) }

// Answer is the first reply that came from the address that was asked; nil: none did.
func (p *Ping) Answer() *Reply {
	for i := range p.Replies {
		if p.Replies[i].From == p.Dst.WithZone("") {
			return &p.Replies[i]
		}
	}
	return nil
}

// RTT is from the request to the answer, both on the tap; 0: unknown.
func (p *Ping) RTT() time.Duration {
	if a := p.Answer(); a != nil && !p.At.IsZero() {
		return max(a.At.Sub(p.At), 0)
	}
	return 0
}

// Pinging records that echo request i was handed to the kernel, and with what.
func (c *Correlator) Pinging(i int, at time.Time, src netip.Addr, id, seq uint16) {
	p := &c.obs.Pings[i]
	p.Handed, p.Src, p.ID, p.Seq = at, src, id, seq
}

// PingRefused records why echo request i was not sent.
func (c *Correlator) PingRefused(i int, why string) { c.obs.Pings[i].Refused = why }

// PingOut records that the tap saw echo request i leave.
func (c *Correlator) PingOut(i int, at time.Time) {
	if p := &c.obs.Pings[i]; p.At.IsZero() {
		p.At = at
	}
}

// PingReply records a reply to echo request i.
func (c *Correlator) PingReply(i int, r Reply) {
	p := &c.obs.Pings[i]
	if len(p.Replies) >= maxReplies {
		c.Stray("ping_replies_over_limit")
		return
	}
	p.Replies = append(p.Replies, r)
}
