package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal: what is written to the one is read from the other.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// TestColour: verdict lines are coloured on a terminal, and nowhere else, and not where NO_COLOR says so; progress shows on a terminal
// without being asked for.
func TestColour(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	for _, c := range []struct {
		story    string
		terminal bool
		env      string
		colour   bool
	}{
		{"a terminal", true, "TERM=xterm", true},
		{"NO_COLOR", true, "NO_COLOR=1", false},
		{"a dumb terminal", true, "TERM=dumb", false},
		{"a pipe", false, "TERM=xterm", false},
	} {
		t.Run(c.story, func(t *testing.T) {
			t.Parallel()
			cmd := vipprobe(t, "probe", "127.0.0.1:1")
			cmd.Env = append(cmd.Env, "NO_COLOR=", "TERM=xterm", c.env)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			read := make(chan struct{})
			if c.terminal {
				ours, theirs := terminal(t)
				cmd.Stdout, cmd.Stderr = theirs, theirs
				go func() {
					defer close(read)
					_, _ = io.Copy(&out, ours) // ends with EIO when the last one closes the other end (drivers/tty/n_tty.c, 6.18)
				}()
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				theirs.Close()
				<-read
				_ = cmd.Wait() // exit 1: nobody listens
			} else {
				_ = cmd.Run()
			}
			text := out.String()
			if !strings.Contains(text, "port_closed (confirmed)") {
				t.Fatalf("no verdict: %q", text)
			}
			if got := strings.Contains(text, "\x1b["); got != c.colour {
				t.Errorf("coloured %t, want %t: %q", got, c.colour, text)
			}
			if got := strings.Contains(text, "probing 1 target(s)"); got != c.terminal {
				t.Errorf("progress %t, want %t: %q", got, c.terminal, text)
			}
		})
	}
}
