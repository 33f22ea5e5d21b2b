package view

import (
	"math"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// Summary counts the connections of a round (prober.Round.Connections); durations are absent where none is known. The median and the 99th percentile are nearest
// ranks.
type Summary struct {
	Attempts        int            `json:"attempts"`
	Outcomes        map[string]int `json:"outcomes"` // those that occurred
	Stalled         int            `json:"stalled"`
	StalledBy       map[int]int    `json:"stalled_by_repeats,omitempty"`
	Retransmissions int            `json:"retransmissions"`
	CaptureDrops    uint32         `json:"capture_drops"`
	// RTT is from the answered SYN to its SYN-ACK, Handshake from the first SYN to the answer of an accepted attempt.
	RTTMinNS          *int64 `json:"rtt_min_ns,omitempty"`
	RTTMedianNS       *int64 `json:"rtt_median_ns,omitempty"`
	RTTP99NS          *int64 `json:"rtt_p99_ns,omitempty"`
	RTTMaxNS          *int64 `json:"rtt_max_ns,omitempty"`
	HandshakeMedianNS *int64 `json:"handshake_median_ns,omitempty"`
	HandshakeMaxNS    *int64 `json:"handshake_max_ns,omitempty"`
}

func newSummary(r *prober.Round) Summary {
	attempts := r.Connections()
	s := prober.Summarize(attempts)
	v := Summary{Attempts: s.Attempts, Outcomes: map[string]int{}, Stalled: s.Stalled, StalledBy: s.StalledBy, Retransmissions: s.Retransmissions}
	for o, n := range s.Outcomes {
		v.Outcomes[o.String()] = n
	}
	for i := range r.Observations {
		v.CaptureDrops += r.Observations[i].CaptureDrops
	}
	if len(s.RTTs) > 0 {
		v.RTTMinNS, v.RTTMedianNS = ns(Rank(s.RTTs, 0)), ns(Rank(s.RTTs, 0.5))
		v.RTTP99NS, v.RTTMaxNS = ns(Rank(s.RTTs, 0.99)), ns(Rank(s.RTTs, 1))
	}
	if h := Handshakes(attempts); len(h) > 0 {
		v.HandshakeMedianNS, v.HandshakeMaxNS = ns(Rank(h, 0.5)), ns(Rank(h, 1))
	}
	return v
}

// Handshakes are the durations from the first SYN to the answer of the accepted attempts, sorted.
func Handshakes(attempts []*observe.Attempt) []time.Duration {
	var out []time.Duration
	for _, a := range attempts {
		if a.Outcome == observe.Accepted && a.Handshake > 0 {
			out = append(out, a.Handshake)
		}
	}
	slices.Sort(out)
	return out
}

// Rank is the nearest rank of quantile q, 0 to 1, in sorted durations, of which there is at least one.
func Rank(sorted []time.Duration, q float64) time.Duration {
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

func ns(d time.Duration) *int64 {
	n := int64(d)
	return &n
}
