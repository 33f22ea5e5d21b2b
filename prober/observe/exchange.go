package observe

import (
	"net/netip"
	"time"
)

// Exchange is one question for a link address, as often as it was repeated, and who answered it.
type Exchange struct {
	Asker, Asked netip.Addr // Asker is invalid where it gave no address (an RFC 5227 probe, duplicate address detection)
	Outgoing     bool       // this host asked
	First, Last  time.Time  // of its requests
	Requests     int
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
			k := key{named(e.Sender), e.Target, e.Outgoing}
			x, ok := open[k]
			if !ok || len(out[x].Claims) > 0 {
				open[k] = len(out)
				out = append(out, Exchange{Asker: k.asker, Asked: e.Target, Outgoing: e.Outgoing, First: e.At, Last: e.At, Requests: 1})
				continue
			}
			out[x].Last = e.At
			out[x].Requests++
		case NeighborReply:
			x, ok := open[key{named(e.Target), e.Sender, !e.Outgoing}]
			if !ok || len(out[x].Claims) > 0 && e.At.Sub(out[x].Claims[0].At) > claimWait || len(out[x].Claims) >= maxClaims {
				continue
			}
			out[x].Claims = append(out[x].Claims, Claim{At: e.At, MAC: e.SenderMAC, FrameMAC: e.FrameMAC})
		case NeighborGratuitous, NeighborUnknown:
		}
	}
	return out
}

// named is an address, or the zero value for one that says nobody.
func named(a netip.Addr) netip.Addr {
	if a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}
	}
	return a
}
