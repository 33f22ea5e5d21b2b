package diagnose

import "fmt"

// Names of measurements, the same on every face.
const (
	ListenerBacklog = "listener_backlog"
	PoolMembers     = "pool_members"
	AnsweringClocks = "answering_clocks"
)

// Measurement is a figure that a round found beside what may be wrong: no finding, and no fault.
type Measurement struct {
	Name string
	// Value is the least that what was seen allows; Most is the most, 0: no bound was found.
	Value, Most int
	Unit        string
	// How says what was done and on what the figure rests, its assumptions included.
	How string
	// Missing says why there is no figure; empty: there is one.
	Missing string
}

// Measured reports whether there is a figure.
func (m *Measurement) Measured() bool { return m.Missing == "" }

// Exact reports whether the figure has no room on either side.
func (m *Measurement) Exact() bool { return m.Measured() && m.Value == m.Most }

func (m *Measurement) String() string {
	switch {
	case !m.Measured():
		return "not measurable: " + m.Missing
	case m.Exact():
		return fmt.Sprintf("%d %s", m.Value, m.Unit)
	case m.Most > 0:
		return fmt.Sprintf("%d to %d %s", m.Value, m.Most, m.Unit)
	}
	return fmt.Sprintf("at least %d %s", m.Value, m.Unit)
}

// measure reads all figures of a round.
func measure(in *Input, r *Responders) []Measurement {
	var out []Measurement
	if m, ok := measureBacklog(in); ok {
		out = append(out, m)
	}
	if m, ok := measureMembers(in, r); ok {
		out = append(out, m)
	}
	if m, ok := r.measureClocks(); ok {
		out = append(out, m)
	}
	return out
}
