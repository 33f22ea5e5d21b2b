package retrans

import (
	"cmp"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Known is what is known of a connection beside its segments.
type Known struct {
	// MSS is the most payload of one of our segments (TCP_INFO.snd_mss); 0: from the SYNs.
	MSS int
	// RTO is the smallest retransmission timeout of ours that was seen (TCP_INFO.rto); 0: 200 ms, the least that Linux takes by default
	// (include/net/tcp.h TCP_RTO_MIN, 6.18; less by net.ipv4.tcp_rto_min_us since 6.11, or by route).
	RTO time.Duration
}

// minRTO is TCP_RTO_MIN.
const minRTO = 200 * time.Millisecond

// Report is what the segments of one connection say.
type Report struct {
	Sent     Sent
	Received Received
	// RTT is the least round trip seen: of the handshake, or of data and its acknowledgment. 0: none was seen.
	RTT time.Duration
	// MSS that segments are counted by, each way.
	SentMSS, ReceivedMSS int
	// SACK: both sides permit it.
	SACK bool
	// Seen is how many segments there were, both ways.
	Seen int
}

// Read reads the segments of one connection, in the order of the tap.
func Read(list []Segment, k Known) Report {
	rep := opening(list, k)
	floor := cmp.Or(k.RTO, minRTO)
	floor -= floor / 10
	s := sender{mss: rep.SentMSS, floor: floor, rtt: rep.RTT, sack: rep.SACK}
	r := receiver{mss: rep.ReceivedMSS, floor: minRTO - minRTO/10, rtt: rep.RTT}
	r.By = order(list, rep.ReceivedMSS)
	for i := range list {
		g := &list[i]
		switch {
		case g.Flags&wire.SYN != 0 && g.Outgoing:
			s.begin(g.Seq + 1)
		case g.Flags&wire.SYN != 0:
			r.begin(g.Seq + 1)
		case g.Outgoing:
			s.out(g)
		default:
			s.in(g)
			r.in(g)
		}
	}
	s.Lossy, r.Lossy, r.Holes = s.moments(), r.moments(), len(r.holes)
	rep.Sent, rep.Received = s.Sent, r.Received
	return rep
}

// opening reads the handshake, and the round trip.
func opening(list []Segment, k Known) Report {
	rep := Report{SACK: true, Seen: len(list)}
	mss := [2]int{536, 536} // RFC 9293 §3.7.1, where no SYN is seen; the largest payload raises it
	var syn *Segment
	syns := 0
	options := [2]int{}
	for i := range list {
		g := &list[i]
		way := way(g)
		if g.Flags&wire.SYN == 0 {
			continue
		}
		rep.SACK = rep.SACK && g.SACKPermitted
		// What a side announces is what the other may send (RFC 9293 §3.7.1), timestamps of 12 octets included in it (RFC 6691 §3.1).
		if g.MSS > 0 {
			mss[1-way] = int(g.MSS)
		}
		if g.HasTS {
			options[way]++
		}
		switch {
		case way == 0:
			syn, syns = g, syns+1
		case syn != nil && syns == 1 && rep.RTT == 0:
			rep.RTT = g.At.Sub(syn.At)
		}
	}
	for w := range mss {
		if options[0] > 0 && options[1] > 0 {
			mss[w] -= 12
		}
	}
	if k.MSS > 0 {
		mss[0] = k.MSS
	}
	rep.SentMSS, rep.ReceivedMSS = max(mss[0], 1), max(mss[1], 1)
	if rtt := dataRTT(list); rtt > 0 && (rep.RTT == 0 || rtt < rep.RTT) {
		rep.RTT = rtt
	}
	return rep
}

func way(g *Segment) int {
	if g.Outgoing {
		return 0
	}
	return 1
}

// dataRTT is the least time from data that left once to an acknowledgment that ends with it; 0: none was seen.
func dataRTT(list []Segment) time.Duration {
	left := map[wire.Seq]time.Time{}
	var nxt wire.Seq
	var least time.Duration
	for i := range list {
		g := &list[i]
		switch {
		case g.Outgoing && g.Length > 0 && (len(left) == 0 || nxt.Before(g.end())):
			nxt = g.end()
			left[nxt] = g.At
		case g.Outgoing && g.Length > 0:
			delete(left, g.end()) // it left twice: RFC 6298 §3, Karn
		case !g.Outgoing && g.Flags&wire.ACK != 0:
			at, ok := left[g.Ack]
			if rtt := g.At.Sub(at); ok && rtt > 0 && (least == 0 || rtt < least) {
				least = rtt
			}
			delete(left, g.Ack)
		}
	}
	return least
}

// fewIDs is how many identifications must follow each other before they are believed.
const fewIDs = 8

// order finds what tells the order of sending of what arrives: identifications that rise by the segments of the frame before, wherever the
// sequence numbers follow each other.
func order(list []Segment, mss int) Key {
	var last *Segment
	n, good, stamps, data := 0, 0, 0, 0
	for i := range list {
		g := &list[i]
		if g.Outgoing || g.Flags&(wire.SYN|wire.RST) != 0 {
			continue
		}
		if g.Length > 0 {
			data++
			if g.HasTS {
				stamps++
			}
		}
		if last != nil && g.Length > 0 && last.Length > 0 && last.end() == g.Seq {
			n++
			if d := int16(g.ID - last.ID); d > 0 && int(d) <= 2*max(1, (last.Length+mss-1)/mss) {
				good++
			}
		}
		last = g
	}
	switch {
	case n >= fewIDs && good*10 >= n*9:
		return ByID
	case data > 0 && stamps == data:
		return ByTimestamp
	}
	return ByTime
}
