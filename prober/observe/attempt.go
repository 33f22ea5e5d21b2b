package observe

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Outcome is how an attempt ended.
type Outcome uint8

// The outcomes. Reset is an RST after the handshake had begun to succeed (or to a kernel connect that had been accepted);
// Refused is an RST to the SYN. LocalDrop is a SYN that never left this host; NotSent was never handed to the kernel.
const (
	OutcomeUnknown Outcome = iota
	Accepted
	Refused
	Reset
	TimedOut
	Unreachable
	NotSent
	LocalDrop
)

// Outcomes lists every outcome in the order of every face.
func Outcomes() []Outcome {
	return []Outcome{Accepted, Refused, Reset, TimedOut, Unreachable, NotSent, LocalDrop}
}

func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Refused:
		return "refused"
	case Reset:
		return "reset"
	case TimedOut:
		return "timed_out"
	case Unreachable:
		return "unreachable"
	case NotSent:
		return "not_sent"
	case LocalDrop:
		return "local_drop"
	case OutcomeUnknown:
	}
	return "unknown"
}

// AnswerKind is what came back on a flow.
type AnswerKind uint8

// The kinds of answer. BareACK is an ACK without SYN to a SYN (a challenge ACK or an old connection's ACK: RFC 5961 §4,
// RFC 9293 §3.10.7.4); SYNACKStray is a SYN-ACK whose acknowledgment is none of our ISS+1.
const (
	AnswerUnknown AnswerKind = iota
	SYNACK
	SYNACKStray
	RST
	BareACK
	Data
	FIN
	ICMP
)

func (k AnswerKind) String() string {
	switch k {
	case SYNACK:
		return "syn_ack"
	case SYNACKStray:
		return "syn_ack_stray"
	case RST:
		return "rst"
	case BareACK:
		return "ack"
	case Data:
		return "data"
	case FIN:
		return "fin"
	case ICMP:
		return "icmp"
	case AnswerUnknown:
	}
	return "unknown"
}

// SYN is one transmission of an attempt's SYN.
type SYN struct {
	// At is the kernel's time on the tap of this host; zero when the tap did not see it.
	At time.Time
	// Handed is when it was handed to the kernel (raw), zero where only the kernel knows.
	Handed time.Time
	TSval  wire.TSval
	HasTS  bool
	// ECN: it asks for explicit congestion notification, by ECE and CWR (RFC 3168 §6.1.1).
	ECN bool `json:",omitempty"`
	// Refused is why the kernel did not take it from us (raw), an errno in words; empty: it did.
	Refused string
	// IfIndex and NextHop are how it left, as the tap saw it, so that path parity can be judged.
	IfIndex int
	NextHop wire.MAC
}

// Sent is one segment of ours after the first SYN.
type Sent struct {
	At     time.Time
	Flags  wire.Flags
	Seq    wire.Seq
	Ack    wire.Seq
	TSval  wire.TSval // where HasTS
	HasTS  bool
	Length int // payload octets
}

// Answer is one segment or ICMP error that belongs to an attempt.
type Answer struct {
	At    time.Time
	Kind  AnswerKind
	Flags wire.Flags
	Seq   wire.Seq
	Ack   wire.Seq
	// TSval and TSecr where HasTS.
	TSval, TSecr wire.TSval
	HasTS        bool
	Window       uint16
	HopLimit     uint8
	Length       int // payload octets
	Options      wire.Options
	// From is the sender of an ICMP error, with its type and code; else invalid.
	From     netip.Addr
	ICMPType uint8
	ICMPCode uint8
	ICMPMTU  uint32
	ICMPName string // as in "port_unreachable"
	// Checksum of the segment as received.
	Checksum wire.Checksum
}

// KernelView is what the kernel told about a connect of ours: a cross-check of the capture, and all there is without it.
type KernelView struct {
	Started   time.Time // just before connect(2)
	Completed time.Time // when epoll reported the result; zero if it never did
	Errno     string    // "ECONNREFUSED"; empty when accepted; "ETIMEDOUT" only if the kernel itself gave up
	Info      TCPInfo   // valid only where HasInfo
	HasInfo   bool
	Local     netip.AddrPort // as bound
}

// TCPInfo is the part of struct tcp_info (include/uapi/linux/tcp.h, 6.18) that judges a handshake.
type TCPInfo struct {
	State uint8
	// TotalRetrans counts all retransmissions of the connection: right after connect, those of the SYN.
	TotalRetrans uint32
	// Retransmits is the current RTO's unanswered count; reset by the SYN-ACK.
	Retransmits uint8
	RTT         time.Duration // smoothed; by timestamps right after connect
	RTTVar      time.Duration
	RTO         time.Duration
	SndMSS      uint32
	Options     uint8 // TCPI_OPT_TIMESTAMPS 1, SACK 2, WSCALE 4, ECN 8
}

