package handshake

import (
	"bytes"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// proceedHoled sends the next segment behind the hole, or ends the connection once the last has had its time. The hole is never filled, so that
// the reset stands where the peer expects the next octet (RFC 5961 §3.2): it goes there, and behind the last segment.
func (c *Conn) proceedHoled(now time.Duration, h *plan.Holed, out []Send) []Send {
	n, size := h.Payload()
	if c.holed == n {
		return c.abort(now, out)
	}
	c.holed++
	seq := c.iss.Add(1 + c.holed*size)
	out = append(out, c.segment(now, wire.ACK|wire.PSH, seq, bytes.Repeat([]byte{'\n'}, size)))
	c.sndNxt = seq.Add(size)
	if c.holed == n {
		c.arm(now + c.script.Then.CloseDelay)
	} else {
		c.arm(now + h.Gap)
	}
	return out
}
