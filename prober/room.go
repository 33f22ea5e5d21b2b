package prober

import (
	"fmt"
	"net/netip"

	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/internal/neigh"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
)

// room keeps kernel connects of ours from filling this host's neighbour table, which is one for all that it talks to, in all network
// namespaces. Raw shots make no entries.
type room struct {
	// thresh are gc_thresh1 … 3 of a family; not known outside the initial namespace.
	thresh func(v6 bool) [3]hostproc.Setting
	// entries counts the table of a family; known looks for one entry.
	entries func(v6 bool) (int64, bool)
	known   func(ifindex int, addr netip.Addr) bool
}

func newRoom(sys hostproc.Sysctls) room {
	return room{
		thresh: func(v6 bool) [3]hostproc.Setting {
			if v6 {
				return sys.GCThresh6
			}
			return sys.GCThresh
		},
		entries: func(v6 bool) (int64, bool) {
			c, err := hostproc.Read()
			if err != nil {
				return 0, false
			}
			table := "arp_cache"
			if v6 {
				table = "ndisc_cache"
			}
			n, ok := c.Values[table+".entries"]
			return n, ok
		},
		known: func(ifindex int, addr netip.Addr) bool {
			_, ok, err := neigh.Table(ifindex, addr)
			return ok || err != nil
		},
	}
}

// TableError is a neighbour table of this host with too little room for another next hop.
type TableError struct {
	NextHop      netip.Addr
	Entries      int64
	Soft, Hard   int64 // gc_thresh2, gc_thresh3
	NoMoreBeyond int64
}

func (e *TableError) Error() string {
	family := "ipv4"
	if e.NextHop.Is6() {
		family = "ipv6"
	}
	return fmt.Sprintf("%s is not in this host's neighbour table, which holds %d entries: from %d on (halfway from gc_thresh2 %d to gc_thresh3 %d) no connects are made to new next hops; "+
		"raise net.%s.neigh.default.gc_thresh2 and gc_thresh3", e.NextHop, e.Entries, e.NoMoreBeyond, e.Soft, e.Hard, family)
}

// check refuses a next hop that would need a new entry while the table is more than halfway from gc_thresh2, where entries that were not
// used for 5 s go, to gc_thresh3, where none can be made (net/core/neighbour.c neigh_alloc, neigh_forced_gc, 6.18).
func (m *room) check(r rawsock.Route) error {
	if r.Local {
		return nil
	}
	hop := r.NextHop().WithZone("")
	t := m.thresh(hop.Is6())
	if !t[1].Known || !t[2].Known || m.known(r.IfIndex, hop) {
		return nil
	}
	limit := (t[1].Value + t[2].Value) / 2
	n, ok := m.entries(hop.Is6())
	if !ok || n < limit {
		return nil
	}
	return &TableError{NextHop: hop, Entries: n, Soft: t[1].Value, Hard: t[2].Value, NoMoreBeyond: limit}
}
