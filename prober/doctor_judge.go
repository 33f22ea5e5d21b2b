package prober

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Everything below judges what was read and reads nothing itself.

func judgeKernel(release string, version [3]int) Check {
	if version == [3]int{} {
		return checkWarn("kernel", "the retransmission ladder is a guess", "release %q has no version that can be read", release)
	}
	return checkOK("kernel", "Linux %s", release)
}

func judgeNetRaw(c hostproc.Capabilities, err error) Check {
	const name, hint = "cap_net_raw", `sudo setcap cap_net_raw+ep "$(command -v vipprobe)", or run as root`
	switch {
	case err != nil:
		return checkWarn(name, hint, "%v", err)
	case !c.NetRaw:
		return checkWarn(name, hint, "not there: no capture and no raw SYNs; connects work, and the kernel's TCP_INFO counts their lost SYNs")
	}
	return checkOK(name, "there: capture and raw SYNs")
}

// judgeNetAdmin never warns of its absence: nothing but one step of one experiment asks for it.
func judgeNetAdmin(c hostproc.Capabilities, err error) Check {
	const name = "cap_net_admin"
	switch {
	case err != nil:
		return checkWarn(name, "", "%v", err)
	case !c.NetAdmin:
		return checkOK(name, "not there, and seldom needed: it only adds deleting the one neighbour entry of a next hop, to see it resolved anew")
	}
	return checkOK(name, "there: the one neighbour entry of a next hop can be deleted, to see it resolved anew")
}

// judgePorts says what the range of source ports permits, and whether the kernel hands out the same ports to others.
func judgePorts(r plan.PortRange, err error, sys hostproc.Sysctls) Check {
	const name, hint = "source_ports", `sudo sysctl -w net.ipv4.ip_local_port_range="32768 60999"`
	switch {
	case errors.Is(err, rawsock.ErrNoPorts):
		return checkFail(name, hint, "%v", err)
	case err != nil:
		return checkFail(name, "mount /proc/sys", "%v", err)
	case r.Size() < minPorts:
		return checkFail(name, "name a wider range", "%s: at least %d ports are needed", r, minPorts)
	}
	lower, upper := r.Split()
	local := plan.PortRange{Lo: uint16(sys.PortLow.Or(0)), Hi: uint16(sys.PortHigh.Or(0))}
	if p := shared(r, local, sys.ReservedPorts); p != 0 {
		return checkWarn(name, fmt.Sprintf("sudo sysctl -w net.ipv4.ip_local_reserved_ports=%s, added to what is there", r),
			"%s overlaps net.ipv4.ip_local_port_range %s: the kernel gives port %d to other programs too", r, local, p)
	}
	burst := DefaultModule().Burst
	interval := shortestInterval(burst, min(lower.Size(), upper.Size()))
	if interval == 0 {
		return checkWarn(name, hint, "%s: %d ports are too few for a burst of %d every %s", r, r.Size(), burst, plan.PortQuarantine)
	}
	return checkOK(name, "%s, which the kernel hands to nobody (net.ipv4.ip_local_port_range %s): %d for connects, %d for raw SYNs. A target takes "+
		"burst × (120 s ÷ interval + 1) of them: a burst of %d may come every %s", r, local, lower.Size(), upper.Size(), burst, interval)
}

// shared is the first port of r that the kernel also serves others from: in its local range, and not reserved. 0: none.
func shared(r, local plan.PortRange, reserved string) uint16 {
	var kept []plan.PortRange
	for field := range strings.SplitSeq(reserved, ",") {
		lo, hi, both := strings.Cut(field, "-")
		if !both {
			hi = lo
		}
		if k, err := plan.ParsePortRange(lo + "-" + hi); err == nil {
			kept = append(kept, k)
		}
	}
	for p := int(r.Lo); p <= int(r.Hi); p++ {
		port := uint16(p)
		if local.Contains(port) && !slices.ContainsFunc(kept, func(k plan.PortRange) bool { return k.Contains(port) }) {
			return port
		}
	}
	return 0
}

// shortestInterval is how often bursts may go to one target from so many ports, in whole milliseconds, so that plan.PortsNeeded is not
// more than there are; 0: not even once a quarantine.
func shortestInterval(burst, ports int) time.Duration {
	rounds := time.Duration(ports/burst - 1)
	if rounds < 1 {
		return 0
	}
	exact := (plan.PortQuarantine + rounds - 1) / rounds
	return (exact + time.Millisecond - 1).Truncate(time.Millisecond)
}

