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
	// A capture may show several segments as one, as offload joins them: all but the last are of the full size then.
	for size := max(s.Size, 1); len(c.edges) <= s.Segments && c.high.Before(end); {
		c.high = c.high.Add(min(size, int(end.Sub(c.high))))
		c.edges = append(c.edges, c.high)
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
	for k := 1; k < len(c.edges) && k <= s.Segments; k++ {
		x := c.segment(now, wire.ACK, c.sndNxt, nil)
		x.SackFrom, x.SackTo, x.HasSack = c.edges[0], c.edges[k], true
		out = append(out, x)
	}
	return out
}
