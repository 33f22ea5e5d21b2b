package diagnose

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// The arms of a hold burst, in order: the other destination before anything is held, the connections held, then, while they are held, new ones
// to the target, to the other destination, and bare ACKs to the target.
const (
	HoldBefore = iota
	HoldHeld
	HoldNew
	HoldOther
	HoldStray
)

// held is what one hold burst showed.
type held struct {
	obs int
	// n connections were begun and fit of them accepted, the last of these as number last; live of them acknowledged data at the end.
	n, fit, last, live int
	// head is how many were accepted before the first that was not, ranks the sum of the numbers of those accepted.
	head, ranks int
	// silent counts silence in the arms, by their order; elsewhere that of new SYNs from another address of ours.
	silent    [HoldStray + 1]silences
	elsewhere silences
	// sameStack: bare ACKs drew RSTs that had come as far as the SYN-ACKs.
	sameStack bool
}

func readHolds(in *Input) []held {
	var out []held
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind == plan.KindHold && trusted(o) && len(o.Arms) == HoldStray+1 {
			out = append(out, readHold(o, i))
		}
	}
	return out
}

func readHold(o *observe.Observation, index int) held {
	h := held{obs: index}
	arms := map[string]int{}
	for k := range o.Arms {
		arms[o.Arms[k].Name] = k
	}
	var synHops, rstHops []uint8
	var usual netip.Addr
	for _, a := range firstSYNOrder(o) {
		k := arms[a.Arm]
		if k == HoldHeld {
			usual = a.Flow.Src.Addr()
		}
		for x := range a.Answers {
			switch ans := &a.Answers[x]; {
			case ans.Kind == observe.SYNACK && k == HoldHeld:
				synHops = append(synHops, ans.HopLimit)
			case ans.Kind == observe.RST && k == HoldStray:
				rstHops = append(rstHops, ans.HopLimit)
			}
		}
		s := &h.silent[k]
		if k == HoldNew && a.Flow.Src.Addr() != usual {
			s = &h.elsewhere
		}
		s.n++
		if a.Outcome == observe.TimedOut && len(a.Answers) == 0 {
			s.silent++
		}
		if k == HoldHeld {
			h.count(a)
		}
	}
	h.sameStack = len(rstHops) > 0
	for _, ttl := range rstHops {
		h.sameStack = h.sameStack && slices.Contains(synHops, ttl)
	}
	return h
}

// count takes the next of the held connections, in order of their SYNs.
func (h *held) count(a *observe.Attempt) {
	h.n++
	accepted := firstSYNACK(a) != nil
	if !accepted {
		return
	}
	if h.head == h.n-1 {
		h.head = h.n
	}
	h.fit++
	h.ranks += h.n
	h.last = h.n
	if s, ok := readService(a, len("\r\n")); ok && s.acked {
		h.live++
	}
}

// full: the first connections were taken and live on, and from some number on nothing was begun. Places that came free meanwhile let a few
// late ones in.
func (h *held) full() bool {
	fresh := h.silent[HoldNew]
	return h.head >= 3 && fresh.n >= 4 && fresh.silent == fresh.n && h.live*10 >= h.fit*9 && h.chance() < 1e-2
}

// chance is that of those accepted coming so early by luck: the one-sided rank-sum test (Mann and Whitney) in its normal approximation, over
// the held ones and the silent new ones behind them.
func (h *held) chance() float64 {
	total, fit := float64(h.n+h.silent[HoldNew].n), float64(h.fit)
	mean := fit * (total + 1) / 2
	deviation := math.Sqrt(fit * (total - fit) * (total + 1) / 12)
	if deviation == 0 {
		return 1
	}
	return math.Erfc((mean-float64(h.ranks))/deviation/math.Sqrt2) / 2
}

// refused counts the connections that had no answer while others were held, however few.
func refused(in *Input) (silent, n int) {
	for _, h := range readHolds(in) {
		n += h.n + h.silent[HoldNew].n
		silent += h.n - h.fit + h.silent[HoldNew].silent
	}
	return silent, n
}

// mostHolds is how often connections are held: a second time to see it full again, and a third where what was free the second time was too little to tell.
const mostHolds = 3

// settledHold is the burst to judge, and whether it shows again what the first did: the last, but for a second one that began so soon that most places were still
// taken.
func settledHold(hs []held) (h *held, again bool) {
	h = &hs[len(hs)-1]
	if len(hs) == 1 || !hs[0].full() {
		return h, false
	}
	if fresh := h.silent[HoldNew]; len(hs) < mostHolds && !h.full() && h.fit < hs[0].fit && fresh.n > 0 && fresh.silent == fresh.n {
		return &hs[0], false
	}
	return h, true
}

// freed says how long after connections had been held there was room again, and whether that was asked.
func freed(in *Input) (after time.Duration, free, asked bool) {
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind != plan.KindFreed || !trusted(o) {
			continue
		}
		asked = true
		for j := range o.Attempts {
			if ans := firstSYNACK(&o.Attempts[j]); ans != nil {
				after, free = ans.At.Sub(o.Started), true
			}
		}
	}
	return after, free, asked
}

