package view

import (
	"time"

	"github.com/vipprobe/vipprobe/prober"
)

// Check is what a health check after keepalived's TCP_CHECK would have done to the pool.
type Check struct {
	DelayLoopNS        int64       `json:"delay_loop_ns"`
	ConnectTimeoutNS   int64       `json:"connect_timeout_ns"`
	Retry              int         `json:"retry"`
	DelayBeforeRetryNS int64       `json:"delay_before_retry_ns"`
	Evictions          int         `json:"evictions"`
	PutBacks           int         `json:"put_backs"`
	OutNS              int64       `json:"out_ns"` // how long the server was out of the pool
	Unsure             int         `json:"unsure,omitempty"`
	Loops              []CheckLoop `json:"loops"`
}

// CheckLoop is one loop with its retries.
type CheckLoop struct {
	OK    bool       `json:"ok"`
	Event string     `json:"event"`
	Up    bool       `json:"up"`
	Tries []CheckTry `json:"tries"`
}

// CheckTry is one connect.
type CheckTry struct {
	At      time.Time `json:"at"`
	TookNS  int64     `json:"took_ns"`
	OK      bool      `json:"ok"`
	Outcome string    `json:"outcome"`
	SYNs    int       `json:"syns"`
}

func newCheck(c *prober.HealthCheck) *Check {
	if c == nil {
		return nil
	}
	t := c.Timing
	v := &Check{DelayLoopNS: int64(t.DelayLoop), ConnectTimeoutNS: int64(t.ConnectTimeout), Retry: t.Retry, DelayBeforeRetryNS: int64(t.DelayBeforeRetry),
		Evictions: c.Evictions, PutBacks: c.PutBacks, OutNS: int64(c.Out), Unsure: c.Unsure, Loops: []CheckLoop{}}
	for i := range c.Loops {
		l := &c.Loops[i]
		x := CheckLoop{OK: l.OK(), Event: string(l.Event), Up: l.Up, Tries: []CheckTry{}}
		for _, y := range l.Tries {
			x.Tries = append(x.Tries, CheckTry{y.At.UTC(), int64(y.Took), y.OK, y.Outcome.String(), y.SYNs})
		}
		v.Loops = append(v.Loops, x)
	}
	return v
}
