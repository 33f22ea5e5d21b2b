package topo

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// InitialRTO sets the first retransmission timeout of SYNs and SYN-ACKs on some hosts, as kernels up to 3.0 had 3 s. It needs root:
// no sysctl sets it, only a BPF program at a cgroup (BPF_SOCK_OPS_TIMEOUT_INIT, since 4.13). The program looks at nothing but sockets of
// these hosts, and goes away with this process.
func (n *Net) InitialRTO(d time.Duration, hosts ...*Host) {
	n.Step("initial RTO", func() error {
		var cookies []uint64
		for _, h := range hosts {
			c, err := h.cookie()
			if err != nil {
				return err
			}
			cookies = append(cookies, c)
		}
		return n.attachRTO(int32(d*time.Duration(hz())/time.Second), cookies)
	})
	for _, h := range hosts {
		h.Sysctl("net.ipv4.tcp_syn_linear_timeouts", "0")
	}
}

// cookie identifies the host's network namespace to BPF.
func (h *Host) cookie() (uint64, error) {
	var c uint64
	err := h.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open socket: %w", err)
		}
		defer unix.Close(fd)
		c, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("host %s: namespace cookie: %w", h.Name, err)
	}
	return c, nil
}

func (n *Net) attachRTO(jiffies int32, cookies []uint64) error {
	path, err := cgroup()
	if err != nil {
		return err
	}
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open cgroup: %w", err)
	}
	defer dir.Close()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SockOps, Instructions: rtoProgram(jiffies, cookies), License: "GPL"})
	if err != nil {
		return fmt.Errorf("load the RTO program: %w", err)
	}
	defer prog.Close()
	// A link, not an attachment: it lives no longer than its descriptor.
	l, err := link.AttachRawLink(link.RawLinkOptions{Target: int(dir.Fd()), Program: prog, Attach: ebpf.AttachCGroupSockOps})
	if err != nil {
		return fmt.Errorf("attach the RTO program to %s: %w", path, err)
	}
	n.OnClose(func() { l.Close() })
	return nil
}

// rtoProgram answers BPF_SOCK_OPS_TIMEOUT_INIT (op 1) for the namespaces with a number of jiffies, and nothing else. In struct
// bpf_sock_ops op is at octet 0 and reply at 4; a return of 0 means "not answered" (tcp_call_bpf in include/net/tcp.h, 6.18).
func rtoProgram(jiffies int32, cookies []uint64) asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, 0, asm.Word),
		asm.JNE.Imm(asm.R2, 1, "other"),
		asm.FnGetNetnsCookie.Call(),
	}
	for _, c := range cookies {
		p = append(p, asm.LoadImm(asm.R2, int64(c), asm.DWord), asm.JEq.Reg(asm.R0, asm.R2, "ours"))
	}
	return append(p,
		asm.Mov.Imm(asm.R0, 0).WithSymbol("other"),
		asm.Return(),
		asm.Mov.Imm(asm.R2, jiffies).WithSymbol("ours"),
		asm.StoreMem(asm.R6, 4, asm.R2, asm.Word),
		asm.Mov.Imm(asm.R0, 1),
		asm.Return(),
	)
}

// cgroup is the directory of this process's own cgroup of version 2.
func cgroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", fmt.Errorf("find cgroup2: %w", err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("find own cgroup: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			for c := range strings.Lines(string(own)) {
				if at, ok := strings.CutPrefix(strings.TrimSpace(c), "0::"); ok {
					return f[1] + at, nil
				}
			}
		}
	}
	return "", fmt.Errorf("find cgroup2: %w", os.ErrNotExist)
}

// hz is how many jiffies a second has: from the kernel's configuration where that can be read, else 250, the most usual.
func hz() int {
	for _, open := range []func() (io.ReadCloser, error){configGz, configBoot} {
		f, err := open()
		if err != nil {
			continue
		}
		n := configHz(f)
		f.Close()
		if n > 0 {
			return n
		}
	}
	return 250
}

// configHz reads CONFIG_HZ, or 0 where it is not there.
func configHz(r io.Reader) int {
	for s := bufio.NewScanner(r); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "CONFIG_HZ="); ok {
			n, err := strconv.Atoi(v)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

func configGz() (io.ReadCloser, error) {
	f, err := os.Open("/proc/config.gz")
	if err != nil {
		return nil, err
	}
	return gzip.NewReader(f)
}

func configBoot() (io.ReadCloser, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	return os.Open("/boot/config-" + unix.ByteSliceToString(u.Release[:]))
}
