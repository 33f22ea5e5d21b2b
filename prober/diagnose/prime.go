package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Prime is what the primes of a round left at the server, as far as the wire shows it.
type Prime struct {
	// T0 is the TSval that every segment of ours carried, and At when the last of them left: what a server with per-host PAWS then
	// remembers, and the second from which it counts.
	T0 wire.TSval
	At time.Time
	// Certain: the server acknowledged our FIN, and with it that ours acknowledged its own. Without that our last segments may be lost.
	Certain bool
	// By names the way in which the server was made to close.
	By string
}

// ending is how the connection of a prime ended.
type ending uint8

const (
	endUnknown   ending = iota
	endUnsent           // never tried, or cut short since enough others had been closed
	endSilent           // no answer to the SYN
	endRefused          // an RST to the SYN
	endUnstamped        // the SYN-ACK had no timestamps, or echoed another than ours
	endLost             // something of ours was never acknowledged
	endOpen             // the server kept the connection open
	endReset            // the server reset it before it had closed
	endMoved            // a segment of ours carried another TSval than T0
	endClosed           // the server closed first, and we acknowledged that
)

func (e ending) String() string {
	return [...]string{"unknown", "not tried", "no answer to the SYN", "refused", "answered without our timestamp", "lost on the way", "kept open",
		"reset", "sent with a clock that moved", "closed by the server first"}[e]
}

// primeFlow is one connection of a prime.
type primeFlow struct {
	arm   string
	idle  bool // nothing was sent: the server's patience was waited for
	end   ending
	prime Prime
}

// readPrime follows one connection of a prime on the wire.
func readPrime(o *observe.Observation, a *observe.Attempt) primeFlow {
	f := primeFlow{arm: strings.TrimPrefix(a.Arm, PrimeArm), idle: idles(o, a.Arm)}
	f.end, f.prime = followClose(a)
	f.prime.By = f.arm
	return f
}

// PrimeArm begins the names of a prime's arms; what follows is the way in which the server is made to close.
const PrimeArm = "prime by "

func idles(o *observe.Observation, arm string) bool {
	i := slices.IndexFunc(o.Arms, func(x plan.Arm) bool { return x.Name == arm })
	return i >= 0 && len(o.Arms[i].Script.Then.Data) == 0
}

// followClose says how a connection ended, and what it left. A server that closes first keeps the connection's TIME_WAIT, and with it the TSval of
// our last in-order segment, from the moment its FIN is acknowledged, whether or not ours follows (tcp_time_wait → tcp_remember_stamp,
// net/ipv4/tcp_minisocks.c, 3.10; seen on 3.10.0-1160 and 2.6.32-431). A reset before that leaves nothing.
func followClose(a *observe.Attempt) (ending, Prime) {
	synAck := firstSYNACK(a)
	switch {
	case len(a.SYNs) == 0 || a.Outcome == observe.NotSent || a.Outcome == observe.LocalDrop || a.Outcome == observe.OutcomeUnknown:
		return endUnsent, Prime{}
	case a.Outcome == observe.Refused:
		return endRefused, Prime{}
	case synAck == nil:
		return endSilent, Prime{}
	}
	p := Prime{T0: a.SYNs[0].TSval}
	if !a.SYNs[0].HasTS || !synAck.HasTS || synAck.TSecr != p.T0 {
		return endUnstamped, Prime{}
	}
	if !p.follow(a) {
		return endMoved, Prime{}
	}
	fin := peerFIN(a)
	acked := slices.IndexFunc(a.Sent, func(s observe.Sent) bool { return fin != nil && s.HasTS && s.Ack == end(fin) && !s.At.Before(fin.At) })
	if acked < 0 {
		return unclosed(a, synAck, fin), Prime{}
	}
	if resetBefore(a, a.Sent[acked].At) {
		return endReset, Prime{}
	}
	p.Certain = finAcked(a, end(fin))
	return endClosed, p
}

// follow notes when the last segment with a timestamp left; false where one carried another than T0.
func (p *Prime) follow(a *observe.Attempt) bool {
	for i := range a.Sent {
		s := &a.Sent[i]
		if s.HasTS && s.TSval != p.T0 {
			return false
		}
		if s.HasTS {
			p.At = s.At
		}
	}
	return true
}

// end is the sequence number after an answer.
func end(ans *observe.Answer) wire.Seq {
	n := ans.Length
	if ans.Flags&wire.FIN != 0 {
		n++
	}
	return ans.Seq.Add(n)
}

// peerFIN is the first FIN of the server, where it left before any FIN of ours had come to it: it does not acknowledge one.
func peerFIN(a *observe.Attempt) *observe.Answer {
	for k := range a.Answers {
		ans := &a.Answers[k]
		if ans.Flags&(wire.FIN|wire.RST|wire.SYN) != wire.FIN {
			continue
		}
		for i := range a.Sent {
			if s := &a.Sent[i]; s.Flags&wire.FIN != 0 && s.Seq.Before(ans.Ack) {
				return nil
			}
		}
		return ans
	}
	return nil
}

