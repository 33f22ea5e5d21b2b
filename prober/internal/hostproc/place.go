package hostproc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Place says which network namespace is meant. The zero Place is that of the calling process.
type Place struct {
	// Path is a file of the namespace's: /proc/PID/ns/net, or a bind mount as ip-netns(8) makes.
	Path string
	// PID is a process in it, > 0; with it Path is not set.
	PID int
}

// Host is how the calling process's own namespace is spelt.
const Host = "host"

// netnsDirs are where ip-netns(8) keeps namespaces by name.
var netnsDirs = [...]string{"/run/netns", "/var/run/netns"}

// ParsePlace reads "host", a process id, a path (with a slash), or a name of ip-netns(8). The error says what the text could
// mean; whether the place exists is asked when it is opened.
func ParsePlace(text string) (Place, error) {
	switch {
	case text == Host:
		return Place{}, nil
	case text == "" || strings.ContainsAny(text, " \t\n"):
		return Place{}, fmt.Errorf("%q is no namespace; want a name (ip netns), a path, a process id or %q", text, Host)
	case strings.ContainsRune(text, '/'):
		return Place{Path: text}, nil
	}
	if pid, err := strconv.Atoi(text); err == nil {
		if pid < 1 {
			return Place{}, fmt.Errorf("%d is no process id", pid)
		}
		return Place{PID: pid}, nil
	}
	return NamedPlace(text)
}

// NamedPlace is a namespace by its ip-netns(8) name, also where that looks like a number.
func NamedPlace(name string) (Place, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') {
		return Place{}, fmt.Errorf("%q is no namespace name", name)
	}
	for _, dir := range netnsDirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return Place{Path: path}, nil
		}
	}
	return Place{}, fmt.Errorf("no network namespace %q in %s; a container's is reached by a process id of it", name, netnsDirs[0])
}

func (p Place) String() string {
	switch {
	case p.PID > 0:
		return "pid " + strconv.Itoa(p.PID)
	case p.Path != "":
		for _, dir := range netnsDirs {
			if name, ok := strings.CutPrefix(p.Path, dir+"/"); ok {
				return name
			}
		}
		return p.Path
	}
	return Host
}
