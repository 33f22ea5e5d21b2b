package diagnose

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// randomOwn decides whose clock a server remembers where this host's kernel gives every connection an offset of its own. No probe is ever
// remembered, as the server closes none first: if business of this host is, then no NAT is needed. If this host has none, it is others' behind
// the same address, at least where the memory follows one clock, as this host's connections cannot make it do. Else that is open.
func randomOwn(in *Input, syns int) (Verdict, []string) {
	half := fmt.Sprintf("this host's own kernel gives each connection a timestamp offset of its own (%d SYNs lie on no common clock), so about half of its new connections "+
		"look older than what the server remembers", syns)
	if !in.has(plan.KindSurvey) || business(in) > 0 {
		return ClientRandomTSVsRecycle, []string{half + "; no NAT is needed for that"}
	}
	m, _ := in.memory()
	if p := readPace(m.near()); p.moved && p.steady {
		return TWRecyclePAWSDropSNAT, []string{half,
			"what is remembered is not this host's: no other traffic left it for the target while that was looked for, and the memory follows one clock, which this host's " +
				"connections do not have; another host behind the same address does"}
	}
	return TWRecyclePAWSDrop, []string{half,
		"whose connections are remembered is open: no other traffic left this host for the target while that was looked for, but those of a minute ago would do, and so would another host's behind the same address"}
}

// business counts the SYNs of others on this host that went to the target from the probing address.
func business(in *Input) int {
	n := 0
	for i := range in.Observations {
		n += len(in.Observations[i].Foreign)
	}
	return n
}
