package view

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Observation is what one burst showed.
type Observation struct {
	Label        string           `json:"label"`
	Started      time.Time        `json:"started"`
	DurationNS   int64            `json:"duration_ns"`
	Captured     bool             `json:"captured"`
	CaptureDrops uint32           `json:"capture_drops"`
	Parity       string           `json:"parity"`
	ParityWhy    string           `json:"parity_why,omitempty"`
	ClockStepNS  int64            `json:"clock_step_ns,omitempty"`
	SendLagNS    int64            `json:"send_lag_ns,omitempty"`
	Unmeasured   []string         `json:"unmeasured,omitempty"`
	Counters     map[string]int64 `json:"counters,omitempty"`
	Strays       map[string]int   `json:"strays,omitempty"`
	Neighbor     []NeighborEvent  `json:"neighbor,omitempty"`
	Recorded     *Recorded        `json:"recorded,omitempty"`
	NextHop      string           `json:"next_hop,omitempty"` // the address that this host must resolve
	Exchanges    []Exchange       `json:"neighbor_exchanges,omitempty"`
	Entries      []NeighborEntry  `json:"neighbor_entries,omitempty"`
	Pings        []Ping           `json:"pings,omitempty"` // ICMP echo requests beside the attempts
	Attempts     []Attempt        `json:"attempts"`
	Transfers    []Transfer       `json:"transfers,omitempty"`
	Holed        []Holed          `json:"holed,omitempty"` // attempts whose data had a hole in front
}

// Recorded says what was kept of a burst's frames.
type Recorded struct {
	Frames     int      `json:"frames"`
	OverBound  int      `json:"over_bound,omitempty"` // seen, and not kept
	SnapOctets int      `json:"snap_octets"`
	InCapture  [][2]int `json:"in_capture,omitempty"` // first and last numbers of the frames in the capture file that was written
}

// Attempt is what happened to one connection.
type Attempt struct {
	Index           int      `json:"index"`
	Arm             string   `json:"arm"`
	Via             string   `json:"via"`
	Src             string   `json:"src,omitempty"`
	Dst             string   `json:"dst,omitempty"`
	ISS             *uint32  `json:"iss,omitempty"` // absent where no SYN was seen to carry one
	Outcome         string   `json:"outcome"`
	Reason          string   `json:"reason,omitempty"`
	SYNs            []SYN    `json:"syns"`
	Answers         []Answer `json:"answers"`
	AnsweredSYN     *int     `json:"answered_syn,omitempty"`
	Retransmissions int      `json:"retransmissions"`
	Unseen          int      `json:"unseen_syns,omitempty"`
	Lost            *int     `json:"lost_syns,omitempty"`
	LostBy          string   `json:"lost_by,omitempty"`
	Late            string   `json:"late,omitempty"`
	RTTNS           *int64   `json:"rtt_ns,omitempty"`
	HandshakeNS     *int64   `json:"handshake_ns,omitempty"`
	Clock           string   `json:"clock,omitempty"`
	Stalled         bool     `json:"stalled"`
	Kernel          *Kernel  `json:"kernel,omitempty"`
	// Frames are first and last numbers of the attempt's frames in the capture file.
	Frames [][2]int `json:"frames,omitempty"`
}

// SYN is one transmission. At is the kernel's time on the tap; absent where the tap did not see it leave.
type SYN struct {
	At      *time.Time `json:"at,omitempty"`
	Handed  *time.Time `json:"handed,omitempty"`
	TSval   *uint32    `json:"tsval,omitempty"`
	IfIndex int        `json:"if_index,omitempty"`
	NextHop string     `json:"next_hop,omitempty"`
	Frame   int        `json:"frame,omitempty"` // its number in the capture file
}

// Answer is one segment or ICMP error that came back.
type Answer struct {
	At       *time.Time `json:"at,omitempty"`
	Kind     string     `json:"kind"`
	Flags    string     `json:"flags,omitempty"`
	Seq      *uint32    `json:"seq,omitempty"`
	Ack      *uint32    `json:"ack,omitempty"`
	TSval    *uint32    `json:"tsval,omitempty"`
	TSecr    *uint32    `json:"tsecr,omitempty"`
	TTL      uint8      `json:"ttl,omitempty"`
	Window   *uint16    `json:"window,omitempty"`
	Length   int        `json:"length,omitempty"`
	Options  string     `json:"options,omitempty"`
	Checksum string     `json:"checksum,omitempty"`
	From     string     `json:"from,omitempty"`
	ICMP     string     `json:"icmp,omitempty"` // the error's name, or its type and code
	MTU      uint32     `json:"mtu,omitempty"`
	Frame    int        `json:"frame,omitempty"` // its number in the capture file
}

// Kernel is the kernel's own view of a connect.
type Kernel struct {
	Started   *time.Time `json:"started,omitempty"`
	Completed *time.Time `json:"completed,omitempty"`
	Errno     string     `json:"errno,omitempty"`
	TCPInfo   *TCPInfo   `json:"tcp_info,omitempty"`
}

// TCPInfo is the part of struct tcp_info that judges a handshake.
type TCPInfo struct {
	State        uint8  `json:"state"`
	TotalRetrans uint32 `json:"total_retrans"`
	Retransmits  uint8  `json:"retransmits"`
	RTTNS        int64  `json:"rtt_ns"`
	RTTVarNS     int64  `json:"rttvar_ns"`
	RTONS        int64  `json:"rto_ns"`
	SndMSS       uint32 `json:"snd_mss"`
	Options      uint8  `json:"options"` // TCPI_OPT_*: timestamps 1, SACK 2, window scale 4, ECN 8
}

