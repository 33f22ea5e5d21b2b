// Package check is a module of its own, so that what reads Kubernetes' manifests here is no dependency of the program: kustomize builds them,
// and Kubernetes' and the Prometheus Operator's own types take them, strictly. It never talks to a cluster.
package check

import (
	"bytes"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kinds are the types of what may stand in a manifest.
func kinds() map[string]any {
	return map[string]any{
		"apps/v1 DaemonSet": &apps.DaemonSet{}, "apps/v1 Deployment": &apps.Deployment{},
		"v1 Namespace": &core.Namespace{}, "v1 ServiceAccount": &core.ServiceAccount{}, "v1 ConfigMap": &core.ConfigMap{}, "v1 Service": &core.Service{},
		"v1 PersistentVolumeClaim":                 &core.PersistentVolumeClaim{},
		"rbac.authorization.k8s.io/v1 Role":        &rbac.Role{},
		"rbac.authorization.k8s.io/v1 ClusterRole": &rbac.ClusterRole{}, "rbac.authorization.k8s.io/v1 RoleBinding": &rbac.RoleBinding{},
		"monitoring.coreos.com/v1 PodMonitor": &monitoring.PodMonitor{}, "monitoring.coreos.com/v1 Probe": &monitoring.Probe{},
	}
}

// decode reads every document of a text into its type: unknown and doubled fields are errors. The result is by "apiVersion Kind".
func decode(t *testing.T, text []byte) map[string]any {
	t.Helper()
	found := map[string]any{}
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatal(err)
		}
		name := head.APIVersion + " " + head.Kind
		into := kinds()[name]
		if into == nil {
			t.Fatalf("no type for %s", name)
		}
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		found[name] = into
	}
	return found
}

// TestOverlays: what kustomize makes of each overlay is what Kubernetes takes, and its pods can do what vipprobe needs and no more.
func TestOverlays(t *testing.T) {
	for overlay, workload := range map[string]string{"node": "apps/v1 DaemonSet", "central": "apps/v1 Deployment"} {
		t.Run(overlay, func(t *testing.T) {
			built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../kubernetes/overlays/"+overlay)
			if err != nil {
				t.Fatal(err)
			}
			text, err := built.AsYaml()
			if err != nil {
				t.Fatal(err)
			}
			found := decode(t, text)
			for _, name := range []string{workload, "v1 Namespace", "v1 ServiceAccount", "v1 ConfigMap", "rbac.authorization.k8s.io/v1 Role", "rbac.authorization.k8s.io/v1 ClusterRole"} {
				if found[name] == nil {
					t.Errorf("no %s", name)
				}
			}
			var pod core.PodTemplateSpec
			var selector map[string]string
			switch w := found[workload].(type) {
			case *apps.DaemonSet:
				pod, selector = w.Spec.Template, w.Spec.Selector.MatchLabels
			case *apps.Deployment:
				pod, selector = w.Spec.Template, w.Spec.Selector.MatchLabels
				service, _ := found["v1 Service"].(*core.Service)
				if service == nil || !reflect.DeepEqual(service.Spec.Selector, selector) {
					t.Errorf("the service does not select the pods")
				}
			}
			for k, v := range selector {
				if pod.Labels[k] != v {
					t.Errorf("the selector's %s=%s is no label of the pods", k, v)
				}
			}
			if len(selector) < 2 {
				t.Errorf("the selector %v takes the pods of other overlays too", selector)
			}
			confined(t, &pod.Spec)
			config, _ := found["v1 ConfigMap"].(*core.ConfigMap)
			mounted(t, &pod.Spec, config)
		})
	}
}

// confined holds a pod to CAP_NET_RAW on a read-only root.
func confined(t *testing.T, pod *core.PodSpec) {
	t.Helper()
	s := pod.Containers[0].SecurityContext
	if !slices.Equal(s.Capabilities.Add, []core.Capability{"NET_RAW"}) || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) {
		t.Errorf("capabilities %+v", s.Capabilities)
	}
	if *s.Privileged || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || *pod.AutomountServiceAccountToken {
		t.Errorf("the pod may do too much: %+v", s)
	}
	if pod.SecurityContext.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
		t.Error("no seccomp profile")
	}
}

// mounted finds every file that the arguments name below a volume, and the configuration in the ConfigMap of its volume.
func mounted(t *testing.T, pod *core.PodSpec, config *core.ConfigMap) {
	t.Helper()
	c := pod.Containers[0]
	for _, a := range c.Args {
		_, path, ok := strings.Cut(a, "=")
		if ok && !slices.ContainsFunc(c.VolumeMounts, func(m core.VolumeMount) bool { return strings.HasPrefix(path, m.MountPath+"/") }) {
			t.Errorf("%s lies in no volume", a)
		}
	}
	for _, v := range pod.Volumes {
		if v.ConfigMap != nil && (v.ConfigMap.Name != config.Name || config.Data["vipprobe.yml"] == "") {
			t.Errorf("volume %s is of %s, the configuration in %s", v.Name, v.ConfigMap.Name, config.Name)
		}
	}
	for _, p := range []*core.Probe{c.ReadinessProbe, c.LivenessProbe} {
		if p.HTTPGet.Port.StrVal != c.Ports[0].Name {
			t.Errorf("probe of port %v", p.HTTPGet.Port)
		}
	}
}

// TestOperator: the Prometheus Operator takes its examples, and the PodMonitor finds the pods.
func TestOperator(t *testing.T) {
	for _, file := range []string{"podmonitor", "probe"} {
		text, err := os.ReadFile("../kubernetes/prometheus-operator/" + file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range decode(t, text) {
			switch m := found.(type) {
			case *monitoring.PodMonitor:
				if m.Spec.Selector.MatchLabels["app.kubernetes.io/name"] != "vipprobe" || *m.Spec.PodMetricsEndpoints[0].Port != "http" {
					t.Errorf("%+v", m.Spec)
				}
			case *monitoring.Probe:
				if m.Spec.ProberSpec.Path != "/probe" || len(m.Spec.Targets.StaticConfig.Targets) != 2 {
					t.Errorf("%+v", m.Spec)
				}
			}
		}
	}
}

// TestStrict: a mistyped key, and one that stands twice, do not pass.
func TestStrict(t *testing.T) {
	for _, text := range []string{"apiVersion: v1\nkind: Service\nspec: {port: []}\n", "apiVersion: v1\nkind: Service\nkind: Service\n"} {
		if err := yaml.UnmarshalStrict([]byte(text), &core.Service{}); err == nil {
			t.Errorf("%q passes", text)
		}
	}
}
