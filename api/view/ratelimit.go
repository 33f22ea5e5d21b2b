package view

import "github.com/vipprobe/vipprobe/prober/diagnose"

// RateLimit is what was found of a limit on SYNs.
type RateLimit struct {
	// RateLow and RateHigh bound the SYNs a second that come through.
	RateLow  float64 `json:"rate_low"`
	RateHigh float64 `json:"rate_high"`
	// BurstLow and BurstHigh bound how many come through at once; absent where they are not known.
	BurstLow  int `json:"burst_low,omitempty"`
	BurstHigh int `json:"burst_high,omitempty"`
	// Exact: one token bucket within these bounds accounts for every SYN, and none outside them does.
	Exact bool `json:"exact"`
	// Scope is shared, per_source or one_source; absent: it was not settled.
	Scope string `json:"scope,omitempty"`
	// Sources are what two addresses of this host met side by side.
	Sources []LimitedSource `json:"sources,omitempty"`
	// AtOnce is the most of our handshakes that were open at one time in steady bursts which lost SYNs.
	AtOnce int `json:"open_at_once,omitempty"`
}

// LimitedSource is what SYNs from one address met.
type LimitedSource struct {
	Addr      string  `json:"addr"`
	Asked     int     `json:"asked"`
	Answered  int     `json:"answered"`
	PerSecond float64 `json:"per_second"` // once its bucket was empty
}

func newRateLimit(l *diagnose.RateLimit) *RateLimit {
	if l == nil {
		return nil
	}
	v := &RateLimit{RateLow: l.RateLow, RateHigh: l.RateHigh, BurstLow: l.BurstLow, BurstHigh: l.BurstHigh, Exact: l.Exact, Scope: string(l.Scope), AtOnce: l.AtOnce}
	for _, s := range l.Sources {
		v.Sources = append(v.Sources, LimitedSource{Addr: s.Addr.String(), Asked: s.Asked, Answered: s.Answered, PerSecond: s.PerSecond})
	}
	return v
}
