package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/vipprobe/vipprobe/prober/lab/nft"
)

// TestScripts runs testdata/script: vipprobe as a user calls it. Beside testscript's own commands there are those below.
func TestScripts(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "sentences": sentences, "json": jsonHolds, "narrow": narrow,
			"listen": listen, "closed": closed, "lose": lose, "interrupt": interrupt,
		},
	})
}

// exits CODE PROGRAM ARG… runs a program, which must end with this code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit %d, want %s\n%s%s", code, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// sentences REGEXP… : the last program's stderr has exactly this many lines, each "vipprobe: …" and matching its own expression.
func sentences(ts *testscript.TestScript, neg bool, args []string) {
	var lines []string
	if text := strings.TrimSuffix(ts.ReadFile("stderr"), "\n"); text != "" {
		lines = strings.Split(text, "\n")
	}
	if neg || len(lines) != len(args) {
		ts.Fatalf("stderr has %d lines, want %d: %q", len(lines), len(args), lines)
	}
	for i, l := range lines {
		if !strings.HasPrefix(l, "vipprobe: ") || !regexp.MustCompile(args[i]).MatchString(l) {
			ts.Fatalf("stderr line %d: %q, want vipprobe: …%s", i+1, l, args[i])
		}
	}
}

// narrow: no line of the last program's stdout is wider than 110 characters.
func narrow(ts *testscript.TestScript, _ bool, _ []string) {
	for l := range strings.Lines(ts.ReadFile("stdout")) {
		if n := len([]rune(strings.TrimSuffix(l, "\n"))); n > lineWidth {
			ts.Fatalf("%d characters: %s", n, l)
		}
	}
}

// json PATH OP [VALUE] looks into the JSON document on the last program's stdout. A path is keys and indexes with dots between, * for
// all; OP is = (all have the value), count (so many there are), > (all are numbers above it) or ~ (all match).
func jsonHolds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: json PATH =|count|>|~ VALUE")
	}
	var doc any
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	d.UseNumber()
	ts.Check(d.Decode(&doc))
	found := descend([]any{doc}, strings.Split(args[0], "."))
	if args[1] == "count" {
		if strconv.Itoa(len(found)) != args[2] {
			ts.Fatalf("%s: %d of them, want %s: %v", args[0], len(found), args[2], found)
		}
		return
	}
	if len(found) == 0 {
		ts.Fatalf("%s: nothing there", args[0])
	}
	for _, v := range found {
		if !holds(ts, fmt.Sprint(v), args[1], args[2]) {
			ts.Fatalf("%s: %v, want %s %s", args[0], v, args[1], args[2])
		}
	}
}

func holds(ts *testscript.TestScript, got, op, want string) bool {
	switch op {
	case "=":
		return got == want
	case "~":
		return regexp.MustCompile(want).MatchString(got)
	case ">":
		a, err := strconv.ParseFloat(got, 64)
		ts.Check(err)
		b, err := strconv.ParseFloat(want, 64)
		ts.Check(err)
		return a > b
	}
	ts.Fatalf("no operator %s", op)
	return false
}

// descend follows a path from every value; what is not there is left out.
func descend(from []any, path []string) []any {
	if len(path) == 0 {
		return from
	}
	var next []any
	for _, v := range from {
		switch v := v.(type) {
		case map[string]any:
			if path[0] == "*" {
				for _, x := range v {
					next = append(next, x)
				}
			} else if x, ok := v[path[0]]; ok {
				next = append(next, x)
			}
		case []any:
			for i, x := range v {
				if path[0] == "*" || path[0] == strconv.Itoa(i) {
					next = append(next, x)
				}
			}
		}
	}
	return descend(next, path[1:])
}

