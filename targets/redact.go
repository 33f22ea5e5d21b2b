package targets

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/common/config"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Redacted is the configuration in force as YAML, defaults filled in. What may be a secret is hidden: the key of tls_config, and
// what query_response sends, since passwords are sent there. Parse reads it back.
func (c *Config) Redacted() []byte {
	modules := yaml.MapSlice{}
	for _, name := range c.ModuleNames() {
		modules = append(modules, yaml.MapItem{Key: name, Value: c.modules[name].shown()})
	}
	out := yaml.MapSlice{
		{Key: "modules", Value: modules},
		{Key: "allow", Value: c.allow.Entries()},
		{Key: "limits", Value: shownLimits(c.limits)},
		{Key: "source_ports", Value: c.ports.String()},
		{Key: "probe_timeout_offset", Value: c.offset.String()},
		{Key: "metrics_detail", Value: string(c.detail)},
		{Key: "testimony", Value: c.shownTestimony()},
		{Key: "results", Value: c.shownResults()},
		{Key: "jobs", Value: c.shownJobs()},
	}
	return marshal(out)
}

// RedactedModule is one module in the same form; nil where no module has the name.
func (c *Config) RedactedModule(name string) []byte {
	m, ok := c.modules[name]
	if !ok {
		return nil
	}
	return marshal(m.shown())
}

// shownText is a text as a value. The encoder leaves one that begins with a question mark bare, which reads back as a key.
func shownText(s string) any {
	if strings.HasPrefix(s, "?") {
		return quoted(s)
	}
	return s
}

// quoted is a text in double quotes.
type quoted string

// MarshalYAML implements yaml.BytesMarshaler: what JSON quotes, YAML reads (YAML 1.2 §1.2).
func (q quoted) MarshalYAML() ([]byte, error) { return json.Marshal(string(q)) }

func marshal(v yaml.MapSlice) []byte {
	b, err := yaml.MarshalWithOptions(v, yaml.IndentSequence(true))
	if err != nil {
		return fmt.Appendf(nil, "# %v\n", err)
	}
	return b
}

func shownLimits(l prober.Limits) yaml.MapSlice {
	return yaml.MapSlice{
		{Key: "per_target_rate", Value: l.PerTargetRate},
		{Key: "per_target_burst", Value: l.PerTargetBurst},
		{Key: "global_rate", Value: l.GlobalRate},
		{Key: "global_burst", Value: l.GlobalBurst},
		{Key: "half_open", Value: l.HalfOpen},
		{Key: "unanswered", Value: l.Unanswered},
		{Key: "arp_rate", Value: l.ARPRate},
	}
}

func (c *Config) shownResults() yaml.MapSlice {
	var v view
	r := c.results
	v.add("path", shownText(r.Path), r.Path != "")
	v.add("max_age", r.MaxAge.String(), true)
	v.add("points_age", r.PointsAge.String(), true)
	v.add("max_size", spellSize(r.MaxSize), r.MaxSize > 0)
	v.add("captures", r.Captures, true)
	return v.MapSlice
}

func (c *Config) shownJobs() []yaml.MapSlice {
	out := make([]yaml.MapSlice, 0, len(c.jobs))
	for _, j := range c.jobs {
		m := yaml.MapSlice{
			{Key: "name", Value: j.Name},
			{Key: "module", Value: j.Module},
			{Key: "interval", Value: j.Interval.String()},
			{Key: "targets", Value: append([]string{}, j.Targets...)},
		}
		v := view{m}
		v.add("labels", shownLabels(j.Labels), len(j.Labels) > 0)
		v.add("addresses", string(j.Addresses), j.Addresses != "")
		v.add("diagnose", false, !j.Diagnose)
		j.Sources.show(&v)
		out = append(out, v.MapSlice)
	}
	return out
}

func shownLabels(labels map[string]string) yaml.MapSlice {
	var out yaml.MapSlice
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, yaml.MapItem{Key: k, Value: shownText(labels[k])})
	}
	return out
}

// view builds a MapSlice of the options that are set.
type view struct{ yaml.MapSlice }

func (v *view) add(key string, value any, set bool) {
	if set {
		v.MapSlice = append(v.MapSlice, yaml.MapItem{Key: key, Value: value})
	}
}

