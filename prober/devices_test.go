package prober

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/plan"
	"github.com/vipprobe/vipprobe/prober/pulse"
)

// upper puts a device of the kind on both ends of the cable, 10.5.0.1/24 on the client's and 10.5.0.2/24 on the server's. It reports
// whether this kernel has such a device.
func (r *rig) upper(t *testing.T, device func(lower int) netlink.Link, enslave bool) bool {
	t.Helper()
	for _, end := range []struct {
		host   *topo.Host
		lower  *topo.Link
		prefix string
	}{{r.client, r.near, "10.5.0.1/24"}, {r.server, r.far, "10.5.0.2/24"}} {
		err := end.host.Do(func() error {
			lower, err := netlink.LinkByName(end.lower.Name)
			if err != nil {
				return err
			}
			link := device(lower.Attrs().Index)
			if err := netlink.LinkAdd(link); err != nil {
				return err
			}
			if enslave {
				if err := errors.Join(netlink.LinkSetDown(lower), netlink.LinkSetMaster(lower, link), netlink.LinkSetUp(lower)); err != nil {
					return err
				}
			}
			a, err := netlink.ParseAddr(end.prefix)
			if err != nil {
				return err
			}
			return errors.Join(netlink.AddrAdd(link, a), netlink.LinkSetUp(link))
		})
		if errors.Is(err, unix.EOPNOTSUPP) {
			return false
		}
		must(t, err)
	}
	return true
}

// tuns joins both hosts by devices without link header, as a VPN in user space does.
func (r *rig) tuns(t *testing.T) {
	t.Helper()
	var ends [2]*os.File
	for i, end := range []struct {
		host   *topo.Host
		prefix string
	}{{r.client, "10.5.0.1/24"}, {r.server, "10.5.0.2/24"}} {
		must(t, end.host.Do(func() error {
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
			if err != nil {
				t.Skipf("SKIPPED: no tun device: %v", err)
			}
			req, err := unix.NewIfreq("tun0")
			if err != nil {
				return err
			}
			req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
				return errors.Join(err, unix.Close(fd))
			}
			ends[i] = os.NewFile(uintptr(fd), "tun0")
			link, err := netlink.LinkByName("tun0")
			if err != nil {
				return err
			}
			a, err := netlink.ParseAddr(end.prefix)
			if err != nil {
				return err
			}
			return errors.Join(netlink.AddrAdd(link, a), netlink.LinkSetUp(link))
		}))
	}
	for i := range ends {
		r.Go(func(context.Context) { carry(ends[i], ends[1-i]) })
		r.OnClose(func() { ends[i].Close() })
	}
}

// carry hands packets on until one end is closed.
func carry(from io.Reader, to io.Writer) {
	b := make([]byte, 65536)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil && errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// On every kind of device scheduled raw rounds are healthy: each SYN and each SYN-ACK counts once, however many devices show it.
func TestScheduledRawRoundsOnDevices(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func(t *testing.T, r *rig) bool{
		"tun": func(t *testing.T, r *rig) bool {
			r.tuns(t)
			return true
		},
		"macvlan": func(t *testing.T, r *rig) bool {
			return r.upper(t, func(lower int) netlink.Link {
				return &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "upper0", ParentIndex: lower}, Mode: netlink.MACVLAN_MODE_BRIDGE}
			}, false)
		},
		"bridge": func(t *testing.T, r *rig) bool {
			return r.upper(t, func(int) netlink.Link { return &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "upper0"}} }, true)
		},
		"vlan": func(t *testing.T, r *rig) bool {
			return r.upper(t, func(lower int) netlink.Link {
				return &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "upper0", ParentIndex: lower}, VlanId: 7}
			}, false)
		},
		"vrf":       func(t *testing.T, r *rig) bool { return r.vrf(t) },
		"wireguard": func(t *testing.T, r *rig) bool { return r.wireguard(t) },
		"bond": func(t *testing.T, r *rig) bool {
			return r.upper(t, func(int) netlink.Link {
				b := netlink.NewLinkBond(netlink.LinkAttrs{Name: "upper0"})
				b.Mode = netlink.BOND_MODE_ACTIVE_BACKUP
				return b
			}, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := network(t)
			must(t, r.Err())
			if !build(t, r) {
				t.Logf("NOT TRIED: this kernel has no %s", name)
				return
			}
			r.server.Serve(topo.Service{Port: 80, Then: topo.Echo})
			r.start(t, EngineOptions{SourcePorts: plan.PortRange{Lo: 20000, Hi: 29999}})
			sink := newTold()
			job := rawJob(500*time.Millisecond, "10.5.0.2:80")
			if name == "vrf" {
				job.Module.Interface = "upper0" // what is in a VRF is reached by naming it
			}
			s, p := r.schedule(t, sink, job)
			p.SetAllow(AllowAddrs(addr("10.5.0.2")))
			for range 3 {
				h := receive(t, sink.healthy)
				if h.Connections != 5 || len(h.RTTs) != 5 || h.RTTs[0] <= 0 {
					t.Errorf("%+v", h)
				}
			}
			l, _ := s.fast.(*light)
			l.mu.Lock()
			defer l.mu.Unlock()
			if stray := l.strays[pulse.Stale] + l.strays[pulse.NotOurs]; stray > 0 {
				t.Errorf("strays %v", l.strays)
			}
		})
	}
}
