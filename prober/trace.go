package prober

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/retrans"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// trace keeps the segments of one shot with a data phase. The reader of the tap writes to it under the engine's lock.
type trace struct {
	list []retrans.Segment
	over int
}

// maxTrace bounds what is kept of one flow: some 90 MB of payload in segments of 1,448 octets. What is beyond is counted.
const maxTrace = 1 << 16

// add takes a segment, and reports whether the correlator is to see it as well: it judges the handshake.
func (t *trace) add(f *rawsock.Frame, seg *wire.Segment) (handshake bool) {
	if len(t.list) >= maxTrace {
		t.over++
		return false
	}
	t.list = append(t.list, retrans.Of(time.Unix(0, f.At), f.Outgoing, seg))
	return len(t.list) <= 3 || seg.Flags&wire.SYN != 0
}

// into gives what was kept to the transfer.
func (t *trace) into(o *observe.Transfer) {
	if t != nil {
		o.Segments, o.Over = t.list, t.over
		o.Judge()
	}
}
