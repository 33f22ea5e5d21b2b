package plan

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/wire"
)

// Via says who makes the handshake of a shot.
type Via uint8

// A Kernel shot is an ordinary nonblocking connect; a Raw shot is our own SYN on AF_PACKET (or a raw IP socket where the
// destination is local), so that every field, every repeat and every answer is ours.
const (
	ViaUnknown Via = iota
	Kernel
	Raw
)

func (v Via) String() string {
	switch v {
	case Kernel:
		return "kernel"
	case Raw:
		return "raw"
	case ViaUnknown:
	}
	return "unknown"
}

// Reaction is what a raw shot does when a SYN-ACK acknowledges exactly its ISS+1. Any other segment is never answered.
type Reaction uint8

// Reset ends the half-open connection at once (RFC 9293 §3.5.2); Acknowledge completes the handshake and goes on with the
// Exchange; Ignore answers nothing, so that the listener's SYN-ACK repeats can be watched, and resets at the end.
const (
	ReactionUnknown Reaction = iota
	Reset
	Acknowledge
	Ignore
)

func (r Reaction) String() string {
	switch r {
	case Reset:
		return "reset"
	case Acknowledge:
		return "acknowledge"
	case Ignore:
		return "ignore"
	case ReactionUnknown:
	}
	return "unknown"
}

// Closing is how a completed raw connection ends.
type Closing uint8

// Abort sends RST; CloseFirst sends our FIN and follows the close to its end; WaitForPeer waits until the server's FIN,
// acknowledges it and then closes (the order in which the server keeps TIME_WAIT), and aborts at the end of listening.
const (
	ClosingUnknown Closing = iota
	Abort
	CloseFirst
	WaitForPeer
)

func (c Closing) String() string {
	switch c {
	case Abort:
		return "abort"
	case CloseFirst:
		return "close_first"
	case WaitForPeer:
		return "wait_for_peer"
	case ClosingUnknown:
	}
	return "unknown"
}

// Exchange is what follows a completed handshake. For a Raw shot the zero value means: abort at once.
type Exchange struct {
	// Data is sent in one segment after the handshake's ACK; at most one MSS.
	Data []byte
	// DataDelay waits between the ACK and Data.
	DataDelay time.Duration
	// AckDelay waits between the SYN-ACK and the handshake's ACK: the peer takes it for part of the round trip. What its SYN-ACK timer repeats
	// meanwhile is not answered.
	AckDelay time.Duration
	// Alive asks, DataDelay after the ACK and before any data, whether the connection stands: an empty segment one octet back draws an ACK from a
	// connection (RFC 9293 §3.10.7.4), and from a listener that has none an RST.
	Alive bool
	// Withhold acknowledges nothing that the peer sends, neither data nor FIN: what comes before its first repeat is its initial window.
	Withhold bool
	// Reads is after how many octets of the peer's data no more of it is acknowledged, so that a peer that sends by itself stops at what it sends at once;
	// 0: all is.
	Reads int
	// RTO is the wait before Data or a FIN of ours is repeated, doubled each time; 0: 1 s (RFC 6298 §2.1).
	RTO   time.Duration
	Close Closing
	// CloseDelay waits between the last thing sent (or the first answer to Data, whichever is later) and our own close.
	CloseDelay time.Duration
	// Transfer is the data phase of a Kernel shot; nil: none. It is ended by Abort.
	Transfer *Transfer
	// Selective acknowledges a Raw shot's answer with a hole in front; nil: it does not. It is ended by Abort, and needs Data and Withhold.
	Selective *Selective
	// Holed is data of a Raw shot whose beginning is left out, in place of Data; nil: none. It is ended by Abort.
	Holed *Holed
}

// TSClock yields the TSval of a raw shot's segments: Start at the first SYN, then forward at Hz ticks a second.
// Hz 0 holds it still. Without timestamps in the SYN options it is not used.
type TSClock struct {
	Start wire.TSval
	Hz    uint32
	// Turns are added to the TSval of each SYN of the ladder in turn, so that one flow can be asked with TSvals far apart; a SYN beyond
	// their end, and every later segment, follows the clock alone.
	Turns []wire.TSval
}

// At is the TSval d after the first SYN.
func (c TSClock) At(d time.Duration) wire.TSval {
	whole, rest := int64(d/time.Second), int64(d%time.Second)
	return c.Start.Add(whole*int64(c.Hz) + rest*int64(c.Hz)/int64(time.Second))
}

// SYN is the TSval of the n-th SYN of the ladder, counted from 0, which leaves d after the first.
func (c TSClock) SYN(n int, d time.Duration) wire.TSval {
	val := c.At(d)
	if n >= 0 && n < len(c.Turns) {
		val += c.Turns[n]
	}
	return val
}

