//go:build !k8s

package targets

// hasKubernetes: discovery in Kubernetes is not built in.
const hasKubernetes = false
