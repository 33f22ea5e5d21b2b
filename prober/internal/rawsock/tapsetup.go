package rawsock

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// setup makes the socket ready in the one order that lets no foreign frame in: filter, ring, and only then the bind that names a
// protocol.
func (t *Tap) setup(cfg TapConfig, prog []bpf.RawInstruction) error {
	if err := attach(t.fd, prog); err != nil {
		return err
	}
	// With a socket that wants receive times the kernel stamps a frame when it enters the stack, not when it reaches a tap, and
	// once for all taps: ours and tcpdump's times are then the same number (net/core/dev.c net_timestamp_check,
	// net_timestamp_set; net/packet/af_packet.c tpacket_rcv: "prefer an existing software timestamp"; seen on 6.18). Not
	// so what a kernel's TCP on this very host sent over veth or lo: it still carries its pacing time, and each tap reads
	// the clock for itself, some 0.3 µs apart.
	if err := unix.SetsockoptInt(t.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("ask for receive times: %w", err)
	}
	var err error
	if t.ring, err = newRing(t.fd, cfg.RingBytes, cfg.Retire); err != nil {
		return err
	}
	// One EtherType would never show our own packets: only ETH_P_ALL taps see what leaves (net/core/dev.c dev_queue_xmit_nit).
	ll := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: cfg.IfIndex}
	if err := unix.Bind(t.fd, ll); err != nil {
		return fmt.Errorf("bind capture to device %d: %w", cfg.IfIndex, err)
	}
	return t.watch()
}

// watch gives the socket to the runtime's poller. That tells an error of the socket's as such only where it is the only event (runtime/netpoll_epoll.go,
// Go 1.26): here it never is, since a socket that sends nothing can always be written to (net/core/datagram.c datagram_poll, 6.18).
func (t *Tap) watch() (err error) {
	t.file = os.NewFile(uintptr(t.fd), "capture")
	if t.raw, err = t.file.SyscallConn(); err != nil {
		return fmt.Errorf("watch the capture: %w", err)
	}
	if err := t.file.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("watch the capture: %w", err)
	}
	return nil
}

// attach sets a classic BPF program as the socket's filter.
func attach(fd int, prog []bpf.RawInstruction) error {
	f := make([]unix.SockFilter, len(prog))
	for i, p := range prog {
		f[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}); err != nil {
		return fmt.Errorf("attach capture filter of %d instructions: %w", len(f), err)
	}
	return nil
}

// networkOrder returns the number whose octets in memory are v in network order.
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16([]byte{byte(v >> 8), byte(v)})
}
