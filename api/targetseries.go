package api

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/targets"
)

// maxSeries is how many series one target has at most: up to seven outcomes that occurred and the stalls always; then, while
// there is room, whether the last round succeeded, what it named, and its round trips.
const maxSeries = 8

// seriesKey names a target's series; address only where the detail is backend.
type seriesKey struct{ job, target, address string }

// targetSeries is what is kept of one target: counters, and the last round's figures.
type targetSeries struct {
	labels   []*dto.LabelPair // sorted by name
	outcomes [16]uint64       // by observe.Outcome
	stalls   uint64
	success  bool
	causes   []diagnose.Cause
	found    []diagnose.Cause // of the last diagnosis, until a round is well
	median   float64          // seconds; valid where known
	worst    float64
	known    bool
}

type targetDescs struct{ connections, stalls, success, diagnosis, rtt *prometheus.Desc }

func newTargetDescs() targetDescs {
	d := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return targetDescs{
		connections: d("vipprobe_connections_total", "Connections of scheduled rounds by target and outcome."),
		stalls:      d("vipprobe_stalls_total", "Connections of scheduled rounds that were accepted only after a retransmission timeout, by target."),
		success:     d("vipprobe_target_success", "Whether the target's last scheduled round succeeded."),
		diagnosis:   d("vipprobe_diagnosis", "Always 1: a verdict that the target's last scheduled round names now, and how firmly."),
		rtt: d("vipprobe_target_handshake_rtt_seconds",
			"Handshake round trips of the target's last scheduled round; of several addresses behind a name, the slowest one's."),
	}
}

// SetDetail changes how much is kept of each target and forgets what was.
func (m *Metrics) SetDetail(d targets.Detail) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d == m.detail {
		return
	}
	m.detail = d
	clear(m.series)
}

