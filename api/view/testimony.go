package view

import (
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// Deposition is one reading of a host's own counters, as /api/v1/testimony serves it.
type Deposition struct {
	Kernel    string            `json:"kernel,omitempty"`
	Counters  map[string]int64  `json:"counters"`
	Listeners []Listener        `json:"listeners,omitempty"`
	Settings  map[string]string `json:"settings,omitempty"`
	Missing   []string          `json:"missing,omitempty"`
}

// Listener is a listening socket with its queues.
type Listener struct {
	Address  string  `json:"address"`
	Queued   uint32  `json:"queued"`              // waiting for accept(2)
	Backlog  uint32  `json:"backlog"`             // one more than this fills the queue
	HalfOpen *uint32 `json:"half_open,omitempty"` // absent where they were not counted
}

// NewDeposition converts a reading.
func NewDeposition(d *prober.Deposition) Deposition {
	v := Deposition{Kernel: d.Kernel, Counters: d.Counters, Settings: d.Settings, Missing: d.Missing}
	for i := range d.Listeners {
		v.Listeners = append(v.Listeners, newListener(&d.Listeners[i]))
	}
	return v
}

func newListener(q *observe.ListenQueue) Listener {
	v := Listener{Address: q.Addr.String(), Queued: q.Queued, Backlog: q.Backlog}
	if q.Counted {
		n := q.HalfOpen
		v.HalfOpen = &n
	}
	return v
}

// Testimony is what servers' own counters say to one verdict.
type Testimony struct {
	Verdict  string        `json:"verdict"`
	Effect   string        `json:"effect"` // upgraded, named, refuted, background, unmatched, beside, unsaid
	Counter  string        `json:"counter"`
	Means    string        `json:"means,omitempty"`
	Others   string        `json:"others,omitempty"` // what else moves it
	Expected int64         `json:"expected"`         // one for each SYN without an answer
	Seen     int64         `json:"seen"`
	Servers  []ServerCount `json:"servers,omitempty"`
	Bursts   []BurstCount  `json:"bursts,omitempty"`
	// Intervals with such SYNs and quiet ones as long, and in how many of either it rose as if there had been some.
	Intervals        int      `json:"intervals"`
	IntervalsMoved   int      `json:"intervals_moved"`
	QuietIntervals   int      `json:"quiet_intervals"`
	QuietMoved       int      `json:"quiet_moved"`
	QuietNS          int64    `json:"quiet_ns"`
	BackgroundPerSec float64  `json:"background_per_second"`
	P                *float64 `json:"p,omitempty"` // absent: not tested
	Alpha            float64  `json:"alpha"`
	State            string   `json:"state,omitempty"`
	Why              string   `json:"why"`
}

// ServerCount is by how much one server's counter rose.
type ServerCount struct {
	Server string `json:"server"`
	Source string `json:"source"`
	Kernel string `json:"kernel,omitempty"`
	Seen   *int64 `json:"seen,omitempty"` // absent: it does not tell
}

// BurstCount is what one burst should have moved, and what moved meanwhile.
type BurstCount struct {
	Label    string `json:"label"`
	Arms     string `json:"arms,omitempty"`
	Expected int64  `json:"expected"`
	Seen     int64  `json:"seen"`
}

func newTestimony(t *diagnose.Testimony) Testimony {
	v := Testimony{Verdict: string(t.Verdict), Effect: string(t.Effect), Counter: t.Counter, Means: t.Means, Others: t.Others, Expected: t.Expected, Seen: t.Seen,
		Intervals: t.Intervals, IntervalsMoved: t.Moved, QuietIntervals: t.Quiet, QuietMoved: t.QuietMoved, QuietNS: int64(t.QuietTime), BackgroundPerSec: t.Background,
		Alpha: t.Alpha, State: t.State, Why: t.Why}
	if t.P < 1 {
		p := t.P
		v.P = &p
	}
	for _, s := range t.Servers {
		c := ServerCount{Server: s.Server, Source: s.Source, Kernel: s.Kernel}
		if !s.Absent {
			n := s.Seen
			c.Seen = &n
		}
		v.Servers = append(v.Servers, c)
	}
	for _, b := range t.Bursts {
		v.Bursts = append(v.Bursts, BurstCount(b))
	}
	return v
}
