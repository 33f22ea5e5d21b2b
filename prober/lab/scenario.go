package lab

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// Scenario is one labelled fault: a value, whose Build makes it real.
type Scenario struct {
	Name string
	// Story tells in a sentence or two what is wrong and why that hurts.
	Story string
	// Params are what can be set, with their defaults.
	Params []Param
	Label  Label
	// Expect is the label by parameters, all of them given, where it depends on them: where the fault does not exist, or cannot be seen by any
	// diagnosis that keeps to what it is allowed, that is what it says. It is pure, and agrees with Label and with the near misses' labels. nil: a
	// near miss has its own label, and whatever else is set has Label.
	Expect func(*Values) Label
	// NearMisses are the same network one step on another side of the fault, each with a label of its own.
	NearMisses []NearMiss
	// Root says that it needs root, and for what; empty: it does not.
	Root string
	// Heavy marks floods, which are scored one at a time so that they do not disturb the others' timing.
	Heavy bool
	// Slow marks scenarios of a minute and more, scored only when asked for.
	Slow bool
	// Grants are what the diagnosis may do here although it can hurt: the things that a user would have to allow.
	Grants []Grant
	// Exchange is what data the target's service exchanges, as a user would say it (--transfer); empty: only handshakes are examined.
	Exchange string
	// Compare: the diagnosis is told the real servers behind the VIP, as one who owns them would tell it.
	Compare bool
	// Budget is how long a diagnosis may take; 0 means 20 s.
	Budget time.Duration
	// Pending says why the diagnosis cannot name this fault yet: which part of a connection it does not examine. A "healthy" for the parts
	// that it does examine then counts as inconclusive. It is empty where the fault can be named.
	Pending string
	// Loss is the share (0 … 1) of TCP segments that are lost at random, each way, on the path just before the client. It is set by who
	// starts the scenario, not by the catalogue.
	Loss  float64
	Build func(*Stage)
}

// Grant is a permission that a target's owner gives.
type Grant string

// GrantPrime allows server-closed connections with a crafted timestamp; GrantBacklog half-open connections up to the
// listener's limits; GrantForget deleting our own neighbour entry of the target.
const (
	GrantPrime   Grant = "prime"
	GrantBacklog Grant = "backlog"
	GrantForget  Grant = "forget"
	// GrantHeal allows to wait for a minute more, so that a server forgets. GrantControl allows the client's second address as a control.
	GrantHeal    Grant = "heal"
	GrantControl Grant = "control"
	// GrantHold allows to hold some dozens of connections open at once.
	GrantHold Grant = "hold"
	// GrantHalfOpen allows to leave some 160 requests half-open at once, to measure the listener.
	GrantHalfOpen Grant = "half_open"
)

// ControlSource is the client's second address in scenarios with GrantControl.
const ControlSource = controlIP

// Label is the truth about a scenario, which the diagnosis never sees.
type Label struct {
	// Verdicts must all be named, and nothing else at suspected or firmer.
	Verdicts []diagnose.Verdict
	// Or are other sets that are as right, where the same network can truly be described in two ways.
	Or [][]diagnose.Verdict
	// Level is the least that one of Verdicts should reach; LevelUnknown asks for none.
	Level diagnose.Level
	// Says is what the evidence must say in so many words, where the verdict alone does not tell whether all was found; empty: nothing.
	Says string
	// Lossy says that random loss was added on the path: it may be named as well.
	Lossy bool
}

// Healthy is the label of a network without a fault.
func Healthy() Label { return Label{Verdicts: []diagnose.Verdict{diagnose.Healthy}} }

// Is labels a fault by its verdicts, to be confirmed at least.
func Is(v ...diagnose.Verdict) Label { return Label{Verdicts: v, Level: diagnose.Confirmed} }

// Saying adds what must be said beside the verdict.
func (l Label) Saying(text string) Label {
	l.Says = text
	return l
}

// Noting adds a note that must stand beside the verdict.
func (l Label) Noting(v diagnose.Verdict) Label { return l.Saying(noteWord + string(v)) }

// Told adds what the servers' own counters must come to beside the verdict.
func (l Label) Told(v diagnose.Verdict, effect diagnose.Effect) Label {
	return l.Saying(testimonyWord + string(v) + " " + string(effect))
}

