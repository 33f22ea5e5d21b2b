package view

import "github.com/vipprobe/vipprobe/prober/diagnose/catalogue"

// Verdicts is the catalogue: every verdict that a diagnosis can name.
type Verdicts struct {
	Verdicts []Verdict `json:"verdicts"`
}

// Verdict is one entry of the catalogue.
type Verdict struct {
	Verdict    string         `json:"verdict"`
	Title      string         `json:"title"`
	Group      string         `json:"group"`
	Benign     bool           `json:"benign"` // a note, no fault by itself
	Symptoms   []string       `json:"symptoms"`
	Mechanism  []Fact         `json:"mechanism"`
	Proof      []Proof        `json:"proof"`
	LookAlikes []LookAlike    `json:"look_alikes"`
	Remedies   []Remedy       `json:"remedies"`
	Counters   []WhereToCount `json:"counters"`
	Scenario   string         `json:"scenario,omitempty"` // of the lab: vipprobe lab run
	Unmade     string         `json:"unmade,omitempty"`   // why the lab has none
}

// Fact is one step of a mechanism with its source.
type Fact struct {
	Text   string `json:"text"`
	Source string `json:"source"`
}

// Proof is what one experiment shows.
type Proof struct {
	Experiment string `json:"experiment"`
	Level      string `json:"level"` // the firmest that it reaches by itself
	Shows      string `json:"shows"`
}

// LookAlike is another verdict and what separates the two.
type LookAlike struct {
	Verdict string `json:"verdict"`
	Apart   string `json:"apart"`
}

// Remedy is what to do in one place.
type Remedy struct {
	Where string `json:"where"`
	Do    string `json:"do"`
}

// WhereToCount is a counter that would confirm a verdict.
type WhereToCount struct {
	Where string `json:"where"`
	Name  string `json:"name"`
	Reads string `json:"reads"`
}

// NewVerdicts converts entries of the catalogue in their order.
func NewVerdicts(list []catalogue.Entry) Verdicts {
	v := Verdicts{Verdicts: make([]Verdict, 0, len(list))}
	for i := range list {
		v.Verdicts = append(v.Verdicts, NewVerdict(&list[i]))
	}
	return v
}

// NewVerdict converts one entry of the catalogue.
func NewVerdict(e *catalogue.Entry) Verdict {
	v := Verdict{Verdict: string(e.Verdict), Title: e.Title, Group: string(e.Group), Benign: e.Benign, Symptoms: e.Symptoms, Scenario: e.Scenario, Unmade: e.Unmade}
	for _, f := range e.Mechanism {
		v.Mechanism = append(v.Mechanism, Fact(f))
	}
	for _, p := range e.Proof {
		v.Proof = append(v.Proof, Proof{string(p.Experiment), p.Level.String(), p.Shows})
	}
	for _, l := range e.LookAlikes {
		v.LookAlikes = append(v.LookAlikes, LookAlike{string(l.Verdict), l.Apart})
	}
	for _, r := range e.Remedies {
		v.Remedies = append(v.Remedies, Remedy(r))
	}
	for _, c := range e.Counters {
		v.Counters = append(v.Counters, WhereToCount(c))
	}
	return v
}
