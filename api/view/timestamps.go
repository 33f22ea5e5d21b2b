package view

import "github.com/vipprobe/vipprobe/prober/diagnose"

// Arm is one row of the table behind a finding. P is the one-sided chance of as many silent against the other arms, absent where it
// was not tested.
type Arm struct {
	Name     string  `json:"name"`
	TSval    *uint32 `json:"tsval,omitempty"`
	N        int     `json:"n"`
	Answered int     `json:"answered"`
	Silent   int     `json:"silent"`
	// Frames are first and last numbers of the frames of its attempts in the capture file.
	Frames [][2]int `json:"frames,omitempty"`
	P      *float64 `json:"p,omitempty"`
}

// Timestamps is what a paws module measured.
type Timestamps struct {
	// Arms are the four quadrants of the circle.
	Arms     []Arm `json:"arms"`
	Flows    int   `json:"flows"`
	Poisoned int   `json:"poisoned"`
	Clean    int   `json:"clean"`
	Dead     int   `json:"dead,omitempty"`
	Mixed    int   `json:"mixed,omitempty"`
	// Remembered is absent where it was not found; it may be lower by as much as within.
	Remembered *uint32 `json:"remembered,omitempty"`
	Within     uint32  `json:"within,omitempty"`
}

func newTimestamps(ts *diagnose.Timestamps) *Timestamps {
	if ts == nil {
		return nil
	}
	v := &Timestamps{Arms: []Arm{}, Flows: ts.Flows, Poisoned: ts.Poisoned, Clean: ts.Clean, Dead: ts.Dead, Mixed: ts.Mixed}
	for i := range ts.Arms {
		v.Arms = append(v.Arms, newArm(&ts.Arms[i]))
	}
	if ts.Known {
		val := uint32(ts.Remembered)
		v.Remembered, v.Within = &val, ts.Within
	}
	return v
}

func newArm(a *diagnose.Arm) Arm {
	v := Arm{Name: a.Name, N: a.N, Answered: a.Answered, Silent: a.Silent}
	if a.HasTSval {
		val := uint32(a.TSval)
		v.TSval = &val
	}
	if a.P > 0 {
		p := a.P
		v.P = &p
	}
	return v
}
