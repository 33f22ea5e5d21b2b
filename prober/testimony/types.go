package testimony

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// Kernel is a Linux version: {4, 12, 0}. The zero value leaves a range open.
type Kernel [3]int

func (k Kernel) String() string {
	if k[0] < 3 {
		return fmt.Sprintf("%d.%d.%d", k[0], k[1], k[2])
	}
	return fmt.Sprintf("%d.%d", k[0], k[1])
}

// Before reports whether k is older than o.
func (k Kernel) Before(o Kernel) bool {
	for i := range k {
		if k[i] != o[i] {
			return k[i] < o[i]
		}
	}
	return false
}

// Weight says how clearly a counter speaks for a verdict.
type Weight uint8

// The weights, weakest first. Context: it belongs to the picture, and its rise alone says nothing. Fits: it rises with the
// fault, and with others too. Names: nothing but the mechanism of that fault makes it rise, on the kernels that have it; that
// the rise is due to the connections in question is still to be shown.
const (
	WeightUnknown Weight = iota
	Context
	Fits
	Names
)

func (w Weight) String() string {
	switch w {
	case Context:
		return "context"
	case Fits:
		return "fits"
	case Names:
		return "names"
	case WeightUnknown:
	}
	return "unknown"
}

// Scope is what a counter counts over.
type Scope uint8

// The scopes. Namespace: one network namespace. Machine: all of them together.
const (
	ScopeUnknown Scope = iota
	Namespace
	Machine
)

func (s Scope) String() string {
	switch s {
	case Namespace:
		return "namespace"
	case Machine:
		return "machine"
	case ScopeUnknown:
	}
	return "unknown"
}

// Claim is what a counter says for one verdict.
type Claim struct {
	Verdict diagnose.Verdict
	Weight  Weight
}

// Counter is a kernel counter and its meaning.
type Counter struct {
	// Name is "Section.Name", as /proc/net/netstat and snmp have it: TcpExt.PAWSPassive; Ip6 and Icmp6 for snmp6; arp_cache,
	// ndisc_cache and nf_conntrack for /proc/net/stat, softnet for softnet_stat (the sum over all CPUs).
	Name string
	// Topic is what it is listed under.
	Topic Topic
	// Means is what one more stands for, to be read behind a number: "SYNs dropped …".
	Means string
	// Claims are the verdicts that it speaks for, the likeliest first; none for mere traffic.
	Claims []Claim
	// Also is what else moves it; "" where nothing else is known to.
	Also string
	// Since and Until bound the mainline kernels that have it, both included; the zero Since is 2.6.32 or older. Distributions
	// take counters back into older kernels: whether one is there is decided by the file, never by these.
	Since, Until Kernel
	// Scope is what it counts over.
	Scope Scope
	// Source is where that is written, in the catalogue's forms, separated by semicolons.
	Source string
}

// Says returns how clearly the counter speaks for a verdict; WeightUnknown where it does not.
func (c *Counter) Says(v diagnose.Verdict) Weight {
	for _, claim := range c.Claims {
		if claim.Verdict == v {
			return claim.Weight
		}
	}
	return WeightUnknown
}

// Range is the mainline kernels that have the counter: "Linux ≤ 4.11", "Linux ≥ 6.16", "" where all since 2.6.32 do.
func (c *Counter) Range() string {
	switch {
	case c.Since == Kernel{} && c.Until == Kernel{}:
		return ""
	case c.Since == Kernel{}:
		return "Linux ≤ " + c.Until.String()
	case c.Until == Kernel{}:
		return "Linux ≥ " + c.Since.String()
	}
	return "Linux " + c.Since.String() + " to " + c.Until.String()
}

// Counters lists every counter, by topic and within a topic the clearest first.
func Counters() []Counter {
	var all []Counter
	for _, table := range []func() []Counter{
		timestamps, timeWait, echoes, listeners, acceptQueue, synQueue, neighbors, neighborsV6, conntrack, admission,
		loss, spurious, reordering, sizes, receiver, local, traffic,
	} {
		all = append(all, table()...)
	}
	return all
}

// Find returns what is known of a counter.
func Find(name string) (Counter, bool) {
	for _, c := range Counters() {
		if c.Name == name {
			return c, true
		}
	}
	return Counter{}, false
}

// For lists the counters that speak for a verdict, the clearest first.
func For(v diagnose.Verdict) []Counter {
	var out []Counter
	all := Counters()
	for _, w := range []Weight{Names, Fits, Context} {
		for i := range all {
			if all[i].Says(v) == w {
				out = append(out, all[i])
			}
		}
	}
	return out
}

func names(vs ...diagnose.Verdict) []Claim { return claims(Names, vs) }
func fits(vs ...diagnose.Verdict) []Claim  { return claims(Fits, vs) }
func aside(vs ...diagnose.Verdict) []Claim { return claims(Context, vs) }

func claims(w Weight, vs []diagnose.Verdict) []Claim {
	out := make([]Claim, 0, len(vs))
	for _, v := range vs {
		out = append(out, Claim{v, w})
	}
	return out
}
