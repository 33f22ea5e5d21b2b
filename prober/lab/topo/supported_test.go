package topo

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

func TestExplainNamesTheSettingAndTheRemedy(t *testing.T) {
	denied := fmt.Errorf("make a veth: %w", syscall.EPERM)
	for _, c := range []struct {
		story    string
		cause    error
		settings map[string]string
		want     string
	}{
		{"Debian's switch", denied, map[string]string{"kernel.unprivileged_userns_clone": "0"}, "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		{"no user namespaces", denied, map[string]string{"user.max_user_namespaces": "0"}, "sudo sysctl -w user.max_user_namespaces=15000"},
		{"no network namespaces", denied, map[string]string{"user.max_net_namespaces": "0"}, "sudo sysctl -w user.max_net_namespaces=15000"},
		{"Ubuntu's AppArmor", denied, map[string]string{"kernel.apparmor_restrict_unprivileged_userns": "1"},
			"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		{"a container", denied, map[string]string{"user.max_user_namespaces": "100"}, "a container's seccomp profile or security module denies it; try: sudo "},
		{"the limit is reached", fmt.Errorf("clone: %w", syscall.ENOSPC), nil, "the limit of user or network namespaces is reached"},
	} {
		err := explain(c.cause, func(name string) string { return c.settings[name] })
		if !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.cause) {
			t.Errorf("%s: %v, want %q in it", c.story, err, c.want)
		}
	}
}

func TestSysctlNames(t *testing.T) {
	for name, want := range map[string]string{
		"net.ipv4.tcp_syncookies":             "/proc/sys/net/ipv4/tcp_syncookies",
		"net.ipv4.conf.eth0/100.arp_ignore":   "/proc/sys/net/ipv4/conf/eth0.100/arp_ignore",
		"net.ipv4.neigh.eth0.retrans_time_ms": "/proc/sys/net/ipv4/neigh/eth0/retrans_time_ms",
	} {
		if got := sysctlPath(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}
