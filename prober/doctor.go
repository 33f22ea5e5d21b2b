package prober

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"

	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
	"github.com/vipprobe/vipprobe/prober/internal/kdial"
	"github.com/vipprobe/vipprobe/prober/internal/neigh"
	"github.com/vipprobe/vipprobe/prober/internal/rawsock"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// CheckState is how one check of this machine ended.
type CheckState uint8

// The states. CheckWarn: probing works, but something is not measured, or this machine may make the stalls itself. CheckFail: an engine
// could not work here.
const (
	CheckUnknown CheckState = iota
	CheckOK
	CheckWarn
	CheckFail
)

func (s CheckState) String() string {
	switch s {
	case CheckOK:
		return "ok"
	case CheckWarn:
		return "warn"
	case CheckFail:
		return "fail"
	case CheckUnknown:
	}
	return "unknown"
}

// Check is one thing that an engine needs of this machine, or that shapes what it measures. Name is stable; Detail is what was found;
// Hint is what to do about it, empty where nothing is to be done.
type Check struct {
	Name         string
	State        CheckState
	Detail, Hint string
}

// checkOK, checkWarn and checkFail answer the check of this name.
func checkOK(name, format string, args ...any) Check {
	return Check{Name: name, State: CheckOK, Detail: fmt.Sprintf(format, args...)}
}

func checkWarn(name, hint, format string, args ...any) Check {
	return Check{Name: name, State: CheckWarn, Detail: fmt.Sprintf(format, args...), Hint: hint}
}

func checkFail(name, hint, format string, args ...any) Check {
	return Check{Name: name, State: CheckFail, Detail: fmt.Sprintf(format, args...), Hint: hint}
}

// Doctor looks at what an engine with these options would find on this machine, in the network namespace of the calling thread, always
// in the same order. It opens and closes sockets, sends nothing, and changes nothing but this process's own limit of open files. When ctx
// ends it returns the checks made so far.
func Doctor(ctx context.Context, o EngineOptions) []Check {
	d := doctor{opts: o, sys: hostproc.ReadSysctls()}
	d.release, d.version = hostproc.Kernel()
	d.caps, d.capsErr = hostproc.ReadCapabilities()
	d.counters, d.countersErr = hostproc.Read()
	d.ports, d.portsErr = o.SourcePorts, nil
	if o.SourcePorts == (plan.PortRange{}) {
		var r rawsock.Ports
		r, d.portsErr = rawsock.ReservedDefault()
		d.ports = plan.PortRange{Lo: r.Lo, Hi: r.Hi}
	}
	var all []Check
	for _, check := range []func() Check{
		func() Check { return judgeKernel(d.release, d.version) },
		func() Check { return judgeNetRaw(d.caps, d.capsErr) },
		func() Check { return judgeNetAdmin(d.caps, d.capsErr) },
		d.captureRing,
		func() Check { return judgePorts(d.ports, d.portsErr, d.sys) },
		d.connects,
		d.portHold,
		d.openFiles, // after connects, which raises the soft limit as every engine does
		func() Check { return judgeLadder(d.sys, d.version) },
		func() Check { return judgeTimestamps(d.sys.Timestamps) },
		func() Check { return judgeNeighborQueue(d.sys, false) },
		func() Check { return judgeNeighborQueue(d.sys, true) },
		func() Check { return d.neighborTable(false) },
		func() Check { return d.neighborTable(true) },
		func() Check { return judgeConntrack(d.counters, d.countersErr) },
	} {
		if ctx.Err() != nil {
			break
		}
		all = append(all, check())
	}
	return all
}

// doctor is what was read of this machine, once for all checks.
type doctor struct {
	opts        EngineOptions
	release     string
	version     [3]int
	sys         hostproc.Sysctls
	caps        hostproc.Capabilities
	capsErr     error
	counters    hostproc.Counters
	countersErr error
	ports       plan.PortRange
	portsErr    error
}

