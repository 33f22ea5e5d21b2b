package topo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Unsupported says why this machine does not let the user have private namespaces.
type Unsupported struct {
	Cause error  // what was tried and how it failed
	Why   string // the setting that forbids it, as far as it can be told from here
	Fix   string // the command that allows it
}

func (u *Unsupported) Error() string {
	return fmt.Sprintf("private namespaces: %v; %s; try: %s", u.Cause, u.Why, u.Fix)
}

func (u *Unsupported) Unwrap() error { return u.Cause }

// Supported tries, in a process of its own, to make a veth in fresh namespaces, and returns nil or an *Unsupported. It
// takes a few milliseconds. Asking clone alone is not enough: user namespaces can exist with their capabilities denied.
func Supported() error {
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), envNS+"=") // the last one wins: Reexec appends its own, replaced below
	Reexec(cmd)
	cmd.Env = append(cmd.Env, envNS+"="+nsProbe)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		if text := strings.TrimSpace(string(out)); text != "" {
			err = errors.New(text)
		}
	}
	return explain(err, readSetting)
}

// readSetting returns a sysctl's value, or "" where it does not exist.
func readSetting(name string) string {
	b, err := os.ReadFile(sysctlPath(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// explain names the setting behind a failure. Each is looked at in the order in which it would bite.
func explain(cause error, setting func(string) string) *Unsupported {
	for _, s := range []struct{ name, bad, good, why string }{
		{"kernel.unprivileged_userns_clone", "0", "1", "user namespaces are switched off for ordinary users"},
		{"user.max_user_namespaces", "0", "15000", "no user namespace may be made"},
		{"user.max_net_namespaces", "0", "15000", "no network namespace may be made"},
		{"kernel.apparmor_restrict_unprivileged_userns", "1", "0",
			"AppArmor lets a user namespace exist but denies its capabilities"},
	} {
		if setting(s.name) == s.bad {
			return &Unsupported{cause, fmt.Sprintf("%s=%s: %s", s.name, s.bad, s.why),
				fmt.Sprintf("sudo sysctl -w %s=%s", s.name, s.good)}
		}
	}
	why := "a container's seccomp profile or security module denies it"
	if errors.Is(cause, syscall.ENOSPC) {
		why = "the limit of user or network namespaces is reached (user.max_user_namespaces, user.max_net_namespaces)"
	}
	return &Unsupported{cause, why, "sudo " + strings.Join(os.Args, " ")}
}
