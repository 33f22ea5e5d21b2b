package hostproc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Mount is a procfs by where it is mounted: "/proc", or a host's own inside a container, "/host/proc". The zero Mount is "/proc".
type Mount string

func (m Mount) root() root {
	if m == "" {
		return proc
	}
	return root(m)
}

// Check reports why nothing can be read there.
func (m Mount) Check() error {
	if _, err := m.root().readNet("netstat"); err != nil {
		return fmt.Errorf("read kernel counters below %s: %w", m.root(), err)
	}
	return nil
}

// Read takes all counters. The neighbour tables' are those of the first process's namespace where this one has none: they are one for the whole
// machine, and only the initial namespace shows them (net/core/neighbour.c neigh_table_init, 6.18). Errors as Read.
func (m Mount) Read() (Counters, error) {
	r := m.root()
	c, err := r.read()
	if err != nil {
		return c, err
	}
	for _, table := range []string{"arp_cache", "ndisc_cache"} {
		if _, own := c.Values[table+".entries"]; own {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(string(r), "1/net/stat", table)); err == nil {
			c.miss("1/net/stat/"+table, parsePerCPU(b, table, c.Values))
		}
	}
	return c, nil
}

// Release is the kernel's release as the procfs has it; empty: it does not say.
func (m Mount) Release() string {
	b, err := m.root().readSys("kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Settings are the sysctls that decide how a handshake goes, by their sysctl(8) names; those of the interfaces as their default.
func (m Mount) Settings() map[string]string {
	s := m.root().sysctls()
	return s.Table("default")
}
