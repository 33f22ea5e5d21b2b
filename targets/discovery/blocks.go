package discovery

import (
	"github.com/prometheus/common/model"
	sd "github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/dns"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/http"

	"github.com/vipprobe/vipprobe/targets"
)

// configs are a job's blocks as the library takes them.
func configs(s *targets.Sources) []sd.Config {
	if s == nil {
		return nil
	}
	var out []sd.Config
	for _, x := range s.File {
		out = append(out, &file.SDConfig{Files: x.Files, RefreshInterval: model.Duration(x.Refresh)})
	}
	for i := range s.HTTP {
		x := &s.HTTP[i]
		out = append(out, &http.SDConfig{HTTPClientConfig: x.Client, RefreshInterval: model.Duration(x.Refresh), URL: x.URL})
	}
	for _, x := range s.DNS {
		out = append(out, &dns.SDConfig{Names: x.Names, RefreshInterval: model.Duration(x.Refresh), Type: x.Type, Port: x.Port})
	}
	for i := range s.Kubernetes {
		out = append(out, kubernetes(&s.Kubernetes[i])...)
	}
	return out
}

// secretsOf are the texts of a block that may hold a secret, with what is shown in their place.
func secretsOf(c sd.Config) []hidden {
	x, ok := c.(*http.SDConfig)
	if !ok {
		return nil
	}
	if shown := targets.ShownURL(x.URL); shown != x.URL {
		return []hidden{{x.URL, shown}}
	}
	return nil
}
