package hostproc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace that is read from outside, or this process's own. It changes nothing in it.
type Namespace struct {
	place Place
	root  root     // where its files are, when they are read without entering
	file  *os.File // to enter it; nil where it is not entered
	deny  error    // why it is not entered
}

// OpenNamespace opens a place. Entering a namespace asks for CAP_SYS_ADMIN; the counters of a process's namespace are read
// without where that is denied, and Limited says what is then missing. The error says what was tried, and what would permit it;
// os.ErrPermission and os.ErrNotExist tell the two apart.
func OpenNamespace(p Place) (*Namespace, error) {
	n := &Namespace{place: p, root: proc}
	path := p.Path
	switch {
	case p == Place{}:
		return n, nil
	case p.PID > 0:
		n.root = root(filepath.Join(string(proc), strconv.Itoa(p.PID)))
		if _, err := os.Stat(string(n.root)); err != nil {
			return nil, fmt.Errorf("open the network namespace of process %d: there is none of that id: %w", p.PID, os.ErrNotExist)
		}
		path = filepath.Join(string(n.root), "ns", "net")
	}
	err := n.open(path)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("enter the network namespace of %s: it needs CAP_SYS_ADMIN (and CAP_SYS_PTRACE for other users' processes); run as root: %w", p, err)
		if p.PID > 0 {
			if _, e := n.root.readNet("netstat"); e == nil {
				n.deny = err
				return n, nil
			}
		}
		return nil, err
	}
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("enter the network namespace of %s: that file is none", p)
	}
	return nil, fmt.Errorf("enter the network namespace of %s: %w", p, err)
}

// open opens the namespace's file and enters it once, to know that it can be.
func (n *Namespace) open(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	n.file = f
	if err := n.Do(func() error { return nil }); err != nil {
		n.file = nil
		return errors.Join(err, f.Close())
	}
	return nil
}

// Close forgets the namespace.
func (n *Namespace) Close() error {
	if n.file == nil {
		return nil
	}
	return n.file.Close()
}

// Place is where the namespace was opened.
func (n *Namespace) Place() Place { return n.place }

// Limited says why only the files of /proc/PID/net are read, and no settings and no sockets; nil where all is.
func (n *Namespace) Limited() error { return n.deny }

// Do runs f on a thread inside the namespace and returns its error. Sockets that f opens stay in the namespace wherever they are
// used afterwards; goroutines that f starts are outside it. Where the namespace may not be entered f is not run.
func (n *Namespace) Do(f func() error) error {
	switch {
	case n.deny != nil:
		return n.deny
	case n.file == nil:
		return f()
	}
	return aside(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return f()
	})
}

// aside runs f on a thread that ends with it, and that is not the process's first: that one's namespace is the process's in the
// eyes of others.
func aside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, but on the first thread: the thread ends with this goroutine
		if unix.Gettid() == unix.Getpid() {
			done <- aside(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}

// Read takes all counters of the namespace, and its socket gauges ("sockstat.TCP.inuse"). The error says that not one file could
// be read.
func (n *Namespace) Read() (Counters, error) {
	if n.file == nil {
		return n.root.readGauged()
	}
	var c Counters
	err := n.Do(func() (err error) {
		c, err = proc.readGauged()
		return err
	})
	return c, err
}

// Sysctls reads the settings of TCP and what else of net.* decides how connections of the namespace fare, by their sysctl(8)
// names, blanks between values made one. The error says that none could be read.
func (n *Namespace) Sysctls() (map[string]string, error) {
	var s map[string]string
	err := n.Do(func() error {
		s = proc.tcpSettings()
		if len(s) == 0 {
			return fmt.Errorf("read the TCP settings of %s: there are none below %s/sys/net/ipv4", n.place, proc)
		}
		return nil
	})
	return s, err
}

func (r root) tcpSettings() map[string]string {
	out := map[string]string{}
	paths, err := filepath.Glob(filepath.Join(string(r), "sys/net/ipv4/tcp_*"))
	if err != nil {
		return nil
	}
	names := []string{
		"net/core/somaxconn", "net/core/default_qdisc", "net/ipv4/ip_forward", "net/ipv4/ip_local_port_range", "net/ipv4/ip_local_reserved_ports",
		"net/ipv4/ip_no_pmtu_disc", "net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter", "net/ipv4/neigh/default/unres_qlen_bytes",
		"net/ipv4/neigh/default/unres_qlen", "net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_tcp_timeout_established",
		"net/netfilter/nf_conntrack_tcp_timeout_time_wait", "net/netfilter/nf_conntrack_tcp_be_liberal", "net/netfilter/nf_conntrack_tcp_loose",
		"net/ipv6/conf/all/forwarding", "net/ipv6/auto_flowlabels",
	}
	for _, p := range paths {
		names = append(names, strings.TrimPrefix(p, string(r)+"/sys/"))
	}
	for _, name := range names {
		if b, err := r.readSys(name); err == nil && !strings.HasSuffix(name, "_key") { // tcp_fastopen_key is a secret
			out[strings.ReplaceAll(name, "/", ".")] = strings.Join(strings.Fields(string(b)), " ")
		}
	}
	return out
}