func newObservation(o *observe.Observation) Observation {
	v := Observation{
		Label: o.Label, Started: o.Started.UTC(), DurationNS: int64(o.Finished.Sub(o.Started)), Captured: o.Captured,
		CaptureDrops: o.CaptureDrops, Parity: o.Parity.State.String(), ParityWhy: o.Parity.Why, ClockStepNS: int64(o.ClockStep),
		SendLagNS: int64(o.SendLag), Unmeasured: o.Unmeasured, Counters: o.Counters, Strays: o.Strays,
		Attempts: make([]Attempt, 0, len(o.Attempts)),
	}
	numbers := observe.NumbersOf(o)
	v.Recorded = newRecorded(o.Recorded)
	v.neighbors(o, numbers)
	v.Pings = newPings(o.Pings)
	for i := range o.Attempts {
		v.Attempts = append(v.Attempts, newAttempt(&o.Attempts[i], numbers))
	}
	v.Transfers = newTransfers(o)
	for i := range o.Holed {
		v.Holed = append(v.Holed, Holed{o.Holed[i].Attempt, newHoles(&o.Holed[i].Read)})
	}
	return v
}

func newRecorded(r *observe.Recording) *Recorded {
	if r == nil {
		return nil
	}
	var numbers []int
	for i := range r.Frames {
		if n := r.Frames[i].Number; n > 0 {
			numbers = append(numbers, n)
		}
	}
	return &Recorded{Frames: len(r.Frames), OverBound: r.Over, SnapOctets: r.Snap, InCapture: evidence.Ranges(numbers)}
}

// newAttempt converts an attempt with what numbers say of its frames.
func newAttempt(a *observe.Attempt, numbers observe.Numbers) Attempt {
	v := Attempt{
		Index: a.Index, Arm: a.Arm, Via: a.Via.String(), Src: endpoint(a.Flow.Src), Dst: endpoint(a.Flow.Dst),
		Outcome: a.Outcome.String(), Reason: a.Reason, SYNs: make([]SYN, 0, len(a.SYNs)), Answers: make([]Answer, 0, len(a.Answers)),
		Retransmissions: a.Retransmissions, Unseen: a.Unseen, Late: a.Late.String(),
		Stalled: a.Stalled(), Frames: evidence.Ranges(numbers.Attempt(a.Index)),
	}
	if a.Via == plan.Raw || len(a.SYNs) > 0 {
		v.ISS = seq(a.ISS)
	}
	if a.Answered >= 0 && a.Answered < len(a.SYNs) && len(a.Answers) > 0 {
		n := a.Answered
		v.AnsweredSYN = &n
	}
	if a.LostBy != observe.ProofUnknown {
		n := a.Lost
		v.Lost, v.LostBy = &n, a.LostBy.String()
	}
	if a.RTT > 0 {
		v.RTTNS = ns(a.RTT)
	}
	if a.Handshake > 0 {
		v.HandshakeNS = ns(a.Handshake)
	}
	if a.Clock != observe.ClockUnknown {
		v.Clock = a.Clock.String()
	}
	for i := range a.SYNs {
		s := newSYN(&a.SYNs[i])
		s.Frame = numbers.Segment(a.Index, a.SYNs[i].At, true)
		v.SYNs = append(v.SYNs, s)
	}
	for i := range a.Answers {
		ans := newAnswer(&a.Answers[i])
		ans.Frame = numbers.Segment(a.Index, a.Answers[i].At, false)
		v.Answers = append(v.Answers, ans)
	}
	if k := a.Kernel; k != nil {
		v.Kernel = newKernel(k)
	}
	return v
}

func newSYN(s *observe.SYN) SYN {
	v := SYN{At: when(s.At), Handed: when(s.Handed), IfIndex: s.IfIndex}
	if s.HasTS {
		v.TSval = tick(s.TSval)
	}
	if s.NextHop != (wire.MAC{}) {
		v.NextHop = s.NextHop.String()
	}
	return v
}

func newAnswer(a *observe.Answer) Answer {
	v := Answer{At: when(a.At), Kind: a.Kind.String(), TTL: a.HopLimit}
	if a.Kind == observe.ICMP {
		v.From, v.MTU, v.ICMP = address(a.From), a.ICMPMTU, a.ICMPName
		if v.ICMP == "" {
			v.ICMP = fmt.Sprintf("type %d code %d", a.ICMPType, a.ICMPCode)
		}
		return v
	}
	window := a.Window
	v.Flags, v.Seq, v.Window, v.Length = a.Flags.String(), seq(a.Seq), &window, a.Length
	if a.Flags.Has(wire.ACK) {
		v.Ack = seq(a.Ack)
	}
	if a.Options.Len() > 0 {
		v.Options = a.Options.String()
	}
	if a.HasTS {
		v.TSval, v.TSecr = tick(a.TSval), tick(a.TSecr)
	}
	if a.Checksum != wire.ChecksumUnknown {
		v.Checksum = a.Checksum.String()
	}
	return v
}

func newKernel(k *observe.KernelView) *Kernel {
	v := &Kernel{Started: when(k.Started), Completed: when(k.Completed), Errno: k.Errno}
	if k.HasInfo {
		i := &k.Info
		v.TCPInfo = &TCPInfo{State: i.State, TotalRetrans: i.TotalRetrans, Retransmits: i.Retransmits, RTTNS: int64(i.RTT),
			RTTVarNS: int64(i.RTTVar), RTONS: int64(i.RTO), SndMSS: i.SndMSS, Options: i.Options}
	}
	return v
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}

func tick(v wire.TSval) *uint32 {
	n := uint32(v)
	return &n
}

func seq(s wire.Seq) *uint32 {
	n := uint32(s)
	return &n
}

// address and endpoint are empty where there is none: netip spells that "invalid IP".
func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func endpoint(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
