package hostproc

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
)

// NamespaceSettings are the ways a host forbids user namespaces to the unprivileged.
type NamespaceSettings struct {
	MaxUser           Setting // user.max_user_namespaces: 0 forbids
	MaxNet            Setting // user.max_net_namespaces: 0 forbids
	UnprivilegedClone Setting // kernel.unprivileged_userns_clone, Debian's: 0 forbids
	AppArmorRestrict  Setting // kernel.apparmor_restrict_unprivileged_userns, Ubuntu's: 1 takes the capabilities away inside
}

// ReadNamespaceSettings reads them; most kernels have only the first two.
func ReadNamespaceSettings() NamespaceSettings { return proc.namespaceSettings() }

func (r root) namespaceSettings() NamespaceSettings {
	return NamespaceSettings{
		MaxUser:           r.setting("user/max_user_namespaces"),
		MaxNet:            r.setting("user/max_net_namespaces"),
		UnprivilegedClone: r.setting("kernel/unprivileged_userns_clone"),
		AppArmorRestrict:  r.setting("kernel/apparmor_restrict_unprivileged_userns"),
	}
}

// Forbids is the settings that stand in the way, as "name = value"; none of them may be.
func (n NamespaceSettings) Forbids() []string {
	var in []string
	for _, s := range []struct {
		name string
		is   Setting
		bad  int64
	}{
		{"user.max_user_namespaces", n.MaxUser, 0},
		{"user.max_net_namespaces", n.MaxNet, 0},
		{"kernel.unprivileged_userns_clone", n.UnprivilegedClone, 0},
		{"kernel.apparmor_restrict_unprivileged_userns", n.AppArmorRestrict, 1},
	} {
		if s.is.Known && s.is.Value == s.bad {
			in = append(in, s.name+" = "+s.is.String())
		}
	}
	return in
}

// UserNamespaces reports whether this user may make namespaces and has power inside: it runs cmd in a new user and network
// namespace, and cmd must do nothing but call TryVeth and exit with 1 after printing its error, or with 0. That is usually
// exec.CommandContext(ctx, "/proc/self/exe", HIDDEN), HIDDEN being an argument that main knows. The namespaces
// vanish with cmd. The error says what was denied, and by which setting where one is to blame.
func UserNamespaces(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	runtime.LockOSThread() // Pdeathsig is sent when the thread that forked ends
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if said := strings.TrimSpace(out.String()); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	if by := ReadNamespaceSettings().Forbids(); len(by) > 0 {
		return fmt.Errorf("make a veth pair in a user and network namespace of our own (%s): %w", strings.Join(by, ", "), err)
	}
	return fmt.Errorf("make a veth pair in a user and network namespace of our own: %w", err)
}

// TryVeth makes a veth pair in the namespace it is called in: what AppArmor denies inside a user namespace that could be
// made. It refuses to touch a namespace that has interfaces besides loopback, which a fresh one has not.
func TryVeth() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		// tunnel modules put their fallback devices into every new namespace; those are down
		if a := l.Attrs(); a.Name != "lo" && a.Flags&1 != 0 {
			return fmt.Errorf("%s is up: this is not a fresh network namespace", a.Name)
		}
	}
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "vipprobe-try0"}, PeerName: "vipprobe-try1"}
	if err := netlink.LinkAdd(v); err != nil {
		return fmt.Errorf("make a veth pair: %w", err)
	}
	if err := netlink.LinkDel(v); err != nil {
		return fmt.Errorf("remove the veth pair: %w", err)
	}
	return nil
}
