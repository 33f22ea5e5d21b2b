package testimony

import (
	"cmp"
	"slices"
	"strings"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// Moved is a counter and by how much it rose between two readings.
type Moved struct {
	Counter Counter
	By      int64
}

// Section is what moved of one topic.
type Section struct {
	Topic Topic
	Moved []Moved // in the order of Counters
}

// Sections lists what moved, by topic, in the order of Topics. The differences are by the names of Counter.Name; those that
// are zero, fell, or are not in the table are left out.
func Sections(delta map[string]int64) []Section {
	by := map[Topic][]Moved{}
	for _, m := range moved(delta) {
		by[m.Counter.Topic] = append(by[m.Counter.Topic], m)
	}
	var out []Section
	for _, t := range Topics() {
		if len(by[t]) > 0 {
			out = append(out, Section{t, by[t]})
		}
	}
	return out
}

func moved(delta map[string]int64) []Moved {
	var out []Moved
	for _, c := range Counters() {
		if n := delta[c.Name]; n > 0 {
			switch c.Name {
			case "TcpExt.ListenDrops":
				c.Claims = explained(c.Claims, delta)
			case "Tcp.RetransSegs", "TcpExt.TCPTimeouts":
				c.Claims = opening(c.Claims, delta)
			}
			out = append(out, Moved{c, n})
		}
	}
	return out
}

// opening leaves of what repeats fit those verdicts alone that are about handshakes, where nothing but SYNs and SYN-ACKs was sent again.
func opening(claims []Claim, delta map[string]int64) []Claim {
	l, _ := Retransmissions(delta)
	if l.Rest > 0 || len(l.Parts) != 1 || l.Parts[0].Counter.Name != "TcpExt.TCPSynRetrans" {
		return claims
	}
	var out []Claim
	for _, c := range claims {
		if c.Verdict.Subject() != diagnose.SubjectData && c.Verdict != diagnose.MTUBlackhole {
			out = append(out, c)
		}
	}
	return out
}

// explained leaves of what ListenDrops fits those verdicts alone that a counter of one reason speaks for, where these account for
// all that was dropped.
func explained(claims []Claim, delta map[string]int64) []Claim {
	l, _ := ListenDrops(delta)
	if l.Rest > 0 {
		return claims
	}
	var out []Claim
	for _, c := range claims {
		for i := range l.Parts {
			if l.Parts[i].Counter.Says(c.Verdict) != WeightUnknown {
				out = append(out, c)
				break
			}
		}
	}
	return out
}

// Statement is what a host's counters say of one verdict.
type Statement struct {
	Verdict diagnose.Verdict
	// Weight is that of the clearest counter that rose.
	Weight Weight
	// Moved are the counters that rose and speak for the verdict, the clearest first.
	Moved []Moved
}

// Statements lists the verdicts that something which rose speaks for, the clearest first, and those alike in the order of the
// catalogue. A statement is about all connections of the host, whoever made them: it is no diagnosis.
func Statements(delta map[string]int64) []Statement {
	by := map[diagnose.Verdict][]Moved{}
	for _, m := range moved(delta) {
		for _, c := range m.Counter.Claims {
			by[c.Verdict] = append(by[c.Verdict], m)
		}
	}
	var out []Statement
	for _, v := range diagnose.Verdicts() {
		if len(by[v]) == 0 {
			continue
		}
		s := Statement{Verdict: v, Moved: by[v]}
		slices.SortStableFunc(s.Moved, func(a, b Moved) int { return cmp.Compare(b.Counter.Says(v), a.Counter.Says(v)) })
		s.Weight = s.Moved[0].Counter.Says(v)
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b Statement) int { return cmp.Compare(b.Weight, a.Weight) })
	return out
}

// Unexplained lists, by name, what rose and is not in the table: a newer kernel's counters, and those that say nothing of a fault.
func Unexplained(delta map[string]int64) []Moved {
	known := map[string]bool{}
	all := Counters()
	for i := range all {
		known[all[i].Name] = true
	}
	var out []Moved
	for name, n := range delta {
		if n > 0 && !known[name] && !strings.HasPrefix(name, "sockstat.") {
			out = append(out, Moved{Counter{Name: name}, n})
		}
	}
	slices.SortFunc(out, func(a, b Moved) int { return cmp.Compare(a.Counter.Name, b.Counter.Name) })
	return out
}
