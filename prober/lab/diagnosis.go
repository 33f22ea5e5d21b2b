package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

// Question is all that a diagnosis gets to know: where it stands, what to probe, and what it may do. Nothing of the scenario.
type Question struct {
	Client  *topo.Host
	Targets []string
	// Members are the real servers behind a VIP, where the client can reach them and the scenario says that it is told of them.
	Members []string
	// Deponents are servers that tell their own counters; see Depose.
	Deponents []Deponent
	Grants    []Grant
	// Exchange is the data that the service exchanges, as --transfer has it, where its owner says so; empty: nothing is said.
	Exchange string
	Budget   time.Duration
	// Evidence is the directory, new or empty, that the diagnosis writes its evidence to; empty: none is written.
	Evidence string
}

// Named is one cause that a diagnosis names.
type Named struct {
	Verdict diagnose.Verdict
	Level   diagnose.Level
	// Evidence as it was given; then the notes and measurements beside it.
	Evidence []string
}

// Diagnoser answers a question. It must look only at the network, from the client.
type Diagnoser func(context.Context, Question) ([]Named, error)

// Question asks about the running scenario.
func (r *Running) Question() Question {
	var members []string
	if r.Scenario.Compare {
		members = r.Members()
	}
	return Question{Client: r.Client(), Targets: r.Targets(), Members: members, Deponents: r.stage.Deponents, Grants: r.Scenario.Grants, Exchange: r.Scenario.Exchange, Budget: r.Scenario.budget()}
}

func (s Scenario) budget() time.Duration {
	if s.Budget == 0 {
		return 28 * time.Second
	}
	return s.Budget
}

// Exec is the diagnosis that every user has: this very program's `diagnose`, run on the client. flags translates what the question
// allows into command-line flags; nil adds none.
func Exec(flags func(Question) []string) Diagnoser {
	return func(ctx context.Context, q Question) ([]Named, error) {
		args := append([]string{"diagnose"}, q.Targets...)
		args = append(args, "-o", "json", "--max-seconds", strconv.FormatFloat(q.Budget.Seconds(), 'f', -1, 64))
		for _, m := range q.Members {
			args = append(args, "--member", m)
		}
		if flags != nil {
			args = append(args, flags(q)...)
		}
		if q.Evidence != "" {
			args = append(args, "--evidence", q.Evidence)
		}
		asking, stop, err := Depose(ctx, q.Deponents)
		if err != nil {
			return nil, err
		}
		defer stop()
		args = append(args, asking...)
		// What still runs after its time has hung.
		ctx, cancel := context.WithTimeout(ctx, q.Budget+10*time.Second)
		defer cancel()
		cmd := q.Client.Command(ctx, "/proc/self/exe", args...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err = q.Client.Run(cmd)
		if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
			return nil, fmt.Errorf("run diagnose: %w", err)
		}
		named, parseErr := parseCauses(out.Bytes())
		if parseErr != nil {
			return nil, fmt.Errorf("diagnose gave no result: %w: %s", errors.Join(parseErr, err), lastLine(errs.String()))
		}
		return named, nil
	}
}

// lastLine is the end of what a program complained about.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// scored is the part of `diagnose -o json` that is scored.
type scored struct {
	Rounds []struct {
		Member    bool             `json:"member"`
		Diagnosis *scoredDiagnosis `json:"diagnosis"`
	} `json:"rounds"`
}

type scoredDiagnosis struct {
	Causes    []scoredFinding `json:"causes"`
	Notes     []scoredFinding `json:"notes"`
	Testimony []struct {
		Verdict diagnose.Verdict `json:"verdict"`
		Effect  string           `json:"effect"`
	} `json:"testimony"`
	Measurements []struct {
		Name   string `json:"name"`
		Value  *int   `json:"value"`
		AtMost *int   `json:"at_most"`
	} `json:"measurements"`
}

type scoredFinding struct {
	Verdict  diagnose.Verdict `json:"verdict"`
	Level    string           `json:"level"`
	Summary  string           `json:"summary"`
	Evidence []string         `json:"evidence"`
}

// parseCauses reads what is scored: the causes of all rounds, each verdict once, at its firmest.
func parseCauses(b []byte) ([]Named, error) {
	var doc scored
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if len(doc.Rounds) == 0 {
		return nil, errors.New("no rounds in it")
	}
	var named []Named
	for _, r := range doc.Rounds {
		if r.Diagnosis == nil || r.Member {
			continue
		}
		for _, n := range r.Diagnosis.named() {
			named = merge(named, n)
		}
	}
	return healthyOnlyAlone(named), nil
}

// named are the causes of one diagnosis, each with what stands beside it, and an undecided note where nothing is decided.
func (d *scoredDiagnosis) named() []Named {
	var named []Named
	if !slices.ContainsFunc(d.Causes, func(c scoredFinding) bool { return !undecided(c.Verdict) }) {
		for _, n := range d.Notes {
			if undecided(n.Verdict) {
				named = append(named, Named{n.Verdict, level(n.Level), append(n.Evidence, n.Summary)})
			}
		}
	}
	beside := d.beside()
	for _, c := range d.Causes {
		named = append(named, Named{c.Verdict, level(c.Level), append(c.Evidence, beside...)})
	}
	return named
}

// beside is what stands beside the causes, in words that a label can ask for.
func (d *scoredDiagnosis) beside() []string {
	var out []string
	for _, n := range d.Notes {
		out = append(out, noteWord+string(n.Verdict))
	}
	for _, t := range d.Testimony {
		out = append(out, testimonyWord+string(t.Verdict)+" "+t.Effect)
	}
	for _, m := range d.Measurements {
		out = append(out, figure(m.Name, m.Value, m.AtMost))
	}
	return out
}

// figure is a measurement in a few words, so that a label can ask for it.
func figure(name string, value, most *int) string {
	switch {
	case value == nil:
		return name + " not measured"
	case most == nil:
		return fmt.Sprintf("%s at least %d", name, *value)
	}
	return fmt.Sprintf("%s %d to %d", name, *value, *most)
}

// merge keeps each verdict once, at its firmest level.
func merge(all []Named, n Named) []Named {
	i := slices.IndexFunc(all, func(x Named) bool { return x.Verdict == n.Verdict })
	if i < 0 {
		return append(all, n)
	}
	all[i].Level = max(all[i].Level, n.Level)
	all[i].Evidence = append(all[i].Evidence, n.Evidence...)
	return all
}

// healthyOnlyAlone drops "healthy" where another of several targets is not: together they are not.
func healthyOnlyAlone(all []Named) []Named {
	if len(all) < 2 {
		return all
	}
	return slices.DeleteFunc(all, func(n Named) bool { return n.Verdict == diagnose.Healthy })
}

func level(s string) diagnose.Level {
	for _, l := range diagnose.Levels() {
		if l.String() == s {
			return l
		}
	}
	return diagnose.LevelUnknown
}
