package diagnose

import (
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// FlipOffsets are the arms of a flip, in ticks from the primed TSval T0: a server that remembers T0 drops the first and answers the others
// (net/ipv4/tcp_metrics.c tcp_peer_is_proven, 3.10: more than TCP_PAWS_WINDOW = 1 tick older).
func FlipOffsets() [4]int64 { return [4]int64{-2, -1, 0, 1_000_000} }

// ControlArm begins the names of a flip's arms that ask from another address of this host, which never primed.
const ControlArm = "control "

// The test of a flip. A block asks each arm once, in random order. Whatever the network loses, and however its losses hang together, if they
// do not turn on the TSval then in a block with one silent arm out of four each is as likely to be it: the hypothesis is a rate of
// 1/4 for the oldest, by design of the experiment and not by assumption. Each epoch (a prime and the flips after it) may err with
// 3·10⁻⁵, so that three together stay below 10⁻⁴.
const (
	flipNull  = 0.25
	flipAlt   = 0.95
	flipAlpha = 3e-5
	flipBeta  = 1e-2
	// flipLeast is how often each arm is asked at least; maxFlips bounds the bursts of one epoch, maxPrimes the epochs.
	flipLeast = 6
	maxFlips  = 6
	maxPrimes = 3
)

// memory is how long a prime is sure to be remembered: 60 s in whole seconds of the server's clock (TCP_PAWS_MSL, include/net/tcp.h, 3.10).
const memory = 59 * time.Second

// flip is where the test of one epoch stands.
type flip struct {
	prime  Prime
	bursts int
	blocks int
	arms   [4]silences // as FlipOffsets
	// control are the same arms from an address that did not prime.
	control [4]silences
	test    stats.SPRT
	index   []int // observations
}

// flipState is what an epoch has come to.
type flipState uint8

const (
	flipAsking  flipState = iota
	flipHolds             // silence begins exactly two ticks below T0
	flipAnswers           // the oldest was answered: T0 is not remembered
	flipShifted           // T0−1 or T0 is silent too: the server remembers something newer
	flipDeaf              // nothing is answered any more
	flipOpen              // still undecided when all was asked
)

// readFlip reads the newest epoch; false where nothing was ever primed.
func readFlip(seen []observe.Observation) (flip, bool) {
	f := flip{test: stats.NewSPRT(flipNull, flipAlt, flipAlpha, flipBeta)}
	p, ok := Primed(seen)
	if !ok {
		return f, false
	}
	f.prime = p
	for i := range seen {
		o := &seen[i]
		if o.Kind == plan.KindFlip && trusted(o) && len(o.Arms) >= 4 && o.Arms[0].Script.Clock.Start == p.T0.Add(FlipOffsets()[0]) {
			f.index = append(f.index, i)
			f.bursts++
			f.burst(o)
		}
	}
	return f, true
}

// burst adds the blocks of one burst: its shots come block by block, one of each arm.
func (f *flip) burst(o *observe.Observation) {
	width := len(o.Arms)
	for first := 0; first+width <= len(o.Attempts); first += width {
		var own, control [4]response
		for j := first; j < first+width; j++ {
			a := &o.Attempts[j]
			row := &own
			if strings.HasPrefix(a.Arm, ControlArm) {
				row = &control
			}
			if k := f.offset(a); k >= 0 {
				row[k] = f.answer(a)
			}
		}
		f.block(own)
		for k, x := range control {
			f.control[k].count(x)
		}
	}
}

// offset is which of FlipOffsets an attempt asked about, or −1.
func (f *flip) offset(a *observe.Attempt) int {
	if len(a.SYNs) == 0 || !a.SYNs[0].HasTS {
		return -1
	}
	for k, d := range FlipOffsets() {
		if a.SYNs[0].TSval == f.prime.T0.Add(d) {
			return k
		}
	}
	return -1
}

// response is what one question met.
type response uint8

const (
	notAsked response = iota
	wasAnswered
	wasSilent
)

func (s *silences) count(x response) {
	if x == notAsked {
		return
	}
	s.n++
	if x == wasSilent {
		s.silent++
	}
}

// answer reads one attempt; what neither came back nor was lost in silence, or came too late to be sure of the memory, is not asked.
func (f *flip) answer(a *observe.Attempt) response {
	switch {
	case len(a.SYNs) == 0 || a.SYNs[0].At.IsZero() || a.SYNs[0].At.Sub(f.prime.At) > memory:
	case a.Outcome == observe.Accepted || a.Outcome == observe.Refused:
		return wasAnswered
	case a.Outcome == observe.TimedOut && len(a.Answers) == 0:
		return wasSilent
	}
	return notAsked
}

// block adds one block; one in which an arm could not be asked says nothing of the others' chances and is left out whole.
func (f *flip) block(row [4]response) {
	silent := 0
	for _, x := range row {
		switch x {
		case notAsked:
			return
		case wasSilent:
			silent++
		case wasAnswered:
		}
	}
	f.blocks++
	for k, x := range row {
		f.arms[k].count(x)
	}
	if silent == 1 {
		f.test.Add(row[0] == wasSilent)
	}
}

// state judges the epoch. Silence can be loss; an answer is certain.
func (f *flip) state() flipState {
	oldest := f.arms[0]
	enough := f.blocks >= 4
	switch {
	case oldest.silent < oldest.n:
		return flipAnswers
	case enough && f.arms[3].silent == f.blocks:
		return flipDeaf
	case enough && (f.arms[1].silent == f.blocks || f.arms[2].silent == f.blocks):
		return flipShifted
	case f.blocks >= flipLeast && f.test.Decision() == stats.RejectNull:
		return flipHolds
	case f.bursts >= maxFlips || f.test.Decision() == stats.AcceptNull:
		return flipOpen
	}
	return flipAsking
}

// sides is what TSvals drawn by lot around the primed one met, as long as it is sure to be remembered.
func (f *flip) sides(seen []observe.Observation) sides {
	return readSides(seen, f.prime.T0, f.prime.At.Add(memory))
}

// rest sums the arms that a server that remembers T0 answers.
func (f *flip) rest() silences {
	var s silences
	for _, a := range f.arms[1:] {
		s.silent, s.n = s.silent+a.silent, s.n+a.n
	}
	return s
}

// controls sums the arms of the address that did not prime.
func (f *flip) controls() silences {
	var s silences
	for _, a := range f.control {
		s.silent, s.n = s.silent+a.silent, s.n+a.n
	}
	return s
}

// cookied reports whether the answers came by SYN cookie: their TSvals all end in the same six bits, in which a cookie keeps the options of
// the SYN (net/ipv4/syncookies.c cookie_init_timestamp, TSBITS, 2.6.32 to 6.18), over at least 64 ticks of the server's clock. The
// per-host check is not made for these (tcp_v4_conn_request, net/ipv4/tcp_ipv4.c, 3.10: !want_cookie).
func (f *flip) cookied(seen []observe.Observation) bool {
	values := map[wire.TSval]bool{}
	low, n := wire.TSval(0), 0
	for _, i := range f.index {
		for j := range seen[i].Attempts {
			ans := firstSYNACK(&seen[i].Attempts[j])
			if ans == nil || !ans.HasTS || strings.HasPrefix(seen[i].Attempts[j].Arm, ControlArm) {
				continue
			}
			if n > 0 && ans.TSval&63 != low {
				return false
			}
			low = ans.TSval & 63
			values[ans.TSval] = true
			n++
		}
	}
	return n >= 8 && len(values) >= 3
}

// PerHostPAWS is what the primes and flips of a round say of the server that was asked: it remembers TSvals per host, or, where known, it does
// not. Why says why it is not known.
func PerHostPAWS(seen []observe.Observation) (on, known bool, why string) {
	f, ok := readFlip(seen)
	if !ok {
		return false, false, "the server never closed a connection of ours first"
	}
	switch f.state() {
	case flipHolds:
		if s := f.sides(seen); s.state() == sidesContrary {
			return false, false, "silence turns on the TSval, and not as a comparison with a remembered one does"
		}
		return true, true, ""
	case flipAnswers:
		return false, true, ""
	case flipShifted:
		return false, false, "a newer TSval than ours is remembered: somebody shares our address, or the clock"
	case flipDeaf:
		return false, false, "nothing was answered any more"
	case flipAsking, flipOpen:
	}
	return false, false, "losses left it undecided"
}
