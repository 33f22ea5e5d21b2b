package prober

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// queuedRST is the truesize of an RST in a neighbour queue, measured on 6.18.
const queuedRST = 832

// free returns addresses of the rig's subnet that nobody has.
func free(v6 bool, first, n int) (list []netip.Addr) {
	for i := range n {
		a := fmt.Sprintf("10.0.0.%d", first+i)
		if v6 {
			a = fmt.Sprintf("fd00::%x", 0x1000+first+i)
		}
		list = append(list, addr(a))
	}
	return list
}

// measure runs a measurement to its end.
func (r *rig) measure(t testing.TB, q *experiment.Queue) experiment.QueueResult {
	t.Helper()
	q.Rand = rand.New(rand.NewPCG(1, 2))
	q.MSS, q.HalfOpen = 1400, 16
	var seen []observe.Observation
	for {
		b, more := q.Next(seen)
		if !more {
			return q.Result(seen)
		}
		obs, err := r.try(t.Context(), request{burst: &b, lend: &lending{}})
		must(t, err)
		seen = append(seen, obs)
	}
}

// The queue of a real kernel, whose length is known.
func TestNeighborQueueOfARealKernel(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		r := network(t)
		r.start(t, EngineOptions{})
		family, host := "ipv4", serverV4
		if v6 {
			family, host = "ipv6", serverV6
		}
		next := 100
		for _, length := range []int{1, 3, 4, 5, 17, 78, 256} {
			for _, delay := range []time.Duration{ms, 20 * ms, 900 * ms} {
				r.far.Neighbor(family, "unres_qlen_bytes", strconv.Itoa(length*queuedRST))
				must(t, r.Err())
				q := &experiment.Queue{Dst: on(host, 80), Addrs: free(v6, next, 2), Size: experiment.QueueSize, Delay: delay}
				next += 2
				got := r.measure(t, q)
				if got.State != experiment.QueueMeasured || got.Packets != length || !got.Confirmed {
					t.Errorf("%s, queue of %d, delay %s: %+v", family, length, delay, got)
				}
			}
		}
	}
}
