//go:build k8s

package discovery

import (
	"net/url"

	"github.com/prometheus/common/config"
	sd "github.com/prometheus/prometheus/discovery"
	k8s "github.com/prometheus/prometheus/discovery/kubernetes"

	"github.com/vipprobe/vipprobe/targets"
)

// kubernetes is a block of kubernetes_sd_configs as the library takes it.
func kubernetes(x *targets.KubernetesSource) []sd.Config {
	out := &k8s.SDConfig{Role: k8s.Role(x.Role), KubeConfig: x.KubeConfig, HTTPClientConfig: x.Client}
	if u, err := url.Parse(x.APIServer); err == nil && x.APIServer != "" { // Parse has refused what is no URL
		out.APIServer = config.URL{URL: u}
	}
	out.NamespaceDiscovery = k8s.NamespaceDiscovery{IncludeOwnNamespace: x.OwnNamespace, Names: x.Namespaces}
	for _, s := range x.Selectors {
		out.Selectors = append(out.Selectors, k8s.SelectorConfig{Role: k8s.Role(s.Role), Label: s.Label, Field: s.Field})
	}
	return []sd.Config{out}
}
