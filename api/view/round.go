package view

import (
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/evidence"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Document is the result of one command: the rounds of all targets, and the targets that could not be probed at all.
type Document struct {
	Rounds []Round       `json:"rounds"`
	Errors []TargetError `json:"errors,omitempty"`
}

// TargetError is a target that gave no round, in one sentence.
type TargetError struct {
	Target    string    `json:"target"`
	Error     string    `json:"error"`
	ErrorKind ErrorKind `json:"error_kind,omitempty"`
}

// NewTargetError sorts an error of a whole target.
func NewTargetError(target string, err error) TargetError {
	return TargetError{Target: target, Error: err.Error(), ErrorKind: KindOf(err)}
}

// Round is one run of a module against one address.
type Round struct {
	Target     string    `json:"target"`
	Addr       string    `json:"addr,omitempty"`   // as probed
	Member     bool      `json:"member,omitempty"` // a real server behind the target before it
	Module     string    `json:"module"`
	Kind       string    `json:"kind"` // connect, syn, tcp
	Started    time.Time `json:"started"`
	DurationNS int64     `json:"duration_ns"`
	LookupNS   int64     `json:"lookup_ns,omitempty"` // absent for an address literal
	Kernel     string    `json:"kernel,omitempty"`
	Ladder     *Ladder   `json:"ladder,omitempty"`
	Success    bool      `json:"success"`
	Why        string    `json:"why,omitempty"`
	// Error says why nothing could be probed, ErrorKind which kind of reason that is.
	Error      string      `json:"error,omitempty"`
	ErrorKind  ErrorKind   `json:"error_kind,omitempty"`
	Summary    Summary     `json:"summary"`
	Diagnosis  *Diagnosis  `json:"diagnosis,omitempty"`
	Reasoning  []Thought   `json:"reasoning,omitempty"` // of a diagnosis, a step for each observation
	Untested   []Untested  `json:"untested,omitempty"`  // what a diagnosis had no budget left to ask
	TCP        *TCP        `json:"tcp,omitempty"`
	Timestamps *Timestamps `json:"timestamps,omitempty"`
	Check      *Check      `json:"check,omitempty"`
	Queue      *Queue      `json:"neighbor_queue,omitempty"`
	// NeighborAnswers are how long answers to this host's questions for link addresses took; absent where it asked nobody.
	NeighborAnswers *NeighborAnswers `json:"neighbor_answers,omitempty"`
	Observations    []Observation    `json:"observations"`
}

// Ladder is the retransmission ladder in force on the prober's machine.
type Ladder struct {
	Name string  `json:"name"`
	AtNS []int64 `json:"at_ns"`
}

// Diagnosis is what was concluded from a round.
type Diagnosis struct {
	Headline string    `json:"headline"`
	Healthy  bool      `json:"healthy"`
	Causes   []Finding `json:"causes"`
	Notes    []Finding `json:"notes,omitempty"`
	// FirstContact says whether either side had to resolve the other, and what became of what waited for it.
	FirstContact *FirstContact `json:"first_contact,omitempty"`
	// Measurements are figures beside the causes: no faults.
	Measurements []Measurement `json:"measurements,omitempty"`
	// Stacks are the stacks that answer at the address, where there are several.
	Stacks []Stack `json:"stacks,omitempty"`
	// Responders are those that answer at the address as their timestamp clocks tell them apart; absent where no SYN-ACK had timestamps.
	Responders *Responders `json:"responders,omitempty"`
	// RateLimit is what was found of a limit on SYNs, where one is named.
	RateLimit *RateLimit `json:"rate_limit,omitempty"`
	// DataPhases are what the bursts with a data phase did, an arm a row.
	DataPhases []DataPhase `json:"data_phases,omitempty"`
	// Holed is what came of data with a hole in front.
	Holed *HoledSum `json:"holed,omitempty"`
	// Testimony is what the servers' own counters say to the causes, where they were read.
	Testimony []Testimony `json:"testimony,omitempty"`
	// Clocks are the timestamp clocks that a named cause is about.
	Clocks []ClockSeries `json:"clocks,omitempty"`
}

// Finding is one named cause or note.
type Finding struct {
	Verdict  string   `json:"verdict"`
	Level    string   `json:"level"`
	Summary  string   `json:"summary"`
	Evidence []string `json:"evidence,omitempty"`
	Disproof string   `json:"disproof,omitempty"`
	Remedy   string   `json:"remedy,omitempty"`
	P        *float64 `json:"p,omitempty"`
	Settle   string   `json:"settle,omitempty"`
	Arms     []Arm    `json:"arms,omitempty"`
	// Frames are first and last numbers of the frames in the capture file that show it.
	Frames [][2]int `json:"frames,omitempty"`
}

// NewDocument converts rounds in their order.
func NewDocument(rounds []prober.Round, errs []TargetError) Document {
	d := Document{Rounds: make([]Round, 0, len(rounds)), Errors: errs}
	for i := range rounds {
		d.Rounds = append(d.Rounds, NewRound(&rounds[i]))
	}
	return d
}

// NewRound converts one round.
func NewRound(r *prober.Round) Round {
	v := Round{
		Target: r.Target, Member: r.Member, Addr: endpoint(r.Addr), Module: r.Module, Kind: string(r.Kind), Started: r.Started.UTC(),
		DurationNS: int64(r.Duration), LookupNS: int64(r.Lookup), Kernel: r.Kernel, Ladder: newLadder(r.Ladder),
		Success: r.Success, Why: r.Why, Summary: newSummary(r), TCP: newTCP(r.TCP), Queue: newQueue(r.Queue), Timestamps: newTimestamps(r.Timestamps), Check: newCheck(r.Check),
		Observations: make([]Observation, 0, len(r.Observations)),
	}
	if r.Err != nil {
		v.Error, v.ErrorKind = r.Err.Error(), KindOf(r.Err)
		return v
	}
	if r.Queue == nil { // a measurement names no cause
		v.Reasoning, v.Untested = newReasoning(r.Reasoning), newUntested(r.Untested)
		v.NeighborAnswers = newNeighborAnswers(r.NeighborTimes())
		d := newDiagnosis(r)
		v.Diagnosis = &d
	}
	for i := range r.Observations {
		v.Observations = append(v.Observations, newObservation(&r.Observations[i]))
	}
	return v
}

func newLadder(l plan.Ladder) *Ladder {
	if len(l.At) == 0 {
		return nil
	}
	v := &Ladder{Name: l.Name, AtNS: make([]int64, 0, len(l.At))}
	for _, t := range l.At {
		v.AtNS = append(v.AtNS, int64(t))
	}
	return v
}

func newDiagnosis(r *prober.Round) Diagnosis {
	d := &r.Diagnosis
	v := Diagnosis{Headline: d.Headline, Healthy: d.Healthy(), Causes: []Finding{}, FirstContact: newFirstContact(&d.FirstContact), RateLimit: newRateLimit(d.RateLimit)}
	for i := range d.Causes {
		f := newFinding(&d.Causes[i])
		f.Frames = evidence.Ranges(r.Cites(&d.Causes[i]))
		for k := range f.Arms {
			f.Arms[k].Frames = evidence.Ranges(r.CitesArm(f.Arms[k].Name))
		}
		v.Causes = append(v.Causes, f)
	}
	for i := range d.Notes {
		v.Notes = append(v.Notes, newFinding(&d.Notes[i]))
	}
	for i := range d.Measurements {
		v.Measurements = append(v.Measurements, newMeasurement(&d.Measurements[i]))
	}
	v.DataPhases = newDataPhases(r.Observations)
	holed := diagnose.SumHoled(r.Observations)
	v.Holed = newHoledSum(&holed)
	for i := range d.Testimony {
		v.Testimony = append(v.Testimony, newTestimony(&d.Testimony[i]))
	}
	for i := range d.Stacks {
		v.Stacks = append(v.Stacks, newStack(&d.Stacks[i]))
	}
	v.Responders = newResponders(&d.Responders)
	for i := range d.Clocks {
		v.Clocks = append(v.Clocks, newClockSeries(&d.Clocks[i]))
	}
	return v
}

func newFinding(f *diagnose.Finding) Finding {
	v := Finding{Verdict: string(f.Verdict), Level: f.Level.String(), Summary: f.Summary, Evidence: f.Evidence,
		Disproof: f.Disproof, Remedy: f.Remedy, Settle: f.Settle}
	if f.P > 0 {
		p := f.P
		v.P = &p
	}
	for i := range f.Arms {
		v.Arms = append(v.Arms, newArm(&f.Arms[i]))
	}
	return v
}
