package prober

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// Kind is which probe a module runs.
type Kind string

// The kinds of module. KindTCP is blackbox_exporter's own tcp prober: one connect, then TLS and query_response. KindPAWS asks whether
// an answer depends on a SYN's timestamp, KindNeighbor what first contact costs beside a repeat, KindNeighborQueue how many packets
// the neighbour queue of the other side holds, which disturbs it and is opt-in, KindCheck what a balancer's health check would do.
const (
	KindConnect       Kind = "connect"
	KindSYN           Kind = "syn"
	KindTCP           Kind = "tcp"
	KindPAWS          Kind = "paws"
	KindNeighbor      Kind = "neighbor"
	KindNeighborQueue Kind = "neighbor-queue"
	KindCheck         Kind = "check"
)

// Kinds lists every kind of module in the order of the documentation.
func Kinds() []Kind {
	return []Kind{KindConnect, KindSYN, KindTCP, KindPAWS, KindNeighbor, KindNeighborQueue, KindCheck}
}

// kindTraits are what the engine, the configuration and the faces need to know of a kind.
type kindTraits struct {
	run func(*Prober, context.Context, Endpoint, netip.AddrPort, Module, *Round)
	// timeout of a round where none is given, burst likewise.
	timeout time.Duration
	burst   int
	// kernel and raw are how many bursts' worth of source ports a round takes of each half of the range, where nothing is wrong; flows
	// are raw ports beside, whatever the burst.
	kernel, raw, flows int
	// subject is what the kind answers for by a diagnosis; unknown: it is judged by its attempts.
	subject diagnose.Subject
	capture bool // it cannot run without
}

func traitsOf(k Kind) kindTraits {
	const round = 9500 * time.Millisecond
	known := map[Kind]kindTraits{
		KindConnect:       {run: (*Prober).bursts, timeout: round, burst: 10, kernel: 1},
		KindSYN:           {run: (*Prober).bursts, timeout: round, burst: 10, raw: 1, capture: true},
		KindTCP:           {run: (*Prober).roundTCP, timeout: round, burst: 1, kernel: 1},
		KindPAWS:          {run: (*Prober).roundPAWS, timeout: time.Minute, burst: 10, kernel: 2, flows: 110, subject: diagnose.SubjectTimestamps, capture: true},
		KindNeighbor:      {run: (*Prober).roundNeighbor, timeout: round, burst: 10, kernel: 2, subject: diagnose.SubjectNeighbor},
		KindNeighborQueue: {run: (*Prober).roundNeighborQueue, timeout: 20 * time.Second, burst: experiment.QueueSize, raw: 2, subject: diagnose.SubjectNeighbor, capture: true},
		KindCheck:         {run: (*Prober).roundCheck, timeout: 2 * time.Minute, burst: 1, kernel: 4, subject: diagnose.SubjectPool},
	}
	return known[k]
}

// BuiltinModule is the module of a kind that exists without a configuration, named like it; false where the kind is unknown or, as
// tcp, nothing without options.
func BuiltinModule(k Kind) (Module, bool) {
	if k == KindTCP || !slices.Contains(Kinds(), k) {
		return Module{}, false
	}
	t := traitsOf(k)
	return Module{Name: string(k), Kind: k, Timeout: t.timeout, Burst: t.burst, Count: 1, MaxStalled: -1, IPFallback: true}, true
}

// Ports is how many source ports a round of the module takes of the lower (kernel connects) and the upper half (raw SYNs) of the range
// against a healthy target. One that is ill can cost an investigating module more; what the range does not give then is left untested.
func (m *Module) Ports() (kernel, raw int) {
	t := traitsOf(m.Kind)
	n := m.Burst * max(m.Count, 1)
	return t.kernel * n, t.raw*n + t.flows
}

// Subject is what a module's diagnosis answers for; SubjectUnknown for one that is judged by its attempts alone.
func (m *Module) Subject() diagnose.Subject { return traitsOf(m.Kind).subject }

// NeedsCapture reports whether the module can do nothing without a capture.
func (m *Module) NeedsCapture() bool { return traitsOf(m.Kind).capture }

// judgeDiagnosis decides the success of a module that answers for a subject: something was measured, and no cause of that subject is
// named.
func judgeDiagnosis(r *Round, s diagnose.Subject) (bool, string) {
	if c := named(r, s); c != nil {
		return false, fmt.Sprintf("%s (%s)", c.Verdict, c.Level)
	}
	if !answered(r) {
		return false, "nothing was answered, so that nothing could be measured"
	}
	return true, r.Why
}

// named is the firmest cause of a subject that a round names; nil: none.
func named(r *Round, s diagnose.Subject) *diagnose.Cause {
	for i := range r.Diagnosis.Causes {
		if c := &r.Diagnosis.Causes[i]; c.Verdict.Subject() == s {
			return c
		}
	}
	return nil
}

// Named reports whether the round names a cause of what its module answers for.
func (r *Round) Named() bool {
	if r.Check != nil {
		return r.Check.Evictions > 0
	}
	s := traitsOf(r.Kind).subject
	return s != diagnose.SubjectUnknown && named(r, s) != nil
}

// answered reports whether any attempt of the round drew an answer of the target.
func answered(r *Round) bool {
	for _, a := range r.Attempts() {
		if a.Outcome == observe.Accepted || a.Outcome == observe.Refused {
			return true
		}
	}
	return false
}
