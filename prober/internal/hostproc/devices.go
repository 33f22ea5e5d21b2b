package hostproc

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// stacked is how many devices one on top of another are followed down.
const stacked = 4

// ReadDevices adds what the devices of this namespace with these numbers counted, and what those below them did (of a VLAN, a macvlan, an ipvlan):
//
//	link.NAME.rx_missed_errors  what the device had no buffer for: hardware only (struct rtnl_link_stats64, include/uapi/linux/if_link.h, 6.18)
//	link.NAME.rx_over_errors, .rx_fifo_errors  the same, as older drivers count it; a packet may stand in two of them
//	link.NAME.tx_dropped  what it could not send; for a veth, what its peer's backlog or ring had no room for (drivers/net/veth.c veth_xmit, 6.18); for a macvlan or a
//	  VLAN, what the queue of the device below refused (macvlan_start_xmit, vlan_dev_hard_start_xmit)
//	link.NAME.tx_fifo_errors, .tx_carrier_errors, .tx_aborted_errors  frames that were not sent; a frame may stand in two of them
//	link.NAME.rx_dropped  kept, and never held for a loss: protocols that nobody here speaks and frames of foreign VLANs count as well, and what a full backlog drops
//	  stands in softnet_stat, too (net/core/dev.c __netif_receive_skb_core, enqueue_to_backlog, 6.18)
//	link.NAME.rx_packets, .tx_packets
//
// A device that cannot be read is in Missing. What a queueing discipline drops is not asked for: the kernel tells the answer about one to everybody who listens to
// RTNLGRP_TC (net/sched/sch_api.c qdisc_get_notify, 6.18), the one about all costs a message a device.
func (c *Counters) ReadDevices(indexes []int) {
	seen := map[int]bool{}
	for _, i := range indexes {
		for depth := 0; i > 0 && depth < stacked && !seen[i]; depth++ {
			seen[i] = true
			link, err := readLink(i)
			if err != nil {
				c.Missing = append(c.Missing, err.Error())
				break
			}
			c.device(link)
			i = below(link)
		}
	}
}

// below is the device of this namespace that another stands on; 0: none.
func below(link netlink.Link) int {
	a := link.Attrs()
	if a.NetNsID >= 0 || !slices.Contains([]string{"vlan", "macvlan", "ipvlan"}, link.Type()) {
		return 0
	}
	return a.ParentIndex
}

func (c *Counters) device(link netlink.Link) {
	name := link.Attrs().Name
	if s := link.Attrs().Statistics; s != nil {
		for counter, v := range map[string]uint64{
			"rx_packets": s.RxPackets, "tx_packets": s.TxPackets, "rx_dropped": s.RxDropped, "rx_missed_errors": s.RxMissedErrors, "rx_over_errors": s.RxOverErrors,
			"rx_fifo_errors": s.RxFifoErrors, "tx_dropped": s.TxDropped, "tx_fifo_errors": s.TxFifoErrors, "tx_carrier_errors": s.TxCarrierErrors, "tx_aborted_errors": s.TxAbortedErrors,
		} {
			c.Values["link."+name+"."+counter] = int64(v)
		}
	}
}

// readLink asks for one device of this thread's namespace.
func readLink(index int) (netlink.Link, error) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	req.AddData(msg)
	answer, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err == nil && (len(answer) == 0 || len(answer[0]) < unix.SizeofIfInfomsg) {
		err = errors.New("empty answer")
	}
	if err != nil {
		return nil, fmt.Errorf("counters of interface number %d: %w", index, err)
	}
	link, err := netlink.LinkDeserialize(nil, answer[0])
	if err != nil {
		return nil, fmt.Errorf("counters of interface number %d: %w", index, err)
	}
	return link, nil
}