// captureRing opens the ring that an engine would and closes it.
func (d *doctor) captureRing() Check {
	const name = "capture_ring"
	if d.opts.NoCapture {
		return checkOK(name, "switched off")
	}
	if !d.havePorts() {
		return noPorts(name)
	}
	size := d.opts.RingBytes
	if size <= 0 {
		size = 32 << 20
	}
	tap, err := rawsock.OpenTap(rawsock.TapConfig{Ports: []rawsock.Ports{{Lo: d.ports.Lo, Hi: d.ports.Hi}}, RingBytes: size, Neighbor: true})
	if err == nil {
		err = tap.Close()
	}
	if err != nil {
		return checkWarn(name, "connects still work, timed by the kernel's TCP_INFO alone; see cap_net_raw, or try a smaller ring", "%v", err)
	}
	return checkOK(name, "opens with %.3g MiB of kernel memory", float64(size)/(1<<20))
}

// havePorts reports whether there are any to try. Where there are none, source_ports is what fails, and not all that follows from it.
func (d *doctor) havePorts() bool { return d.portsErr == nil && d.ports.Size() >= minPorts }

func noPorts(name string) Check {
	return checkWarn(name, "see source_ports", "not tried: there are no source ports")
}

// connects starts what dials, and finds a port that a connect could leave from.
func (d *doctor) connects() Check {
	const name = "connects"
	dialer, err := kdial.New()
	if err == nil {
		err = dialer.Close()
	}
	if err != nil {
		return checkFail(name, "see open_files", "start the connect loop: %v", err)
	}
	if !d.havePorts() {
		return noPorts(name)
	}
	lower, _ := d.ports.Split()
	port, err := tryPorts(lower, func(p uint16) error { return rawsock.PortFree(netip.IPv4Unspecified(), p) })
	if errors.Is(err, syscall.EAFNOSUPPORT) {
		port, err = tryPorts(lower, func(p uint16) error { return rawsock.PortFree(netip.IPv6Unspecified(), p) })
	}
	if err != nil {
		return checkFail(name, "see source_ports and open_files", "%v", err)
	}
	return checkOK(name, "sockets open, and port %d is free", port)
}

// tryPorts tries the ports of r, which is not empty, from one at random on, until one is not used by others.
func tryPorts(r plan.PortRange, try func(uint16) error) (uint16, error) {
	n, shift := r.Size(), rand.IntN(r.Size())
	for i := range n {
		port := r.Lo + uint16((shift+i)%n)
		if err := try(port); !errors.Is(err, rawsock.ErrPortInUse) {
			return port, err
		}
	}
	return 0, fmt.Errorf("%w: all of %s", rawsock.ErrPortInUse, r)
}

// portHold holds a port of each family for a moment, as raw shots do.
func (d *doctor) portHold() Check {
	if !d.havePorts() {
		return noPorts("port_hold")
	}
	_, upper := d.ports.Split()
	var got [2]holdResult
	for i, src := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		_, got[i].err = tryPorts(upper, func(p uint16) error {
			h, err := rawsock.HoldPort(src, p, "")
			if err != nil {
				return err
			}
			got[i].method = h.Method
			return h.Close()
		})
	}
	return judgeHold(got[0], got[1])
}

func (d *doctor) openFiles() Check {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return checkWarn("open_files", "", "read RLIMIT_NOFILE: %v", err)
	}
	return judgeFiles(l.Cur, d.ports.Size())
}

// neighborTable counts the entries of the whole machine where the kernel tells them, as its limits do, else those of this namespace.
func (d *doctor) neighborTable(v6 bool) Check {
	table, thresh := "arp_cache", d.sys.GCThresh
	if v6 {
		table, thresh = "ndisc_cache", d.sys.GCThresh6
	}
	name := forFamily("neighbor_table", v6)
	n, known := d.counters.Values[table+".entries"]
	if !known {
		list, err := neigh.List(0, v6)
		if err != nil {
			return checkWarn(name, "", "%v", err)
		}
		n = int64(len(list))
	}
	return judgeTable(name, n, thresh)
}

func forFamily(name string, v6 bool) string {
	if v6 {
		return name + "_ipv6"
	}
	return name + "_ipv4"
}
