package diagnose

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// FirstContact says, for each side, whether the round met it with the other one unknown: only then can a neighbour queue overflow. The
// zero value is that of a round without bursts.
type FirstContact struct{ Local, Remote Contact }

// Contact is one side's part of a first contact.
type Contact struct {
	// Tested: packets waited there for a link address to be resolved. Waited is how many did at once, Dropped how many of them were lost
	// there, both in the burst that shows most.
	Tested  bool
	Waited  int
	Dropped int
	// Why says in a sentence what was seen, or why there was nothing to see.
	Why string
}

// FirstContactOf reads it from a round.
func FirstContactOf(in *Input) FirstContact {
	if len(in.Observations) == 0 {
		return FirstContact{}
	}
	return FirstContact{Local: localContact(in), Remote: remoteContact(in)}
}

func localContact(in *Input) Contact {
	var c Contact
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) {
			continue
		}
		for _, p := range ours(o) {
			w := queued(o, p)
			if len(w.order) <= c.Waited {
				continue
			}
			pat := w.pattern()
			c = Contact{Tested: true, Waited: len(w.order), Dropped: pat.run + pat.after}
			c.Why = fmt.Sprintf("%d connect(s) began while this host asked for %s; %d lost their first SYN inside it", c.Waited, hop(o, p.addr), c.Dropped)
			if took, open := p.took(); !open {
				c.Why += fmt.Sprintf("; the answer took %s", took.Round(10*time.Microsecond))
			}
			if c.Dropped == 0 && in.Queue.Known() && c.Waited <= in.Queue.Least {
				c.Why += fmt.Sprintf("; its queue holds %s, so that only a larger burst could overflow it", in.Queue)
			}
		}
	}
	if !c.Tested {
		c.Why = whyNotLocal(in)
	}
	return c
}

// whyNotLocal says why this host's own queue was never in use.
func whyNotLocal(in *Input) string {
	o := &in.Observations[0]
	switch {
	case !o.Captured:
		return "without a capture nobody sees what this host asks for"
	case !o.NextHop.IsValid():
		return ""
	}
	known := observe.EntryState("")
	for i := range o.Entries {
		if o.Entries[i].Addr == o.NextHop.WithZone("") {
			known = o.Entries[i].State
			break
		}
	}
	who := hop(o, o.NextHop.WithZone(""))
	switch {
	case known == observe.EntryPermanent || known == observe.EntryNoARP:
		return fmt.Sprintf("the entry of %s is %s: this host never asks", who, known)
	case known.Known():
		return fmt.Sprintf("this host knew %s already (%s), and with fewer than gc_thresh1 (128) entries Linux never forgets one: --forget-neighbor deletes that entry first", who, known)
	}
	return fmt.Sprintf("this host did not have to ask for %s", who)
}

func remoteContact(in *Input) Contact {
	var c Contact
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) {
			continue
		}
		_, slowest := remoteControl(in, i)
		for _, p := range theirs(o) {
			w, ok := answeredLate(o, p, slowest)
			if !ok || len(w.order) <= c.Waited {
				continue
			}
			pat := w.pattern()
			took, _ := p.took()
			c = Contact{Tested: true, Waited: len(w.order), Dropped: pat.run}
			c.Why = fmt.Sprintf("%s asked for %s while %d SYN-ACKs waited; the first %d were lost; our answer took %s", asker(o, p.by), p.addr, c.Waited, c.Dropped,
				took.Round(10*time.Microsecond))
		}
	}
	switch {
	case c.Tested:
	case !in.Observations[0].Captured:
		c.Why = "without a capture nobody sees who asks for this host"
	case !in.Observations[0].NextHop.IsValid():
		c.Why = "" // there is no queue on either side of a loopback or point-to-point device
	case askedFirst(in):
		c.Why = "nobody asked for this host: our own request told the far side who we are; only an address that it has never seen tells (module neighbor-queue)"
	default:
		c.Why = "nobody asked for this host: the far side knew it already; only an address that it has never seen tells (module neighbor-queue)"
	}
	return c
}

// askedFirst reports whether this host asked for anybody.
func askedFirst(in *Input) bool {
	for i := range in.Observations {
		if len(ours(&in.Observations[i])) > 0 {
			return true
		}
	}
	return false
}

// slowAnswer is how long a question for a link address may take before a report says so. Answers come within a millisecond on a quiet link.
const slowAnswer = 100 * time.Millisecond

// checkSlowNeighbor notes slow answers to our own questions: they add to every first contact, whether or not a queue overflows.
func checkSlowNeighbor(in *Input) []Finding {
	var worst Finding
	var most time.Duration
	for i := range in.Observations {
		o := &in.Observations[i]
		if !trusted(o) {
			continue
		}
		for _, p := range ours(o) {
			took, open := p.took()
			if open || took < slowAnswer || took >= tooLate || took <= most {
				continue
			}
			most = took
			worst = Finding{
				Verdict: SlowPathNotStall, Level: Inconclusive,
				Summary: fmt.Sprintf("%s took %s to answer for its link address (%d request(s)): every first contact waits so long", hop(o, p.addr), took.Round(time.Millisecond), p.requests),
				Settle:  "more questions, one after the other: vipprobe probe --module neighbor",
			}
		}
	}
	if most == 0 {
		return nil
	}
	return []Finding{worst}
}