// listen VAR [ADDR…] accepts connections on one free port of all these addresses, 127.0.0.1 if none, and sets VAR to the port.
func listen(ts *testscript.TestScript, _ bool, args []string) {
	addrs := args[1:]
	if len(addrs) == 0 {
		addrs = []string{"127.0.0.1"}
	}
	port := "0"
	for _, a := range addrs {
		l, err := net.Listen("tcp", net.JoinHostPort(a, port))
		ts.Check(err)
		_, port, err = net.SplitHostPort(l.Addr().String())
		ts.Check(err)
		served := make(chan struct{})
		go func() {
			defer close(served)
			for {
				c, err := l.Accept()
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil {
					_, _ = io.Copy(io.Discard, c)
					_ = c.Close()
				}
			}
		}()
		ts.Defer(func() {
			_ = l.Close()
			<-served
		})
	}
	ts.Setenv(args[0], port)
}

// closed VAR [ADDR] sets VAR to a port that is taken and not listened on, so that SYNs to it are refused.
func closed(ts *testscript.TestScript, _ bool, args []string) {
	addr := "127.0.0.1"
	if len(args) > 1 {
		addr = args[1]
	}
	a := netip.MustParseAddr(addr)
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: a.As16()})
	if a.Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: a.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	ts.Check(err)
	ts.Defer(func() { _ = unix.Close(fd) })
	ts.Check(unix.Bind(fd, sa))
	sa, err = unix.Getsockname(fd)
	ts.Check(err)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		ts.Setenv(args[0], strconv.Itoa(sa.Port))
	case *unix.SockaddrInet6:
		ts.Setenv(args[0], strconv.Itoa(sa.Port))
	}
}

// lose PORT [N] drops the first N SYNs to an IPv4 port at its host's door, or all of them.
func lose(ts *testscript.TestScript, _ bool, args []string) {
	port, err := strconv.ParseUint(args[0], 10, 16)
	ts.Check(err)
	rule := nft.Rule{nft.DstPort(uint16(port)), nft.SYN()}
	if len(args) > 1 {
		n, err := strconv.ParseUint(args[1], 10, 32)
		ts.Check(err)
		// one token a week: the bucket does not fill again while the test lasts
		rule = append(rule, nft.Part{&expr.Limit{Type: expr.LimitTypePkts, Rate: 1, Unit: expr.LimitTimeWeek, Burst: uint32(n)}})
	}
	c, err := nftables.New()
	ts.Check(err)
	table := nft.Table{Family: nft.IPv4, Name: "lose" + args[0], Chains: []nft.Chain{{Hook: nft.Input, Rules: []nft.Rule{append(rule, nft.Drop())}}}}
	table.Install(c)
	ts.Check(c.Flush())
}

// interrupt CODE N PROGRAM ARG… runs a program, sends it SIGINT when its stdout and stderr together have N lines, and wants its code.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	cmd := exec.Command(args[2], args[3:]...)
	cmd.Env = outside()
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	errs, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() { _ = cmd.Process.Kill() })
	type line struct {
		to   io.Writer
		text string
	}
	lines, done := make(chan line), make(chan struct{})
	read := func(from io.Reader, to io.Writer) {
		for s := bufio.NewScanner(from); s.Scan(); {
			lines <- line{to, s.Text()}
		}
		done <- struct{}{}
	}
	go read(out, ts.Stdout())
	go read(errs, ts.Stderr())
	for open := 2; open > 0; {
		select {
		case l := <-lines:
			fmt.Fprintln(l.to, l.text)
			if n--; n == 0 {
				ts.Check(cmd.Process.Signal(os.Interrupt))
			}
		case <-done:
			open--
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	if code := cmd.ProcessState.ExitCode(); strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit %d, want %s", code, args[0])
	}
}

// TestDescend holds the scripts' own JSON paths to what they promise.
func TestDescend(t *testing.T) {
	var doc any
	if err := json.Unmarshal([]byte(`{"a":[{"b":1},{"b":2},{"c":3}],"d":{"x":4,"y":5}}`), &doc); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]any{
		"a.*.b": {1.0, 2.0}, "a.1.b": {2.0}, "a.2.b": nil, "d.y": {5.0}, "d.y.z": nil,
	} {
		if got := descend([]any{doc}, strings.Split(path, ".")); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}
