package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober"
)

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// wantsColour: on a terminal that can, unless NO_COLOR is set to anything (no-color.org).
func wantsColour(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

// colour is an SGR attribute (ECMA-48 §8.3.117).
type colour string

const (
	plain  colour = ""
	green  colour = "32"
	yellow colour = "33"
	red    colour = "31"
	bold   colour = "1"
)

// tint colours text where p writes to somebody who wants it.
func (p *printer) tint(c colour, text string) string {
	if !p.colour || c == plain {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// progress tells a waiting person what is being tried, and why. Its methods may be called at the same time.
type progress struct {
	w  io.Writer
	on bool
	mu sync.Mutex
}

// newProgress is silent where nobody looks, unless verbose.
func newProgress(w io.Writer, verbose bool) *progress {
	return &progress{w: w, on: verbose || isTerminal(w)}
}

func (p *progress) f(format string, args ...any) {
	if !p.on {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// step is one burst of a diagnosis.
func (p *progress) step(s prober.Progress) {
	what := fmt.Sprintf("%d handshakes", s.Shots)
	if s.Shots == 0 {
		what = "listen"
	}
	head := fmt.Sprintf("%s +%.1fs  ", s.Addr, s.Spent.Seconds())
	p.f("%s", paragraph(head, fmt.Sprintf("%s: %s (%s, ≤ %s)", s.Label, s.Why, what, short(s.Most)), len(head)))
}
