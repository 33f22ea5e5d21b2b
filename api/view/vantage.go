package view

// ValidationRequest asks one vantage to hold one host against checks.
type ValidationRequest struct {
	Target     string            `json:"target" minLength:"1" maxLength:"300" example:"192.0.2.31:443" doc:"HOST:PORT, ADDR:PORT or [ADDR]:PORT; it must be on the configuration's allow: list"`
	Checks     []string          `json:"checks" minItems:"1" maxItems:"200" example:"[\"stall_ratio < 0.001\"]" doc:"lines of a policy, as in a rollout file"`
	Connects   int               `json:"connects,omitempty" minimum:"1" maximum:"5000" doc:"to make at least; default: as many as the checks need"`
	Burst      int               `json:"burst,omitempty" minimum:"1" maximum:"1000" doc:"connects at once; default: 10"`
	MaxSeconds float64           `json:"max_seconds,omitempty" minimum:"1" maximum:"120" doc:"time for it all; default: 120"`
	Measure    ValidationMeasure `json:"measure,omitzero"`
	Baseline   *Profile          `json:"baseline,omitempty" doc:"what the host should be like"`
}

// ValidationMeasure permits what can disturb a host; all of it but patience and request needs a caller who has authenticated.
type ValidationMeasure struct {
	PatienceNS    int64  `json:"patience_ns,omitempty" minimum:"1000000000" maximum:"70000000000" doc:"how long repeats of a SYN-ACK are waited for"`
	Request       string `json:"request,omitempty" maxLength:"120" doc:"http or text:STRING, to see the initial window"`
	Backlog       int    `json:"backlog,omitempty" minimum:"1" maximum:"1000" doc:"authenticated: leave so many requests half-open, within limits.half_open"`
	NeighborQueue bool   `json:"neighbor_queue,omitempty" doc:"authenticated: measure the host's neighbour queue from borrowed addresses"`
	TimeWait      bool   `json:"time_wait,omitempty" doc:"authenticated: measure the host's TIME_WAIT on connections that it closes first"`
	Overflow      bool   `json:"overflow,omitempty" doc:"authenticated: with backlog, complete as many connections at once as the listener has room for"`
	OwnPath       bool   `json:"i_own_this_path,omitempty" doc:"authenticated: nobody else reaches the target from this address; permits priming it with a timestamp"`
}

// ValidationAnswer is one entry for each address of the target.
type ValidationAnswer struct {
	Candidates []Candidate `json:"candidates"`
}