// testimonyWord is before a testimony's verdict and effect among the evidence.
const testimonyWord = "testimony "

// noteWord is before a note's verdict among the evidence.
const noteWord = "note "

// Open labels a network whose cause cannot be told from outside: nothing may be named, and what is found out all the same must be said.
func Open(says string) Label {
	return Label{Verdicts: []diagnose.Verdict{diagnose.SYNStallUnclassified}, Says: says}
}

// open reports whether nothing may be named.
func (l Label) open() bool {
	return len(l.Or) == 0 && sameSet(l.Verdicts, []diagnose.Verdict{diagnose.SYNStallUnclassified})
}

// OrAlso adds a set of verdicts that is as right.
func (l Label) OrAlso(v ...diagnose.Verdict) Label {
	l.Or = append(slices.Clip(l.Or), v)
	return l
}

// NearMiss is a scenario with some parameters set otherwise.
type NearMiss struct {
	Name  string
	Set   map[string]string
	Label Label
}

// All lists every scenario in the order of the catalogue.
func All() []Scenario {
	var all []Scenario
	for _, group := range [][]Scenario{
		neighborScenarios(),
		timestampScenarios(),
		listenerScenarios(),
		filterScenarios(),
		balancerScenarios(),
		pathScenarios(),
		dataScenarios(),
		middleboxScenarios(),
		selfScenarios(),
		toldScenarios(),
		incidents(),
	} {
		all = append(all, group...)
	}
	return all
}

// Find returns the scenario of that name.
func Find(name string) (Scenario, bool) {
	for _, s := range All() {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}

// List returns the scenarios whose name matches a shell pattern; an empty one matches all.
func List(pattern string) ([]Scenario, error) {
	var out []Scenario
	for _, s := range All() {
		ok, err := path.Match(pattern, s.Name)
		if err != nil {
			return nil, fmt.Errorf("scenario pattern %q: %w", pattern, err)
		}
		if ok || pattern == "" {
			out = append(out, s)
		}
	}
	return out, nil
}

// Running is a scenario that has been built.
type Running struct {
	Scenario Scenario
	// Params are all parameters as they are in force.
	Params map[string]string

	stage *Stage
}

// Start builds the scenario with some parameters set. It works only inside private namespaces (topo.Enter); the error names a
// parameter that is unknown or cannot be read, or the step of construction. Close ends it.
func (s Scenario) Start(ctx context.Context, set map[string]string) (*Running, error) {
	values, err := resolve(s.all(), set)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	if s.Root != "" && !topo.Privileged() {
		return nil, fmt.Errorf("scenario %s: %w: %s", s.Name, ErrNeedsRoot, s.Root)
	}
	st := &Stage{Net: topo.New(ctx), Values: values}
	s.Build(st)
	st.surround(s.Loss)
	err = st.Net.Err()
	if err == nil {
		err = values.err
	}
	if err != nil {
		st.Net.Close()
		return nil, fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	return &Running{Scenario: s, Params: values.set, stage: st}, nil
}

// loss is the share of TCP segments that are lost at random.
func (r *Running) loss() float64 {
	return max(r.Scenario.Loss, (&Values{set: r.Params}).Fraction(pathLoss))
}

// Client is the host that probes.
func (r *Running) Client() *topo.Host { return r.stage.Client }

// Target is what the client probes, as address:port; the first of Targets.
func (r *Running) Target() string { return r.stage.Target }

// Targets are all that the client probes; most scenarios have one.
func (r *Running) Targets() []string { return append([]string{r.stage.Target}, r.stage.Others...) }

// Members are the real servers behind a VIP as address:port, where the client can reach them directly.
func (r *Running) Members() []string { return r.stage.Members }

// Rearm brings the fault back as it was at the start, where it is used up by first contact: an ARP entry is cold again. It is
// without effect for a fault that lasts.
func (r *Running) Rearm() error {
	if r.stage.Rearm == nil {
		return nil
	}
	if err := r.stage.Rearm(); err != nil {
		return fmt.Errorf("scenario %s: arm again: %w", r.Scenario.Name, err)
	}
	return nil
}

// Close ends the scenario: its traffic, listeners, commands and namespaces.
func (r *Running) Close() { r.stage.Net.Close() }