// holdResult is how a port of one family could be held, or why not.
type holdResult struct {
	method rawsock.Method
	err    error
}

// judgeHold: a family that this kernel does not have at all is no fault, but one must be there.
func judgeHold(v4, v6 holdResult) Check {
	const name = "port_hold"
	var said []string
	method := rawsock.HoldMD5
	for _, f := range []struct {
		family string
		holdResult
	}{{"IPv4", v4}, {"IPv6", v6}} {
		switch {
		case errors.Is(f.err, syscall.EAFNOSUPPORT), errors.Is(f.err, syscall.EADDRNOTAVAIL):
			said = append(said, "no "+f.family)
			continue
		case f.err != nil:
			return checkFail(name, "see source_ports and open_files", "%s: %v", f.family, f.err)
		case f.method != rawsock.HoldMD5:
			method = f.method
		}
		said = append(said, f.family+" "+f.method.String())
	}
	switch text := strings.Join(said, ", "); {
	case v4.err != nil && v6.err != nil:
		return checkFail(name, "an engine needs one of both families", "%s", text)
	case method != rawsock.HoldMD5:
		return checkWarn(name, "a kernel of 4.13 or later with CONFIG_TCP_MD5SIG keeps silent towards neighbours as well",
			"%s: what comes with a TTL of 255 is answered by the kernel", text)
	default:
		return checkOK(name, "%s: the kernel is silent on ports of raw SYNs", text)
	}
}

// spareFiles are descriptors for what is no source port: standard streams, epoll, ring, senders, netlink, files below /proc.
const spareFiles = 64

// judgeFiles: every source port under way or held is a descriptor, and a held one stays open for four minutes.
func judgeFiles(soft uint64, ports int) Check {
	const name = "open_files"
	switch need := uint64(ports + spareFiles); {
	case soft < spareFiles:
		return checkFail(name, fmt.Sprintf("ulimit -n %d", need), "RLIMIT_NOFILE %d: fewer than %d leave no room for a burst", soft, spareFiles)
	case soft < need:
		return checkWarn(name, fmt.Sprintf("ulimit -n %d, or LimitNOFILE=%d in the unit", need, need),
			"RLIMIT_NOFILE %d: each source port in use is an open file, and there are %d ports", soft, ports)
	default:
		return checkOK(name, "RLIMIT_NOFILE %s", amount(soft))
	}
}