// Retain forgets the targets and jobs that are no more, and takes the jobs' new labels; call it after a reload.
func (m *Metrics) Retain(jobs []targets.Job) {
	keep := map[seriesKey]*targets.Job{}
	names := map[string]bool{}
	for i := range jobs {
		j := &jobs[i]
		names[j.Name] = true
		for _, t := range j.Targets {
			keep[seriesKey{job: j.Name, target: t}] = j
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, s := range m.series {
		j := keep[seriesKey{job: k.job, target: k.target}]
		if j == nil {
			delete(m.series, k)
			continue
		}
		s.labels = k.pairs(j.Labels)
	}
	for job := range m.jobs {
		if names[job] {
			continue
		}
		l := prometheus.Labels{"job_name": job}
		m.handshake.DeletePartialMatch(l)
		m.rounds.DeletePartialMatch(l)
		m.skipped.DeletePartialMatch(l)
		m.diagnoses.DeletePartialMatch(l)
		delete(m.jobs, job)
	}
}

// note keeps what a round says of its target; again: it is not the first of this probe, since a name can have several addresses.
func (m *Metrics) note(job string, labels map[string]string, r *prober.Round, f *figures, again bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.jobs[job] = true
	k := seriesKey{job: job, target: r.Target}
	switch m.detail {
	case targets.DetailNone:
		return
	case targets.DetailBackend:
		again = false
		if a := r.Addr.Addr(); a.IsValid() {
			k.address = a.String()
		}
	case targets.DetailTarget:
	}
	s := m.of(k, labels)
	if !again {
		s.success, s.causes, s.known = true, nil, false
	}
	s.note(r, f)
}

// noteHealthy keeps what a healthy round says of its target.
func (m *Metrics) noteHealthy(job string, labels map[string]string, h *prober.Healthy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.jobs[job] = true
	k := seriesKey{job: job, target: h.Target}
	switch m.detail {
	case targets.DetailNone:
		return
	case targets.DetailBackend:
		k.address = h.Addr.Addr().String()
	case targets.DetailTarget:
	}
	s := m.of(k, labels)
	s.outcomes[observe.Accepted] += uint64(h.Connections)
	s.success, s.causes, s.found, s.known = true, nil, nil, len(h.RTTs) > 0
	if s.known {
		s.median, s.worst = view.Rank(h.RTTs, 0.5).Seconds(), view.Rank(h.RTTs, 1).Seconds()
	}
}

// noteDiagnosis keeps what a diagnosis named: it says more than a round does, until one is well again.
func (m *Metrics) noteDiagnosis(job string, labels map[string]string, target string, found []prober.Round) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.detail == targets.DetailNone {
		return
	}
	for i := range found {
		if found[i].Member { // met to compare with: what it has is not the target's
			continue
		}
		k := seriesKey{job: job, target: target}
		if a := found[i].Addr.Addr(); m.detail == targets.DetailBackend && a.IsValid() {
			k.address = a.String()
		}
		s := m.of(k, labels)
		if i == 0 || m.detail == targets.DetailBackend {
			s.found = nil
		}
		for _, c := range found[i].Diagnosis.Causes {
			if c.Verdict != diagnose.Healthy && len(s.found) < maxSeries {
				s.found = append(s.found, diagnose.Cause{Verdict: c.Verdict, Level: c.Level})
			}
		}
	}
}

// of returns the series of k, which begin where there are none. The caller holds the lock.
func (m *Metrics) of(k seriesKey, labels map[string]string) *targetSeries {
	s := m.series[k]
	if s == nil {
		s = &targetSeries{labels: k.pairs(labels)}
		m.series[k] = s
	}
	return s
}

// fail ends what the last round said of a target, at every address it was known by: it has failed, and nothing is known of it now.
func (m *Metrics) fail(job, target string, labels map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.jobs[job] = true
	if m.detail == targets.DetailNone {
		return
	}
	known := false
	for k, s := range m.series {
		if k.job == job && k.target == target {
			s.success, s.causes, s.known, known = false, nil, false, true
		}
	}
	if !known {
		m.of(seriesKey{job: job, target: target}, labels)
	}
}

// note adds a round to what its probe has shown so far: all of a name's addresses have to succeed, and the slowest counts.
func (s *targetSeries) note(r *prober.Round, f *figures) {
	for o, n := range f.outcomes {
		s.outcomes[o] += uint64(n)
	}
	for _, n := range f.stalled {
		s.stalls += uint64(n)
	}
	s.success = s.success && f.success
	if s.success && len(r.Diagnosis.Causes) == 0 {
		s.found = nil
	}
	for _, c := range r.Diagnosis.Causes {
		if c.Verdict != diagnose.Healthy && len(s.causes) < maxSeries {
			s.causes = append(s.causes, diagnose.Cause{Verdict: c.Verdict, Level: c.Level})
		}
	}
	if len(f.rtts) == 0 {
		return
	}
	median, worst := view.Rank(f.rtts, 0.5).Seconds(), view.Rank(f.rtts, 1).Seconds()
	if s.known {
		median, worst = max(median, s.median), max(worst, s.worst)
	}
	s.median, s.worst, s.known = median, worst, true
}

func (k seriesKey) pairs(labels map[string]string) []*dto.LabelPair {
	out := []*dto.LabelPair{pair("job_name", k.job), pair("target", k.target)}
	if k.address != "" {
		out = append(out, pair("address", k.address))
	}
	for n, v := range labels {
		out = append(out, pair(n, v))
	}
	return sorted(out)
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

func sorted(p []*dto.LabelPair) []*dto.LabelPair {
	slices.SortFunc(p, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return p
}

// chunk is how many targets' series are made at a time: rounds that are told meanwhile wait for no more than that.
const chunk = 256

func (m *Metrics) collectTargets(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	list := slices.Collect(maps.Values(m.series))
	m.mu.Unlock()
	some := make([]prometheus.Metric, 0, chunk*maxSeries)
	for part := range slices.Chunk(list, chunk) {
		some = some[:0]
		m.mu.Lock()
		for _, s := range part {
			some = s.append(some, &m.desc)
		}
		m.mu.Unlock()
		for _, x := range some {
			ch <- x
		}
	}
}

// append adds the target's series, at most maxSeries.
func (s *targetSeries) append(all []prometheus.Metric, d *targetDescs) []prometheus.Metric {
	room := maxSeries
	add := func(desc *prometheus.Desc, counter bool, v float64, extra ...*dto.LabelPair) {
		if room == 0 {
			return
		}
		room--
		labels := s.labels
		if len(extra) > 0 {
			labels = sorted(append(extra, s.labels...))
		}
		all = append(all, &sample{desc: desc, counter: counter, value: v, labels: labels})
	}
	for _, o := range observe.Outcomes() {
		if n := s.outcomes[o]; n > 0 || o == observe.Accepted {
			add(d.connections, true, float64(n), pair("outcome", o.String()))
		}
	}
	add(d.stalls, true, float64(s.stalls))
	add(d.success, false, truth(s.success))
	causes := s.causes
	if len(s.found) > 0 {
		causes = s.found
	}
	for _, c := range causes {
		add(d.diagnosis, false, 1, pair("verdict", string(c.Verdict)), pair("level", c.Level.String()))
	}
	if s.known && room >= 2 {
		add(d.rtt, false, s.median, pair("stat", "median"))
		add(d.rtt, false, s.worst, pair("stat", "max"))
	}
	return all
}

// sample is one value whose labels were made beforehand, so that a scrape of many targets builds no label of a target anew.
type sample struct {
	desc    *prometheus.Desc
	labels  []*dto.LabelPair
	counter bool
	value   float64
}

// Desc names the family.
func (s *sample) Desc() *prometheus.Desc { return s.desc }

// Write fills m.
func (s *sample) Write(m *dto.Metric) error {
	m.Label = s.labels
	v := s.value
	if s.counter {
		m.Counter = &dto.Counter{Value: &v}
	} else {
		m.Gauge = &dto.Gauge{Value: &v}
	}
	return nil
}
