package targets

import (
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// maxRungs is how many SYNs of one shot a ladder may have.
const maxRungs = 16

// readLadder reads when a raw shot repeats its SYN: a name, or the times themselves.
func (m *module) readLadder(s *section) {
	it, ok := s.get("ladder")
	if !ok {
		return
	}
	if _, isList := s.doc.resolve(it.at, it.node).(*ast.SequenceNode); isList {
		m.readRungs(s.list("ladder"))
		return
	}
	var name string
	if !s.word("ladder", &name, "kernel", "single", "linear", "exponential", "classic") {
		return
	}
	m.SYN.Ladder = namedLadder(name)
}

// namedLadder gives the ladders of FAULTS' clients; kernel is the zero Ladder, this machine's own. The repeats are those of
// tcp_syn_retries=6, and of 5 where that was the default (net/ipv4/tcp_ipv4.c tcp_sk_init; before 3.7: include/net/tcp.h).
func namedLadder(name string) plan.Ladder {
	switch name {
	case "single":
		return plan.Single()
	case "linear": // Linux ≥ 6.5, tcp_syn_linear_timeouts=4: 0 1 2 3 4 5 7 11 19 35 67
		return plan.Linear(time.Second, 4, 10)
	case "exponential": // Linux 3.1 to 6.4: 0 1 3 7 15 31 63
		return plan.Exponential(time.Second, 6)
	case "classic": // Linux ≤ 3.0, initial RTO 3 s (RFC 1122 §4.2.3.1): 0 3 9 21 45 93
		l := plan.Exponential(3*time.Second, 5)
		l.Name = "classic"
		return l
	}
	return plan.Ladder{}
}

func (m *module) readRungs(items []item) {
	var at []time.Duration
	for i, it := range items {
		var d time.Duration
		if i >= maxRungs {
			it.doc.fail(it.at, "more than %d rungs", maxRungs)
			return
		}
		if !it.duration(&d, 0, maxTimeout) {
			return
		}
		switch {
		case i == 0 && d != 0:
			it.doc.fail(it.at, "%s: the first SYN leaves at 0s", d)
			return
		case i > 0 && d <= at[i-1]:
			it.doc.fail(it.at, "%s does not come after %s", d, at[i-1])
			return
		}
		at = append(at, d)
	}
	if len(at) > 0 {
		m.SYN.Ladder = plan.Custom(at...)
	}
}
