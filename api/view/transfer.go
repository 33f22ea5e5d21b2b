package view

import (
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/retrans"
)

// DataPhase is what the data phases of one arm of one burst did together.
type DataPhase struct {
	Kind       string     `json:"kind"`
	Arm        string     `json:"arm"`
	Congestion string     `json:"congestion,omitempty"`
	Flows      int        `json:"flows"`
	Done       int        `json:"done"`
	Rate       float64    `json:"bytes_per_second"`
	Ways       []Carriage `json:"ways"`
	Why        []string   `json:"why,omitempty"`
}

// Carriage is what went one way: "out" towards the target, "in" towards us.
type Carriage struct {
	Way             string         `json:"way"`
	Segments        int            `json:"segments"`
	Bytes           int64          `json:"bytes"`
	Retransmitted   map[string]int `json:"retransmitted,omitempty"` // segments by class: rto, after_rto, fast, tlp, unknown
	Spurious        map[string]int `json:"spurious,omitempty"`
	Lost            int            `json:"lost"`
	LossMoments     int            `json:"loss_moments"`
	Reordered       int            `json:"reordered"`
	ReorderSegments int            `json:"reorder_extent_segments,omitempty"`
	ReorderNS       int64          `json:"reorder_extent_ns,omitempty"`
	Twice           int            `json:"twice,omitempty"`
	MergedFrames    int            `json:"merged_frames,omitempty"`
	// OrderBy is what tells the order of sending: id, timestamp or time; absent where the sender's own view does.
	OrderBy string `json:"order_by,omitempty"`
	// Counted: no segments were seen; the kernel's account is all there is.
	Counted bool `json:"counted,omitempty"`
}

// Transfer is the data phase of one connection.
type Transfer struct {
	Attempt       int            `json:"attempt"`
	Done          bool           `json:"done"`
	Why           string         `json:"why,omitempty"`
	DurationNS    int64          `json:"duration_ns"`
	Sent          int64          `json:"sent_bytes"`
	Received      int64          `json:"received_bytes"`
	Status        int            `json:"http_status,omitempty"`
	Congestion    string         `json:"congestion,omitempty"`
	RTTNS         int64          `json:"least_rtt_ns,omitempty"`
	Retransmitted map[string]int `json:"retransmitted,omitempty"`
	Spurious      map[string]int `json:"spurious,omitempty"`
	Reordered     int            `json:"reordered,omitempty"`
	// TCPInfo is the kernel's own account at the end; fields that its struct tcp_info is too short for are absent.
	TCPInfo map[string]uint64 `json:"tcp_info,omitempty"`
}

func newDataPhases(list []observe.Observation) []DataPhase {
	var out []DataPhase
	for _, s := range diagnose.Transferred(list) {
		d := DataPhase{Kind: string(s.Kind), Arm: s.Arm, Congestion: s.Congestion, Flows: s.Flows, Done: s.Done, Rate: s.Rate, Why: s.Why, Ways: []Carriage{}}
		for i := range s.Ways {
			d.Ways = append(d.Ways, newCarriage(&s.Ways[i]))
		}
		out = append(out, d)
	}
	return out
}

func newCarriage(c *diagnose.Carried) Carriage {
	v := Carriage{Way: "out", Segments: c.Segments, Bytes: c.Octets, Retransmitted: newCounts(&c.Copies), Spurious: newCounts(&c.Spurious), Lost: c.Lost,
		LossMoments: c.Moments, Reordered: c.Reordered, ReorderSegments: c.Extent, ReorderNS: int64(c.Late), Twice: c.Twice, MergedFrames: c.Merged, Counted: c.Counted}
	if c.Heading == diagnose.Back {
		v.Way = "in"
	}
	if c.By != retrans.KeyUnknown {
		v.OrderBy = c.By.String()
	}
	return v
}

func newCounts(c *retrans.Counts) map[string]int {
	var out map[string]int
	for _, k := range retrans.Classes() {
		if c[k] == 0 {
			continue
		}
		if out == nil {
			out = map[string]int{}
		}
		out[k.String()] = c[k]
	}
	return out
}

func newTransfers(o *observe.Observation) []Transfer {
	var out []Transfer
	for i := range o.Transfers {
		t := &o.Transfers[i]
		copies, spurious := t.Read.Sent.Copies, t.Read.Sent.Spurious
		copies.Add(t.Read.Received.Copies)
		spurious.Add(t.Read.Received.Spurious)
		v := Transfer{Attempt: t.Attempt, Done: t.Done, Why: t.Why, DurationNS: int64(t.Ended.Sub(t.Began)), Sent: t.Sent, Received: t.Received, Status: t.Status,
			Congestion: t.Congestion, RTTNS: int64(t.Read.RTT), Retransmitted: newCounts(&copies), Spurious: newCounts(&spurious),
			Reordered: t.Read.Sent.Reordered + t.Read.Received.Reordered}
		if t.HasInfo {
			v.TCPInfo = newDataInfo(&t.Info)
		}
		out = append(out, v)
	}
	return out
}

// newDataInfo lists the fields that the kernel's struct tcp_info is long enough for (include/uapi/linux/tcp.h, 6.18).
func newDataInfo(i *observe.DataInfo) map[string]uint64 {
	out := map[string]uint64{}
	for _, f := range []struct {
		name  string
		end   int
		value uint64
	}{
		{"snd_mss", 20, uint64(i.SndMSS)}, {"reordering", 92, uint64(i.Reordering)}, {"total_retrans", 104, uint64(i.TotalRetrans)},
		{"bytes_acked", 128, i.BytesAcked}, {"bytes_received", 136, i.BytesIn}, {"data_segs_out", 160, uint64(i.DataSegsOut)},
		{"dsack_dups", 220, uint64(i.DSACKDups)}, {"reord_seen", 224, uint64(i.ReordSeen)}, {"rcv_ooopack", 228, uint64(i.RcvOOOPack)},
		{"total_rto", 242, uint64(i.TotalRTO)}, {"rtt_us", 72, uint64(i.RTT.Microseconds())},
	} {
		if i.Length >= f.end {
			out[f.name] = f.value
		}
	}
	return out
}
