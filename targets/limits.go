package targets

import (
	"errors"
	"strings"

	"github.com/vipprobe/vipprobe/prober"
)

// Bounds of limits: what is above them is no limit any more.
const (
	maxRate  = 1_000_000 // SYNs a second
	maxBurst = 1_000_000
	maxFlows = 1_000_000
)

func (c *Config) readLimits(root *section) {
	s, _ := root.section("limits")
	l := &c.limits
	s.number("per_target_rate", &l.PerTargetRate, 0.01, maxRate)
	s.integer("per_target_burst", &l.PerTargetBurst, 1, maxBurst)
	s.number("global_rate", &l.GlobalRate, 0.01, maxRate)
	s.integer("global_burst", &l.GlobalBurst, 1, maxBurst)
	s.integer("half_open", &l.HalfOpen, 1, maxFlows)
	s.integer("unanswered", &l.Unanswered, 1, maxFlows)
	s.number("arp_rate", &l.ARPRate, 0.01, 1000)
	s.done()
	if l.PerTargetBurst > l.GlobalBurst {
		root.doc.fail(s.place("per_target_burst"), "%d is more than global_burst, %d", l.PerTargetBurst, l.GlobalBurst)
	}
}

func (c *Config) readAllow(root *section) {
	var entries []string
	for _, it := range root.list("allow") {
		v, ok := it.text()
		if !ok {
			continue
		}
		if _, err := prober.ParseAllow([]string{v}); err != nil {
			it.doc.fail(it.at, "%v%s", innermost(err), hint(v))
			continue
		}
		entries = append(entries, v)
	}
	allow, err := prober.ParseAllow(entries)
	if err != nil {
		root.doc.fail(root.place("allow"), "%v", err)
		return
	}
	c.allow = allow
}

// hint says why a name is no entry.
func hint(entry string) string {
	if strings.ContainsAny(entry, "/:") || entry == "" {
		return ""
	}
	return "; list what a name resolves to, since addresses are what is checked"
}

// innermost drops the position that ParseAllow wraps around its error.
func innermost(err error) error {
	if in := errors.Unwrap(err); in != nil {
		return in
	}
	return err
}
