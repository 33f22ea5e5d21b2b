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
		obs, err := r.try(t.Context(), request{burst: &b, lend: &lending{router: true}})
		must(t, err)
		seen = append(seen, obs)
	}
}

// The queue of a real kernel, whose length is known, at the shortest and longest delays.
func TestNeighborQueueOfARealKernel(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		family, host := "ipv4", serverV4
		if v6 {
			family, host = "ipv6", serverV6
		}
		for _, delay := range []time.Duration{experiment.MinQueueDelay, experiment.MaxQueueDelay} {
			t.Run(fmt.Sprintf("%s, %s", family, delay), func(t *testing.T) {
				t.Parallel()
				r := network(t)
				r.start(t, EngineOptions{})
				for i, length := range []int{1, 3, 4} {
					r.far.Neighbor(family, "unres_qlen_bytes", strconv.Itoa(length*queuedRST))
					must(t, r.Err())
					q := &experiment.Queue{Dst: on(host, 80), Addrs: free(v6, 100+10*i, experiment.QueueContacts), Size: experiment.QueueSize, Delay: delay}
					got := r.measure(t, q)
					if got.State != experiment.QueueMeasured || got.Packets != length || !got.Confirmed {
						t.Errorf("queue of %d: %+v", length, got)
					}
				}
			})
		}
	}
}

// Where a router stands before the target, it is the router that does not know the borrowed address: its queue is measured, whatever the
// target's is.
func TestNeighborQueueOfARouter(t *testing.T) {
	t.Parallel()
	r := network(t)
	const beyond, inner = "10.8.0.2", "10.8.0.1"
	host := r.Host("behind the router")
	near, far := r.Cable(r.server, host)
	near.Addr(inner + "/24")
	far.Addr(beyond+"/24").Neighbor("ipv4", "unres_qlen_bytes", strconv.Itoa(9*queuedRST))
	host.Route("10.0.0.0/24", inner)
	r.server.Forward()
	r.client.Route("10.8.0.0/24", serverV4)
	r.far.Neighbor("ipv4", "unres_qlen_bytes", strconv.Itoa(5*queuedRST))
	r.start(t, EngineOptions{})
	q := &experiment.Queue{Dst: on(beyond, 80), Addrs: free(false, 100, experiment.QueueContacts), Size: 64, Delay: 50 * ms}
	if got := r.measure(t, q); got.State != experiment.QueueMeasured || got.Packets != 5 || !got.Confirmed {
		t.Errorf("router's queue of 5: %+v", got)
	}
}
