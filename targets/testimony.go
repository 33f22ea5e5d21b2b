package targets

import (
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/vipprobe/vipprobe/prober"
)

// Testimony is what a configuration says about servers' own counters: whether this host tells its own, and whom a diagnosis asks.
type Testimony struct {
	// Serve this host's counters to who may ask; off by default.
	Serve bool
	// TokenFile holds the bearer token that is asked for; empty: the listener's own authentication must do.
	TokenFile string
	// Procfs is where the counters are read; empty: /proc.
	Procfs string
	// Servers are whose counters a diagnosis reads.
	Servers []TestimonyServer
}

// TestimonyServer is one server that tells its counters.
type TestimonyServer struct {
	prober.TestimonySource
	// SecretFile holds the token, or the password where User is set; empty: none.
	SecretFile string
}

// Source reads the secret's file and returns how the server is asked. The error names the file.
func (s *TestimonyServer) Source() (prober.TestimonySource, error) {
	out := s.TestimonySource
	if s.SecretFile == "" {
		return out, nil
	}
	secret, err := ReadSecret(s.SecretFile)
	out.Secret = secret
	return out, err
}

// maxSecret bounds a file with a token or password, octets.
const maxSecret = 4096

// ReadSecret reads a token or password from a file, without the white space around it. Errors: it cannot be read, is empty, or is too long to be
// one.
func ReadSecret(path string) (prober.Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 2*maxSecret)) // with the white space around it
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if text == "" || len(text) > maxSecret || strings.ContainsAny(text, "\r\n\x00") {
		return "", &SecretError{path}
	}
	return prober.Secret(text), nil
}

// SecretError is a file that holds no token or password.
type SecretError struct{ Path string }

func (e *SecretError) Error() string {
	return e.Path + " does not hold one line of text, a token or password"
}

func (c *Config) readTestimony(root *section) {
	s, _ := root.section("testimony")
	t := &c.testimony
	s.boolean("serve", &t.Serve)
	s.str("token_file", &t.TokenFile)
	s.str("procfs", &t.Procfs)
	if !t.Serve && (t.TokenFile != "" || t.Procfs != "") {
		s.doc.warn(s.at, "serve is not true, so that nothing is served")
	}
	for _, it := range s.list("servers") {
		sub := it.doc.section(it.key, it.node)
		if sub == nil {
			continue
		}
		var v TestimonyServer
		sub.str("server", &v.Server)
		sub.str("url", &v.URL)
		sub.str("username", &v.User)
		sub.str("password_file", &v.SecretFile)
		if v.User == "" && v.SecretFile != "" {
			sub.doc.fail(sub.place("password_file"), "username is missing beside it")
		}
		var token string
		if sub.str("token_file", &token) {
			if v.SecretFile != "" || v.User != "" {
				sub.doc.fail(sub.place("token_file"), "there is a username or password_file already; want one way to authenticate")
			}
			v.SecretFile = token
		}
		sub.str("ca_file", &v.CAFile)
		sub.done()
		c.addServer(sub, v)
	}
	s.done()
}

func (c *Config) addServer(s *section, v TestimonyServer) {
	if _, err := prober.ParseEndpoint(v.Server); err != nil {
		s.doc.fail(s.place("server"), "%v", err)
		return
	}
	if err := v.CheckTestimony(); err != nil {
		s.doc.fail(s.place("url"), "%v", err)
		return
	}
	c.testimony.Servers = append(c.testimony.Servers, v)
}

// Testimony is what is told and asked about servers' own counters.
func (c *Config) Testimony() Testimony { return c.testimony }

// shownTestimony has the names of files with secrets, never what they hold.
func (c *Config) shownTestimony() yaml.MapSlice {
	var v view
	t := c.testimony
	v.add("serve", t.Serve, true)
	v.add("token_file", t.TokenFile, t.TokenFile != "")
	v.add("procfs", t.Procfs, t.Procfs != "")
	var servers []yaml.MapSlice
	for _, x := range t.Servers {
		var s view
		s.add("server", x.Server, true)
		s.add("url", x.URL, true)
		s.add("username", x.User, x.User != "")
		s.add("password_file", x.SecretFile, x.User != "" && x.SecretFile != "")
		s.add("token_file", x.SecretFile, x.User == "" && x.SecretFile != "")
		s.add("ca_file", x.CAFile, x.CAFile != "")
		servers = append(servers, s.MapSlice)
	}
	v.add("servers", servers, len(servers) > 0)
	return v.MapSlice
}
