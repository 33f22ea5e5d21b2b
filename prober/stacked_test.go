package prober

import (
	"fmt"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// stack puts a device on top of the client's, with the address 10.4.0.1/24.
func stack(base *topo.Link, upper netlink.Link, enslave bool) error {
	lower, err := netlink.LinkByName(base.Name)
	if err != nil {
		return err
	}
	if !enslave {
		upper.Attrs().ParentIndex = lower.Attrs().Index
	}
	if err := netlink.LinkAdd(upper); err != nil {
		return fmt.Errorf("add %s: %w", upper.Attrs().Name, err)
	}
	if enslave {
		if err := netlink.LinkSetMaster(lower, upper); err != nil {
			return err
		}
	}
	a, err := netlink.ParseAddr("10.4.0.1/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(upper, a); err != nil {
		return err
	}
	return netlink.LinkSetUp(upper)
}

// A bridge or a macvlan shows every frame twice, under its own index and that of the device below: each segment and each ARP frame counts once.
func TestFramesOnStackedDevicesCountOnce(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func(t *testing.T, r *rig){
		"bridge": func(t *testing.T, r *rig) {
			must(t, r.client.Do(func() error {
				return stack(r.near, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "upper0"}}, true)
			}))
			r.far.Addr("10.4.0.2/24")
		},
		"macvlan": func(t *testing.T, r *rig) {
			must(t, r.client.Do(func() error {
				return stack(r.near, &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "upper0"}, Mode: netlink.MACVLAN_MODE_BRIDGE}, false)
			}))
			r.far.Addr("10.4.0.2/24")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := network(t)
			must(t, r.Err())
			build(t, r)
			r.server.Serve(echoOn(80))
			r.start(t, EngineOptions{})
			first := r.burst(t, to(2*time.Second, 2, []plan.Arm{kernelArm(plan.Single())}, on("10.4.0.2", 80)))
			obs := r.burst(t, to(2*time.Second, 4, []plan.Arm{kernelArm(plan.Single()), rawArm(plan.Single())}, on("10.4.0.2", 80)))
			if obs.Parity.State != observe.ParitySame {
				t.Errorf("parity %s %q", obs.Parity.State, obs.Parity.Why)
			}
			for i := range obs.Attempts {
				a := &obs.Attempts[i]
				synAcks := 0
				for k := range a.Answers {
					if a.Answers[k].Kind == observe.SYNACK {
						synAcks++
					}
				}
				if a.Outcome != observe.Accepted || len(a.SYNs) != 1 || synAcks != 1 || a.Unseen != 0 || a.Retransmissions != 0 {
					t.Errorf("%s %d: %s %q, %d SYNs, %d SYN-ACKs, unseen %d, %d repeats", a.Arm, i, a.Outcome, a.Reason, len(a.SYNs), synAcks, a.Unseen, a.Retransmissions)
				}
			}
			requests := 0
			for _, ev := range first.Neighbor {
				if ev.Outgoing && ev.Kind == observe.NeighborRequest && ev.Target == addr("10.4.0.2") {
					requests++
				}
			}
			if requests != 1 {
				t.Errorf("%d requests of ours for the next hop at first contact: %+v", requests, first.Neighbor)
			}
		})
	}
}