// finAcked: the server acknowledges a FIN of ours that acknowledged its own.
func finAcked(a *observe.Attempt, peerEnd wire.Seq) bool {
	for i := range a.Sent {
		s := &a.Sent[i]
		if s.Flags&wire.FIN == 0 || s.Ack != peerEnd {
			continue
		}
		want := s.Seq.Add(s.Length + 1)
		if slices.ContainsFunc(a.Answers, func(x observe.Answer) bool { return x.Flags&(wire.RST|wire.SYN) == 0 && x.Ack == want }) {
			return true
		}
	}
	return false
}

func resetBefore(a *observe.Attempt, at time.Time) bool {
	return slices.ContainsFunc(a.Answers, func(x observe.Answer) bool { return x.Kind == observe.RST && x.At.Before(at) })
}

// unclosed is how a connection ended whose server did not close first.
func unclosed(a *observe.Attempt, synAck, fin *observe.Answer) ending {
	var sent, acked wire.Seq
	for i := range a.Sent {
		if s := &a.Sent[i]; s.Length > 0 {
			sent = s.Seq.Add(s.Length)
		}
	}
	acked = synAck.Ack
	for k := range a.Answers {
		x := &a.Answers[k]
		if x.Kind == observe.RST {
			return endReset
		}
		if x.Kind != observe.ICMP && acked.Before(x.Ack) {
			acked = x.Ack
		}
	}
	if fin != nil || sent != 0 && acked.Before(sent) {
		return endLost
	}
	return endOpen
}

// primes lists the connections of every prime of a round, the bursts in order.
func primes(seen []observe.Observation) [][]primeFlow {
	var out [][]primeFlow
	for i := range seen {
		o := &seen[i]
		if o.Kind != plan.KindPrime {
			continue
		}
		var flows []primeFlow
		for j := range o.Attempts {
			flows = append(flows, readPrime(o, &o.Attempts[j]))
		}
		out = append(out, flows)
	}
	return out
}

// best is what a burst of primes left: the newest TSval, the surest and latest of its flows.
func best(flows []primeFlow) (Prime, bool) {
	var p Prime
	found := false
	for i := range flows {
		f := &flows[i]
		if f.end != endClosed {
			continue
		}
		switch {
		case !found || p.T0.Before(f.prime.T0):
			p, found = f.prime, true
		case f.prime.T0 == p.T0:
			if f.prime.Certain && !p.Certain {
				p.Certain, p.By = true, f.prime.By
			}
			if p.At.Before(f.prime.At) {
				p.At = f.prime.At
			}
		}
	}
	return p, found
}

// Primed returns what a server with per-host PAWS remembers after the primes of a round, the newest of them; false where it never closed a
// connection first.
func Primed(seen []observe.Observation) (Prime, bool) {
	var p Prime
	found := false
	for _, flows := range primes(seen) {
		if q, ok := best(flows); ok && (!found || !q.T0.Before(p.T0)) {
			p, found = q, true
		}
	}
	return p, found
}

// MayRemember reports whether a burst of primes may have left something at the server: it closed a connection, or we cannot know.
func MayRemember(o *observe.Observation) bool {
	if o.Kind != plan.KindPrime {
		return false
	}
	for j := range o.Attempts {
		a := &o.Attempts[j]
		for k := range a.Answers {
			if a.Answers[k].Flags&wire.FIN != 0 {
				return true
			}
		}
		if firstSYNACK(a) != nil && !trusted(o) {
			return true
		}
	}
	return false
}

// Remembers reports whether the server may refuse SYNs on account of a prime of ours: it closed a connection first, and has not shown since
// that it made nothing of that.
func Remembers(seen []observe.Observation) bool {
	f, ok := readFlip(seen)
	if !ok || f.state() != flipAnswers {
		return slices.ContainsFunc(seen, func(o observe.Observation) bool { return MayRemember(&o) })
	}
	return f.blocks < 4 || share(f.arms[0]) > share(f.rest())+0.2
}

// ownless is what was seen while the server can have remembered nothing on our own account.
func ownless(seen []observe.Observation) []observe.Observation {
	if Remembers(seen) {
		return beforePrime(seen)
	}
	return seen
}

// beforePrime is what was seen before the first prime.
func beforePrime(seen []observe.Observation) []observe.Observation {
	i := slices.IndexFunc(seen, func(o observe.Observation) bool { return o.Kind == plan.KindPrime })
	if i < 0 {
		return seen
	}
	return seen[:i]
}

// tried tells what became of each way to make the server close first.
func tried(all [][]primeFlow) []string {
	ways := map[string]map[ending]int{}
	var order []string
	for _, flows := range all {
		for i := range flows {
			f := &flows[i]
			if f.end == endUnsent {
				continue
			}
			if ways[f.arm] == nil {
				ways[f.arm] = map[ending]int{}
				order = append(order, f.arm)
			}
			ways[f.arm][f.end]++
		}
	}
	var out []string
	for _, arm := range order {
		var ends []string
		for e := endUnsent; e <= endClosed; e++ {
			switch n := ways[arm][e]; {
			case n == 1:
				ends = append(ends, e.String())
			case n > 1:
				ends = append(ends, fmt.Sprintf("%s, %d times", e, n))
			}
		}
		out = append(out, arm+": "+strings.Join(ends, "; "))
	}
	return out
}
