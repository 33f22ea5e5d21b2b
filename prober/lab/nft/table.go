package nft

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Table is a named set of chains of one family.
type Table struct {
	Family Family
	Name   string
	Chains []Chain
}

// Family is the kind of packet a table sees.
type Family nftables.TableFamily

// The families.
const (
	IPv4   = Family(nftables.TableFamilyIPv4)
	IPv6   = Family(nftables.TableFamilyIPv6)
	ARP    = Family(nftables.TableFamilyARP)
	Netdev = Family(nftables.TableFamilyNetdev)
)

// Chain is the rules of one hook; Device only for Egress and Ingress.
type Chain struct {
	Hook   Hook
	Device string
	Rules  []Rule
}

// Rule is a list of matches that ends with an action. All must hold, left to right.
type Rule []Part

// Part is one match or one action.
type Part []expr.Any

// Hook is where a chain sits and what it may do there.
type Hook uint8

// The hooks. DNAT and SNAT see only the first packet of a connection (nf_nat_inet_fn, 6.18); Raw comes before connection
// tracking.
const (
	HookUnknown Hook = iota
	Raw              // prerouting, before connection tracking
	Prerouting
	DNAT       // prerouting, nat
	OutputDNAT // locally made packets, nat
	Input
	Forward
	Output
	Postrouting
	SNAT    // postrouting, nat
	Egress  // what a device is about to send, all protocols; needs a Netdev table
	Ingress // what a device has received, all protocols, after taps and before a bridge; needs a Netdev table
)

type place struct {
	name string
	typ  nftables.ChainType
	hook *nftables.ChainHook
	prio *nftables.ChainPriority
}

func (h Hook) place() place {
	switch h {
	case Raw:
		return place{"raw", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw}
	case Prerouting:
		return place{"prerouting", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityMangle}
	case DNAT:
		return place{"dnat", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest}
	case OutputDNAT:
		return place{"output_dnat", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest}
	case Input:
		return place{"input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter}
	case Forward:
		return place{"forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter}
	case Output:
		return place{"output", nftables.ChainTypeFilter, nftables.ChainHookOutput, nftables.ChainPriorityFilter}
	case Postrouting:
		return place{"postrouting", nftables.ChainTypeFilter, nftables.ChainHookPostrouting, nftables.ChainPriorityMangle}
	case SNAT:
		return place{"snat", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource}
	case Egress:
		return place{"egress", nftables.ChainTypeFilter, nftables.ChainHookEgress, nftables.ChainPriorityFilter}
	case Ingress:
		return place{"ingress", nftables.ChainTypeFilter, nftables.ChainHookIngress, nftables.ChainPriorityFilter}
	case HookUnknown:
	}
	panic("nft: a chain needs a hook")
}

// arpHook is the same for the arp family, which numbers its hooks otherwise: NF_ARP_IN 0, NF_ARP_OUT 1
// (include/uapi/linux/netfilter_arp.h, 6.18).
func (h Hook) arpHook() *nftables.ChainHook {
	if h == Output {
		return nftables.ChainHookRef(1)
	}
	return nftables.ChainHookRef(0)
}

// Install queues the whole table on c, in place of an older one of that name; c.Flush makes it real in one step.
func (t Table) Install(c *nftables.Conn) {
	table := &nftables.Table{Family: nftables.TableFamily(t.Family), Name: t.Name}
	c.AddTable(table) // so that the deletion finds one
	c.DelTable(table)
	c.AddTable(table)
	for _, ch := range t.Chains {
		p := ch.Hook.place()
		hook := p.hook
		if t.Family == ARP {
			hook = ch.Hook.arpHook()
		}
		chain := c.AddChain(&nftables.Chain{
			Name: p.name + ch.Device, Table: table, Type: p.typ, Hooknum: hook, Priority: p.prio, Device: ch.Device,
		})
		for _, r := range ch.Rules {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: r.exprs()})
		}
	}
}

func (r Rule) exprs() []expr.Any {
	var all []expr.Any
	for _, p := range r {
		all = append(all, p...)
	}
	return all
}
