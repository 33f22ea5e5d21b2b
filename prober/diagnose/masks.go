package diagnose

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/plan"
)

// masks judges handshakes that were completed, each of them, by something that acknowledges no data. Silence alone tells no proxy from a path that swallows what
// follows the SYN-ACK: a proxy shows in its SYN-ACK. It is wanted in two bursts: a path that breaks between the handshakes of one and their data lets through
// no handshakes of the next.
func masks(in *Input, ss []service) Finding {
	n := len(ss)
	f := Finding{
		Verdict: LBFullProxyMasks, Level: Confirmed,
		Summary: fmt.Sprintf("%d of %d handshakes were completed by something that acknowledges no data: a proxy answers for servers that do not", n, n),
		Evidence: []string{
			"every TCP acknowledges data in order (RFC 9293 §3.8.6.3); here a SYN-ACK came, and to data nothing",
			"the SYN-ACK was not repeated either",
		},
		Disproof: "an ACK of the data; a repeat of the SYN-ACK",
		Remedy:   "the balancer's handshake says nothing about its members: probe each real server directly",
	}
	bursts := in.bursts(plan.KindServed)
	if bursts < 2 {
		f.Level, f.Settle = Inconclusive, "the same again: did the path break after these handshakes, or do handshakes still work?"
		f.Wants = []Want{{Kind: plan.KindServed, Why: f.Settle, Most: 2}}
		return f
	}
	f.Evidence = append(f.Evidence, fmt.Sprintf("handshakes worked in %d bursts one after the other, and data in none: no path broke in between", bursts))
	held, repeated := holds(in)
	bits := readLowBits(in)
	switch {
	case shut(ss):
		f.Evidence = append(f.Evidence, "every SYN-ACK offers a window of 0, as a SYN proxy's does until its server has answered it (net/netfilter/nf_synproxy_core.c "+
			"synproxy_send_client_synack, 6.18)")
		return f
	case 2*repeated > held:
		return unreturned(f, n, held, repeated)
	default:
		return hollowOf(f, n, held, bits.cookies())
	}
}

// shut reports whether every handshake was offered a window of 0: its client has to wait with data.
func shut(ss []service) bool {
	for k := range ss {
		if a := firstSYNACK(ss[k].a); a == nil || a.Window != 0 {
			return false
		}
	}
	return true
}

// hollowOf is what is left where nothing but silence speaks for a proxy. A listener that is left without our ACK repeats its SYN-ACK, and is none. A cookie is no
// proxy's sign: a server sends it in a flood and with tcp_syncookies=2 (net/ipv4/tcp_input.c tcp_conn_request, 6.18).
func hollowOf(f Finding, n, held int, cookies bool) Finding {
	f.Verdict, f.Level = SYNStallUnclassified, Suspected
	f.Summary = fmt.Sprintf("%d of %d handshakes were completed, and their data drew nothing: a proxy answers for servers that do not, or the path swallows what follows the SYN-ACK", n, n)
	f.Remedy = "probe each real server directly; if one answers data, look on both ways for a filter that passes SYNs and SYN-ACKs alone"
	f.Settle = "a capture at the server, whether our data arrives there and is acknowledged"
	switch {
	case cookies:
		f.Evidence = append(f.Evidence, "the SYN-ACKs are SYN cookies: a SYN proxy sends them, and so does a server in a flood or with tcp_syncookies=2")
	case held == 0:
		f.Wants = []Want{{Kind: plan.KindStateful, Why: "does whoever answers keep the handshake, as a listener does and a SYN proxy does not?", Most: 1}}
		f.Settle = f.Wants[0].Why
	}
	return f
}

// unreturned is what is left where a listener repeats its SYN-ACK until our ACK comes, and is not heard from after that: it has the connection, and its stack
// acknowledges data.
func unreturned(f Finding, n, held, repeated int) Finding {
	f.Verdict, f.Level = SYNStallUnclassified, Suspected
	f.Summary = fmt.Sprintf("%d of %d handshakes were completed, and nothing came after them: our ACKs arrive, and what follows the SYN-ACK is swallowed on the way", n, n)
	f.Evidence = append(f.Evidence,
		fmt.Sprintf("%d of %d SYN-ACKs that were left unanswered were repeated, and none of those that were acknowledged: the listener keeps its handshakes, and our ACKs end them", repeated, held))
	f.Disproof = "an ACK of the data; our data not arriving at the server"
	f.Remedy = "look on the way back for a filter that passes SYN-ACKs alone (a stateless rule, a firewall that never sees our ACK), and on the way there for one that passes ACKs and no data"
	f.Settle = "a capture at the server, whether our data arrives there and is acknowledged"
	return f
}
