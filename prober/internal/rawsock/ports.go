package rawsock

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Where the kernel keeps the port settings of a network namespace. /proc/sys/net shows the namespace of the thread that opens it
// (net/sysctl_net.c net_ctl_header_lookup, 6.18), unlike /proc/net, which is the main thread's.
const (
	localRangeFile    = "/proc/sys/net/ipv4/ip_local_port_range"
	localReservedFile = "/proc/sys/net/ipv4/ip_local_reserved_ports"
)

// minReserved is the fewest ports that make a usable default range.
const minReserved = 1024

// ErrNoPorts is returned where the settings of this host leave no range of ports to reserve.
var ErrNoPorts = errors.New("no source ports are left outside net.ipv4.ip_local_port_range")

// LocalPortRange returns net.ipv4.ip_local_port_range, from which the kernel serves connections without a port of their own, for
// both IP versions.
func LocalPortRange() (Ports, error) {
	text, err := os.ReadFile(localRangeFile)
	if err != nil {
		return Ports{}, fmt.Errorf("read local port range: %w", err)
	}
	lo, hi, _ := strings.Cut(strings.TrimSpace(string(text)), "\t")
	r, err := parsePorts(lo, hi)
	if err != nil {
		return Ports{}, fmt.Errorf("%s: %w", localRangeFile, err)
	}
	return r, nil
}

// ReservedDefault chooses the source ports that raw probes use unless told otherwise, from this namespace's settings: see
// ChooseReserved. 61000-65535 on a host with default settings.
func ReservedDefault() (Ports, error) {
	local, err := LocalPortRange()
	if err != nil {
		return Ports{}, err
	}
	text, err := os.ReadFile(localReservedFile)
	if err != nil {
		return Ports{}, fmt.Errorf("read reserved ports: %w", err)
	}
	reserved, err := parsePortList(string(text))
	if err != nil {
		return Ports{}, fmt.Errorf("%s: %w", localReservedFile, err)
	}
	return ChooseReserved(local, reserved)
}

// ChooseReserved returns the ports above the kernel's local range, or else those below it, or else the largest range
// inside it that ip_local_reserved_ports keeps from the kernel: at least 1,024 ports, none under 1,024. Outside the local
// range, reserved ports are left alone: somebody wants them for a service. Error: ErrNoPorts.
func ChooseReserved(local Ports, reserved []Ports) (Ports, error) {
	above := largestGap(int(local.Hi)+1, 65535, reserved)
	below := largestGap(1024, int(local.Lo)-1, reserved)
	var inside Ports
	for _, r := range reserved {
		in := Ports{max(r.Lo, local.Lo, 1024), min(r.Hi, local.Hi)}
		if in.Lo <= in.Hi && in.size() > inside.size() {
			inside = in
		}
	}
	for _, r := range []Ports{above, below, inside} {
		if r.size() >= minReserved {
			return r, nil
		}
	}
	return Ports{}, fmt.Errorf("%w (%d-%d): narrow it, or set aside %d ports in net.ipv4.ip_local_reserved_ports",
		ErrNoPorts, local.Lo, local.Hi, minReserved)
}

// size is how many ports the range holds; the zero range, which names port 0, holds none.
func (r Ports) size() int {
	if r.Lo == 0 {
		return 0
	}
	return int(r.Hi) - int(r.Lo) + 1
}

// largestGap returns the longest run of ports in lo … hi that no range of taken touches.
func largestGap(lo, hi int, taken []Ports) Ports {
	var best Ports
	start := lo
	for p := lo; p <= hi+1; p++ {
		if p <= hi && !containsAny(taken, uint16(p)) {
			continue
		}
		if p > start && p-start > best.size() {
			best = Ports{uint16(start), uint16(p - 1)}
		}
		start = p + 1
	}
	return best
}

func containsAny(ranges []Ports, p uint16) bool {
	for _, r := range ranges {
		if r.Contains(p) {
			return true
		}
	}
	return false
}

// parsePortList reads the kernel's form "8080,9148-9150"; empty text is an empty list.
func parsePortList(text string) ([]Ports, error) {
	var list []Ports
	for field := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		if field == "" {
			continue
		}
		lo, hi, both := strings.Cut(field, "-")
		if !both {
			hi = lo
		}
		r, err := parsePorts(lo, hi)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func parsePorts(lo, hi string) (Ports, error) {
	l, err := strconv.ParseUint(strings.TrimSpace(lo), 10, 16)
	if err != nil {
		return Ports{}, fmt.Errorf("port %q: %w", lo, err)
	}
	h, err := strconv.ParseUint(strings.TrimSpace(hi), 10, 16)
	if err != nil {
		return Ports{}, fmt.Errorf("port %q: %w", hi, err)
	}
	if l > h {
		return Ports{}, fmt.Errorf("port range %d-%d is empty", l, h)
	}
	return Ports{uint16(l), uint16(h)}, nil
}
