package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is vipprobe, or another program, while it runs. Every line that it writes can be waited for.
type program struct {
	*exec.Cmd
	t     *testing.T
	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced with every line
	read  sync.WaitGroup
}

// vipprobe prepares this test binary as vipprobe itself.
func vipprobe(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "vipprobe"
	cmd.Env = outside()
	return cmd
}

// start starts a program. It is killed when the test ends.
func start(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	return startBy(t, cmd, cmd.Start)
}

// startBy starts a program by another call than its own Start.
func startBy(t *testing.T, cmd *exec.Cmd, begin func() error) *program {
	t.Helper()
	p := &program{Cmd: cmd, t: t, more: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := errors.Join(begin(), w.Close()); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	p.read.Go(func() { p.scan(r) })
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
		r.Close()
		p.read.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Args[0], p.text())
		}
	})
	return p
}

func (p *program) scan(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		p.mu.Lock()
		p.lines = append(p.lines, s.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// patience is how long a test waits for what must come; it is no measure of anything.
const patience = 20 * time.Second

// says waits until the program has written text n times in all.
func (p *program) says(text string, n int) {
	p.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		p.mu.Lock()
		count, more := 0, p.more
		for _, l := range p.lines {
			if strings.Contains(l, text) {
				count++
			}
		}
		p.mu.Unlock()
		if count >= n {
			return
		}
		select {
		case <-more:
		case <-limit.C:
			p.t.Fatalf("%s has not said %q %d times:\n%s", p.Args[0], text, n, p.text())
		}
	}
}

// exits waits for the program's end and returns its exit code, −1 where a signal ended it.
func (p *program) exits() int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		p.t.Errorf("%s does not end", p.Args[0])
		_ = p.Process.Signal(syscall.SIGKILL)
	})
	defer stop()
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// eventually asks again and again until ask has no complaint left.
func eventually(t *testing.T, ask func() error) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-limit.C:
			t.Fatal(err)
		}
	}
}
