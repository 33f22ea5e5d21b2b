package lab

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// Pair are two scenarios of one symptom that people take for each other.
type Pair struct {
	Name string
	A, B Half
}

// Half is one side of a pair: a scenario, or a near miss of it, and the verdict that the other side's networks must never have.
type Half struct {
	Scenario, NearMiss string
	Verdict            diagnose.Verdict
}

// Pairs lists the pairs that fool people. Each is to be told apart in both directions.
func Pairs() []Pair {
	backlog := Half{"accept-full-3rd-ack", "", diagnose.AcceptQueueOverflow}
	hole := Half{"blackhole-1of3", "", diagnose.BlackholeBackend}
	forward := Half{"syn-loss-30", "", diagnose.ForwardSYNLoss}
	return []Pair{
		{"backlog, ARP queue", backlog, Half{"arp-server", "", diagnose.RemoteARPQueueOverflow}},
		{"rate limit, backlog", Half{"syn-ratelimit", "", diagnose.SYNRateLimited}, backlog},
		{"blackhole backend, random loss", hole, forward},
		{"ECMP loss, bad backend", Half{"ecmp-loss", "", diagnose.ECMPPathLoss}, hole},
		{"SYN-ACK loss, SYN loss", Half{"synack-loss", "", diagnose.SYNACKLoss}, forward},
		{"connection table full, ports exhausted", Half{"conntrack-limit", "", diagnose.ConntrackTableFull}, Half{"snat-exhaustion", "", diagnose.SNATPortExhaustion}},
		{"deferred accept, accept queue", Half{"defer-accept", "", diagnose.DeferAcceptBenign}, backlog},
		{"SYN proxy before nobody, before a service", Half{"synproxy-dead", "", diagnose.LBFullProxyMasks}, Half{"synproxy-dead", "server lives", diagnose.Healthy}},
	}
}

// paired reports whether a scenario, or a near miss of it, is a side of a pair.
func paired(scenario, nearMiss string) bool {
	is := func(h Half) bool { return h.Scenario == scenario && h.NearMiss == nearMiss }
	return slices.ContainsFunc(Pairs(), func(p Pair) bool { return is(p.A) || is(p.B) })
}

// WritePairs prints for each pair how often either side was told for what it is, and how often it was taken for the other. Pairs without rows are left out.
func (r *Report) WritePairs(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nPAIR\tHERE IS\tTOLD\tTAKEN FOR THE OTHER")
	for _, p := range Pairs() {
		for _, way := range [][2]Half{{p.A, p.B}, {p.B, p.A}} {
			n, told, taken := r.sided(way[0], way[1].Verdict)
			if n == 0 {
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t%d of %d\t%d\n", p.Name, way[0].Verdict, told, n, taken)
		}
	}
	return t.Flush()
}

// sided counts the rows of one side, those that were right, and those in which the other side's verdict was named.
func (r *Report) sided(h Half, other diagnose.Verdict) (n, told, taken int) {
	for i := range r.Rows {
		x := &r.Rows[i]
		if x.Scenario != h.Scenario || x.NearMiss != h.NearMiss || x.Result == Skipped {
			continue
		}
		n++
		if x.Result == Right {
			told++
		}
		if slices.Contains(firm(x.Named), other) {
			taken++
		}
	}
	return n, told, taken
}
