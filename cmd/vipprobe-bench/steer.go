package main

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/pulse"
)

const (
	localRoute, blackholeRoute = unix.RTN_LOCAL, unix.RTN_BLACKHOLE
	localTable                 = unix.RT_TABLE_LOCAL
	recordOctets               = pulse.RecordOctets
)

// steer lets one core receive what comes in on a device of the calling thread's namespace: mask is of cores, hexadecimal. What /sys/class/net
// shows is the namespace of whoever mounted it (net/core/net-sysfs.c, 6.18), so a thread of its own mounts another one, which ends with it.
func steer(device, mask string) error {
	done := make(chan error, 1)
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer ns.Close()
	go func() {
		runtime.LockOSThread() // never unlocked: the thread and its mounts end with the goroutine
		done <- steerHere(int(ns.Fd()), device, mask)
	}()
	return <-done
}

func steerHere(ns int, device, mask string) error {
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the namespace: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	if err := os.WriteFile("/sys/class/net/"+device+"/queues/rx-0/rps_cpus", []byte(mask), 0); err != nil {
		return fmt.Errorf("set rps_cpus: %w", err)
	}
	return nil
}
