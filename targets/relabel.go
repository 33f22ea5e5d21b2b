package targets

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/relabel"
)

// Relabel is an entry of relabel_configs, as Prometheus has them.
type Relabel struct {
	SourceLabels []string
	Separator    string
	Regex        string
	Modulus      uint64
	TargetLabel  string
	Replacement  string
	Action       string
}

// actions are what a relabelling does (model/relabel/relabel.go, v0.315).
var actions = [...]string{"replace", "keep", "drop", "keepequal", "dropequal", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase"}

func readRelabel(s *section) Relabel {
	d := relabel.DefaultRelabelConfig
	out := Relabel{Separator: d.Separator, Regex: d.Regex.String(), Replacement: d.Replacement, Action: string(d.Action)}
	known := s.word("action", &out.Action, actions[:]...) || !s.has("action")
	out.SourceLabels = s.texts("source_labels")
	s.str("separator", &out.Separator)
	s.str("regex", &out.Regex)
	s.str("target_label", &out.TargetLabel)
	s.str("replacement", &out.Replacement)
	var modulus int
	if s.integer("modulus", &modulus, 1, 1<<53) {
		out.Modulus = uint64(modulus)
	}
	if _, err := relabel.NewRegexp(out.Regex); err != nil {
		s.doc.fail(s.place("regex"), "%v", err)
		return out
	}
	if _, err := out.Rule(); err != nil && known {
		s.doc.fail(s.at, "%v", err)
	}
	return out
}

// Rule is the entry as Prometheus' library takes it. The error says what is wrong with it.
func (r *Relabel) Rule() (*relabel.Config, error) {
	d := relabel.DefaultRelabelConfig
	out := &relabel.Config{Separator: r.Separator, Regex: d.Regex, Modulus: r.Modulus, TargetLabel: r.TargetLabel, Replacement: r.Replacement,
		Action: relabel.Action(r.Action)}
	for _, l := range r.SourceLabels {
		out.SourceLabels = append(out.SourceLabels, model.LabelName(l))
	}
	if r.Regex != d.Regex.String() { // which rules compare by its pointer
		re, err := relabel.NewRegexp(r.Regex)
		if err != nil {
			return nil, err
		}
		out.Regex = re
	}
	return out, out.Validate(model.LegacyValidation)
}
