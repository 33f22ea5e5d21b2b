//go:build k8s

package targets

// hasKubernetes: discovery in Kubernetes is built in.
const hasKubernetes = true
