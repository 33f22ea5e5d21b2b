package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// owners follows an address from claim to claim: the MACs in the order in which they had it. One that claims it again and again has it
// once.
func owners(list []claim) []wire.MAC {
	ordered := slices.Clone(list)
	slices.SortStableFunc(ordered, func(a, b claim) int { return a.at.Compare(b.at) })
	var out []wire.MAC
	for i := range ordered {
		if len(out) == 0 || out[len(out)-1] != ordered[i].mac {
			out = append(out, ordered[i].mac)
		}
	}
	return out
}

// glbp reports whether a MAC is one of GLBP's virtual ones (00:07:b4:00:xx:yy), of which several answer for one address on purpose.
func glbp(m wire.MAC) bool { return m[0] == 0 && m[1] == 0x07 && m[2] == 0xb4 }

// flapping: the owner of an address changes again and again. One change is a failover, two are a failover and its way back; from the
// third on two machines take it from each other.
func flapping(in *Input, addr netip.Addr, list []claim) (Finding, bool) {
	seq := owners(list)
	changes := len(seq) - 1
	if changes < 2 || !slices.ContainsFunc(seq, func(m wire.MAC) bool { return !glbp(m) }) {
		return Finding{}, false
	}
	macs := slices.Compact(slices.SortedFunc(slices.Values(seq), func(a, b wire.MAC) int { return slices.Compare(a[:], b[:]) }))
	names := make([]string, len(macs))
	told := 0
	for i := range list {
		if list[i].told {
			told++
		}
	}
	for i, m := range macs {
		names[i] = fmt.Sprintf("%s (%s)", m, perMAC(in, m))
	}
	f := Finding{
		Verdict: NeighborFlapping, Level: Inconclusive,
		Summary: fmt.Sprintf("%s changed its owner %d times in %s, between %d MACs", addr, changes, span(list).Round(time.Millisecond), len(macs)),
		Evidence: []string{
			fmt.Sprintf("%d claims were seen, %d of them announcements that nobody asked for", len(list), told),
			"SYNs by the MAC that they left for: " + strings.Join(names, "; "),
		},
		Disproof: "one MAC for all claims of a minute; several MACs by design (GLBP, balance-alb bonding)",
		Remedy: "two machines believe that they own the address: look for split brain in VRRP or keepalived (advertisements filtered, equal priorities, another virtual_router_id), for two " +
			"hosts with one address, or for a switch loop; until then pin the right one (ip neigh replace ADDR lladdr MAC nud permanent dev DEV)",
		Settle: "more time: a failover and its way back look alike",
	}
	if changes >= 3 {
		f.Level, f.Settle, f.explains = Confirmed, "", allOf(in)
	}
	return f, true
}

// perMAC says what became of the SYNs that left for a MAC.
func perMAC(in *Input, m wire.MAC) string {
	syns, lost := 0, 0
	for i := range in.Observations {
		for j := range in.Observations[i].Attempts {
			a := &in.Observations[i].Attempts[j]
			for k := range a.SYNs {
				if a.SYNs[k].NextHop != m {
					continue
				}
				syns++
				if k < len(a.SYNs)-1 || a.Outcome == observe.TimedOut {
					lost++
				}
			}
		}
	}
	return fmt.Sprintf("%d, %d without effect", syns, lost)
}

func span(list []claim) time.Duration {
	first, last := list[0].at, list[0].at
	for i := range list {
		if list[i].at.Before(first) {
			first = list[i].at
		}
		if list[i].at.After(last) {
			last = list[i].at
		}
	}
	return last.Sub(first)
}

// checkProxy notes who answers for an address that nobody should have, where one was asked for: a proxy, or the address is in use. A proxy
// hides a dead target's silence, and its MAC stands for all behind it.
func checkProxy(in *Input) []Finding {
	for i := range in.Observations {
		o := &in.Observations[i]
		for _, x := range observe.Exchanges(o.Neighbor) {
			if !x.Outgoing || x.Asked != o.Unused || len(x.Claims) == 0 {
				continue
			}
			f := Finding{Verdict: DuplicateAddress, Level: Inconclusive,
				Summary: fmt.Sprintf("%s answers for %s, which nobody should have", x.Claims[0].MAC, x.Asked),
				Settle:  "whether that address is in use after all"}
			if answersFor(in, x.Claims[0].MAC, o) {
				f.Level = NotApplicable
				f.Summary += ", as for the next hop: proxy ARP. Whether a host is there cannot be told from its answers"
				f.Settle = "net.ipv4.conf.<dev>.proxy_arp (or the router's own setting) off, where it is not meant"
			}
			return []Finding{f}
		}
	}
	return nil
}

// answersFor reports whether a MAC answered for what the burst is aimed at as well.
func answersFor(in *Input, mac string, o *observe.Observation) bool {
	for i := range in.Observations {
		for _, x := range observe.Exchanges(in.Observations[i].Neighbor) {
			if x.Outgoing && o.Asks(x.Asked) && slices.ContainsFunc(x.Claims, func(c observe.Claim) bool { return c.MAC == mac }) {
				return true
			}
		}
	}
	return false
}

// checkTable: the kernel's own counter says that it could make no entry for a neighbour (net/core/neighbour.c neigh_alloc, 6.18:
// table_fulls), while connects of ours never put a SYN on the wire.
func checkTable(in *Input) []Finding {
	for i := range in.Observations {
		o := &in.Observations[i]
		full := tableFulls(o)
		if full <= 0 || !trusted(o) {
			continue
		}
		hit := 0
		for j := range o.Attempts {
			if a := &o.Attempts[j]; lostHere(a) || len(a.SYNs) == 0 && a.Kernel != nil && a.Kernel.Errno == "ENOBUFS" {
				hit++
			}
		}
		if hit == 0 || len(ours(o)) > 0 {
			continue
		}
		return []Finding{{
			Verdict: NeighTableOverflow, Level: Proven, explains: []int{i},
			Summary: fmt.Sprintf("this host's neighbour table is full: %d connects never put a SYN on the wire, and nobody was even asked for", hit),
			Evidence: []string{
				fmt.Sprintf("table_fulls rose by %d during the burst", full),
				fmt.Sprintf("%d of %d connects lost their SYN inside this host; no request for a link address left it", hit, len(o.Attempts)),
			},
			Disproof: "a request for the next hop on the wire; table_fulls that stands still",
			Remedy: "raise net.ipv4.neigh.default.gc_thresh2 and gc_thresh3 (net.ipv6 likewise; default 512 and 1024, one table for all network namespaces of the host), or make the " +
				"segment smaller: one entry per neighbour that was talked to",
		}}
	}
	return nil
}
