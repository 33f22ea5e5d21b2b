package discovery

import (
	"maps"
	"slices"

	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/vipprobe/vipprobe/targets"
)

// Found is what is known of one job's targets now.
type Found struct {
	Job     targets.Job
	Targets []Target
	Dropped []Dropped
	// Waiting is how many of its blocks have not found anything yet, since they began.
	Waiting int
}

// Found resolves what was found so far, job by job.
func (d *Discovery) Found() []Found {
	d.mu.Lock()
	jobs := slices.Clone(d.jobs)
	groups, waiting := map[string][]*targetgroup.Group{}, map[string]int{}
	for _, p := range d.providers {
		if !p.replaced && !p.heard {
			waiting[p.job]++
		}
		for _, source := range slices.Sorted(maps.Keys(p.groups)) {
			groups[p.job] = append(groups[p.job], p.groups[source])
		}
	}
	d.mu.Unlock()
	out := make([]Found, len(jobs))
	for i := range jobs {
		f := &out[i]
		f.Job, f.Waiting = jobs[i], waiting[jobs[i].Name]
		f.Targets, f.Dropped = Resolve(&jobs[i], groups[jobs[i].Name])
	}
	d.count(out)
	return out
}

// Count is how many targets a job has.
type Count struct {
	Job              string
	Targets, Waiting int
	Dropped          map[Reason]int
	Failures         map[string]uint64 // by mechanism
}

func (d *Discovery) count(found []Found) {
	counts := make([]Count, len(found))
	for i := range found {
		f := &found[i]
		counts[i] = Count{Job: f.Job.Name, Targets: len(f.Targets), Waiting: f.Waiting, Dropped: map[Reason]int{}}
		for _, x := range f.Dropped {
			counts[i].Dropped[x.Why]++
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts = counts
}

// Counts tells how many targets the jobs had when Found was called last, and what has failed until now.
func (d *Discovery) Counts() []Count {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := slices.Clone(d.counts)
	for i := range out {
		out[i].Failures = map[string]uint64{}
		for f, n := range d.failures {
			if f.job == out[i].Job {
				out[i].Failures[f.mechanism] = n
			}
		}
	}
	return out
}
