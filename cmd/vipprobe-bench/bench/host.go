package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/cmd/vipprobe-bench/figures"
)

// host says what this machine is and which peers it has.
func host(ctx context.Context) (figures.Host, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return figures.Host{}, fmt.Errorf("read the kernel's name: %w", err)
	}
	h := figures.Host{Kernel: "Linux " + unix.ByteSliceToString(u.Release[:]), Cores: runtime.NumCPU(), CPU: "unknown CPU",
		Versions: map[string]string{"go": strings.TrimPrefix(runtime.Version(), "go")}}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		h.CPU = cpuName(string(b))
	}
	for name, arg := range map[string]string{"zmap": "--version", "masscan": "--version", "hping3": "--version", "nping": "--version", "nmap": "--version",
		blackboxProgram: "--version", "tcpdump": "--version"} {
		h.Versions[name] = version(ctx, name, arg)
	}
	return h, nil
}

// cpuName is the first processor's name in /proc/cpuinfo.
func cpuName(info string) string {
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// version asks a program for its version; a program that is not there is "not installed".
func version(ctx context.Context, name, arg string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return "not installed"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, arg).CombinedOutput() // some exit with 1 after it
	return versionIn(string(out))
}

// versionIn finds the first number with dots in a text.
func versionIn(text string) string {
	if v := regexp.MustCompile(`\d+(\.\d+)+([-.\w]*\w)?`).FindString(text); v != "" {
		return v
	}
	return "of unknown version"
}
