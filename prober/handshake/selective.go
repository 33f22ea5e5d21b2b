package handshake

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// gather notes up to where the peer's octets have come; with the first of them the delay begins.
func (c *Conn) gather(now time.Duration, s *plan.Selective, seg *wire.Segment) {
	if c.state != Established || seg.Length == 0 || c.sacked || c.high.Before(seg.Seq) {
		return
	}
	end := seg.Seq.Add(seg.Length)
	if !c.high.Before(end) {
		return
	}
	if c.high == c.rcvNxt {
		c.arm(now + s.Delay)
	}
	c.high = end
}

// selective acknowledges all but the first segment, one more with each acknowledgment, as far as they have come.
func (c *Conn) selective(now time.Duration, s *plan.Selective, out []Send) []Send {
	c.sacked = true
	if !c.sackOK {
		return c.abort(now, out)
	}
	c.arm(now + s.Wait)
	size := max(s.Size, 1)
	from := c.rcvNxt.Add(size)
	for k := range s.Segments {
		to := from.Add((k + 1) * size)
		if c.high.Before(to) {
			break
		}
		x := c.segment(now, wire.ACK, c.sndNxt, nil)
		x.SackFrom, x.SackTo, x.HasSack = from, to, true
		out = append(out, x)
	}
	return out
}
