package diagnose

import (
	"fmt"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/stats"
)

// fullOrCounted judges a port that answered the round's first SYNs and none since, though its stack is alive. Two causes look so: a listener whose last places
// in the accept queue went to our own connections, and a filter that counts the SYNs of each source and forgets them slowly (iptables' recent
// match, an nft limit by source of a few a minute), as guards of SSH do. Another address of this host tells.
func fullOrCounted(f Finding, in *Input, accepted int) Finding {
	f.Summary = fmt.Sprintf("the first %d connections were accepted, and every SYN since is dropped, though a TCP stack answers bare ACKs: its accept queue is full, or a filter "+
		"counts the SYNs of this address", accepted)
	f.Level, f.Disproof = Suspected, "a SYN answered on this port; bare ACKs swallowed as well"
	f.Settle = "another address of this host, or another client: one that is served speaks for a filter by source"
	f.Remedy = "on the server: `ss -ltn` (Recv-Q above Send-Q: the accept queue is full, the application does not accept), and `nstat -az TcpExtListenOverflows`; if it does not move, " +
		"look for rules that count by source (iptables -m recent, /proc/net/xt_recent; hashlimit; nft limit in a set), and permit this address there"
	if !in.has(plan.KindSource) {
		f.Wants = append(f.Wants, Want{Kind: plan.KindSource, Why: "is another address of this host answered?", Most: 1})
	}
	list := readSources(in)
	for k := range list {
		s := &list[k]
		switch {
		case k == 0 || s.other.silent == s.other.n || s.target.n < 2: // the usual one, or one that does not come there at all
		case s.target.silent == 0:
			return countedSource(f, &list[0], s, accepted)
		case s.target.silent == s.target.n && !filledByNone(in):
			return fullListener(f, in, accepted)
		}
	}
	if full, ok := fullByACKs(f, in, accepted); ok {
		full.Wants = f.Wants
		return full
	}
	f.Evidence = append(f.Evidence, "what fits, and cannot be told apart from one address: a full accept queue whose last places our own connections took, or a guard that counts the SYNs of this address")
	if s := readSwallowed(in); s.gone > 0 && s.flows == 0 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("the ACKs that ended %d of these handshakes, sent again, drew RSTs: they brought back no SYN cookie, which a full queue swallows", s.gone))
	}
	return f
}

// cookieLooks is how many bursts of bare ACKs are made before a full queue is given up, one more where the last suggests one.
func cookieLooks(suspected bool) int {
	if suspected {
		return 3
	}
	return 2
}

// fullByACKs names a full queue that what follows the SYNs of our own connections shows, whatever becomes of SYNs.
func fullByACKs(f Finding, in *Input, accepted int) (Finding, bool) {
	if s := readSwallowed(in); s.level() >= Suspected {
		return s.fullListener(f, in, accepted), true
	}
	if c := readFilled(in); c.level() >= Suspected {
		return c.fullListener(f, in, accepted), true
	}
	return f, false
}

// filledByNone reports whether the last SYN that was answered was reset before it came to be a connection: it took no place in an accept queue, so that the
// silence after it is none that we made.
func filledByNone(in *Input) bool {
	var last *observe.Attempt
	for i := range in.Observations {
		o := &in.Observations[i]
		if aside(o.Kind) || !trusted(o) {
			continue
		}
		for _, a := range firstSYNOrder(o) {
			if a.Prompt() && (last == nil || a.SYNs[0].At.After(last.SYNs[0].At)) {
				last = a
			}
		}
	}
	return last != nil && last.Via == plan.Raw && len(last.Sent) <= 1
}

// countedSource is that another address of this host is served at the same time.
func countedSource(f Finding, usual, other *bySource, accepted int) Finding {
	f.Verdict, f.Settle, f.Wants = SYNRateLimited, "", nil
	f.P = fisher(usual.target, other.target)
	f.Summary = fmt.Sprintf("the first %d SYNs from %s were answered and none since, while %s is served: a filter counts the SYNs of each source, and lets through only so many in a while",
		accepted, usual.src, other.src)
	f.Evidence = append(f.Evidence, fmt.Sprintf("side by side: %d of %d silent from %s, %d of %d from %s", usual.target.silent, usual.target.n, usual.src, other.target.silent, other.target.n,
		other.src))
	f.Disproof = fmt.Sprintf("an answer to %s; silence towards %s as well", usual.src, other.src)
	f.Remedy = "find the rule that counts by source (iptables -m recent, /proc/net/xt_recent; hashlimit; an nft limit in a set; a balancer's or scrubber's limit per client) and permit this address, or raise it"
	return f
}

func fullListener(f Finding, in *Input, accepted int) Finding {
	n := 0
	for i := range in.Observations {
		n += len(in.Observations[i].Attempts)
	}
	f.Level, f.P = Confirmed, stats.ContiguousTail(n, accepted)
	if f.P > 1e-4 {
		f.Level = Suspected
	}
	f = tellFull(f, in, accepted)
	f.Evidence = append(f.Evidence, "another address of this host is dropped on this port as well and answered on another: nothing that counts SYNs by their source")
	return f
}

// tellFull names the full accept queue, whose last places accepted connections of ours took.
func tellFull(f Finding, in *Input, accepted int) Finding {
	f.Verdict, f.Settle, f.Wants = AcceptQueueOverflow, "", nil
	f.Summary = fmt.Sprintf("the first %d connections were accepted and took the last places; every SYN since is dropped, though the listener's stack is alive: its accept queue is full", accepted)
	f.Evidence = append(f.Evidence,
		"answered SYNs are exactly the first ones, and time does not bring more: a queue that nobody empties, no rate limit",
		"a bare ACK is answered with RST by the listener's own stack: the way there is open")
	f.Disproof = "a SYN answered while nothing was accepted; bare ACKs swallowed as well (then a filter or a table limit is full)"
	f.Remedy = "the application does not accept: it is stuck, or its backlog is too small for its pauses. Restart or unblock it; raise its listen backlog and " +
		"net.core.somaxconn together. ListenOverflows on the server counts each drop"
	for i := range in.Observations {
		f.explains = append(f.explains, i)
	}
	return f
}
