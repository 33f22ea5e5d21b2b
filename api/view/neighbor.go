package view

import (
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// NeighborEvent is one ARP or ND frame.
type NeighborEvent struct {
	At        time.Time `json:"at"`
	Outgoing  bool      `json:"outgoing"`
	Kind      string    `json:"kind"`
	IfIndex   int       `json:"if_index,omitempty"`
	Sender    string    `json:"sender,omitempty"`
	Target    string    `json:"target,omitempty"`
	SenderMAC string    `json:"sender_mac,omitempty"`
	FrameMAC  string    `json:"frame_mac,omitempty"`
	Unicast   bool      `json:"unicast,omitempty"` // a question so asked verifies what the asker knows
	Frame     int       `json:"frame,omitempty"`   // its number in the capture file
}

// Exchange is one question for a link address: who asked whom, how often, and when the first answer came.
type Exchange struct {
	At       time.Time `json:"at"` // of the first request
	Asker    string    `json:"asker,omitempty"`
	Asked    string    `json:"asked"`
	Outgoing bool      `json:"outgoing"` // this host asked
	Requests int       `json:"requests"`
	TookNS   *int64    `json:"took_ns,omitempty"` // absent: no answer
	MACs     []string  `json:"macs,omitempty"`    // that answered, in order
}

// NeighborEntry is one state of the kernel's own entry of a next hop.
type NeighborEntry struct {
	At    time.Time `json:"at"` // when it was read: later than the change by what the scheduler takes
	Addr  string    `json:"addr"`
	State string    `json:"state"`
	MAC   string    `json:"mac,omitempty"`
	Read  bool      `json:"read,omitempty"` // looked up, not told by the kernel
}

// FirstContact says whether either side had to resolve the other.
type FirstContact struct {
	Local  Contact `json:"local"`
	Remote Contact `json:"remote"`
}

// Contact is one side's part of a first contact.
type Contact struct {
	Tested  bool   `json:"tested"`
	Waited  int    `json:"waited,omitempty"`
	Dropped int    `json:"dropped,omitempty"`
	Why     string `json:"why"`
}

func newFirstContact(c *diagnose.FirstContact) *FirstContact {
	if *c == (diagnose.FirstContact{}) {
		return nil
	}
	contact := func(c diagnose.Contact) Contact {
		return Contact{Tested: c.Tested, Waited: c.Waited, Dropped: c.Dropped, Why: c.Why}
	}
	return &FirstContact{Local: contact(c.Local), Remote: contact(c.Remote)}
}

// neighbors fills in what a burst showed of link addresses.
func (v *Observation) neighbors(o *observe.Observation, numbers observe.Numbers) {
	v.NextHop = address(o.NextHop)
	for i := range o.Neighbor {
		e := &o.Neighbor[i]
		v.Neighbor = append(v.Neighbor, NeighborEvent{At: e.At.UTC(), Outgoing: e.Outgoing, Kind: e.Kind.String(), IfIndex: e.IfIndex,
			Sender: address(e.Sender), Target: address(e.Target), SenderMAC: e.SenderMAC, FrameMAC: e.FrameMAC, Unicast: e.Unicast, Frame: numbers.Neighbor(e)})
	}
	for _, x := range observe.Exchanges(o.Neighbor) {
		e := Exchange{At: x.First.UTC(), Asker: address(x.Asker), Asked: address(x.Asked), Outgoing: x.Outgoing, Requests: x.Requests}
		if took, ok := x.Took(); ok {
			e.TookNS = ns(took)
		}
		for _, c := range x.Claims {
			e.MACs = append(e.MACs, c.MAC)
		}
		v.Exchanges = append(v.Exchanges, e)
	}
	for i := range o.Entries {
		e := &o.Entries[i]
		v.Entries = append(v.Entries, NeighborEntry{At: e.At.UTC(), Addr: address(e.Addr), State: string(e.State), MAC: e.MAC, Read: e.Read})
	}
}

// NeighborAnswers are how long answers to this host's questions for link addresses took.
type NeighborAnswers struct {
	Asked      int    `json:"asked"`
	Unanswered int    `json:"unanswered"`
	Repeated   int    `json:"repeated"` // questions that were asked more than once
	MedianNS   *int64 `json:"median_ns,omitempty"`
	P99NS      *int64 `json:"p99_ns,omitempty"`
	MaxNS      *int64 `json:"max_ns,omitempty"`
}

func newNeighborAnswers(t prober.NeighborTimes) *NeighborAnswers {
	if len(t.Answers)+t.Unanswered == 0 {
		return nil
	}
	v := &NeighborAnswers{Asked: len(t.Answers) + t.Unanswered, Unanswered: t.Unanswered, Repeated: t.Repeated}
	if len(t.Answers) > 0 {
		v.MedianNS, v.P99NS, v.MaxNS = ns(Rank(t.Answers, 0.5)), ns(Rank(t.Answers, 0.99)), ns(Rank(t.Answers, 1))
	}
	return v
}
