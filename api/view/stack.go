package view

import "github.com/vipprobe/vipprobe/prober/diagnose"

// Stack is one of several stacks that answer at an address.
type Stack struct {
	Fingerprint string `json:"fingerprint"` // option kinds, MSS, window scale and initial TTL
	Flows       int    `json:"flows"`       // that it answered first
	// ShareLow and ShareHigh bound its share of the flows, 0 … 1, with 99 % confidence; InTurn: flows are dealt out one after the other, and both are the
	// share of this round's flows.
	ShareLow  float64 `json:"share_low"`
	ShareHigh float64 `json:"share_high"`
	InTurn    bool    `json:"in_turn,omitempty"`
	// LostSYNs had no effect before its first answers, on LossyFlows of its flows.
	LostSYNs   int `json:"lost_syns"`
	LossyFlows int `json:"lossy_flows"`
	// Its round trips; absent where none was timed.
	RTTLeastNS  int64 `json:"rtt_least_ns,omitempty"`
	RTTMedianNS int64 `json:"rtt_median_ns,omitempty"`
	RTTMostNS   int64 `json:"rtt_most_ns,omitempty"`
}

func newStack(s *diagnose.Stack) Stack {
	return Stack{Fingerprint: s.Fingerprint, Flows: s.Flows, ShareLow: s.Share.Low, ShareHigh: s.Share.High, InTurn: s.Share.InTurn,
		LostSYNs: s.Lost, LossyFlows: s.LossyFlows, RTTLeastNS: int64(s.Least), RTTMedianNS: int64(s.Median), RTTMostNS: int64(s.Most)}
}

// Responders is what the timestamp clocks of the SYN-ACKs say of who answers at an address.
type Responders struct {
	Flows    int `json:"flows"`    // with timestamps, from one address, that were looked at
	Clocks   int `json:"clocks"`   // on which several of them lie; each p < 1e-4
	Unplaced int `json:"unplaced"` // flows on none
	// HostClocks tick as only clocks do that a host has one of.
	HostClocks int `json:"host_clocks"`
	// PerConnection: every flow has an offset of its own, so that clocks cannot tell who answers.
	PerConnection bool `json:"per_connection,omitempty"`
	// List are those on several clocks; absent where fewer than two are seen.
	List []Responder `json:"list,omitempty"`
	// Apart are sentences on who is slower than the rest, or loses more.
	Apart []string `json:"apart,omitempty"`
}

// Responder is one of those that answer, by clock and fingerprint.
type Responder struct {
	Name  string `json:"name"`
	Clock int    `json:"clock"`        // from 1
	Hz    uint32 `json:"hz,omitempty"` // absent where more than one rate fits
	Stack
}

// newResponders is nil where no SYN-ACK had timestamps.
func newResponders(r *diagnose.Responders) *Responders {
	if r.Flows == 0 {
		return nil
	}
	v := &Responders{Flows: r.Flows, Clocks: r.Clocks, Unplaced: r.Unplaced, HostClocks: r.HostClocks, PerConnection: r.Each, Apart: r.Apart}
	for i := range r.List {
		x := &r.List[i]
		v.List = append(v.List, Responder{Name: x.Name, Clock: x.Clock, Hz: x.Hz, Stack: newStack(&x.Stack)})
	}
	return v
}
