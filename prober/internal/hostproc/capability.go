package hostproc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Capabilities are the effective ones of the calling thread that some part of the prober asks for.
type Capabilities struct {
	NetRaw   bool // raw sockets and the capture ring
	NetAdmin bool // deleting a neighbour entry
	SysAdmin bool // entering namespaces
	BPF      bool // the drop tracer, Linux ≥ 5.8
	Perfmon  bool // likewise
}

// ReadCapabilities reads them from the thread's status file.
func ReadCapabilities() (Capabilities, error) { return proc.capabilities() }

func (r root) capabilities() (Capabilities, error) {
	path := filepath.Join(r.thread(), "status")
	if r.thread() == string(r) {
		path = filepath.Join(string(r), "self", "status")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Capabilities{}, fmt.Errorf("read capabilities: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		v, ok := strings.CutPrefix(line, "CapEff:")
		if !ok {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
		if err != nil {
			return Capabilities{}, fmt.Errorf("read capabilities: %s: CapEff %q is not a hexadecimal number", path, strings.TrimSpace(v))
		}
		has := func(n int) bool { return set>>n&1 == 1 }
		return Capabilities{
			NetRaw: has(unix.CAP_NET_RAW), NetAdmin: has(unix.CAP_NET_ADMIN), SysAdmin: has(unix.CAP_SYS_ADMIN),
			BPF: has(unix.CAP_BPF), Perfmon: has(unix.CAP_PERFMON),
		}, nil
	}
	return Capabilities{}, fmt.Errorf("read capabilities: %s has no CapEff", path)
}
