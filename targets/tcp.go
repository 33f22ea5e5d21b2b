package targets

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/config"

	"github.com/vipprobe/vipprobe/prober"
)

// readTCP reads blackbox_exporter's tcp section.
func (c *Config) readTCP(m *module, s *section) {
	t, _ := s.section("tcp")
	m.readPath(t)
	for _, it := range t.list("query_response") {
		if sub := it.doc.section(it.key, it.node); sub != nil {
			m.TCP.QueryResponse = append(m.TCP.QueryResponse, readStep(sub))
		}
	}
	t.boolean("tls", &m.TCP.TLS)
	m.readTLS(t)
	t.done()
}

func readStep(s *section) prober.QueryResponse {
	var q prober.QueryResponse
	if s.str("expect", &q.Expect) {
		if _, err := regexp.Compile(q.Expect); err != nil {
			s.doc.fail(s.place("expect"), "%v", err)
		}
	}
	s.str("send", &q.Send)
	s.boolean("starttls", &q.StartTLS)
	for _, it := range s.list("labels") {
		sub := it.doc.section(it.key, it.node)
		if sub == nil {
			continue
		}
		var l prober.QueryLabel
		if !sub.str("name", &l.Name) || !labelName(l.Name) {
			sub.doc.fail(sub.place("name"), "%q is no label name", short(l.Name))
		}
		sub.str("value", &l.Value)
		sub.done()
		q.Labels = append(q.Labels, l)
	}
	s.done()
	return q
}

// labelName reports whether n is a classic Prometheus label name that is not reserved.
func labelName(n string) bool {
	for i, r := range n {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return n != "" && !strings.HasPrefix(n, "__")
}

// readTLS reads Prometheus' tls_config. Its files are read at each use of the module, as blackbox_exporter does; one that is
// missing now is a warning.
func (m *module) readTLS(t *section) {
	s, given := t.section("tls_config")
	c := &m.tls
	readTLSConfig(s, c)
	s.done()
	if !given {
		return
	}
	if err := c.Validate(); err != nil {
		s.doc.fail(s.at, "%v", err)
		return
	}
	if c.MinVersion != 0 && c.MaxVersion != 0 && c.MaxVersion < c.MinVersion {
		s.doc.fail(s.place("max_version"), "lower than min_version")
		return
	}
	if _, err := config.NewTLSConfig(c); err != nil {
		s.doc.warn(s.at, "%v; probes of this module fail until that is mended", err)
	}
}

func readTLSConfig(s *section, c *config.TLSConfig) {
	s.str("ca", &c.CA)
	s.str("cert", &c.Cert)
	var key string
	if s.str("key", &key) {
		c.Key = config.Secret(key)
	}
	s.str("ca_file", &c.CAFile)
	s.str("cert_file", &c.CertFile)
	s.str("key_file", &c.KeyFile)
	s.str("server_name", &c.ServerName)
	s.boolean("insecure_skip_verify", &c.InsecureSkipVerify)
	readVersion(s, "min_version", &c.MinVersion)
	readVersion(s, "max_version", &c.MaxVersion)
}

func readVersion(s *section, key string, dst *config.TLSVersion) {
	var v string
	names := slices.Sorted(maps.Keys(config.TLSVersions))
	if s.word(key, &v, names...) {
		*dst = config.TLSVersions[v]
	}
}

// TLSError says that a module's tls_config cannot be used now.
type TLSError struct {
	Module string
	Err    error
}

func (e *TLSError) Error() string { return "modules." + e.Module + ".tcp.tls_config: " + e.Err.Error() }

func (e *TLSError) Unwrap() error { return e.Err }

// use is the module with its TLS files read.
func (m *module) use() (prober.Module, error) {
	out := m.clone()
	if out.TCP == nil {
		return out, nil
	}
	c := m.tls
	tls, err := config.NewTLSConfig(&c)
	if err != nil {
		return prober.Module{}, &TLSError{Module: m.Name, Err: err}
	}
	out.TCP.TLSConfig = tls
	return out, nil
}
