package view

import "github.com/vipprobe/vipprobe/prober/diagnose"

// Measurement is a figure that a diagnosis found beside what may be wrong.
type Measurement struct {
	Name string `json:"name"`
	// Value is the least that what was seen allows, AtMost the most: the same where it is exact, absent where no bound was found. Both are
	// absent where nothing could be measured.
	Value  *int   `json:"value,omitempty"`
	AtMost *int   `json:"at_most,omitempty"`
	Unit   string `json:"unit"`
	How    string `json:"how"`
	// NotMeasured says why there is no value.
	NotMeasured string `json:"not_measured,omitempty"`
}

func newMeasurement(m *diagnose.Measurement) Measurement {
	v := Measurement{Name: m.Name, Unit: m.Unit, How: m.How, NotMeasured: m.Missing}
	if m.Measured() {
		value := m.Value
		v.Value = &value
		if most := m.Most; most > 0 {
			v.AtMost = &most
		}
	}
	return v
}