// Script is everything a shot does but when and on which flow. Kernel shots use only Ladder (as the expectation, read
// from the machine), HopLimit and, of Exchange, Close: Abort (SO_LINGER 0) or CloseFirst, and Transfer.
type Script struct {
	// Options of the SYN, timestamps with a placeholder value that Clock fills in.
	Options wire.Options
	// First are the control bits of what is sent first; 0 means SYN. A bare ACK of no connection draws an RST from any stack it reaches
	// (RFC 9293 §3.10.7.1, §3.10.7.2), full queues or not.
	First wire.Flags
	// Closed says that the port has refused a connection just before: a SYN to it leaves nothing half-open.
	Closed bool
	Clock  TSClock
	Window uint16 // 0: 64,240, as Linux sends (net/ipv4/tcp_output.c tcp_select_initial_window, 6.18)
	// HopLimit 0 means the host's default, 64.
	HopLimit uint8
	ToS      uint8
	Ladder   Ladder
	// Patience is how long a raw shot waits for an answer after its last SYN; 0: until listening ends. A burst of which nothing else is open ends then.
	Patience time.Duration
	OnSYNACK Reaction
	// Persist goes on along the ladder after a SYN-ACK was reset: the same flow is asked again and again, each TSval newer than the last.
	Persist bool
	// Undeterred goes on along the ladder as well after an RST or an ICMP error refused a SYN.
	Undeterred bool
	Then       Exchange
}

// FirstAck is the acknowledgment number of a first segment that has the ACK bit (Script.First): an RST that it draws has this as its
// sequence number (RFC 9293 §3.5.2).
func FirstAck(iss wire.Seq) wire.Seq { return iss }

// Arm is a named Script: the shots of one arm are alike but for flow and time.
type Arm struct {
	Name   string
	Via    Via
	Script Script
}

// Shot is one planned handshake. A source port of 0 asks the engine for one that this destination has not seen within
// PortQuarantine; an unspecified source address asks for the route's own.
type Shot struct {
	Offset time.Duration // from the start of the burst
	Arm    int           // index into Burst.Arms
	Flow   wire.Flow
	// Again goes on with the flow of an earlier raw shot that nobody answered: Flow.Src names its port, and the SYN keeps its initial sequence
	// number, so that it is one more repeat to everybody on the way. Where that flow is not known any more, nothing is sent.
	Again bool
	// ISS begins the flow of an Again shot, or of one whose port the plan names, anew, in place of the earlier initial sequence number: one that both sides have closed can be asked
	// what its TIME_WAIT makes of a new SYN. nil: the number is kept.
	ISS *wire.Seq
	// Acks are what the segments of the ladder acknowledge in turn, where what is sent first has the ACK bit (Script.First): the third segment of an
	// earlier handshake once more, and others beside it, each with Then.Data. An RST ends nothing: its sequence number tells which of them drew it. The plan names the
	// flow's port, and the number of its first octet as ISS; in the end the flow is reset. nil: FirstAck.
	Acks []wire.Seq
}

// Kind names an experiment's bursts.
type Kind string

// The kinds of burst.
const (
	KindConnect   Kind = "connect"   // kernel connects
	KindSYN       Kind = "syn"       // raw SYNs on a ladder, half-open
	KindParity    Kind = "parity"    // the kernel's way out against the raw template's
	KindDirection Kind = "direction" // single SYNs, never repeated, listened to for seconds
	KindSticky    Kind = "sticky"    // many flows, each SYN repeated fast: does loss keep to a flow?
	KindQuadrants Kind = "quadrants" // TSvals in four quadrants of the circle, interleaved
	KindOracle    Kind = "oracle"    // search of a remembered TSval
	KindFollow    Kind = "follow"    // the same TSval looked for again, later
	KindSides     Kind = "sides"     // TSvals drawn by lot, older and newer than one that may be remembered
	KindCircle    Kind = "circle"    // TSvals evenly around the circle, all at one instant
	KindPlain     Kind = "plain"     // SYNs with and without timestamps, interleaved
	KindLook      Kind = "look"      // SYNs with another hop limit, and without timestamps, interleaved with usual ones
	KindVolley    Kind = "volley"    // SYNs at one instant, reset as they are answered: do as many fit that never become connections?
	KindServed    Kind = "served"    // handshakes completed by us: is the connection really there?
	KindData      Kind = "data"      // handshake, then a request
	KindECN       Kind = "ecn"       // SYNs that ask for ECN and SYNs that do not, interleaved
	KindPaced     Kind = "paced"     // single SYNs far apart
	KindRate      Kind = "rate"      // single SYNs at rising rates
	KindScope     Kind = "scope"     // a steady pace after a rest, from two addresses in turn where there are two
	KindOther     Kind = "other"     // another port or source beside the target's
	KindReuse     Kind = "reuse"     // a 4-tuple used again on purpose
	KindSizes     Kind = "sizes"     // segments of several sizes after the handshake
	KindWalk      Kind = "walk"      // SYNs of limited hop count
	KindPrime     Kind = "prime"     // connections that the server closes first, with a TSval of ours
	KindFlip      Kind = "flip"      // TSvals one tick apart around a primed one
	KindBare      Kind = "bare"      // after a prime: SYNs without timestamps beside such with the primed one
	KindHeal      Kind = "heal"      // after a prime and a wait: what was refused, asked again
	KindSurvey    Kind = "survey"    // other traffic from our own address to the target, only listened to
	KindStateful  Kind = "stateful"  // SYN-ACKs left unanswered: does the listener repeat them?
	KindResolve   Kind = "resolve"   // kernel connects after the wire was asked for the next hop
	KindEven      Kind = "even"      // each flow asked many times over: is loss alike on all?
	KindSource    Kind = "source"    // other source addresses of this host beside the usual one
	KindHold      Kind = "hold"      // connections held open, then new ones beside them
	KindFreed     Kind = "freed"     // one SYN again and again after that: is there room once more?
	KindWatch     Kind = "watch"     // single SYNs over seconds, with a TSval that is served
	KindCheck     Kind = "check"     // one ordinary connect, as a health check makes it
	KindLate      Kind = "late"      // SYNs without an answer, left alone for long: who resets them, and when?
	KindCells     Kind = "cells"     // each flow asked over and over, with TSvals from all four quadrants
	KindAgain     Kind = "again"     // flows that nobody answered asked once more, beside fresh ones: do they stay dead?
	KindStray     Kind = "stray"     // bare ACKs of no connection: is there a stack behind the port?
	KindPing      Kind = "ping"      // ICMP echo requests beside single SYNs: is anything up at the address?
	KindPorts     Kind = "ports"     // single SYNs to several ports, and bare ACKs: which of them draw an RST?
	KindQueue     Kind = "queue"     // first contact from a borrowed address: how many answers wait for its MAC?
	KindKnown     Kind = "known"     // the same again, now that the borrowed address is known
	KindBacklog   Kind = "backlog"   // many SYN-ACKs left unanswered: how many requests does the listener keep?
	KindProfile   Kind = "profile"   // what a host is like: options, times, closed ports
	KindTransfer  Kind = "transfer"  // a real data phase on kernel connections
	KindGentle    Kind = "gentle"    // the same with little in flight: is loss our own doing?
	KindSmall     Kind = "small"     // the same in small segments: is size what does not pass?
	KindHoled     Kind = "holed"     // data whose beginning never leaves: what arrives, and what of its acknowledgments comes back?
	KindIdle      Kind = "idle"      // connections completed and left silent for seconds, then a line: was the listener waiting for data?
)