func (m *module) shown() yaml.MapSlice {
	var v view
	v.add("prober", string(m.Kind), true)
	v.add("timeout", m.Timeout.String(), m.timed || m.Kind != prober.KindTCP)
	if r, ok := readerOf(m.Kind); ok {
		r.show(m, &v)
	}
	return v.MapSlice
}

func (m *module) showConnect(v *view) {
	m.showSize(v)
	v.add("count", m.Count, true)
	v.add("pause", m.Pause.String(), m.Pause > 0)
	v.add("max_stalled", m.MaxStalled, m.MaxStalled >= 0)
	v.add("hop_limit", m.HopLimit, m.HopLimit != 0)
	v.add("tos", m.ToS, m.ToS != 0)
	m.showWay(v)
}

func (m *module) showSize(v *view) { v.add("burst", m.Burst, true) }

func (m *module) showWay(v *view) {
	v.add("interface", m.Interface, m.Interface != "")
	m.showPath(v)
}

func (m *module) showPath(v *view) {
	v.add("preferred_ip_protocol", m.IPProtocol, m.IPProtocol != "")
	v.add("ip_protocol_fallback", m.IPFallback, true)
	v.add("source_ip_address", m.Source.String(), m.Source.IsValid())
}

func (m *module) showSYN(v *view) {
	m.showConnect(v)
	o := m.SYN
	v.add("ladder", shownLadder(o.Ladder), true)
	v.add("tsval", uint32(o.TSval), o.HasTSval)
	v.add("tshz", o.TSHz, !o.WithoutTimestamps)
	v.add("timestamps", !o.WithoutTimestamps, true)
	v.add("mss", o.MSS, o.MSS != 0)
	v.add("handshake", o.Handshake, true)
}

func shownLadder(l plan.Ladder) any {
	switch l.Name {
	case "":
		return "kernel"
	case "custom":
		rungs := make([]string, len(l.At))
		for i, d := range l.At {
			rungs[i] = d.String()
		}
		return rungs
	}
	return l.Name
}

func (m *module) showTCP(v *view) { v.add("tcp", m.shownTCP(), true) }

func (m *module) shownTCP() yaml.MapSlice {
	var v view
	m.showPath(&v)
	var steps []yaml.MapSlice
	for _, q := range m.TCP.QueryResponse {
		var s view
		s.add("expect", q.Expect, q.Expect != "")
		s.add("send", hidden(q.Send), q.Send != "")
		s.add("starttls", true, q.StartTLS)
		var labels []yaml.MapSlice
		for _, l := range q.Labels {
			labels = append(labels, yaml.MapSlice{{Key: "name", Value: l.Name}, {Key: "value", Value: shownText(l.Value)}})
		}
		s.add("labels", labels, len(labels) > 0)
		steps = append(steps, s.MapSlice)
	}
	v.add("query_response", steps, len(steps) > 0)
	v.add("tls", m.TCP.TLS, true)
	tls := m.shownTLS()
	v.add("tls_config", tls, len(tls) > 0)
	return v.MapSlice
}

func hidden(s string) string { return fmt.Sprintf("<hidden, %d octets>", len(s)) }

func (m *module) shownTLS() yaml.MapSlice { return shownTLSConfig(&m.tls) }

func shownTLSConfig(c *config.TLSConfig) yaml.MapSlice {
	var v view
	v.add("ca", c.CA, c.CA != "")
	v.add("cert", c.Cert, c.Cert != "")
	v.add("key", "<secret>", c.Key != "")
	v.add("ca_file", c.CAFile, c.CAFile != "")
	v.add("cert_file", c.CertFile, c.CertFile != "")
	v.add("key_file", c.KeyFile, c.KeyFile != "")
	v.add("server_name", c.ServerName, c.ServerName != "")
	v.add("insecure_skip_verify", true, c.InsecureSkipVerify)
	v.add("min_version", strings.Trim(c.MinVersion.String(), `"`), c.MinVersion != 0)
	v.add("max_version", strings.Trim(c.MaxVersion.String(), `"`), c.MaxVersion != 0)
	return v.MapSlice
}
