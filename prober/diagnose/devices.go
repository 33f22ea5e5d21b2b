package diagnose

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vipprobe/vipprobe/prober/observe"
)

// What a device of this host drops no tap shows: on the way out the tap is before the driver (net/core/dev.c xmit_one, 6.18), on the way in behind it. The counters are
// link.NAME.COUNTER of hostproc's ReadDevices. A drop may stand in two of one direction, so the largest counts; of devices on top of each other all count, which is too
// many rather than too few: more is laid to this host then.
//
// link.NAME.rx_dropped is none of them: it rises with protocols that nobody here speaks (LLDP, STP), and with what a full backlog drops, which softnet_stat has.
// What the queue before the device drops is never seen to leave, and counts as a local drop by that.
func lossOut() []string {
	return []string{"tx_dropped", "tx_fifo_errors", "tx_carrier_errors", "tx_aborted_errors"}
}

func lossIn() []string { return []string{"rx_missed_errors", "rx_over_errors", "rx_fifo_errors"} }

// deviceDrops are what devices dropped, by "NAME COUNTER", the largest counter of each device and direction.
type deviceDrops map[string]int64

// wayOf is one direction of one device.
type wayOf struct {
	device string
	in     bool
}

// eachDevice calls f, in no order, for what each device of a burst's way dropped in either direction, and how many packets it took in it.
func eachDevice(o *observe.Observation, f func(device, counter string, dropped, taken int64)) {
	var most map[wayOf]string
	count := func(w wayOf, counter string) int64 { return o.Counters["link."+w.device+"."+counter] }
	for name, n := range o.Counters {
		device, counter, ok := ofDevice(name)
		if !ok || n <= 0 {
			continue
		}
		w := wayOf{device, slices.Contains(lossIn(), counter)}
		if !w.in && !slices.Contains(lossOut(), counter) {
			continue
		}
		if most == nil {
			most = map[wayOf]string{}
		}
		if old := most[w]; old == "" || cmp.Or(cmp.Compare(n, count(w, old)), cmp.Compare(old, counter)) > 0 {
			most[w] = counter
		}
	}
	for w, counter := range most {
		packets := "tx_packets"
		if w.in {
			packets = "rx_packets"
		}
		f(w.device, counter, count(w, counter), count(w, packets))
	}
}

// ofDevice takes link.NAME.COUNTER apart; a device's name may have dots.
func ofDevice(name string) (device, counter string, ok bool) {
	name, ok = strings.CutPrefix(name, "link.")
	i := strings.LastIndexByte(name, '.')
	if !ok || i < 0 {
		return "", "", false
	}
	return name[:i], name[i+1:], true
}

// droppedHere is how many packets this host dropped itself during a burst, at the most: in its backlog and in the devices of its way.
func droppedHere(o *observe.Observation) int64 {
	n := o.Counters[softnetDropped]
	eachDevice(o, func(_, _ string, dropped, _ int64) { n += dropped })
	return n
}

// droppedOut is what the device that dropped most on the way out dropped.
func droppedOut(o *observe.Observation) int64 {
	var most int64
	eachDevice(o, func(_, counter string, dropped, _ int64) {
		if slices.Contains(lossOut(), counter) {
			most = max(most, dropped)
		}
	})
	return most
}

// coincidence bounds the chance that what a device dropped has nothing to do with what is missing: of n different numbers dealt to the bursts at random k or more meet
// their own with a chance of 1/k! at most, as the mean number of k-tuples that do is that or less. Nothing may be missing beyond what this host dropped.
func (c *crowding) coincidence() float64 {
	if c.short {
		return 1
	}
	lg, _ := math.Lgamma(float64(len(c.same)) + 1)
	return math.Exp(-lg)
}

// worstHere is the largest share of its packets that a CPU's backlog or a device of the way dropped; 0: not known.
func worstHere(o *observe.Observation) float64 {
	share := func(dropped, taken int64) float64 {
		if dropped <= 0 {
			return 0
		}
		return float64(dropped) / float64(dropped+taken)
	}
	worst := share(o.Counters[softnetWorstDropped], o.Counters[softnetWorstProcessed])
	if worst == 0 && o.Counters[softnetDropped] > 0 {
		return 0
	}
	eachDevice(o, func(_, _ string, dropped, taken int64) { worst = max(worst, share(dropped, taken)) })
	return worst
}

func (d deviceDrops) add(o *observe.Observation) {
	eachDevice(o, func(device, counter string, dropped, _ int64) { d[device+" "+counter] += dropped })
}

// names are the devices that dropped something.
func (d deviceDrops) names() []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(d)) {
		name, _, _ := strings.Cut(key, " ")
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// who says what of this host dropped packets.
func (c *crowding) who(whose string) string {
	var parts []string
	if c.backlog > 0 {
		parts = append(parts, "backlog")
	}
	if names := c.devices.names(); len(names) > 0 {
		parts = append(parts, "device "+strings.Join(names, ", "))
	}
	return whose + " own " + strings.Join(parts, " and ")
}

// sources are the counters that rose, as evidence.
func (c *crowding) sources() []string {
	var out []string
	if c.backlog > 0 {
		out = append(out, fmt.Sprintf("softnet_stat: %s packets dropped, the backlog of a CPU full, all network namespaces of this machine together; one drop is one packet", number(c.backlog)))
	}
	keys := slices.SortedFunc(maps.Keys(c.devices), func(a, b string) int { return cmp.Or(cmp.Compare(c.devices[b], c.devices[a]), cmp.Compare(a, b)) })
	for _, key := range keys {
		device, counter, _ := strings.Cut(key, " ")
		out = append(out, fmt.Sprintf("%s: %s rose by %s, and no tap shows what the device or the queue before it drops", device, counter, number(int(c.devices[key]))))
	}
	return out
}

func (c *crowding) disproof() string {
	var still []string
	if c.backlog > 0 {
		still = append(still, "the second column of /proc/net/softnet_stat")
	}
	for _, name := range c.devices.names() {
		still = append(still, "ip -s -s link show dev "+name)
	}
	verb := " stands still"
	if len(still) > 1 {
		verb = " stand still"
	}
	return "as much missing while " + strings.Join(still, " and ") + verb
}

func (c *crowding) remedy() string {
	var out []string
	if c.backlog > 0 {
		out = append(out, "find who floods this machine (any namespace: a container, a generator of load; sar -n DEV 1); raise net.core.netdev_max_backlog (1,000 by default), spread the load "+
			"over CPUs (RPS, /sys/class/net/DEV/queues/rx-*/rps_cpus; RSS) or keep one for the prober")
	}
	for _, name := range c.devices.names() {
		out = append(out, fmt.Sprintf("look at %s: ethtool -S %s (which of its queues), ethtool -g %s (larger rings), tc -s qdisc show (a shaper, a queue too short), its cable and link", name, name, name))
	}
	return strings.Join(out, "; ") + "; then probe again, or from another vantage"
}
