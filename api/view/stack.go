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
