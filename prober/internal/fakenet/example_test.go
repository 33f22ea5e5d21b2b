package fakenet_test

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/internal/fakenet"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Two faults at once: the first SYN of every flow is lost on the way to a server whose SYN-ACKs are late.
func ExampleServer() {
	w, server := fakenet.Server(1, fakenet.Drop(fakenet.Nth(fakenet.SYNs, 1)))
	server.Ports[80].Slow = 200 * time.Millisecond
	o := w.Run(plan.Burst{
		Kind: plan.KindConnect, Listen: 5 * time.Second,
		Arms:  []plan.Arm{{Name: "kernel", Via: plan.Kernel, Script: plan.Script{Ladder: w.Client.Ladder}}},
		Shots: []plan.Shot{{Flow: wire.Flow{Dst: w.Target}}},
	})
	a := o.Attempts[0]
	fmt.Println(a.Outcome, "after", a.Lost, "lost SYN, in", a.Handshake.Round(100*time.Millisecond))
	// Output: accepted after 1 lost SYN, in 1.2s
}
