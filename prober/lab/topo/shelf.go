package topo

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// highest is where descriptors begin that programs started here inherit: above those that exec.Cmd.ExtraFiles takes.
const highest = 200

// Shelf is a small file system that no directory of the machine shows: it lives as long as a process has it open. Programs that a host starts find
// it under the same name.
type Shelf struct{ fd int }

// Shelf makes one. It is gone when the network is closed.
func (n *Net) Shelf() *Shelf {
	s := &Shelf{-1}
	n.Step("shelf", func() error {
		config, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
		if err != nil {
			return fmt.Errorf("fsopen tmpfs: %w", err)
		}
		defer unix.Close(config)
		if err := unix.FsconfigCreate(config); err != nil {
			return fmt.Errorf("fsconfig tmpfs: %w", err)
		}
		mount, err := unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
		if err != nil {
			return fmt.Errorf("fsmount tmpfs: %w", err)
		}
		defer unix.Close(mount)
		s.fd, err = unix.FcntlInt(uintptr(mount), unix.F_DUPFD, highest) // without CLOEXEC: inherited
		return err
	})
	n.OnClose(func() { _ = unix.Close(s.fd) })
	return s
}

// Path is where a file of the shelf is found, by this process and those that hosts start.
func (s *Shelf) Path(name string) string {
	return filepath.Join("/proc/self/fd", strconv.Itoa(s.fd), name)
}

// Write puts a file there, whole or not at all, in the place of an older one.
func (s *Shelf) Write(name string, content []byte) error {
	path := s.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	part := path + ".part"
	if err := os.WriteFile(part, content, 0o600); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// Link makes a name of the shelf point to a path.
func (s *Shelf) Link(name, to string) error {
	path := s.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.Symlink(to, path)
}

// envNeighborStat holds the number of an open descriptor of the machine's own arp_cache statistics, inherited by all that runs inside.
const envNeighborStat = "VIPPROBE_LAB_ARP_CACHE"

// keepNeighborStat opens the neighbour statistics of the first process's namespace, which are one for the whole machine and which no other
// namespace shows. The /proc of outside must still be there.
func keepNeighborStat() {
	fd, err := unix.Open("/proc/1/net/stat/arp_cache", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, highest); err == nil {
		_ = os.Setenv(envNeighborStat, strconv.Itoa(high))
	}
}

// NeighborStat is where a program that runs inside reads the machine's own arp_cache statistics; empty: nowhere.
func NeighborStat() string {
	if fd := os.Getenv(envNeighborStat); fd != "" {
		return "/proc/self/fd/" + fd
	}
	return ""
}
