package observe

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// NeighborKind is what an ARP or ND frame says.
type NeighborKind uint8

// The kinds. Gratuitous is an announcement: sender and target protocol address are the same (RFC 5227 §3, RFC 4861 §7.2.6).
const (
	NeighborUnknown NeighborKind = iota
	NeighborRequest
	NeighborReply
	NeighborGratuitous
)

func (k NeighborKind) String() string {
	switch k {
	case NeighborRequest:
		return "request"
	case NeighborReply:
		return "reply"
	case NeighborGratuitous:
		return "gratuitous"
	case NeighborUnknown:
	}
	return "unknown"
}

// NeighborEvent is one ARP or ND frame on the tap.
type NeighborEvent struct {
	At       time.Time
	Outgoing bool
	Kind     NeighborKind
	IfIndex  int
	Sender   netip.Addr // who asks or answers
	Target   netip.Addr // who is asked for
	// SenderMAC as in the ARP sender field or the ND link-layer option; "aa:bb:…" or empty.
	SenderMAC string
	// FrameMAC is the Ethernet source, which differs from SenderMAC under proxying and spoofing.
	FrameMAC string
	// Unicast: the frame went to one host's MAC. Linux asks so whom it knows, to hear that he is still there, and goes on sending to him meanwhile;
	// whom it does not know it asks by broadcast, or by multicast (net/ipv4/arp.c arp_solicit, net/ipv6/ndisc.c ndisc_solicit, 6.18).
	Unicast bool
}

// EntryState is a neighbour entry's state in the kernel's words (include/uapi/linux/neighbour.h, NUD_*): "incomplete", "reachable",
// "stale", "delay", "probe", "failed", "noarp", "permanent", "none"; "absent" where there is no entry.
type EntryState string

// The states that rules tell apart.
const (
	EntryAbsent     EntryState = "absent"
	EntryNone       EntryState = "none"
	EntryIncomplete EntryState = "incomplete"
	EntryFailed     EntryState = "failed"
	EntryPermanent  EntryState = "permanent"
	EntryNoARP      EntryState = "noarp"
)

// Known reports whether the kernel would send to the neighbour at once.
func (s EntryState) Known() bool {
	return s != "" && s != EntryAbsent && s != EntryNone && s != EntryIncomplete && s != EntryFailed
}

// NeighborEntry is one entry of the kernel's neighbour table at one moment. The kernel's messages carry no time: At is when this process
// read one (CLOCK_REALTIME, as the tap's stamps), so later than the change by what the scheduler takes, tens of µs on an idle machine. The
// kernel tells of an entry that was resolved, failed, or became stale; not that it began to ask (INCOMPLETE, DELAY; seen on 6.18).
type NeighborEntry struct {
	At      time.Time
	IfIndex int
	Addr    netip.Addr
	State   EntryState
	MAC     string // "aa:bb:…" or empty
	// Read: looked up in the table, not told by the kernel.
	Read bool
}

// Observation is all that one burst showed.
type Observation struct {
	Label string
	// Kind and Arms are those of the burst: Attempt.Arm names one of Arms.
	Kind     plan.Kind
	Arms     []plan.Arm
	Started  time.Time
	Finished time.Time
	Attempts []Attempt
	// Pings are the burst's ICMP echo requests: they say nothing of a connection and are no attempts.
	Pings []Ping
	// Transfers are the data phases of the attempts that had one.
	Transfers []Transfer
	// Holed is what came of the attempts whose data had a hole in front.
	Holed    []Holed
	Neighbor []NeighborEvent
	// Entries is what the kernel's neighbour table said of NextHop, and of the destination where that is another: its state before the burst
	// was prepared, every change that it told since, and its state at the end. Empty where nobody asked for it.
	Entries []NeighborEntry
	// NextHop is the address that this host must resolve to reach the first destination: its own, or a router's. It is invalid where nothing
	// is resolved (loopback, a point-to-point device).
	NextHop netip.Addr
	// Unused is an address that nobody should have and that was asked for all the same; invalid: none was.
	Unused netip.Addr
	// Deliverers are the link addresses that segments from the peers came from: their own, or a router's. The first few only.
	Deliverers []wire.MAC
	// Counters are the differences of kernel counters over the burst that are not zero ("TcpExt.ListenDrops"): the whole
	// namespace's, so other traffic moves them as well.
	Counters map[string]int64
	// Foreign are SYNs from our own address to the target that are none of ours: only a survey listens to them.
	Foreign []Foreign
	// Belated are SYN-ACKs to raw shots of earlier bursts to the same destinations that came when those were over, and before this one was: answers that
	// nobody waited for any more.
	Belated []Belated `json:",omitempty"`
	// CaptureDrops is how many frames the ring lost: with any, nothing may be concluded from a segment not seen.
	CaptureDrops uint32
	// Captured is false where no tap could be had; the reason is in Unmeasured.
	Captured bool
	// Strays counts segments on our flows that fit no state, and frames ignored, by named disposition.
	Strays map[string]int
	// ClockStep is how far the wall clock was set during the burst, against the monotonic clock; tap times cannot be trusted
	// across it.
	ClockStep time.Duration
	// Parity says whether a kernel SYN leaves as our raw template does.
	Parity Parity
	// SendLag is the worst delay between a shot's planned time and its system call.
	SendLag time.Duration
	// Unmeasured lists, in sentences, what could not be measured and why.
	Unmeasured []string
	// Recorded holds the frames themselves where the burst was to keep them; nil: it was not.
	Recorded *Recording
}

// CaptureBehind is the disposition in Strays of a burst that ended before its last frames had been read.
const CaptureBehind = "capture_behind"

// Whole reports whether absence can be read from the capture: there was one, it lost nothing, and all of it was read.
func (o *Observation) Whole() bool {
	return o.Captured && o.CaptureDrops == 0 && o.Strays[CaptureBehind] == 0
}

// Foreign is a SYN of somebody else's connection that left this host from our own address.
type Foreign struct {
	At    time.Time
	Flow  wire.Flow
	TSval wire.TSval
	HasTS bool
}

// Belated is a SYN-ACK that came after the burst of its flow.
type Belated struct {
	At   time.Time
	Flow wire.Flow // as the SYN left
	// TSval and TSecr where HasTS.
	TSval, TSecr wire.TSval
	HasTS        bool
}

// NewBelated reads a SYN-ACK that came at a time when its burst was over.
func NewBelated(at time.Time, seg *wire.Segment) Belated {
	b := Belated{At: at, Flow: seg.Flow().Reverse()}
	b.TSval, b.TSecr, b.HasTS = seg.Options.Timestamps()
	return b
}

// Parity compares the kernel's way out with the raw template's.
type Parity struct {
	State ParityState
	Why   string
}

// ParityState is the result of the comparison.
type ParityState uint8

// The states: ParityDiffers makes a raw arm not_applicable; ParityUntested says why in Why.
const (
	ParityUntested ParityState = iota
	ParitySame
	ParityDiffers
)

func (s ParityState) String() string {
	switch s {
	case ParitySame:
		return "same"
	case ParityDiffers:
		return "differs"
	case ParityUntested:
	}
	return "untested"
}

// Asks reports whether an address is one that this host must resolve for the burst: its next hop, or a destination.
func (o *Observation) Asks(a netip.Addr) bool {
	if a == o.NextHop.WithZone("") {
		return true
	}
	for i := range o.Attempts {
		if o.Attempts[i].Flow.Dst.Addr().WithZone("") == a {
			return true
		}
	}
	return false
}
