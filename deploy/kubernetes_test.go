package deploy

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
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

	"github.com/vipprobe/vipprobe/targets"
)

// manifests are what a text declares, by kind and name, each in Kubernetes' or the Prometheus Operator's own type.
type manifests map[string]any

// typed is a new value of the type that a kind has.
func typed(apiVersion, kind string) any {
	switch apiVersion + " " + kind {
	case "apps/v1 DaemonSet":
		return &apps.DaemonSet{}
	case "apps/v1 Deployment":
		return &apps.Deployment{}
	case "v1 Namespace":
		return &core.Namespace{}
	case "v1 ServiceAccount":
		return &core.ServiceAccount{}
	case "v1 ConfigMap":
		return &core.ConfigMap{}
	case "v1 Service":
		return &core.Service{}
	case "v1 PersistentVolumeClaim":
		return &core.PersistentVolumeClaim{}
	case "rbac.authorization.k8s.io/v1 Role":
		return &rbac.Role{}
	case "rbac.authorization.k8s.io/v1 RoleBinding":
		return &rbac.RoleBinding{}
	case "rbac.authorization.k8s.io/v1 ClusterRole":
		return &rbac.ClusterRole{}
	case "rbac.authorization.k8s.io/v1 ClusterRoleBinding":
		return &rbac.ClusterRoleBinding{}
	case "monitoring.coreos.com/v1 PodMonitor":
		return &monitoring.PodMonitor{}
	case "monitoring.coreos.com/v1 Probe":
		return &monitoring.Probe{}
	}
	return nil
}

// decode reads every document of a text into its type: a field that the type has not, and one that stands twice, are errors.
func decode(t *testing.T, text []byte) manifests {
	t.Helper()
	found := manifests{}
	for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var head struct {
			APIVersion, Kind string
			Metadata         struct{ Name string }
		}
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatal(err)
		}
		name := head.Kind + " " + head.Metadata.Name
		into := typed(head.APIVersion, head.Kind)
		if into == nil {
			t.Fatalf("%s: no type for %s", name, head.APIVersion)
		}
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if found[name] != nil {
			t.Errorf("%s stands twice", name)
		}
		found[name] = into
	}
	return found
}

