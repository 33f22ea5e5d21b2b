package prober

import "github.com/vipprobe/vipprobe/prober/internal/rawsock"

// localGun sends to this host's own addresses, which no packet socket reaches.
type localGun struct {
	sender  rawsock.Sender
	slots   [rawsock.VolleySize][rawsock.SlotSize]byte
	packets []rawsock.Packet
	bad     []int
}

var _ volley = (*localGun)(nil)

func newLocalGun(r rawsock.Route) (*localGun, error) {
	s, err := rawsock.NewSender(r)
	if err != nil {
		return nil, err
	}
	return &localGun{sender: s}, nil
}

// Slot implements gun.
func (g *localGun) Slot() []byte { return g.slots[len(g.packets)][:] }

// Add implements gun.
func (g *localGun) Add(n int) int {
	slot := len(g.packets)
	g.packets = append(g.packets, rawsock.Packet{Data: g.slots[slot][rawsock.LinkRoom : rawsock.LinkRoom+n]})
	return slot
}

// Full implements gun.
func (g *localGun) Full() bool { return len(g.packets) == len(g.slots) }

// Len implements gun.
func (g *localGun) Len() int { return len(g.packets) }

// Flush implements gun.
func (g *localGun) Flush() (bad []int, err error) {
	_, err = g.sender.Send(g.packets)
	g.bad = g.bad[:0]
	for i := range g.packets {
		if g.packets[i].Err != 0 {
			g.bad = append(g.bad, i)
		}
	}
	g.packets = g.packets[:0]
	return g.bad, err
}

// Close implements gun.
func (g *localGun) Close() error { return g.sender.Close() }

// Bypass implements volley: what stays on this host has no queue to go past.
func (g *localGun) Bypass() error { return nil }
