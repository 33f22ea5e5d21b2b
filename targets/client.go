package targets

import (
	"net/url"

	"github.com/prometheus/common/config"
)

// readClient reads how a discovery server is asked, as Prometheus' http_config has it: TLS, and one way to authenticate.
func (c *Config) readClient(s *section) config.HTTPClientConfig {
	out := config.DefaultHTTPClientConfig
	if a, ok := s.section("basic_auth"); ok {
		out.BasicAuth = &config.BasicAuth{}
		a.str("username", &out.BasicAuth.Username)
		a.secret("password", &out.BasicAuth.Password)
		c.file(a, "username_file", &out.BasicAuth.UsernameFile)
		c.file(a, "password_file", &out.BasicAuth.PasswordFile)
		a.done()
	}
	if a, ok := s.section("authorization"); ok {
		out.Authorization = &config.Authorization{Type: "Bearer"}
		a.str("type", &out.Authorization.Type)
		a.secret("credentials", &out.Authorization.Credentials)
		c.file(a, "credentials_file", &out.Authorization.CredentialsFile)
		a.done()
	}
	if t, ok := s.section("tls_config"); ok {
		readTLSConfig(t, &out.TLSConfig)
		out.TLSConfig.CAFile, out.TLSConfig.CertFile, out.TLSConfig.KeyFile = c.path(out.TLSConfig.CAFile), c.path(out.TLSConfig.CertFile), c.path(out.TLSConfig.KeyFile)
		t.done()
	}
	s.boolean("follow_redirects", &out.FollowRedirects)
	s.boolean("enable_http2", &out.EnableHTTP2)
	var proxy string
	if s.str("proxy_url", &proxy) {
		u, err := url.Parse(proxy)
		if err != nil || u.Host == "" {
			s.doc.fail(s.place("proxy_url"), "no URL")
		} else {
			out.ProxyURL = config.URL{URL: u}
		}
	}
	s.boolean("proxy_from_environment", &out.ProxyFromEnvironment)
	if err := out.Validate(); err != nil {
		s.doc.fail(s.at, "%v", err)
	}
	return out
}

func (s *section) secret(key string, dst *config.Secret) {
	var v string
	if s.str(key, &v) {
		*dst = config.Secret(v)
	}
}

func (c *Config) file(s *section, key string, dst *string) {
	if s.str(key, dst) {
		*dst = c.path(*dst)
	}
}

// showClient shows it without its secrets.
func showClient(c *config.HTTPClientConfig, v *view) {
	if a := c.BasicAuth; a != nil {
		var b view
		b.add("username", shownText(a.Username), a.Username != "")
		b.add("username_file", a.UsernameFile, a.UsernameFile != "")
		b.add("password", "<secret>", a.Password != "")
		b.add("password_file", a.PasswordFile, a.PasswordFile != "")
		v.add("basic_auth", b.MapSlice, true)
	}
	if a := c.Authorization; a != nil {
		var b view
		b.add("type", shownText(a.Type), true)
		b.add("credentials", "<secret>", a.Credentials != "")
		b.add("credentials_file", a.CredentialsFile, a.CredentialsFile != "")
		v.add("authorization", b.MapSlice, true)
	}
	tls := shownTLSConfig(&c.TLSConfig)
	v.add("tls_config", tls, len(tls) > 0)
	v.add("follow_redirects", false, !c.FollowRedirects)
	v.add("enable_http2", false, !c.EnableHTTP2)
	if c.ProxyURL.URL != nil {
		v.add("proxy_url", ShownURL(c.ProxyURL.String()), true)
	}
	v.add("proxy_from_environment", true, c.ProxyFromEnvironment)
}

// ShownURL is a URL without what may be a secret: the password, and the values of its query.
func ShownURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "<hidden>"
	}
	if u.User != nil {
		u.User = url.User("hidden")
	}
	if q := u.Query(); len(q) > 0 {
		for k := range q {
			q.Set(k, "hidden")
		}
		u.RawQuery = q.Encode()
	} else if u.RawQuery != "" {
		u.RawQuery = "hidden"
	}
	return u.String()
}
