//go:build !k8s

package discovery

import (
	sd "github.com/prometheus/prometheus/discovery"

	"github.com/vipprobe/vipprobe/targets"
)

// kubernetes has nothing to run in this build; Parse refuses such blocks.
func kubernetes(*targets.KubernetesSource) []sd.Config { return nil }
