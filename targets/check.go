package targets

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/experiment"
)

// checkKeys are the options of a check module beyond the way, named as keepalived names them.
func checkKeys() []string {
	return []string{"delay_loop", "connect_timeout", "retry", "delay_before_retry", "loops"}
}

// readCheck reads a check module: keepalived's own defaults stand for what the file does not say.
func (c *Config) readCheck(m *module, s *section) {
	m.readWay(s)
	t := experiment.DefaultCheckTiming()
	s.duration("delay_loop", &t.DelayLoop, 100*time.Millisecond, maxTimeout)
	s.duration("connect_timeout", &t.ConnectTimeout, 10*time.Millisecond, 60*time.Second)
	s.duration("delay_before_retry", &t.DelayBeforeRetry, time.Millisecond, maxTimeout)
	s.integer("retry", &t.Retry, 0, 100)
	s.integer("loops", &t.Loops, 1, 1000)
	m.Check.Timing, m.Check.NoRetry = t, t.Retry == 0
	if first := t.ConnectTimeout * time.Duration(t.Retry+1); first > m.Timeout {
		s.doc.fail(s.place("connect_timeout"), "one loop with %d retries takes up to %s, the timeout is %s", t.Retry, first, m.Timeout)
	}
}

func (m *module) showCheck(v *view) {
	t := m.Check.Timing
	if t.Loops == 0 { // as it is built in
		t = experiment.DefaultCheckTiming()
	}
	m.showWay(v)
	v.add("delay_loop", t.DelayLoop.String(), true)
	v.add("connect_timeout", t.ConnectTimeout.String(), true)
	v.add("retry", t.Retry, true)
	v.add("delay_before_retry", t.DelayBeforeRetry.String(), true)
	v.add("loops", t.Loops, true)
}
