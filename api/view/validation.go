package view

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/profile"
	"github.com/vipprobe/vipprobe/prober/rollout"
)

// ValidationFormat is the version of a validation's JSON.
const ValidationFormat = 1

// Validation is the result of holding candidates against a policy.
type Validation struct {
	Format     int         `json:"validation_format"`
	File       string      `json:"file"`
	Baseline   string      `json:"baseline,omitempty"`
	Started    time.Time   `json:"started"`
	TookNS     int64       `json:"took_ns"`
	Passed     int         `json:"passed"`
	Failed     int         `json:"failed"`
	Unknown    int         `json:"unknown"`
	Candidates []Candidate `json:"candidates"`
	// Groups are candidates that are alike in all that is known of both, the largest first, the odd ones out after it.
	Groups []ProfileGroup `json:"groups,omitempty"`
}

// Candidate is one address against the policy.
type Candidate struct {
	Target  string        `json:"target"`
	Vantage string        `json:"vantage,omitempty"` // where it was measured from; absent: here
	Addr    string        `json:"addr,omitempty"`
	Line    int           `json:"line,omitempty"` // of the rollout file
	State   string        `json:"state"`          // pass, fail, unknown
	Started time.Time     `json:"started"`
	TookNS  int64         `json:"took_ns"`
	SYNs    int           `json:"syns"`
	Error   string        `json:"error,omitempty"`
	Checks  []CheckResult `json:"checks"`
	Profile *Profile      `json:"profile,omitempty"`
}

// CheckResult is one check of one candidate.
type CheckResult struct {
	Check string `json:"check"`
	Line  int    `json:"line,omitempty"`
	State string `json:"state"`
	Got   string `json:"got,omitempty"`
	Why   string `json:"why,omitempty"`
}

// NewCandidate is the view of what was validated. Line is where the candidate stands in its file, lines where its checks do.
func NewCandidate(v *prober.Validated, line int, lines []int) Candidate {
	c := Candidate{Target: v.Target, Line: line, State: string(v.State()), Started: v.Started.UTC(), TookNS: int64(v.Took), SYNs: v.SYNs, Checks: []CheckResult{}}
	if v.Addr.IsValid() {
		c.Addr = v.Addr.String()
	}
	if v.Err != nil {
		c.Error = v.Err.Error()
	}
	for i := range v.Results {
		r := &v.Results[i]
		out := CheckResult{Check: r.Check.Text, State: string(r.State), Got: r.Got, Why: r.Why}
		if i < len(lines) {
			out.Line = lines[i]
		}
		c.Checks = append(c.Checks, out)
	}
	if v.Profile != nil {
		p := NewProfile(v.Profile)
		c.Profile = &p
	}
	return c
}

// Conclude counts the candidates and puts those that are alike together.
func (v *Validation) Conclude() error {
	v.Format, v.Passed, v.Failed, v.Unknown = ValidationFormat, 0, 0, 0
	var known []*profile.Profile
	for i := range v.Candidates {
		c := &v.Candidates[i]
		switch rollout.State(c.State) {
		case rollout.Pass:
			v.Passed++
		case rollout.Fail:
			v.Failed++
		case rollout.Unknown:
			v.Unknown++
		}
		if c.Profile != nil && c.Vantage == "" { // distance and path differ from elsewhere
			p, err := c.Profile.read()
			if err != nil {
				return fmt.Errorf("profile of %s: %w", c.Target, err)
			}
			known = append(known, &p)
		}
	}
	if len(known) > 1 {
		v.Groups = newGroups(known)
	}
	return nil
}

func newGroups(known []*profile.Profile) []ProfileGroup {
	var out []ProfileGroup
	for _, g := range profile.Group(known) {
		v := ProfileGroup{Differs: NewProfileDifferences(g.Differs)}
		for _, m := range g.Members {
			v.Addrs = append(v.Addrs, known[m].Addr.String())
		}
		out = append(out, v)
	}
	return out
}

// ValidationState is the first line of a file from which a validation goes on: what it validates.
type ValidationState struct {
	Format int    `json:"validation_state"`
	Policy string `json:"policy"` // a digest of checks and permissions
}

// ReadValidationState reads the candidates that were finished before. A torn last line, as a kill leaves it, is left out; any other mistake is
// an error that names its line.
func ReadValidationState(r io.Reader, policy string) ([]Candidate, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	var out []Candidate
	var torn error
	for n := 1; lines.Scan(); n++ {
		if torn != nil {
			return nil, torn
		}
		if n == 1 {
			var head ValidationState
			if err := json.Unmarshal(lines.Bytes(), &head); err != nil || head.Format != ValidationFormat {
				return nil, errors.New("line 1: no state of a validation")
			}
			if head.Policy != policy {
				return nil, errors.New("it is of another policy: checks, baseline or permissions have changed since")
			}
			continue
		}
		var c Candidate
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			torn = fmt.Errorf("line %d: %w", n, err)
			continue
		}
		out = append(out, c)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	return out, nil
}
