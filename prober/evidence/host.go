package evidence

import "time"

// Host is the content of host.json: what is to be known of the machine that probed. There are no names of users or machines in it.
type Host struct {
	Program     string            `json:"program"`
	CommandLine []string          `json:"command_line"`
	Written     time.Time         `json:"written"`
	OS          string            `json:"os"`
	Hardware    string            `json:"hardware"`
	Ladder      string            `json:"syn_ladder"` // of a kernel connect here, in seconds
	SourcePorts string            `json:"source_ports"`
	HeldBy      string            `json:"source_ports_held_by,omitempty"` // how the kernel is kept from answering on them
	Capture     string            `json:"capture"`                        // "on", or why there was none
	Sysctls     map[string]string `json:"sysctls"`
	NextHops    []NextHop         `json:"next_hops"`
	// Counters are the kernel counters that moved during the bursts, all bursts together. Other traffic of this host moves them as well.
	Counters  map[string]int64 `json:"counters"`
	Recording RecordingFigures `json:"recording"`
}

// NextHop is the way to one address, and the kernel's neighbour entry for it after the last burst.
type NextHop struct {
	Addr      string `json:"addr"` // probed
	Interface string `json:"interface,omitempty"`
	Source    string `json:"source,omitempty"`
	Via       string `json:"via,omitempty"` // the next hop's address; absent where Addr is this host's own
	State     string `json:"state,omitempty"`
	MAC       string `json:"mac,omitempty"`
	Error     string `json:"error,omitempty"`
}

// RecordingFigures say what the capture file holds.
type RecordingFigures struct {
	SnapOctets      int `json:"snap_octets"`
	Frames          int `json:"frames"`
	OverBound       int `json:"frames_over_bound"`        // seen, and not kept
	DroppedByKernel int `json:"frames_dropped_by_kernel"` // lost by the capture ring
}

// Figures counts what the recordings of rounds hold.
func Figures(rounds []Round) RecordingFigures {
	file, _ := order(rounds)
	over, dropped := Lost(rounds)
	return RecordingFigures{SnapOctets: snapOf(rounds), Frames: len(file), OverBound: over, DroppedByKernel: dropped}
}
