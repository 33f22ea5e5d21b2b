package evidence

import (
	"net/netip"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Stored is the content of observations.json: all that a diagnosis needs to be made again, without a network.
type Stored struct {
	Program string // that wrote it, with its version
	Written time.Time
	Rounds  []Round
}

// Round is one run against one address, as prober.Round has it but for what is concluded from the observations.
type Round struct {
	Target       string
	Addr         netip.AddrPort
	Module       string
	Kind         string
	Started      time.Time
	Duration     time.Duration
	Lookup       time.Duration
	Ladder       plan.Ladder
	Kernel       string
	OwnQueue     diagnose.Queue
	Priming      diagnose.Priming
	Follow       time.Duration
	Member       bool
	Reasoned     bool // it was a diagnosis, and said how it came to its end
	Success      bool
	Why          string
	Untested     []diagnose.Want // what a diagnosis had no budget left to ask
	Error        string          // why nothing could be probed; empty: something was
	TCP          *Dialogue
	Check        *CheckTiming
	Witnesses    []observe.Witness // servers whose own counters were read meanwhile
	Observations []observe.Observation
}

// CheckTiming is what a health check was imitated by; what it found is read from the observations again.
type CheckTiming struct {
	DelayLoop        time.Duration
	ConnectTimeout   time.Duration
	DelayBeforeRetry time.Duration
	Retry            int
	Loops            int
}

// Dialogue is what a tcp module found beyond the handshake.
type Dialogue struct {
	FailedDueToRegex                bool
	ExpectInfo                      map[string]string
	TLSVersion                      string
	TLSCipher                       string
	EarliestExpiry, LastChainExpiry time.Time
	Fingerprint, Issuer, Subject    string
	SubjectAltNames, Serial         string
}
