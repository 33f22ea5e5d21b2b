package discovery

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/targets"
)

// Target is one target of a job after relabelling.
type Target struct {
	Address string // HOST:PORT
	Labels  map[string]string
}

// Dropped is what was found and is not probed.
type Dropped struct {
	Address string
	Why     Reason
	Text    string // what is wrong with it
	// Labels are those that it would have, where it has come so far.
	Labels map[string]string
}

// Reason says why something that was found is not probed.
type Reason string

// The reasons: a rule says so; the address is none that can be probed; the job has that address with other labels already; the job has maxTargets.
const (
	ByRule      Reason = "rule"
	BadAddress  Reason = "address"
	AlreadyHere Reason = "duplicate"
	TooMany     Reason = "too_many"
)

// Reasons lists them all.
func Reasons() []Reason { return []Reason{ByRule, BadAddress, AlreadyHere, TooMany} }

// maxTargets bounds the targets of a job: more than one machine probes.
const maxTargets = 200_000

// Resolve relabels what was found of a job, its own list included. The targets are in order of address; two of one address are probed once, with the labels
// that come first in order: a VIP that is another VIP's member is probed as a VIP, and Arrange knows it as a member too.
func Resolve(j *targets.Job, groups []*targetgroup.Group) (found []Target, dropped []Dropped) {
	rules, err := rulesOf(j)
	if err != nil { // Parse has refused such a job
		return nil, []Dropped{{Why: ByRule, Text: err.Error()}}
	}
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, g := range append(staticGroups(j), groups...) {
		for _, t := range g.Targets {
			x, d := one(b, j, g, t, rules)
			if d != nil {
				dropped = append(dropped, *d)
				continue
			}
			found = append(found, x)
		}
	}
	slices.SortFunc(found, byAddress)
	kept := found[:0]
	for i := range found {
		t := &found[i]
		switch {
		case len(kept) > 0 && kept[len(kept)-1].Address == t.Address:
			if !maps.Equal(kept[len(kept)-1].Labels, t.Labels) {
				dropped = append(dropped, Dropped{t.Address, AlreadyHere, "the job has it with other labels already: " + spelled(kept[len(kept)-1].Labels), t.Labels})
			}
		case len(kept) == maxTargets:
			dropped = append(dropped, Dropped{t.Address, TooMany, fmt.Sprintf("the job has %d targets", maxTargets), t.Labels})
		default:
			kept = append(kept, *t)
		}
	}
	return kept, dropped
}

func byAddress(a, b Target) int {
	return cmp.Or(strings.Compare(a.Address, b.Address), cmp.Compare(rank(a.Labels), rank(b.Labels)), strings.Compare(spelled(a.Labels), spelled(b.Labels)))
}

// rank is 0 for a VIP.
func rank(l map[string]string) int {
	if l[targets.LabelRole] == targets.RoleVIP {
		return 0
	}
	return 1
}

// spelled is a set of labels as PromQL has it.
func spelled(l map[string]string) string {
	parts := make([]string, 0, len(l))
	for _, k := range slices.Sorted(maps.Keys(l)) {
		parts = append(parts, fmt.Sprintf("%s=%q", k, l[k]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func rulesOf(j *targets.Job) ([]*relabel.Config, error) {
	if j.Sources == nil {
		return nil, nil
	}
	var out []*relabel.Config
	for i := range j.Sources.Relabel {
		r, err := j.Sources.Relabel[i].Rule()
		if err != nil {
			return nil, fmt.Errorf("jobs.%s.relabel_configs[%d]: %w", j.Name, i, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// staticGroups are the targets that stand in the configuration.
func staticGroups(j *targets.Job) []*targetgroup.Group {
	group := func(list []string, l map[string]string) *targetgroup.Group {
		g := &targetgroup.Group{Labels: model.LabelSet{}}
		for k, v := range l {
			g.Labels[model.LabelName(k)] = model.LabelValue(v)
		}
		for _, t := range list {
			g.Targets = append(g.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(t)})
		}
		return g
	}
	out := []*targetgroup.Group{group(j.Targets, nil)}
	if j.Sources != nil {
		for _, s := range j.Sources.Static {
			out = append(out, group(s.Targets, s.Labels))
		}
	}
	return out
}

// one relabels one target: its own labels go before its group's, and those before the job's.
func one(b *labels.Builder, j *targets.Job, g *targetgroup.Group, t model.LabelSet, rules []*relabel.Config) (Target, *Dropped) {
	b.Reset(labels.EmptyLabels())
	for k, v := range j.Labels {
		b.Set(k, v)
	}
	for _, set := range []model.LabelSet{g.Labels, t} {
		for k, v := range set {
			b.Set(string(k), string(v))
		}
	}
	was := b.Get(model.AddressLabel)
	if !relabel.ProcessBuilder(b, rules...) {
		return Target{}, &Dropped{Address: was, Why: ByRule, Text: "relabel_configs drop it"}
	}
	ep, err := prober.ParseEndpoint(b.Get(model.AddressLabel))
	if err != nil {
		return Target{}, &Dropped{Address: cmp.Or(b.Get(model.AddressLabel), was), Why: BadAddress, Text: err.Error()}
	}
	out := Target{Address: ep.String()}
	b.Range(func(l labels.Label) {
		if name := targets.LabelFor(l.Name); name != "" && l.Value != "" {
			if out.Labels == nil {
				out.Labels = map[string]string{}
			}
			out.Labels[name] = strings.ToValidUTF8(l.Value, "\uFFFD")
		}
	})
	return out, nil
}

// Arrange makes of jobs and their targets what can be scheduled: each job in parts whose targets have the same labels, at least one part of each. A
// part belongs to the VIP that its label names, and the part of the VIP itself knows the VIP's members, whatever jobs these are in, those included that
// are probed as another VIP's.
func Arrange(found []Found) []targets.Job {
	members := membersOf(found)
	var out []targets.Job
	for i := range found {
		j := found[i].Job
		j.Sources = nil
		parts := map[string]int{}
		first := len(out)
		for _, t := range found[i].Targets {
			k := spelled(t.Labels)
			at, known := parts[k]
			if !known {
				at = len(out)
				parts[k] = at
				p := j
				p.Targets, p.Labels, p.Group = nil, t.Labels, t.Labels[targets.LabelVIP]
				if p.Group != "" && t.Labels[targets.LabelRole] == targets.RoleVIP {
					p.Members = members[p.Group]
				}
				out = append(out, p)
			}
			out[at].Targets = append(out[at].Targets, t.Address)
		}
		if len(out) == first {
			j.Targets = nil
			out = append(out, j)
		}
	}
	return out
}

// membersOf lists the real servers of each VIP, each once, in order.
func membersOf(found []Found) map[string][]string {
	out := map[string][]string{}
	add := func(address string, l map[string]string) {
		if vip := l[targets.LabelVIP]; vip != "" && l[targets.LabelRole] == targets.RoleMember {
			out[vip] = append(out[vip], address)
		}
	}
	for i := range found {
		for _, t := range found[i].Targets {
			add(t.Address, t.Labels)
		}
		for _, x := range found[i].Dropped {
			if x.Why == AlreadyHere {
				add(x.Address, x.Labels)
			}
		}
	}
	for vip, list := range out {
		slices.Sort(list)
		out[vip] = slices.Compact(list)
	}
	return out
}