// amount is a limit; RLIM_INFINITY, all ones, is none (getrlimit(2)).
func amount(n uint64) string {
	if n == math.MaxUint64 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

// judgeLadder: stalls are told by the rungs of this ladder.
func judgeLadder(sys hostproc.Sysctls, version [3]int) Check {
	const name = "syn_ladder"
	l := hostproc.Ladder(sys, version)
	text := fmt.Sprintf("%s s, given up after %s (tcp_syn_retries %s, tcp_syn_linear_timeouts %s)", l, hostproc.GivesUp(sys, version),
		sys.SynRetries, sys.SynLinearTimeouts)
	switch {
	case !sys.SynRetries.Known:
		return checkWarn(name, "mount /proc/sys", "a guess, since net.ipv4.tcp_syn_retries cannot be read: %s", text)
	case len(l.At) < 2:
		return checkWarn(name, "sudo sysctl -w net.ipv4.tcp_syn_retries=6", "%s: a connect that loses its SYN never recovers, so it fails instead of stalling", text)
	}
	return checkOK(name, "%s", text)
}

// judgeTimestamps reads net.ipv4.tcp_timestamps: 1 with a random offset for each destination, 2 without (Linux ≥ 4.10,
// Documentation/networking/ip-sysctl.rst).
func judgeTimestamps(s hostproc.Setting) Check {
	const name, hint = "tcp_timestamps", "sudo sysctl -w net.ipv4.tcp_timestamps=1"
	switch {
	case !s.Known:
		return checkWarn(name, "mount /proc/sys", "net.ipv4.tcp_timestamps cannot be read")
	case s.Value == 0:
		return checkWarn(name, hint, "0: connects from here carry no timestamps, so a server's PAWS cannot stall them; raw SYNs still carry them")
	case s.Value == 2:
		return checkOK(name, "2: connects carry timestamps of one clock, without offsets")
	}
	return checkOK(name, "%s: connects carry timestamps, with an offset for each destination", s)
}

// The truesize of one SYN in a neighbour queue, octets (measured on Linux 6.18 with veth), and the fewest that a queue should hold:
// as many as a default burst has first packets.
const (
	queuedSYN = 832
	fewQueued = 10
)

// judgeNeighborQueue: a burst of more first packets than the queue holds loses the others in this very host until its next hop is resolved.
func judgeNeighborQueue(sys hostproc.Sysctls, v6 bool) Check {
	name, family := forFamily("neighbor_queue", v6), "ipv4"
	if v6 {
		family = "ipv6"
	}
	holders := map[int][]string{}
	for ifname, i := range sys.Interfaces {
		n := i.Neigh4
		if v6 {
			n = i.Neigh6
		}
		if packets, told := n.Queue(queuedSYN); told && ifname != "lo" && ifname != "all" {
			holders[packets] = append(holders[packets], ifname)
		}
	}
	switch {
	case len(holders) == 0 && len(sys.Interfaces) > 0:
		return checkOK(name, "no interface here that resolves next hops")
	case len(holders) == 0:
		return checkWarn(name, "mount /proc/sys", "net.%s.neigh cannot be read", family)
	}
	var said []string
	sizes := slices.Sorted(maps.Keys(holders))
	for _, n := range sizes {
		said = append(said, fmt.Sprintf("%d SYNs on %s", n, list(holders[n])))
	}
	text := "held for a next hop not resolved yet: " + strings.Join(said, "; ")
	if sizes[0] >= fewQueued {
		return checkOK(name, "%s", text)
	}
	return checkWarn(name, fmt.Sprintf("sudo sysctl -w net/%s/neigh/%s/unres_qlen_bytes=212992", family, holders[sizes[0]][0]),
		"%s. A larger burst loses its other first SYNs in this host", text)
}

// list sorts names, default first, and shows the first few.
func list(names []string) string {
	const most = 4
	slices.SortFunc(names, func(a, b string) int {
		switch {
		case a == b:
			return 0
		case a == "default":
			return -1
		case b == "default":
			return 1
		}
		return strings.Compare(a, b)
	})
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d others", strings.Join(names[:most], ", "), len(names)-most)
}

// judgeTable holds n neighbours against gc_thresh2 and gc_thresh3: from the former on, entries go that were not used for 5 s; at the latter
// a new one cannot be made, and its packets are lost (net/core/neighbour.c neigh_alloc, neigh_forced_gc). Newer kernels
// do not count permanent entries there, but in n: the judgement errs towards a warning.
func judgeTable(name string, n int64, thresh [3]hostproc.Setting) Check {
	soft, hard := thresh[1], thresh[2]
	key := "net.ipv4.neigh.default.gc_thresh"
	if strings.HasSuffix(name, "ipv6") {
		key = "net.ipv6.neigh.default.gc_thresh"
	}
	hint := fmt.Sprintf("sudo sysctl -w %s3=%d %s2=%d", key, 4*max(hard.Value, 1024), key, 2*max(hard.Value, 1024))
	switch {
	case !soft.Known || !hard.Known:
		return checkWarn(name, "run it in the initial network namespace: the limits are shown nowhere else",
			"%d entries in this namespace; gc_thresh2 and 3, which all namespaces share, cannot be seen from here", n)
	case 5*n > 4*hard.Value:
		return checkWarn(name, hint, "%d entries of gc_thresh3 %s: when it is full no next hop can be resolved, and its packets are lost", n, hard)
	case n > soft.Value:
		return checkWarn(name, hint, "%d entries, more than gc_thresh2 %s: unused ones are thrown out early and must be resolved again", n, soft)
	}
	return checkOK(name, "%d entries, gc_thresh2 %s, gc_thresh3 %s", n, soft, hard)
}

// judgeConntrack: a full table drops the first packet of every new flow. A maximum of 0 is none (net/netfilter/nf_conntrack_core.c
// __nf_conntrack_alloc).
func judgeConntrack(c hostproc.Counters, err error) Check {
	const name = "conntrack"
	if err != nil {
		return checkWarn(name, "mount /proc", "%v", err)
	}
	count, counted := c.Values["nf_conntrack.count"]
	most, limited := c.Values["nf_conntrack.max"]
	switch {
	case !counted || !limited:
		return checkOK(name, "no conntrack in this network namespace")
	case most == 0:
		return checkOK(name, "%d flows, no maximum", count)
	case 5*count > 4*most:
		return checkWarn(name, fmt.Sprintf("sudo sysctl -w net.netfilter.nf_conntrack_max=%d", 4*most),
			"%d flows of nf_conntrack_max %d: when it is full this host drops the first SYN of every new flow", count, most)
	}
	return checkOK(name, "%d flows of nf_conntrack_max %d", count, most)
}
