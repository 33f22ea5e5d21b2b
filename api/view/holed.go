package view

import (
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/retrans"
)

// Holes are what came of data with a hole in front: segments on the way there, and the acknowledgment of each on the way back.
type Holes struct {
	Sent    int `json:"sent"`
	Arrived int `json:"arrived"`
	Lost    int `json:"lost"`          // on the way there
	Asked   int `json:"acks_expected"` // of segments that arrived alone
	Missing int `json:"acks_lost"`
	Late    int `json:"acks_late,omitempty"`
	// Numbered are the segments that the target counted as it sent them, on so many connections; Gone of them never came.
	Numbered  int `json:"numbered,omitempty"`
	Gone      int `json:"numbered_lost,omitempty"`
	Numbering int `json:"numbering_connections,omitempty"`
	// Filled: somebody acknowledged what had never left.
	Filled bool `json:"filled,omitempty"`
	// SACK: both sides permit it; without, nothing is told.
	SACK bool `json:"sack"`
}

// Holed is what came of one connection.
type Holed struct {
	Attempt int `json:"attempt"`
	Holes
}

// HoledSum is what came of all of them.
type HoledSum struct {
	Connections int `json:"connections"`
	Holes
	// Says is the way that loses, in words.
	Says string `json:"says"`
}

func newHoles(h *retrans.Holed) Holes {
	return Holes{Sent: h.Sent, Arrived: h.Arrived, Lost: h.Lost, Asked: h.Asked, Missing: h.Missing, Late: h.Late, Numbered: h.Numbered, Gone: h.Gone, Numbering: h.Numbering, Filled: h.Filled, SACK: h.SACK}
}

func newHoledSum(s *diagnose.HoledSum) *HoledSum {
	if s.Sent == 0 {
		return nil
	}
	return &HoledSum{Connections: s.Flows, Holes: newHoles(&s.Holed), Says: s.Says()}
}
