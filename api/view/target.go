package view

import "time"

// Targets is how all scheduled targets fare.
type Targets struct {
	Targets []Target `json:"targets"`
	Next    string   `json:"next,omitempty" doc:"the cursor of the next page; absent: there is none"`
}

// Target is one address of a scheduled target. A VIP and its real servers stand in the same group.
type Target struct {
	Job    string            `json:"job"`
	Module string            `json:"module"`
	Target string            `json:"target"`
	Addr   string            `json:"addr,omitempty" doc:"as probed last; absent: none was"`
	Labels map[string]string `json:"labels,omitempty"`
	Group  string            `json:"group,omitempty" doc:"the VIP that the target is, or is a real server of: label vip"`
	Role   string            `json:"role,omitempty" doc:"vip or member: label role"`
	State  string            `json:"state" enum:"pending,well,stalled,named,failed,error" doc:"pending: not probed yet; named: a cause was named, though all was accepted; error: nothing could be probed"`
	// IntervalNS is how often it is probed; 0: it is not of the configuration in force.
	IntervalNS int64      `json:"interval_ns,omitempty"`
	Started    *time.Time `json:"started,omitempty" doc:"of its last round"`
	Why        string     `json:"why,omitempty"`
	Headline   string     `json:"headline,omitempty"`
	Causes     []Named    `json:"causes"`
	Attempts   int        `json:"attempts"`
	Stalled    int        `json:"stalled"`
	MedianNS   *int64     `json:"handshake_median_ns,omitempty"`
	MaxNS      *int64     `json:"handshake_max_ns,omitempty"`
	Recent     string     `json:"recent" doc:"the last rounds, the oldest first: . well, s stalled, d a cause named, f failed, e error"`
	// RecentAttempts and RecentStalled count the connections of these rounds.
	RecentAttempts int     `json:"recent_attempts" doc:"connections of the rounds in recent"`
	RecentStalled  int     `json:"recent_stalled" doc:"of these, accepted only after a retransmission timeout"`
	Result         int64   `json:"result,omitempty" doc:"the last round of it that is listed"`
	Diagnosis      *Result `json:"diagnosis,omitempty" doc:"the last diagnosis that a round of it called for"`
}
