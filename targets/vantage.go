package targets

import (
	"slices"

	"github.com/vipprobe/vipprobe/prober"
)

// RolloutVantage is another place that candidates are measured from: a vipprobe that serves its API there.
type RolloutVantage struct {
	Name         string
	URL          string
	User         string
	PasswordFile string
	CAFile       string
	// Candidate is the candidate that the vantage runs on; empty: it is one of the old hosts. A candidate is not measured from itself, and
	// measures the pool as well.
	Candidate    string
	Line, Column int
}

func (r *Rollout) readVantages(root *section) {
	for _, it := range root.list("vantages") {
		s := it.doc.section(it.key, it.node)
		if s == nil {
			continue
		}
		v := RolloutVantage{Line: it.at.line, Column: it.at.column}
		if !s.str("name", &v.Name) || v.Name == "" {
			s.doc.fail(s.place("name"), "missing; a vantage needs a name")
		}
		if !s.str("url", &v.URL) {
			s.doc.fail(s.place("url"), "missing; want http(s)://HOST:PORT of a vipprobe that serves there")
		}
		s.str("username", &v.User)
		s.str("password_file", &v.PasswordFile)
		s.str("ca_file", &v.CAFile)
		if (v.User == "") != (v.PasswordFile == "") {
			s.doc.fail(s.place("username"), "want username and password_file together")
		}
		if s.str("candidate", &v.Candidate) && !slices.ContainsFunc(r.Candidates, func(c RolloutCandidate) bool { return c.Target == v.Candidate }) {
			s.doc.fail(s.place("candidate"), "%s is none of the candidates", v.Candidate)
		}
		s.done()
		if slices.ContainsFunc(r.Vantages, func(o RolloutVantage) bool { return o.Name == v.Name }) {
			s.doc.fail(s.place("name"), "vantage %q stands twice", short(v.Name))
		}
		r.Vantages = append(r.Vantages, v)
	}
}

// readPool reads the hosts that candidates must be able to reach.
func (r *Rollout) readPool(root *section) {
	for _, it := range root.list("pool") {
		text, ok := it.text()
		if !ok {
			continue
		}
		e, err := prober.ParseEndpoint(text)
		switch {
		case err != nil:
			it.doc.fail(it.at, "%v", err)
		case slices.ContainsFunc(r.Pool, func(c RolloutCandidate) bool { return c.Target == e.String() }):
			it.doc.fail(it.at, "%s stands twice", e)
		default:
			r.Pool = append(r.Pool, RolloutCandidate{e.String(), it.at.line, it.at.column})
		}
	}
	if len(r.Pool) > 0 && !slices.ContainsFunc(r.Vantages, func(v RolloutVantage) bool { return v.Candidate != "" }) {
		root.doc.fail(root.place("pool"), "nobody measures it: no vantage is on a candidate")
	}
}

// RolloutTask is one host to be measured from one vantage.
type RolloutTask struct {
	Vantage *RolloutVantage
	Target  RolloutCandidate
}

// Matrix lists what the vantages measure: each candidate from every vantage but its own (old → new, new ↔ new), and from vantages on candidates
// the pool (new → old).
func (r *Rollout) Matrix() []RolloutTask {
	var out []RolloutTask
	for i := range r.Vantages {
		v := &r.Vantages[i]
		for _, c := range r.Candidates {
			if c.Target != v.Candidate {
				out = append(out, RolloutTask{v, c})
			}
		}
		if v.Candidate == "" {
			continue
		}
		for _, c := range r.Pool {
			out = append(out, RolloutTask{v, c})
		}
	}
	return out
}