// built is what kustomize makes of a directory.
func built(t *testing.T, dir string) manifests {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

// get is one of the manifests; that it is there is part of the test.
func get[T any](t *testing.T, m manifests, name string) T {
	t.Helper()
	found, ok := m[name].(T)
	if !ok {
		t.Fatalf("no %s among %q", name, slices.Sorted(maps.Keys(m)))
	}
	return found
}

// config is the one ConfigMap, whose name has the hash of what is in it.
func config(t *testing.T, m manifests) *core.ConfigMap {
	t.Helper()
	for name := range m {
		if strings.HasPrefix(name, "ConfigMap vipprobe-") {
			return get[*core.ConfigMap](t, m, name)
		}
	}
	t.Fatal("no ConfigMap")
	return nil
}

// TestNode: kustomize makes of the overlay what Kubernetes takes, its pods can do what vipprobe needs and no more, and run on every node.
func TestNode(t *testing.T) {
	m := built(t, "kubernetes/overlays/node")
	w := get[*apps.DaemonSet](t, m, "DaemonSet vipprobe")
	shipped(t, m, w.Namespace, w.Spec.Selector.MatchLabels, &w.Spec.Template)
	if p := w.Spec.Template.Spec; len(p.Tolerations) != 1 || p.Tolerations[0].Operator != core.TolerationOpExists || p.Tolerations[0].Key != "" {
		t.Errorf("tolerations %+v keep it from some nodes", p.Tolerations)
	}
}

// TestCentral: the same of the other overlay, whose one pod a Service leads to and whose results outlive the pod.
func TestCentral(t *testing.T) {
	m := built(t, "kubernetes/overlays/central")
	w := get[*apps.Deployment](t, m, "Deployment vipprobe")
	shipped(t, m, w.Namespace, w.Spec.Selector.MatchLabels, &w.Spec.Template)
	if *w.Spec.Replicas != 1 || w.Spec.Strategy.Type != apps.RecreateDeploymentStrategyType {
		t.Errorf("two may probe at once: %d replicas, %s", *w.Spec.Replicas, w.Spec.Strategy.Type)
	}
	service := get[*core.Service](t, m, "Service vipprobe")
	if !maps.Equal(service.Spec.Selector, w.Spec.Selector.MatchLabels) || service.Spec.Ports[0].TargetPort.StrVal != w.Spec.Template.Spec.Containers[0].Ports[0].Name {
		t.Errorf("the service does not lead to the pods: %+v", service.Spec)
	}
	claim := get[*core.PersistentVolumeClaim](t, m, "PersistentVolumeClaim vipprobe-results").Name
	if !slices.ContainsFunc(w.Spec.Template.Spec.Volumes, func(v core.Volume) bool {
		return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim
	}) {
		t.Errorf("no volume is of %s", claim)
	}
}

// shipped is what both overlays have in common.
func shipped(t *testing.T, m manifests, namespace string, selector map[string]string, pod *core.PodTemplateSpec) {
	t.Helper()
	if get[*core.Namespace](t, m, "Namespace "+namespace).Labels["pod-security.kubernetes.io/enforce"] != "privileged" {
		t.Error("the namespace's pod security lets no pod with the host's network pass")
	}
	for k, v := range selector {
		if pod.Labels[k] != v {
			t.Errorf("the selector's %s=%s is no label of the pods", k, v)
		}
	}
	if len(selector) != 2 {
		t.Errorf("the selector %v takes the pods of the other overlay too", selector)
	}
	get[*core.ServiceAccount](t, m, "ServiceAccount "+pod.Spec.ServiceAccountName)
	confined(t, &pod.Spec)
	mounted(t, &pod.Spec, config(t, m))
	bound := get[*rbac.RoleBinding](t, m, "RoleBinding vipprobe-operator")
	get[*rbac.Role](t, m, "Role "+bound.RoleRef.Name)
	for _, r := range get[*rbac.ClusterRole](t, m, "ClusterRole vipprobe-reader").Rules {
		if !slices.Equal(r.Verbs, []string{"get"}) || len(r.Resources) != 0 {
			t.Errorf("who may read may do more: %+v", r)
		}
	}
}

// confined holds a pod to CAP_NET_RAW on a read-only root, on the node's network.
func confined(t *testing.T, pod *core.PodSpec) {
	t.Helper()
	s := pod.Containers[0].SecurityContext
	if !slices.Equal(s.Capabilities.Add, []core.Capability{"NET_RAW"}) || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) {
		t.Errorf("capabilities %+v", s.Capabilities)
	}
	if *s.Privileged || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || *pod.AutomountServiceAccountToken || pod.HostPID || pod.HostIPC {
		t.Errorf("the pod may do too much: %+v", s)
	}
	if pod.SecurityContext.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
		t.Error("no seccomp profile")
	}
	if *s.RunAsUser != 0 {
		t.Error("a process that is not root gets no capability from `add`")
	}
	if !pod.HostNetwork || pod.DNSPolicy != core.DNSClusterFirstWithHostNet {
		t.Errorf("not on the node's network, or without the cluster's names: %v %s", pod.HostNetwork, pod.DNSPolicy)
	}
}

