package view

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// ClockSeries is one timestamp clock over a round.
type ClockSeries struct {
	Of   string `json:"of"`   // own_kernel, others, remembered
	Name string `json:"name"` // the same in words
	// Hz is the rate where it is known; absent: it is not.
	Hz uint32 `json:"hz,omitempty"`
	// HzLow and HzHigh bound it where it was measured.
	HzLow  float64 `json:"hz_low,omitempty"`
	HzHigh float64 `json:"hz_high,omitempty"`
	// Note says in words what else is known of the rate: "fixed", "irregular", "one per connection".
	Note   string       `json:"note,omitempty"`
	Points []ClockPoint `json:"points"`
}

// ClockPoint is one TSval at one time; it may be lower by up to Within ticks, absent where it is exact.
type ClockPoint struct {
	At     time.Time `json:"at"`
	TSval  uint32    `json:"tsval"`
	Within uint32    `json:"within,omitempty"`
}

func newClockSeries(s *diagnose.ClockSeries) ClockSeries {
	v := ClockSeries{Of: string(s.Of), Name: s.Of.String(), Hz: s.Hz, HzLow: s.HzLow, HzHigh: s.HzHigh, Note: s.Note,
		Points: make([]ClockPoint, 0, len(s.Points))}
	for _, p := range s.Points {
		v.Points = append(v.Points, ClockPoint{At: p.At.UTC(), TSval: uint32(p.TSval), Within: p.Within})
	}
	return v
}
