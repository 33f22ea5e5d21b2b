package observe

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Exchange is one question for a link address, as often as it was repeated, and who answered it.
type Exchange struct {
	Asker, Asked netip.Addr // Asker is invalid where it gave no address (an RFC 5227 probe, duplicate address detection)
	AskerMAC     string     // the Ethernet source of the first request; "aa:bb:…" or empty
	Outgoing     bool       // this host asked
	First, Last  time.Time  // of its requests
	Requests     int
	Unicast      bool    // each request went to one host's MAC: the asker knew him, verified that, and kept no packet waiting
	Claims       []Claim // the answers, in the order in which they came
}

// Claim is one answer: who says that the address is his.
type Claim struct {
	At time.Time
	// MAC as the answer says, FrameMAC the Ethernet source that it came from; "aa:bb:…" or empty.
	MAC, FrameMAC string
}

// Answered is when the first answer came; the zero time where none did.
func (x *Exchange) Answered() time.Time {
	if len(x.Claims) == 0 {
		return time.Time{}
	}
	return x.Claims[0].At
}

// Took is how long the asker waited from its first request to the first answer; false where there was none.
func (x *Exchange) Took() (time.Duration, bool) {
	if len(x.Claims) == 0 {
		return 0, false
	}
	return max(x.Claims[0].At.Sub(x.First), 0), true
}

// claimWait is how long after the first answer another still counts as one to the same question. Two hosts with one address answer
// within the jitter of a link.
const claimWait = time.Second

// maxClaims bounds what a hostile link can make one question remember.
const maxClaims = 64

// Exchanges pairs the requests among ARP and ND frames with their answers, in the order of the first requests. A request after an answer
// begins a new exchange; announcements belong to none.
func Exchanges(events []NeighborEvent) []Exchange {
	type key struct {
		asker, asked netip.Addr
		outgoing     bool
	}
	var out []Exchange
	open := map[key]int{}
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case NeighborRequest:
			if e.Sender.Is4() {
				teach(out, e)
			}
			k := key{named(e.Sender), e.Target, e.Outgoing}
			x, ok := open[k]
			if !ok || len(out[x].Claims) > 0 {
				open[k] = len(out)
				out = append(out, Exchange{Asker: k.asker, Asked: e.Target, AskerMAC: e.FrameMAC, Outgoing: e.Outgoing, First: e.At, Last: e.At, Requests: 1, Unicast: e.Unicast})
				continue
			}
			out[x].Last = e.At
			out[x].Requests++
			out[x].Unicast = out[x].Unicast && e.Unicast
		case NeighborReply:
			x, ok := open[key{named(e.Target), e.Sender, !e.Outgoing}]
			if !ok || len(out[x].Claims) > 0 && e.At.Sub(out[x].Claims[0].At) > claimWait || len(out[x].Claims) >= maxClaims {
				continue
			}
			out[x].Claims = append(out[x].Claims, Claim{At: e.At, MAC: e.SenderMAC, FrameMAC: e.FrameMAC})
		case NeighborGratuitous:
			teach(out, e)
		case NeighborUnknown:
		}
	}
	return out
}

// teach ends the questions of the other side for an address that an ARP request or an announcement comes from: whoever hears it, and is
// asking, has its answer (net/ipv4/arp.c arp_process, 6.18, updates an entry that it has from every sender; RFC 4861 §7.2.5).
func teach(list []Exchange, e *NeighborEvent) {
	for i := range list {
		x := &list[i]
		if x.Outgoing != e.Outgoing && x.Asked == e.Sender && len(x.Claims) == 0 {
			x.Claims = append(x.Claims, Claim{At: e.At, MAC: e.SenderMAC, FrameMAC: e.FrameMAC})
		}
	}
}

// Awaits reports whether an exchange is about those that the burst has to do with: this host's own questions for its next hop and
// targets, and questions for this host by its targets, its next hop, and whoever delivered what came. Others of the segment ask as
// well, and that says nothing of this burst.
func (o *Observation) Awaits(x *Exchange) bool {
	if x.Outgoing {
		return o.Asks(x.Asked)
	}
	if !x.Asker.IsValid() || o.Asks(x.Asker) {
		return true
	}
	mac, err := wire.ParseMAC(x.AskerMAC)
	return err == nil && slices.Contains(o.Deliverers, mac)
}

// named is an address, or the zero value for one that says nobody.
func named(a netip.Addr) netip.Addr {
	if a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}
	}
	return a
}
