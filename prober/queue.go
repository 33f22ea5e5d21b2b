package prober

import (
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/diagnose"
)

// queueTowards is how many SYNs this host keeps for the next hop towards an address while it is not resolved; the zero value where that is
// not known or nothing is resolved there.
func (e *engine) queueTowards(dst netip.Addr, m Module) diagnose.Queue {
	p, err := e.paths.route(dst, m.Source, m.Interface, e.opts.AllowForeignSource)
	if err != nil || p.route.Local {
		return diagnose.Queue{}
	}
	ifc, ok := e.host.Sysctls.Interfaces[p.route.IfName]
	if !ok {
		return diagnose.Queue{}
	}
	n := ifc.Neigh4
	if dst.Is6() && !dst.Is4In6() {
		n = ifc.Neigh6
	}
	switch {
	case n.UnresQlenBytes.Known:
		return diagnose.QueueOfBytes(n.UnresQlenBytes.Value)
	case n.UnresQlen.Known:
		return diagnose.QueueOfPackets(n.UnresQlen.Value)
	}
	return diagnose.Queue{}
}

// The most connects that a burst is raised to by itself, and how many more than the queue holds make the losses stand out.
const (
	mostSized   = 32
	overTheEdge = 6
)

// overflowing is how many connects at once are sure to overflow a queue; 0 where that is not known or too many.
func overflowing(q diagnose.Queue) int {
	if n := q.Most + overTheEdge; q.Known() && n <= mostSized {
		return n
	}
	return 0
}
