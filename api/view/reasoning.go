package view

import (
	"math"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
)

// Thought is one step of a diagnosis' reasoning.
type Thought struct {
	Experiment  string     `json:"experiment"`
	Label       string     `json:"label"`
	Asked       string     `json:"asked"`
	Why         string     `json:"why"`
	TookNS      int64      `json:"took_ns"`
	SYNs        int        `json:"syns"`
	Connections int        `json:"connections"` // completed
	Harm        string     `json:"harm"`
	Seen        string     `json:"seen"`
	Named       []Named    `json:"named"`    // by the rules, after this step
	Possible    []Possible `json:"possible"` // likeliest first
	RuledOut    []RuledOut `json:"ruled_out"`
}

// Named is a cause and how firmly it stands.
type Named struct {
	Verdict string `json:"verdict"`
	Level   string `json:"level"`
}

// Possible is a cause still to be thought of; odds are its share among those weighed, a guide and no statistic.
type Possible struct {
	Verdict string  `json:"verdict"`
	Odds    float64 `json:"odds"`
}

// RuledOut is a cause that a step ruled out, and by what.
type RuledOut struct {
	Verdict string `json:"verdict"`
	Because string `json:"because"`
}

// Untested is a question that a diagnosis had no budget left for.
type Untested struct {
	Experiment string `json:"experiment"`
	Question   string `json:"question"`
}

func newReasoning(list []experiment.Thought) []Thought {
	var out []Thought
	for i := range list {
		t := &list[i]
		v := Thought{Experiment: string(t.Kind), Label: t.Label, Asked: t.Asked, Why: t.Why, TookNS: int64(t.Took), SYNs: t.SYNs, Connections: t.Connections,
			Harm: t.Harm, Seen: t.Seen, Named: []Named{}, Possible: []Possible{}, RuledOut: []RuledOut{}}
		for k := range t.Named {
			v.Named = append(v.Named, Named{string(t.Named[k].Verdict), t.Named[k].Level.String()})
		}
		for _, s := range t.Possible {
			v.Possible = append(v.Possible, Possible{string(s.Verdict), math.Round(s.Odds*1e4) / 1e4})
		}
		for _, s := range t.Out {
			v.RuledOut = append(v.RuledOut, RuledOut{string(s.Verdict), s.Because})
		}
		out = append(out, v)
	}
	return out
}

func newUntested(list []diagnose.Want) []Untested {
	var out []Untested
	for _, s := range list {
		out = append(out, Untested{string(s.Kind), s.Why})
	}
	return out
}
