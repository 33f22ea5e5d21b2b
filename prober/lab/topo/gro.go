package topo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value (include/uapi/linux/ethtool.h, 6.18).
type ethtoolValue struct{ command, data uint32 }

// ifreqData is struct ifreq with a pointer (include/uapi/linux/if.h, 6.18).
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data *ethtoolValue
	_    [16]byte
}

// MergesReceived lets the link's device merge segments that it receives one behind the other (GRO), or not. A veth does so from Linux 5.13 on where
// it is told to and its peer does not send super-frames (drivers/net/veth.c veth_set_features, veth_skb_is_eligible_for_gro, 6.18); older ones
// ignore it.
func (l *Link) MergesReceived(on bool) *Link {
	value := uint32(0)
	if on {
		value = 1
		l.far.offload("TSO", unix.ETHTOOL_STSO, 0)
	}
	l.offload("GRO", unix.ETHTOOL_SGRO, value)
	return l
}

// offload switches an offload of the link's device on (1) or off (0).
func (l *Link) offload(name string, command, value uint32) {
	l.Host.Build(name+" of "+l.Name, func() error {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		req := ifreqData{data: &ethtoolValue{command, value}}
		copy(req.name[:unix.IFNAMSIZ-1], l.Name)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
			return fmt.Errorf("ethtool -K %s, %s to %d: %w", l.Name, name, value, errno)
		}
		return nil
	})
}

// HoldsMerged lets the link's device wait so long for more to merge (gro_flush_timeout, Documentation/networking/napi.rst, 6.18). A veth whose peer sends
// frame by frame has nothing to merge without. It needs a process of ReexecPrivileged (net/core/net-sysfs.c change_gro_flush_timeout).
func (l *Link) HoldsMerged(d time.Duration) *Link {
	l.Host.Build("GRO of "+l.Name+" waits", func() error {
		dir, err := os.MkdirTemp("", "vipprobe-sysfs")
		if err != nil {
			return err
		}
		// A sysfs shows the devices of the namespace that it was mounted in.
		if err := unix.Mount("sysfs", dir, "sysfs", 0, ""); err != nil {
			return errors.Join(fmt.Errorf("mount the sysfs of host %s: %w", l.Host.Name, err), os.Remove(dir))
		}
		err = os.WriteFile(filepath.Join(dir, "class/net", l.Name, "gro_flush_timeout"), []byte(strconv.FormatInt(d.Nanoseconds(), 10)), 0)
		return errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH), os.Remove(dir))
	})
	return l
}
