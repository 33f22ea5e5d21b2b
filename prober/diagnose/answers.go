package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// firstSYNACK is the attempt's first SYN-ACK to ISS+1, or nil.
func firstSYNACK(a *observe.Attempt) *observe.Answer {
	for k := range a.Answers {
		if a.Answers[k].Kind == observe.SYNACK {
			return &a.Answers[k]
		}
	}
	return nil
}

// checkEcho: a SYN-ACK echoes a TSval that we never sent. RFC 7323 §3.2 makes TSecr a copy; Linux clients discard such a SYN-ACK
// (net/ipv4/tcp_input.c tcp_rcv_synsent_state_process, 6.18).
func checkEcho(in *Input) []Finding {
	wrong, n := 0, 0
	example := ""
	for a := range trustedAttempts(in) {
		ans := firstSYNACK(a)
		if ans == nil || !ans.HasTS || len(a.SYNs) == 0 || !a.SYNs[0].HasTS {
			continue
		}
		n++
		if !slices.ContainsFunc(a.SYNs, func(s observe.SYN) bool { return s.TSval == ans.TSecr }) {
			wrong++
			example = fmt.Sprintf("attempt %d sent TSval %d, the SYN-ACK echoes %d", a.Index, a.SYNs[0].TSval, ans.TSecr)
		}
	}
	if wrong < 2 {
		return nil
	}
	return []Finding{{
		Verdict: MiddleboxTSecrCorrupt, Level: Confirmed,
		Summary:  fmt.Sprintf("%d of %d SYN-ACKs echo a timestamp that we never sent: something rewrites timestamps one way", wrong, n),
		Evidence: []string{example, "Linux clients drop such SYN-ACKs and count PAWSActive or TSEcrRejected: the connect stalls until it gives up"},
		Disproof: "echoes equal to the TSvals sent",
		Remedy:   "switch off timestamp rewriting on the balancer or firewall, or let it translate both directions",
	}}
}

// stripRun is how many NOPs in a row no TCP sends of itself: an option of ten octets was overwritten.
const stripRun = 8

// checkStripped: timestamps are missing from the SYN-ACK, and the hole shows: a run of NOPs where they stood, or timestamps on the later
// segments of the very connection.
func checkStripped(in *Input) []Finding {
	var missing, holes, later, n int
	for a := range attempts(in) {
		ans := firstSYNACK(a)
		if ans == nil || len(a.SYNs) == 0 || !a.SYNs[0].HasTS {
			continue
		}
		n++
		if ans.HasTS {
			continue
		}
		missing++
		if nops(&ans.Options) >= stripRun {
			holes++
		}
		for k := range a.Answers {
			if x := &a.Answers[k]; x.HasTS && x.Kind != observe.SYNACK {
				later++
				break
			}
		}
	}
	if missing == 0 {
		return nil
	}
	f := Finding{
		Verdict: MiddleboxTSStripped, Level: Inconclusive,
		Summary: fmt.Sprintf("%d of %d SYN-ACKs carry no timestamps though we offered them: switched off at the server, or taken out on the way", missing, n),
		Settle:  "a capture at the server: does the SYN arrive with timestamps?",
	}
	if holes+later >= 2 {
		f.Level = Confirmed
		f.Settle = ""
		f.Evidence = []string{fmt.Sprintf("%d SYN-ACKs hold a run of NOPs where the option stood; on %d connections later segments carry timestamps", holes, later)}
		f.Disproof = "a SYN-ACK without the run, from a server whose tcp_timestamps is 0"
		f.Remedy = "let the firewall or balancer pass TCP options through; without timestamps there is no PAWS, and RTT is measured less well"
	}
	return []Finding{f}
}

func nops(o *wire.Options) int {
	run, most := 0, 0
	for opt := range o.All() {
		if opt.Kind == wire.OptNOP {
			run++
			most = max(most, run)
		} else {
			run = 0
		}
	}
	return most
}

// look is what of a SYN-ACK a stack and its settings decide, and no connection changes.
type look struct {
	kinds [40]uint8 // of the options, in their order: a TCP header has room for 40 octets of them (RFC 9293 §3.1)
	n     uint8
	scale uint8
	mss   uint16
	ttl   uint8 // as it likely began
}

// fingerprint is the look of a SYN-ACK.
func fingerprint(a *observe.Answer) look {
	l := look{ttl: uint8(initialTTL(a.HopLimit))}
	for opt := range a.Options.All() {
		if int(l.n) < len(l.kinds) {
			l.kinds[l.n] = uint8(opt.Kind)
			l.n++
		}
	}
	l.mss, _ = a.Options.MSS()
	l.scale, _ = a.Options.WindowScale()
	return l
}

func (l look) String() string {
	var b strings.Builder
	for _, k := range l.kinds[:l.n] {
		fmt.Fprintf(&b, "%d,", k)
	}
	fmt.Fprintf(&b, " mss %d wscale %d initial ttl %d", l.mss, l.scale, l.ttl)
	return b.String()
}

// initialTTL is the value that a stack likely began with: 64 (Linux, BSD), 128 (Windows) or 255 (network devices). Paths of different
// length fall together.
func initialTTL(ttl uint8) int {
	switch {
	case ttl <= 64:
		return 64
	case ttl <= 128:
		return 128
	}
	return 255
}

// checkBareACK: a SYN on a port that we had not used for 120 s drew a bare ACK of another connection's numbers: the 4-tuple that arrives at
// the server is not fresh (RFC 9293 §3.10.7.4; RFC 6191).
func checkBareACK(in *Input) []Finding {
	n, hit := 0, 0
	var explains []int
	example := ""
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Kind == plan.KindReuse || o.Kind == plan.KindStray || o.Kind == plan.KindAgain {
			continue
		}
		found := false
		for j := range o.Attempts {
			a := &o.Attempts[j]
			n++
			for k := range a.Answers {
				ans := &a.Answers[k]
				if ans.Kind == observe.SYNACK || ans.Kind == observe.SYNACKStray {
					break // who answers a SYN by one does not know the flow from before; an ACK behind it may be to what this host said to that
				}
				if ans.Kind == observe.BareACK && ans.Ack != a.ISS+1 {
					hit++
					found = true
					example = fmt.Sprintf("attempt %d: SYN %d drew ACK %d, not %d", a.Index, a.ISS, ans.Ack, a.ISS+1)
					break
				}
			}
		}
		if found {
			explains = append(explains, i)
		}
	}
	if hit == 0 {
		return nil
	}
	f := Finding{
		Verdict: TimeWaitCollision, Level: Confirmed, explains: explains,
		Summary: fmt.Sprintf("%d of %d SYNs drew a bare ACK of an older connection: the address and port that the server sees were in use or in TIME_WAIT", hit, n),
		Evidence: []string{example, "our own port was fresh: a NAT on the way gave the flow a port that the server still remembers",
			"per-host PAWS would be silent and on every port; this is one 4-tuple, and answers"},
		Disproof: "a bare ACK to a SYN that no NAT has touched",
		Remedy:   "give the SNAT more addresses or ports, let it keep closed flows as long as the server keeps TIME_WAIT (60 s), or let it pick ports in turn",
	}
	if hit == 1 {
		f.Level, f.Settle = Inconclusive, "more flows: one old segment, late on its way, would look the same"
	}
	return []Finding{f}
}