// Attempt is what happened to one shot.
type Attempt struct {
	Index   int // of the shot in its burst
	Arm     string
	Via     plan.Via
	Flow    wire.Flow // with the port really used
	ISS     wire.Seq
	Outcome Outcome
	// Reason says more where the outcome alone does not: an errno, an ICMP name, why nothing was sent.
	Reason string
	// SYNs in order of leaving. A kernel shot whose SYN the tap never saw (a local drop) still counts it in Kernel.
	SYNs []SYN
	// Sent are the other segments of a raw shot that the tap saw leaving, in that order.
	Sent    []Sent
	Answers []Answer
	Kernel  *KernelView

	// Answered is the index in SYNs that the first SYN-ACK answers, by TSecr; −1 when that cannot be known (no timestamps,
	// equal TSvals, rewritten echo).
	Answered int
	// Retransmissions is how many SYNs had been repeated before the first answer (or the end).
	Retransmissions int
	// Unseen is how many SYNs the kernel counts (TCP_INFO), or took from us (raw), that the tap did not see leave: lost inside this
	// host. It is 0 where the capture has gaps.
	Unseen int
	// Lost is how many SYNs went without effect before the one that was answered, and LostBy how that is known.
	Lost   int
	LostBy Proof
	// RTT is the handshake round trip, from SYN to SYN-ACK, both on the tap, where it is unambiguous (Karn): one SYN was sent, or
	// the echo names the last. Zero: unknown.
	RTT time.Duration
	// Handshake is from the first SYN (or connect(2), where the tap saw none) to the first answer or connect's completion.
	Handshake time.Duration
	// Late judges an answer that echoes an earlier SYN than the last.
	Late Lateness
	// Clock names where RTT and Handshake come from.
	Clock Clock
}

// Proof names what a count of lost SYNs rests on.
type Proof uint8

// ByTSecr: the SYN-ACK echoes the TSval of one SYN. ByCapture: SYNs on the tap before the answer were counted. ByTCPInfo: the
// kernel's own count. ByBoth: capture and TCP_INFO agree.
const (
	ProofUnknown Proof = iota
	ByTSecr
	ByCapture
	ByTCPInfo
	ByBoth
)

func (p Proof) String() string {
	switch p {
	case ByTSecr:
		return "tsecr"
	case ByCapture:
		return "capture"
	case ByTCPInfo:
		return "tcp_info"
	case ByBoth:
		return "capture+tcp_info"
	case ProofUnknown:
	}
	return "unknown"
}

// Clock names the source of a duration.
type Clock uint8

// TapClock: kernel timestamps of both segments from one ring. UserClock: this process's monotonic clock around system calls,
// good to tens of µs at best and as late as the scheduler makes it.
const (
	ClockUnknown Clock = iota
	TapClock
	UserClock
)

func (c Clock) String() string {
	switch c {
	case TapClock:
		return "tap"
	case UserClock:
		return "user"
	case ClockUnknown:
	}
	return "unknown"
}

// Stalled reports whether the attempt succeeded only after a retransmission timeout, ours or the listener's: at least one SYN had to
// be repeated before the answer, or the answer itself was, and it is not, or may not be, merely a late one to an earlier SYN. One that was refused first, and asked
// again all the same (plan.Script.Undeterred), waited for nothing.
func (a *Attempt) Stalled() bool {
	return a.Outcome == Accepted && !a.refusedFirst() && (a.Retransmissions > 0 || a.Late == LateAnswerLost) && a.Late != LateSlow && a.Late != LateAmbiguous
}

// refusedFirst reports whether the first answer of all refused a SYN, or ended a connect.
func (a *Attempt) refusedFirst() bool {
	return len(a.Answers) > 0 && (a.Answers[0].Kind == RST || a.Answers[0].Kind == ICMP && a.Answers[0].Ends())
}

// Prompt reports whether the attempt was accepted with the first answer to its first SYN.
func (a *Attempt) Prompt() bool {
	return a.Outcome == Accepted && a.Retransmissions == 0 && a.Late == NotLate
}

// Lateness says what a SYN-ACK means that echoes an earlier SYN than the last one sent before it. The listener keeps echoing the
// TSval of the SYN that made its request (net/ipv4/tcp_minisocks.c tcp_check_req, 6.18, answers a repeated SYN before it
// updates ts_recent), so the echo proves that this earlier SYN had arrived.
type Lateness uint8

// NotLate: the last SYN was answered, or nothing echoes. LateSlow: it came too soon after the last repeat to be its answer, so
// the first answer was merely slow. LateAnswerLost: it came one round trip after the last repeat, or when the listener repeats by
// itself, which may be before our own repeat, so an earlier answer was lost on its way to us. LateAmbiguous: no round trip is known to compare with, or those known differ too much.
const (
	NotLate Lateness = iota
	LateSlow
	LateAnswerLost
	LateAmbiguous
)

func (l Lateness) String() string {
	switch l {
	case LateSlow:
		return "slow"
	case LateAnswerLost:
		return "answer_lost"
	case LateAmbiguous:
		return "ambiguous"
	case NotLate:
	}
	return ""
}
