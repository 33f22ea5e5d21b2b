package view

import (
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
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
	Attempts     []Attempt        `json:"attempts"`
}

// Attempt is what happened to one connection.
type Attempt struct {
	Index           int      `json:"index"`
	Arm             string   `json:"arm"`
	Via             string   `json:"via"`
	Src             string   `json:"src"`
	Dst             string   `json:"dst"`
	ISS             uint32   `json:"iss,omitempty"`
	Outcome         string   `json:"outcome"`
	Reason          string   `json:"reason,omitempty"`
	SYNs            []SYN    `json:"syns"`
	Answers         []Answer `json:"answers"`
	AnsweredSYN     *int     `json:"answered_syn,omitempty"`
	Retransmissions int      `json:"retransmissions"`
	Unseen          int      `json:"unseen_syns,omitempty"`
	Lost            int      `json:"lost_syns"`
	LostBy          string   `json:"lost_by"`
	Late            string   `json:"late,omitempty"`
	RTTNS           *int64   `json:"rtt_ns,omitempty"`
	HandshakeNS     *int64   `json:"handshake_ns,omitempty"`
	Clock           string   `json:"clock,omitempty"`
	Stalled         bool     `json:"stalled"`
	Kernel          *Kernel  `json:"kernel,omitempty"`
}

// SYN is one transmission. At is the kernel's time on the tap; absent where the tap did not see it leave.
type SYN struct {
	At      *time.Time `json:"at,omitempty"`
	Handed  *time.Time `json:"handed,omitempty"`
	TSval   *uint32    `json:"tsval,omitempty"`
	IfIndex int        `json:"if_index,omitempty"`
	NextHop string     `json:"next_hop,omitempty"`
}

// Answer is one segment or ICMP error that came back.
type Answer struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Flags   string    `json:"flags,omitempty"`
	Seq     uint32    `json:"seq,omitempty"`
	Ack     uint32    `json:"ack,omitempty"`
	TSval   *uint32   `json:"tsval,omitempty"`
	TSecr   *uint32   `json:"tsecr,omitempty"`
	TTL     uint8     `json:"ttl,omitempty"`
	Window  uint16    `json:"window,omitempty"`
	Length  int       `json:"length,omitempty"`
	Options string    `json:"options,omitempty"`
	From    string    `json:"from,omitempty"`
	ICMP    string    `json:"icmp,omitempty"`
	MTU     uint32    `json:"mtu,omitempty"`
}

// Kernel is the kernel's own view of a connect.
type Kernel struct {
	Started   time.Time  `json:"started"`
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
}

// NeighborEvent is one ARP or ND frame.
type NeighborEvent struct {
	At        time.Time `json:"at"`
	Outgoing  bool      `json:"outgoing"`
	Kind      string    `json:"kind"`
	IfIndex   int       `json:"if_index"`
	Sender    string    `json:"sender"`
	Target    string    `json:"target"`
	SenderMAC string    `json:"sender_mac,omitempty"`
	FrameMAC  string    `json:"frame_mac,omitempty"`
}

func newObservation(o *observe.Observation) Observation {
	v := Observation{
		Label: o.Label, Started: o.Started.UTC(), DurationNS: int64(o.Finished.Sub(o.Started)), Captured: o.Captured,
		CaptureDrops: o.CaptureDrops, Parity: o.Parity.State.String(), ParityWhy: o.Parity.Why, ClockStepNS: int64(o.ClockStep),
		SendLagNS: int64(o.SendLag), Unmeasured: o.Unmeasured, Counters: o.Counters, Strays: o.Strays,
		Attempts: make([]Attempt, 0, len(o.Attempts)),
	}
	for i := range o.Neighbor {
		e := &o.Neighbor[i]
		v.Neighbor = append(v.Neighbor, NeighborEvent{At: e.At.UTC(), Outgoing: e.Outgoing, Kind: e.Kind.String(), IfIndex: e.IfIndex,
			Sender: e.Sender.String(), Target: e.Target.String(), SenderMAC: e.SenderMAC, FrameMAC: e.FrameMAC})
	}
	for i := range o.Attempts {
		v.Attempts = append(v.Attempts, newAttempt(&o.Attempts[i]))
	}
	return v
}

func newAttempt(a *observe.Attempt) Attempt {
	v := Attempt{
		Index: a.Index, Arm: a.Arm, Via: a.Via.String(), Src: a.Flow.Src.String(), Dst: a.Flow.Dst.String(), ISS: uint32(a.ISS),
		Outcome: a.Outcome.String(), Reason: a.Reason, SYNs: make([]SYN, 0, len(a.SYNs)), Answers: make([]Answer, 0, len(a.Answers)),
		Retransmissions: a.Retransmissions, Unseen: a.Unseen, Lost: a.Lost, LostBy: a.LostBy.String(), Late: a.Late.String(),
		Stalled: a.Stalled(),
	}
	if a.Answered >= 0 {
		v.AnsweredSYN = &a.Answered
	}
	if a.RTT > 0 {
		v.RTTNS = ns(a.RTT)
	}
	if a.Clock != observe.ClockUnknown {
		v.HandshakeNS, v.Clock = ns(a.Handshake), a.Clock.String()
	}
	for i := range a.SYNs {
		v.SYNs = append(v.SYNs, newSYN(&a.SYNs[i]))
	}
	for i := range a.Answers {
		v.Answers = append(v.Answers, newAnswer(&a.Answers[i]))
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
	v := Answer{At: a.At.UTC(), Kind: a.Kind.String(), TTL: a.HopLimit, Window: a.Window, Length: a.Length, ICMP: a.ICMPName, MTU: a.ICMPMTU}
	if a.From.IsValid() {
		v.From = a.From.String()
		return v
	}
	v.Flags, v.Seq, v.Ack = a.Flags.String(), uint32(a.Seq), uint32(a.Ack)
	v.Options = a.Options.String()
	if a.HasTS {
		v.TSval, v.TSecr = tick(a.TSval), tick(a.TSecr)
	}
	return v
}

func newKernel(k *observe.KernelView) *Kernel {
	v := &Kernel{Started: k.Started.UTC(), Completed: when(k.Completed), Errno: k.Errno}
	if k.HasInfo {
		i := &k.Info
		v.TCPInfo = &TCPInfo{State: i.State, TotalRetrans: i.TotalRetrans, Retransmits: i.Retransmits, RTTNS: int64(i.RTT),
			RTTVarNS: int64(i.RTTVar), RTONS: int64(i.RTO), SndMSS: i.SndMSS}
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
