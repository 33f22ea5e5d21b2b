package targets

import (
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/config"
)

// The labels that say which targets belong together: a VIP has its own name under vip and the role vip, its real servers the VIP's name and the role
// member.
const (
	LabelVIP   = "vip"
	LabelRole  = "role"
	RoleVIP    = "vip"
	RoleMember = "member"
)

// Sources are where a job's targets come from besides its own list, and what becomes of them. It is not to be changed.
type Sources struct {
	Static     []StaticSource
	File       []FileSource
	HTTP       []HTTPSource
	DNS        []DNSSource
	Kubernetes []KubernetesSource
	Relabel    []Relabel
}

// Dynamic reports whether targets come and go while the service runs.
func (s *Sources) Dynamic() bool {
	return s != nil && len(s.File)+len(s.HTTP)+len(s.DNS)+len(s.Kubernetes) > 0
}

// StaticSource is an entry of static_configs.
type StaticSource struct {
	Targets []string
	Labels  map[string]string
}

// FileSource is an entry of file_sd_configs.
type FileSource struct {
	Files   []string // paths, relative ones from where the configuration is; the last element may hold a *
	Refresh time.Duration
}

// HTTPSource is an entry of http_sd_configs.
type HTTPSource struct {
	URL     string
	Client  config.HTTPClientConfig
	Refresh time.Duration
}

// DNSSource is an entry of dns_sd_configs.
type DNSSource struct {
	Names   []string
	Type    string // SRV, A, AAAA, MX or NS
	Port    int    // for what is no SRV
	Refresh time.Duration
}

// Bounds and defaults of discovery; the defaults are Prometheus' (discovery/{file,http,dns}, v0.315).
const (
	minRefresh  = time.Second
	maxRefresh  = 24 * time.Hour
	fileRefresh = 5 * time.Minute
	httpRefresh = time.Minute
	dnsRefresh  = 30 * time.Second
)

// readSources reads the job's discovery blocks; nil where there are none.
func (c *Config) readSources(s *section) *Sources {
	var out Sources
	each := func(key string, read func(*section)) {
		for _, it := range s.list(key) {
			if sub := it.doc.section(it.key, it.node); sub != nil {
				read(sub)
				sub.done()
			}
		}
	}
	each("relabel_configs", func(sub *section) { out.Relabel = append(out.Relabel, readRelabel(sub)) })
	each("static_configs", func(sub *section) { out.Static = append(out.Static, c.readStatic(sub, len(out.Relabel) == 0)) })
	each("file_sd_configs", func(sub *section) { out.File = append(out.File, c.readFileSD(sub)) })
	each("http_sd_configs", func(sub *section) { out.HTTP = append(out.HTTP, c.readHTTPSD(sub)) })
	each("dns_sd_configs", func(sub *section) { out.DNS = append(out.DNS, readDNSSD(sub)) })
	each("kubernetes_sd_configs", func(sub *section) { out.Kubernetes = append(out.Kubernetes, c.readKubernetesSD(sub)) })
	if len(out.Static) == 0 && len(out.Relabel) == 0 && !out.Dynamic() {
		return nil
	}
	return &out
}

// texts reads a list of texts.
func (s *section) texts(key string) []string {
	var out []string
	for _, it := range s.list(key) {
		if v, ok := it.text(); ok {
			out = append(out, v)
		}
	}
	return out
}

// readStatic reads an entry of static_configs; final: no rule changes its targets.
func (c *Config) readStatic(s *section, final bool) StaticSource {
	out := StaticSource{Targets: s.texts("targets")}
	if final {
		for _, it := range s.list("targets") {
			c.checkTarget(it)
		}
	}
	if len(out.Targets) == 0 {
		s.doc.fail(s.place("targets"), "no targets")
	}
	labels, given := s.section("labels")
	if !given {
		return out
	}
	out.Labels = map[string]string{}
	for _, k := range labels.keys {
		var v string
		labels.str(k, &v)
		if !anyLabelName(k) {
			labels.doc.fail(labels.values[k].key, "no label name")
			continue
		}
		out.Labels[k] = strings.ToValidUTF8(v, "\uFFFD")
	}
	labels.done()
	return out
}

// anyLabelName reports whether n may be a label while targets are relabelled: reserved ones, which begin with two underscores, too.
func anyLabelName(n string) bool { return labelName(strings.TrimLeft(n, "_") + "_") }

// filePattern is what file discovery takes (discovery/file/file.go, v0.315).
var filePattern = regexp.MustCompile(`^[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)$`)

func (c *Config) readFileSD(s *section) FileSource {
	out := FileSource{Refresh: fileRefresh}
	s.duration("refresh_interval", &out.Refresh, minRefresh, maxRefresh)
	for _, it := range s.list("files") {
		v, ok := it.text()
		if !ok {
			continue
		}
		if !filePattern.MatchString(v) {
			it.doc.fail(it.at, "%q: want a path that ends in .json, .yml or .yaml, with a * at most in its last element", short(v))
			continue
		}
		out.Files = append(out.Files, c.path(v))
	}
	if len(s.list("files")) == 0 {
		s.doc.fail(s.place("files"), "no files")
	}
	return out
}

// path is a path in the file, which may be relative to where the file is.
func (c *Config) path(p string) string {
	if p == "" || filepath.IsAbs(p) || c.name == "" {
		return p
	}
	return filepath.Join(filepath.Dir(c.name), p)
}

func (c *Config) readHTTPSD(s *section) HTTPSource {
	out := HTTPSource{Refresh: httpRefresh}
	s.duration("refresh_interval", &out.Refresh, minRefresh, maxRefresh)
	out.Client = c.readClient(s)
	if !s.str("url", &out.URL) {
		s.doc.fail(s.place("url"), "no url")
		return out
	}
	u, err := url.Parse(out.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		s.doc.fail(s.place("url"), "want a URL of http or https with a host") // it may hold a secret: it is not repeated
	case u.User != nil:
		s.doc.fail(s.place("url"), "name and password belong under basic_auth")
	}
	return out
}

func readDNSSD(s *section) DNSSource {
	out := DNSSource{Type: "SRV", Refresh: dnsRefresh, Names: s.texts("names")}
	s.duration("refresh_interval", &out.Refresh, minRefresh, maxRefresh)
	types := []string{"SRV", "A", "AAAA", "MX", "NS"}
	s.word("type", &out.Type, types...)
	has := s.integer("port", &out.Port, 1, 65535)
	if len(out.Names) == 0 {
		s.doc.fail(s.place("names"), "no names")
	}
	if out.Type != "SRV" && !has && slices.Contains(types, out.Type) {
		s.doc.fail(s.place("port"), "no port; only SRV records have one")
	}
	return out
}