// mounted finds every file that the arguments name below a volume, and a configuration that the service takes in the volume's ConfigMap.
func mounted(t *testing.T, pod *core.PodSpec, config *core.ConfigMap) {
	t.Helper()
	c := pod.Containers[0]
	if c.Image == "vipprobe:latest" {
		t.Error("the image's name is not replaced")
	}
	for _, a := range c.Args {
		_, path, ok := strings.Cut(a, "=")
		if ok && !slices.ContainsFunc(c.VolumeMounts, func(m core.VolumeMount) bool { return strings.HasPrefix(path, m.MountPath+"/") }) {
			t.Errorf("%s lies in no volume", a)
		}
	}
	for _, v := range pod.Volumes {
		if v.ConfigMap != nil && v.ConfigMap.Name != config.Name {
			t.Errorf("volume %s is of %s, the configuration in %s", v.Name, v.ConfigMap.Name, config.Name)
		}
	}
	file := filepath.Join(t.TempDir(), "vipprobe.yml")
	if err := os.WriteFile(file, []byte(config.Data["vipprobe.yml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := targets.Load(file); err != nil {
		t.Error(err)
	}
	for path, p := range map[string]*core.Probe{"/-/ready": c.ReadinessProbe, "/-/healthy": c.LivenessProbe} {
		if p.HTTPGet.Port.StrVal != c.Ports[0].Name || p.HTTPGet.Path != path {
			t.Errorf("%s is asked at %+v", path, p.HTTPGet)
		}
	}
}

// TestDiscovery: with the component, and only with it, the service may look at the cluster, and has a token to do so.
func TestDiscovery(t *testing.T) {
	here, err := filepath.Abs("kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	for _, overlay := range []string{"node", "central"} {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		up, err := filepath.Rel(dir, here)
		if err != nil {
			t.Fatal(err)
		}
		text := "resources: [" + up + "/overlays/" + overlay + "]\ncomponents: [" + up + "/components/discovery]\n"
		if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m := built(t, dir)
		var pod core.PodSpec
		if overlay == "node" {
			pod = get[*apps.DaemonSet](t, m, "DaemonSet vipprobe").Spec.Template.Spec
		} else {
			pod = get[*apps.Deployment](t, m, "Deployment vipprobe").Spec.Template.Spec
		}
		bound := get[*rbac.ClusterRoleBinding](t, m, "ClusterRoleBinding vipprobe-discovery")
		if s := bound.Subjects[0]; !*pod.AutomountServiceAccountToken || s.Name != pod.ServiceAccountName || s.Namespace != "vipprobe" {
			t.Errorf("%s: token %v, rights of %+v", overlay, *pod.AutomountServiceAccountToken, s)
		}
		for _, r := range get[*rbac.ClusterRole](t, m, "ClusterRole "+bound.RoleRef.Name).Rules {
			if !slices.Equal(r.Verbs, []string{"get", "list", "watch"}) || slices.Contains(r.Resources, "secrets") {
				t.Errorf("%s may do more than look: %+v", overlay, r)
			}
		}
	}
}

// TestOperator: the Prometheus Operator takes its examples; the PodMonitor finds the pods and their port, the Probe the service.
func TestOperator(t *testing.T) {
	central := built(t, "kubernetes/overlays/central")
	pod := get[*apps.Deployment](t, central, "Deployment vipprobe").Spec.Template
	service := get[*core.Service](t, central, "Service vipprobe")

	monitor := get[*monitoring.PodMonitor](t, decode(t, []byte(read(t, "kubernetes/prometheus-operator/podmonitor.yaml"))), "PodMonitor vipprobe")
	for k, v := range monitor.Spec.Selector.MatchLabels {
		if pod.Labels[k] != v {
			t.Errorf("the monitor's %s=%s is no label of the pods", k, v)
		}
	}
	if got, want := *monitor.Spec.PodMetricsEndpoints[0].Port, pod.Spec.Containers[0].Ports[0].Name; got != want || monitor.Namespace != service.Namespace {
		t.Errorf("port %s in %s, want %s in %s", got, monitor.Namespace, want, service.Namespace)
	}

	probe := get[*monitoring.Probe](t, decode(t, []byte(read(t, "kubernetes/prometheus-operator/probe.yaml"))), "Probe vips")
	if got, want := probe.Spec.ProberSpec.URL, service.Name+"."+service.Namespace+".svc:19115"; got != want || probe.Spec.ProberSpec.Path != "/probe" {
		t.Errorf("asks %s%s, want %s/probe", got, probe.Spec.ProberSpec.Path, want)
	}
	c, err := targets.Load("kubernetes/base/vipprobe.yml")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(c.ModuleNames(), probe.Spec.Module) || len(probe.Spec.Targets.StaticConfig.Targets) != 2 {
		t.Errorf("module %s of %v", probe.Spec.Module, probe.Spec.Targets.StaticConfig)
	}
}

// TestStrict: a field that there is not, and one that stands twice, do not pass.
func TestStrict(t *testing.T) {
	for _, text := range []string{"apiVersion: v1\nkind: Service\nspec: {port: []}\n", "apiVersion: v1\nkind: Service\nkind: Service\n"} {
		if err := yaml.UnmarshalStrict([]byte(text), &core.Service{}); err == nil {
			t.Errorf("%q passes", text)
		}
	}
}
