package topo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Steer makes one processor of this machine take what arrives on the link's device, whoever sent it (rps_cpus, Documentation/networking/
// scaling.rst, 6.18); a negative one takes that back: the sender's own then does it. It needs a process of ReexecPrivileged: the kernel asks for
// CAP_NET_ADMIN of the machine (net/core/net-sysfs.c store_rps_map), else os.ErrPermission.
func (l *Link) Steer(cpu int) error {
	mask := "0"
	if cpu >= 0 {
		mask = fmt.Sprintf("%x", uint64(1)<<cpu)
	}
	return l.Host.Do(func() error {
		dir, err := os.MkdirTemp("", "vipprobe-sysfs")
		if err != nil {
			return err
		}
		// A sysfs shows the devices of the namespace that it was mounted in.
		if err := unix.Mount("sysfs", dir, "sysfs", 0, ""); err != nil {
			return errors.Join(fmt.Errorf("mount the sysfs of host %s: %w", l.Host.Name, err), os.Remove(dir))
		}
		err = os.WriteFile(filepath.Join(dir, "class/net", l.Name, "queues/rx-0/rps_cpus"), []byte(mask), 0)
		if err != nil {
			err = fmt.Errorf("steer %s of host %s to processor %d: %w", l.Name, l.Host.Name, cpu, err)
		}
		return errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH), os.Remove(dir))
	})
}

// Pin binds the programs that the host will start to one processor; a negative one frees them again.
func (h *Host) Pin(cpu int) error {
	return h.keep(func() error {
		var set unix.CPUSet
		if cpu >= 0 {
			set.Set(cpu)
		} else {
			for i := range runtime.NumCPU() {
				set.Set(i)
			}
		}
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("pin host %s to processor %d: %w", h.Name, cpu, err)
		}
		return nil
	})
}
