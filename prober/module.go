package prober

import (
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Module is a named probe configuration. DefaultModule gives the values that a zero field stands for.
type Module struct {
	Name    string
	Kind    Kind
	Timeout time.Duration // of one round, 1 ms … 120 s; default 9.5 s
	Burst   int           // concurrent connections, 1 … 4,096; default 10
	Count   int           // bursts of a round, one after the other, 1 … 1,000; default 1
	Pause   time.Duration // between them
	// MaxStalled is how many stalled attempts of a round still count as success; negative: any number.
	MaxStalled int

	Source    netip.Addr // invalid: the route's own
	Interface string     // empty: the route's own
	HopLimit  uint8      // 0: the host's default
	ToS       uint8

	// IPProtocol is "ip4", "ip6" or "" (both are probed on the CLI; blackbox's default, ip6, where one must be chosen), and
	// IPFallback whether the other family may be used.
	IPProtocol string
	IPFallback bool
	// Addresses is how many of a name's addresses are probed.
	Addresses Addresses

	// Record keeps the frames of a round in its observations, as evidence.
	Record Recording

	SYN           SYNOptions           // KindSYN
	TCP           *TCPOptions          // KindTCP
	PAWS          PAWSOptions          // KindPAWS
	Neighbor      NeighborOptions      // KindNeighbor
	NeighborQueue NeighborQueueOptions // KindNeighborQueue
	Check         CheckOptions         // KindCheck
}

// Addresses says which of the addresses that a name has are probed.
type Addresses string

// The words: each of the preferred family (of both where none is preferred, or only the other one is there and may be used); the first one alone. The zero
// value is each where no family is preferred, and else the first.
const (
	AllAddresses Addresses = "all"
	OneAddress   Addresses = "one"
)

// Recording says what is kept of the frames that a round sends and receives. The zero value keeps nothing.
type Recording struct {
	On bool
	// Payload is how many octets of each segment's payload are kept behind its headers; 0: none.
	Payload int
}

// SYNOptions shapes the raw SYNs of a syn module.
type SYNOptions struct {
	// Ladder of the repeats; a zero Ladder means the machine's own.
	Ladder plan.Ladder
	// TSval of the first SYN where HasTSval; else a random one. TSHz is how fast it advances over repeats, default 1,000.
	TSval             wire.TSval
	HasTSval          bool
	TSHz              uint32
	WithoutTimestamps bool
	MSS               uint16 // default 1,460 (IPv4) or 1,440 (IPv6)
	// Handshake completes the connection with our own ACK and aborts it, in place of half-open.
	Handshake bool
}

// TCPOptions is blackbox_exporter's tcp section.
type TCPOptions struct {
	QueryResponse []QueryResponse
	TLS           bool
	TLSConfig     *tls.Config
}

// QueryResponse is one step of blackbox_exporter's query_response: an awaited line, what to send, or the turn to TLS.
type QueryResponse struct {
	Expect   string // regular expression, RE2; groups may be named in Send as ${1}
	Send     string
	StartTLS bool
	Labels   []QueryLabel
}

// QueryLabel turns a match into a label of probe_expect_info.
type QueryLabel struct{ Name, Value string }

// Limits bound the harm the service can do; see DefaultLimits.
type Limits struct {
	// PerTargetRate and GlobalRate are SYNs a second, with bursts of the given sizes; 0: unlimited is not available.
	PerTargetRate, GlobalRate   float64
	PerTargetBurst, GlobalBurst int
	// HalfOpen is the most half-open connections held at one listener (address and port) at a time.
	HalfOpen int
	// Unanswered is the most flows without any answer that may be started within 120 s from this vantage.
	Unanswered int
	// ARPRate is the most ARP or ND requests of ours a second on one interface.
	ARPRate float64
}

// DefaultLimits are in force where a configuration says nothing.
func DefaultLimits() Limits {
	return Limits{
		PerTargetRate: 200, PerTargetBurst: 1000,
		GlobalRate: 20000, GlobalBurst: 20000,
		HalfOpen: 16, Unanswered: 2000, ARPRate: 10,
	}
}
