package view_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/wire"
)

func TestQueueJSON(t *testing.T) {
	free := netip.MustParseAddr("192.0.2.77")
	r := prober.Round{Target: "192.0.2.10:443", Addr: netip.AddrPortFrom(vip, 443), Module: "neighbor-queue", Kind: prober.KindNeighborQueue, Started: at(0),
		Duration: 4 * time.Second, Success: true, Queue: &prober.NeighborQueue{
			QueueResult: experiment.QueueResult{State: experiment.QueueMeasured, Packets: 3, Low: 3, High: 3, Confirmed: true, Chance: 4.4e-12,
				Method: experiment.ClosedPort, Port: 9, Delay: 300 * time.Millisecond, Control: 320,
				Contacts: []experiment.QueueContact{
					{Addr: free, Reading: experiment.QueueTail, Sent: 320, Answered: 3, First: 317, Asked: 30 * time.Microsecond, Told: 301 * time.Millisecond, Questions: 1},
					{Addr: free.Next(), Reading: experiment.QueueNeverAsked, Sent: 64},
				},
				Fits: []experiment.QueueFit{{Setting: "unres_qlen", Low: 3, High: 3, Meaning: "default before 3.3"},
					{Setting: "unres_qlen_bytes", Low: 2496, High: 3327, Truesize: 832, Meaning: "with packets of 832 octets"}}},
			Router: router, MAC: wire.MAC{2, 0, 0, 0, 0, 1}, Taken: []prober.TakenAddress{{Addr: self, By: wire.MAC{2, 0, 0, 0, 0, 9}}}}}
	unmeasured := r
	unmeasured.Success, unmeasured.Why = false, "a router stands before the target"
	unmeasured.Queue = &prober.NeighborQueue{QueueResult: experiment.QueueResult{State: experiment.QueueNotApplicable, Why: unmeasured.Why}}
	golden(t, "testdata/queue.json", view.NewDocument([]prober.Round{r, unmeasured}, nil))
}