// NeighborAction is what a NeighborStep does.
type NeighborAction uint8

// Unused asks the wire once for Addr itself, which nobody should have: who answers it answers for others as well (proxy ARP). Ask sends one request for the next hop of Addr, known or not, and awaits the answer. Warm resolves it before the burst; Forget deletes that one entry (needs CAP_NET_ADMIN and the caller's
// opt-in).
const (
	NeighborUnknown NeighborAction = iota
	Warm
	Forget
	Ask
	Unused
)

// NeighborStep prepares the neighbour entry that a burst will meet.
type NeighborStep struct {
	Action NeighborAction
	Addr   netip.Addr
}

// Borrow is an address of the target's subnet that nobody has, and from which a burst is sent. Nobody but a responder of ours
// answers for it, and only while the burst lasts; no address is configured on this host.
type Borrow struct {
	Addr netip.Addr
	// Delay is how long the answer to the far side's ARP request or neighbor solicitation waits: counted from the request, and from the
	// burst's last first segment where that leaves later, so that all of the burst is under way before the answer.
	Delay time.Duration
}

// Burst is one round of concurrent shots and how long to listen after the last of them has fired.
type Burst struct {
	Label string // shown to people and in evidence; never judged
	// Kind is which experiment the burst belongs to, so that rules know what the arms were for.
	Kind    Kind
	Prepare []NeighborStep
	// Borrow is where the shots come from, in place of the flows' own source address; nil: nowhere special.
	Borrow *Borrow
	Arms   []Arm
	Shots  []Shot
	// Pings are the echo requests that are sent beside the shots.
	Pings []Ping
	// Listen is how long the burst lasts after the first SYN of its last shot: repeats on the ladder fall within it, and what has not
	// been answered by then has timed out. A burst ends early when every shot is settled, unless Linger.
	Listen time.Duration
	// Enough ends the burst once so many of its raw connections were closed by both sides, whatever the others do; 0: they are all waited for.
	Enough int
	// Linger keeps listening the full time even when every shot is settled: for late repeats and late RSTs.
	Linger bool
	// Trail keeps listening after the last shot is settled, for as long again as that took, within Listen: for what answers our last
	// segments. Connections are ended at once all the same, so that no server closes first. See TrailTime.
	Trail bool
}

// TrailTime is how long a burst with Trail listens on when its shots took so long: 50 ms at least, 250 ms at most.
func TrailTime(took time.Duration) time.Duration {
	return min(max(took, 50*time.Millisecond), 250*time.Millisecond)
}

// Span is the longest time from the start of the burst to its end.
func (b *Burst) Span() time.Duration {
	var last time.Duration
	for i := range b.Shots {
		last = max(last, b.Shots[i].Offset)
	}
	for i := range b.Pings {
		last = max(last, b.Pings[i].Offset)
	}
	return last + b.Listen
}
