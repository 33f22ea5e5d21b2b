package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNewSupervisor(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want supervisor
		err  string
	}{
		"nobody":                         {want: supervisor{}},
		"a watchdog without a socket":    {env: map[string]string{"WATCHDOG_USEC": "30000000"}, want: supervisor{}},
		"a socket":                       {env: map[string]string{"NOTIFY_SOCKET": "/run/n"}, want: supervisor{socket: "/run/n"}},
		"an abstract socket":             {env: map[string]string{"NOTIFY_SOCKET": "@n"}, want: supervisor{socket: "@n"}},
		"a socket of another kind":       {env: map[string]string{"NOTIFY_SOCKET": "vsock:2:1"}, err: "NOTIFY_SOCKET=vsock:2:1: want a path"},
		"a watchdog for this process":    {env: map[string]string{"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, want: supervisor{"@n", 30 * time.Second}},
		"a watchdog for another process": {env: map[string]string{"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, want: supervisor{socket: "@n"}},
		"a watchdog of no time":          {env: map[string]string{"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "0"}, err: "WATCHDOG_USEC=0: want"},
		"a watchdog that would overflow": {env: map[string]string{"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "9223372036854775807"}, err: "at most a year"},
		"a watchdog that is no number":   {env: map[string]string{"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "30s"}, err: "WATCHDOG_USEC=30s: want"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := newSupervisor(func(k string) string { return c.env[k] }, 7)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(supervisor{})); diff != "" || err != nil {
				t.Errorf("(-want +got)\n%s%v", diff, err)
			}
		})
	}
}

// notified listens where a supervisor does and hands out the messages.
func notified(t *testing.T) (socket string, messages <-chan string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	out, done := make(chan string, 4096), make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			out <- string(b[:n])
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return socket, out
}

// TestWatchdog: silence is what a supervisor hears of a service that hangs.
func TestWatchdog(t *testing.T) {
	socket, messages := notified(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		turns, complaints := 0, 0
		alive := func(ctx context.Context) error {
			if turns++; turns > 3 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		time.AfterFunc(10*time.Second, cancel) // by the bubble's own clock
		supervisor{socket, 2 * time.Second}.watch(ctx, alive, func(err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			complaints++
		})
		if turns < 9 || complaints < 5 {
			t.Errorf("asked %d times, complained %d times", turns, complaints)
		}
	})
	for range 3 {
		if m := <-messages; m != "WATCHDOG=1" {
			t.Errorf("told %q", m)
		}
	}
	if len(messages) > 0 {
		t.Errorf("a hanging service told %q", <-messages)
	}
}

// TestNotify: the service says when it is ready, when it reads its configuration anew and how that went, that it lives, and when it stops.
func TestNotify(t *testing.T) {
	needNamespaces(t)
	socket, messages := notified(t)
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "200000")
	s := serve(t, "127.0.0.1:19130", "allow: [127.0.0.1]\n")
	alive := 0
	next := func(want ...string) {
		t.Helper()
		limit := time.NewTimer(patience)
		defer limit.Stop()
		for {
			select {
			case m := <-messages:
				if m == "WATCHDOG=1" {
					alive++
					continue
				}
				if lines := strings.Split(m, "\n"); !slices.EqualFunc(lines, want, strings.HasPrefix) {
					t.Fatalf("told %q, want lines that begin %q", lines, want)
				}
				return
			case <-limit.C:
				t.Fatalf("%q was not told", want)
			}
		}
	}
	next("READY=1", "STATUS=serving "+s.file)
	if err := s.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	next("RELOADING=1", "MONOTONIC_USEC=")
	next("READY=1", "STATUS=serving ")
	s.configure("allows: []\n")
	if err := s.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	next("RELOADING=1", "MONOTONIC_USEC=")
	next("READY=1", "STATUS=the configuration before stays in force: "+s.file+":1:1: allows: ")
	for alive < 3 {
		select {
		case m := <-messages:
			if m != "WATCHDOG=1" {
				t.Fatalf("told %q", m)
			}
			alive++
		case <-time.After(patience):
			t.Fatal("the watchdog hears nothing")
		}
	}
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	next("STOPPING=1", "STATUS=finishing what is under way")
	if code := s.exits(); code != exitPass {
		t.Errorf("exit %d", code)
	}
}