// checkHold: connections are held open, and from some number on no new one begins while those held live on: something counts them. Whether
// other destinations suffer too, and whether bare ACKs still reach the listener's stack, says what.
func checkHold(in *Input) []Finding {
	hs := readHolds(in)
	if len(hs) == 0 {
		return nil
	}
	h, again := settledHold(hs)
	if !h.full() {
		return nil
	}
	silent := h.n - h.fit + h.silent[HoldNew].n
	p := h.chance()
	f := Finding{
		Verdict: SYNStallUnclassified, Level: Inconclusive, P: p, explains: []int{h.obs},
		Summary: fmt.Sprintf("%d connections held at once live on, and none of %d begun after them was answered: something counts connections and is full", h.fit, silent),
		Evidence: []string{
			fmt.Sprintf("the first %d of %d connections were accepted, then %d more, the last as number %d; %d acknowledged data at the end", h.head, h.n, h.fit-h.head, h.last, h.live),
			fmt.Sprintf("another destination: %d of %d SYNs silent before, %d of %d while they were held", h.silent[HoldBefore].silent, h.silent[HoldBefore].n,
				h.silent[HoldOther].silent, h.silent[HoldOther].n),
			fmt.Sprintf("bare ACKs to the target meanwhile: %d of %d silent", h.silent[HoldStray].silent, h.silent[HoldStray].n),
		},
		Disproof: "new connections accepted while as many are held",
		Settle:   "the same again once what was held is free",
	}
	switch after, free, asked := freed(in); {
	case again && free:
		f.Evidence = append(f.Evidence, fmt.Sprintf("released and tried again, it was full after %d connections; the first time after %d; room was there again after %.1f s", h.fit,
			hs[0].fit, after.Seconds()))
	case again:
		f.Evidence = append(f.Evidence, fmt.Sprintf("released and tried again, it was full after %d connections; the first time after %d", h.fit, hs[0].fit))
	case !asked:
		f.Wants = []Want{{Kind: plan.KindFreed, Why: "how soon is there room again?", Most: 1}}
	case free || len(hs) > 1:
		f.Wants = []Want{{Kind: plan.KindHold, Why: "is it free again, and full at the same number?", Most: mostHolds}}
	default:
		f.Evidence = append(f.Evidence, "released, it was not free again while that was asked for")
		f.Settle = "the same again after some minutes: what keeps ended connections that long?"
	}
	return []Finding{h.name(f, again, p)}
}

// name says what is full.
func (h *held) name(f Finding, again bool, p float64) Finding {
	other, before, stray := h.silent[HoldOther], h.silent[HoldBefore], h.silent[HoldStray]
	level := Suspected
	if again && p < 1e-4 {
		level = Confirmed
	}
	switch {
	case before.silent > 0 || before.n == 0:
		f.Settle = "another destination behind the same path that answers (--contrast)"
		return f
	case h.elsewhere.n > 0 && h.elsewhere.silent == 0:
		f.Summary = fmt.Sprintf("after %d held connections new ones from this address vanish, those from another address of this host do not: a limit of connections per source", h.fit)
		f.Settle = "the filter's or balancer's limit of connections per source address"
		return f
	case stray.silent == 0 && h.sameStack && other.silent == 0:
		f.Verdict, f.Level = AcceptQueueOverflow, level
		f.Summary = fmt.Sprintf("%d connections fit and nobody accepts them; every SYN after is dropped by the listener itself, whose accept queue is full", h.fit)
		f.Remedy = "the application does not accept: unblock it; raise its listen backlog and net.core.somaxconn together. ListenOverflows on the server counts each drop"
	case stray.silent == stray.n && other.silent == other.n:
		f.Verdict, f.Level = ConntrackTableFull, level
		if h.elsewhere.n == 0 {
			f.Level = Suspected // from one address a limit per source address looks the same
		}
		f.Summary = fmt.Sprintf("a device on the way tracks connections and is full: %d held ones live on, and new ones vanish whatever their destination", h.fit)
		f.Remedy = "raise net.netfilter.nf_conntrack_max (and hashsize) on the filter or balancer, shorten its timeouts, or exempt this traffic from tracking; " +
			"`conntrack -S` (insert_failed, drop) and \"nf_conntrack: table full\" in its log confirm it"
	case stray.silent == stray.n && other.silent == 0:
		// A limit of connections to this service would look the same.
		f.Verdict, f.Level = SNATPortExhaustion, Suspected
		f.Summary = fmt.Sprintf("after %d held connections new ones to this service vanish, while another destination answers: the source ports that a NAT has for it are used up, "+
			"or a filter limits connections to it", h.fit)
		f.Remedy = "give the SNAT more source addresses or a wider port range; free connections that nobody uses (keep-alive, idle timeouts)"
	default:
		return f
	}
	if f.Level == Suspected && again {
		f.Settle = ""
	}
	return f
}
