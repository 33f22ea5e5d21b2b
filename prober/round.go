package prober

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Round is one run of a module against one address of a target.
type Round struct {
	Target   string         // as asked for
	Addr     netip.AddrPort // as probed
	Module   string
	Kind     Kind
	Started  time.Time
	Duration time.Duration
	Lookup   time.Duration // name resolution; 0 for an address literal
	// Ladder is the one that this machine's kernel connects follow, read from it.
	Ladder plan.Ladder
	Kernel string // release of this machine's kernel
	// OwnQueue is this machine's own neighbour queue towards the target; zero: not known.
	OwnQueue diagnose.Queue
	// Priming is what was permitted of connections that the server closes first.
	Priming diagnose.Priming
	// Follow is how long a remembered TSval was to be followed; 0: diagnose.DefaultFollow.
	Follow       time.Duration
	Observations []observe.Observation
	// Witnesses are the servers whose own counters were read meanwhile.
	Witnesses []observe.Witness
	Diagnosis diagnose.Diagnosis
	// Reasoning is how a diagnosis came to it, step by step; empty for a probe.
	Reasoning []experiment.Thought
	// Untested is what a diagnosis would have asked next, had its budget not been spent.
	Untested []diagnose.Want
	// Success: every attempt accepted within the timeout and stalls within the module's MaxStalled; Why says what failed.
	Success bool
	Why     string
	// Err is set where nothing could be probed at all: not allowed, not resolved, no route, no capability.
	Err error
	// TCP holds what a KindTCP module found beyond the handshake.
	TCP *TCPResult
	// Member: of a real server behind the target, met directly.
	Member bool
	// Timestamps holds what a KindPAWS module measured.
	Timestamps *diagnose.Timestamps
	// Check holds what a KindCheck module found.
	Check *HealthCheck
	// Queue holds what a KindNeighborQueue module found.
	Queue *NeighborQueue
}

// TCPResult is the part of a KindTCP round that blackbox_exporter's series are made of.
type TCPResult struct {
	FailedDueToRegex bool
	ExpectInfo       map[string]string
	TLSVersion       string
	TLSCipher        string
	// EarliestExpiry and LastChainExpiry of the peer's certificates; zero without TLS.
	EarliestExpiry, LastChainExpiry time.Time
	Fingerprint, Issuer, Subject    string
	SubjectAltNames, Serial         string
}

// keep adds what a burst showed. An error ends the round: where nothing was seen before, nothing could be probed at all.
func (r *Round) keep(obs observe.Observation, err error) bool {
	switch {
	case err == nil:
		r.Observations = append(r.Observations, obs)
	case len(r.Observations) == 0:
		r.Err = err
	default:
		r.Why = err.Error()
	}
	return err == nil
}

// Attempts yields every attempt of the round.
func (r *Round) Attempts() []*observe.Attempt {
	var all []*observe.Attempt
	for i := range r.Observations {
		for j := range r.Observations[i].Attempts {
			all = append(all, &r.Observations[i].Attempts[j])
		}
	}
	return all
}

// Connections yields the attempts that are made as a client's connections are; where there is none, every attempt. The others put questions:
// that a TSval which must be refused is met with silence, or a flow asked again and again, is no failure and no stall.
func (r *Round) Connections() []*observe.Attempt {
	var all []*observe.Attempt
	for i := range r.Observations {
		switch o := &r.Observations[i]; o.Kind {
		case plan.KindConnect, plan.KindSYN, plan.KindResolve, plan.KindCheck, plan.KindData, "":
			for j := range o.Attempts {
				all = append(all, &o.Attempts[j])
			}
		default:
		}
	}
	if len(all) == 0 {
		return r.Attempts()
	}
	return all
}

// Summary counts a round's attempts.
type Summary struct {
	Attempts int
	Outcomes map[observe.Outcome]int
	Stalled  int
	// StalledBy counts the stalled attempts by how many SYNs were lost.
	StalledBy       map[int]int
	Retransmissions int
	// RTTs are the known handshake round trips, sorted.
	RTTs []time.Duration
}
