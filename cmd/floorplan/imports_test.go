package floorplan

import (
	"path"
	"slices"
	"strings"
)

// matches returns the instance of the room that a package belongs to ("prober/internal/kdial" for prober/internal/kdial/x),
// or "" when the room is not its own.
func (r room) matches(pkg string) string {
	if root, ok := strings.CutSuffix(r.name, "/..."); ok {
		if within(pkg, root) {
			return root
		}
		return ""
	}
	if root, ok := strings.CutSuffix(r.name, "/*"); ok {
		rest, below := strings.CutPrefix(pkg, root+"/")
		if !below {
			return ""
		}
		child, _, _ := strings.Cut(rest, "/")
		return path.Join(root, child)
	}
	if pkg == r.name {
		return pkg
	}
	return ""
}

// roomOf finds the room of a package and its instance.
func roomOf(pkg string) (room, string, bool) {
	for _, r := range house {
		if at := r.matches(pkg); at != "" {
			return r, at, true
		}
	}
	return room{}, "", false
}

// downward holds every import of the module by itself against the plan.
func downward(s *source) (faults []fault) {
	from, at, ok := roomOf(s.path)
	if !ok {
		return []fault{{what: "package " + s.path + " has no room in the floor plan"}}
	}
	for spec, p := range imports(s.files) {
		inner, ours := strings.CutPrefix(p, module+"/")
		if !ours {
			continue
		}
		to, there, ok := roomOf(inner)
		switch {
		case !ok:
			faults = append(faults, s.fault(spec, "%s imports %s, which has no room in the floor plan", s.path, inner))
		case there == at: // within one room
		case !slices.Contains(from.may, to.name):
			faults = append(faults, s.fault(spec, "%s may not import %s", s.path, inner))
		}
	}
	return faults
}

// kernelDoors are the modules through which a program speaks to the kernel past package net.
var kernelDoors = []string{
	"unsafe", "golang.org/x/sys", "github.com/mdlayher", "github.com/vishvananda", "github.com/google/nftables",
	"github.com/gopacket/gopacket/afpacket", "github.com/gopacket/gopacket/pcap", "github.com/cilium/ebpf",
}

// kernelRooms keeps packet and kernel I/O where the plan puts it.
func kernelRooms(s *source) (faults []fault) {
	if r, _, ok := roomOf(s.path); !ok || r.kernel {
		return nil
	}
	for spec, p := range imports(s.files) {
		for _, door := range kernelDoors {
			if within(p, door) {
				faults = append(faults, s.fault(spec, "%s imports %s: packet and kernel I/O lives in prober/internal", s.path, p))
			}
		}
	}
	return faults
}

// ioPackages of the standard library are closed to pure packages with all below them; net/netip is no I/O.
var ioPackages = []string{
	"net", "os", "io/fs", "io/ioutil", "log", "syscall", "context", "runtime", "unsafe", "plugin", "database", "testing",
	"crypto/rand", "crypto/tls",
}

// pureImports lets a pure package import the computing part of the standard library and its own floors.
func pureImports(s *source) (faults []fault) {
	if r, _, ok := roomOf(s.path); !ok || !r.pure {
		return nil
	}
	for spec, p := range imports(s.files) {
		if spec.Name != nil && spec.Name.Name == "." {
			faults = append(faults, s.fault(spec, "pure package %s imports %s into its own names", s.path, p))
		}
		if within(p, module) || p == "net/netip" {
			continue
		}
		if first, _, _ := strings.Cut(p, "/"); strings.Contains(first, ".") {
			faults = append(faults, s.fault(spec, "pure package %s imports %s: only the standard library is known to do nothing else", s.path, p))
			continue
		}
		for _, forbidden := range ioPackages {
			if within(p, forbidden) {
				faults = append(faults, s.fault(spec, "pure package %s imports %s", s.path, p))
			}
		}
	}
	return faults
}
