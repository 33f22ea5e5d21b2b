package targets

import (
	"net/url"

	"github.com/prometheus/common/config"
)

// KubernetesSource is an entry of kubernetes_sd_configs.
type KubernetesSource struct {
	Role         string // node, pod, service, endpoints, endpointslice or ingress
	APIServer    string // empty: that of the cluster it runs in
	KubeConfig   string
	Namespaces   []string // empty: all
	OwnNamespace bool
	Selectors    []KubernetesSelector
	Client       config.HTTPClientConfig
}

// KubernetesSelector narrows what is asked for.
type KubernetesSelector struct{ Role, Label, Field string }

func (c *Config) readKubernetesSD(s *section) KubernetesSource {
	var out KubernetesSource
	roles := []string{"node", "pod", "service", "endpoints", "endpointslice", "ingress"}
	if !s.word("role", &out.Role, roles...) && !s.has("role") {
		s.doc.fail(s.place("role"), "no role")
	}
	if s.str("api_server", &out.APIServer) {
		if u, err := url.Parse(out.APIServer); err != nil || u.Host == "" {
			s.doc.fail(s.place("api_server"), "no URL")
		}
	}
	c.file(s, "kubeconfig_file", &out.KubeConfig)
	if n, ok := s.section("namespaces"); ok {
		out.Namespaces = n.texts("names")
		n.boolean("own_namespace", &out.OwnNamespace)
		n.done()
	}
	for _, it := range s.list("selectors") {
		if sub := it.doc.section(it.key, it.node); sub != nil {
			var x KubernetesSelector
			sub.word("role", &x.Role, roles...)
			sub.str("label", &x.Label)
			sub.str("field", &x.Field)
			sub.done()
			out.Selectors = append(out.Selectors, x)
		}
	}
	out.Client = c.readClient(s)
	if !hasKubernetes {
		s.doc.fail(s.at, "this vipprobe was built without Kubernetes discovery; build it with -tags k8s")
	}
	return out
}
