package profile

import (
	"net/netip"
	"slices"
	"time"
)

// Name of a value; the same on every face and in policies.
type Name string

// The values. Each says in its Trait what it is, how it is measured and what a difference means.
const (
	SYNACKRTO      Name = "syn_ack_rto"
	SYNACKRepeats  Name = "syn_ack_repeats"
	Options        Name = "options"
	MSS            Name = "mss"
	WindowScale    Name = "window_scale"
	Window         Name = "window"
	SACK           Name = "sack"
	Timestamps     Name = "timestamps"
	TimestampHz    Name = "timestamp_hz"
	TimestampStart Name = "timestamp_start"
	ECN            Name = "ecn"
	InitialTTL     Name = "initial_ttl"
	Hops           Name = "hops"
	SYNCookies     Name = "syn_cookies"
	DeferAccept    Name = "defer_accept"
	ClosedPort     Name = "closed_port"
	InitialWindow  Name = "initial_window"
	DataRTO        Name = "data_rto"
	Reordering     Name = "reordering"
	LossByTime     Name = "loss_by_time"
	// What a connection of ours meets that comes to its own earlier one, which the host closed first and holds in TIME_WAIT: a SYN of a higher
	// number, one of a newer timestamp, one of a lower number, one of an older timestamp; and what an RST makes of that TIME_WAIT.
	TimeWaitISN       Name = "time_wait_isn"
	TimeWaitTimestamp Name = "time_wait_timestamp"
	TimeWaitOldISN    Name = "time_wait_old_isn"
	TimeWaitOldStamp  Name = "time_wait_old_timestamp"
	TimeWaitRST       Name = "time_wait_rst"
	PerHostPAWS       Name = "tw_recycle"
	NeighborQueue     Name = "remote_neighbor_queue"
	AbortOnOverflow   Name = "abort_on_overflow"
	Backlog           Name = "listener_backlog"
	HandshakeTime     Name = "handshake"
)

// State is how well a value is known.
type State string

// The states. AtLeast: no more was asked for, or could be seen. Between: Low to High. Varies: flows of one address disagree, Text
// lists the values with how many flows showed each. NotMeasured: Why says why.
const (
	Measured    State = "measured"
	AtLeast     State = "at_least"
	Between     State = "between"
	Varies      State = "varies"
	NotMeasured State = "not_measured"
)

// Value is one property of a host.
type Value struct {
	Name  Name
	State State
	// Text is the value as people and policies write it: "1s", "on", "1460"; empty where it was not measured.
	Text string
	// Number is the value in Unit where it is one, Low and High its bounds; HasNumber says whether it is.
	Number, Low, High float64
	HasNumber         bool
	Unit              string // "s", "octets", "packets", "requests", "hops", "segments", "Hz", or empty
	// Seen is on how many flows or segments it rests.
	Seen int
	// How says what was done; Why what stood in the way.
	How, Why string
}

// Confidence is how far a value can be trusted.
type Confidence string

// Agreed: at least two flows or segments showed it, and none another. Single: one did. Bounded: it lies in a range. Disputed: flows disagree.
const (
	Unmeasured Confidence = "none"
	Agreed     Confidence = "agreed"
	Single     Confidence = "single"
	Bounded    Confidence = "bounded"
	Disputed   Confidence = "disputed"
)

// Confidence says what a value rests on.
func (v *Value) Confidence() Confidence {
	switch v.State {
	case Measured:
		if v.Seen == 1 {
			return Single
		}
		return Agreed
	case AtLeast, Between:
		return Bounded
	case Varies:
		return Disputed
	case NotMeasured:
	}
	return Unmeasured
}

// Known reports whether there is a value to compare.
func (v *Value) Known() bool { return v.State != NotMeasured && v.State != "" }

// Profile is what one address was like at one time.
type Profile struct {
	Target string
	Addr   netip.AddrPort
	At     time.Time
	Took   time.Duration
	// SYNs and Segments are what the measurement sent: its cost for the host.
	SYNs, Segments int
	Values         []Value // in the order of Traits
}

// Value returns the value of a name, and whether the profile has it, be it that it was not measured.
func (p *Profile) Value(n Name) (*Value, bool) {
	i := slices.IndexFunc(p.Values, func(v Value) bool { return v.Name == n })
	if i < 0 {
		return nil, false
	}
	return &p.Values[i], true
}
