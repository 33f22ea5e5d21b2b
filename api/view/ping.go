package view

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// Ping is one ICMP echo request and what answered it. It is no attempt: it says nothing of a connection.
type Ping struct {
	At      *time.Time `json:"at,omitempty"` // the kernel's time on the tap
	Src     string     `json:"src,omitempty"`
	Dst     string     `json:"dst"`
	ID      uint16     `json:"id"`
	Seq     uint16     `json:"seq"`
	Refused string     `json:"refused,omitempty"` // why it was not sent
	RTTNS   *int64     `json:"rtt_ns,omitempty"`
	Replies []Reply    `json:"replies"`
}

// Reply is one echo reply; one that is not from the address that was asked answers in its own name.
type Reply struct {
	At   *time.Time `json:"at,omitempty"`
	From string     `json:"from"`
	TTL  uint8      `json:"ttl"`
}

func newPings(list []observe.Ping) []Ping {
	var out []Ping
	for i := range list {
		p := &list[i]
		v := Ping{At: when(p.At), Src: address(p.Src), Dst: address(p.Dst), ID: p.ID, Seq: p.Seq, Refused: p.Refused, Replies: make([]Reply, 0, len(p.Replies))}
		if rtt := p.RTT(); rtt > 0 {
			v.RTTNS = ns(rtt)
		}
		for _, r := range p.Replies {
			v.Replies = append(v.Replies, Reply{At: when(r.At), From: address(r.From), TTL: r.HopLimit})
		}
		out = append(out, v)
	}
	return out
}
