package observe

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/retrans"
)

// Transfer is what became of the data phase of one attempt.
type Transfer struct {
	Attempt int // its index
	// Began is when the connection was there, Ended when the data phase was over.
	Began, Ended time.Time
	// Sent and Received are octets that this program gave to and took from the kernel.
	Sent, Received int64
	// Done: all that was to be sent was acknowledged, and all that was to come came. Why says what ended it else.
	Done bool
	Why  string
	// Stood: it was given up because nothing moved any more; else it ended some other way, as by a reset.
	Stood bool
	// Cut: the time that we gave it was over while it moved.
	Cut bool
	// Status is the code of an HTTP answer; 0: none came.
	Status int
	// Congestion is the congestion control that was in force on our side; empty: not known.
	Congestion string
	// Info is the kernel's own account at the end, where HasInfo. RTO is the smallest retransmission timeout of ours that was in force.
	Info    DataInfo
	HasInfo bool
	RTO     time.Duration
	// Segments are those of the flow on our tap, in its order; empty without a capture. Over is how many more there were than are kept.
	Segments []retrans.Segment
	Over     int
	// Read is what they say: see Judge.
	Read retrans.Report
}

// Judge reads the segments into Read.
func (t *Transfer) Judge() {
	t.Read = retrans.Read(t.Segments, retrans.Known{MSS: int(t.Info.SndMSS), RTO: t.RTO})
}

// DataInfo is the part of struct tcp_info (include/uapi/linux/tcp.h, 6.18) that tells of a data phase. A kernel that is too old for a field
// leaves it 0; Length tells how much of the struct it gave.
type DataInfo struct {
	Length  int // octets
	SndMSS  uint32
	Unacked uint32 // segments
	RTT     time.Duration
	RTO     time.Duration
	Backoff uint8
	// Reordering is how many segments may be overtaken before the sender takes one for lost; 3 by default.
	Reordering   uint32
	TotalRetrans uint32 // segments; Linux 2.6.10
	BytesAcked   uint64 // 4.1
	BytesIn      uint64 // 4.1
	NotSent      uint32 // octets; 4.6
	MinRTT       time.Duration
	DataSegsOut  uint32 // 4.6, copies included
	DSACKDups    uint32 // 4.19
	ReordSeen    uint32 // 4.19
	RcvOOOPack   uint32 // 5.4
	TotalRTO     uint16 // 6.7
}
