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
	PerHostPAWS    Name = "tw_recycle"
	NeighborQueue  Name = "remote_neighbor_queue"
	Backlog        Name = "listener_backlog"
	HandshakeTime  Name = "handshake"
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
