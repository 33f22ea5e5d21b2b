package floorplan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// example is a small package and what one rule must say of it: the words after the position, or nothing.
type example struct {
	story string
	path  string
	file  string // "a.go" unless said
	text  string
	want  []string
}

// TestDownward holds the import rule against each kind of wrong edge, and against the right one beside it.
func TestDownward(t *testing.T) {
	try(t, downward, []example{
		{"a layer below", "prober/observe", "", importing("prober/wire"), nil},
		{"a layer above", "prober/wire", "", importing("prober/observe"),
			[]string{"prober/wire may not import prober/observe"}},
		{"the engine from the lab", "prober/lab", "", importing("prober"), []string{"prober/lab may not import prober"}},
		{"within the lab", "prober/lab/arp", "", importing("prober/lab/wires"), nil},
		{"packet I/O from the lab", "prober/lab/arp", "", importing("prober/internal/rawsock"),
			[]string{"prober/lab/arp may not import prober/internal/rawsock"}},
		{"one packet package from another", "prober/internal/kdial", "", importing("prober/internal/rawsock"),
			[]string{"prober/internal/kdial may not import prober/internal/rawsock"}},
		{"its own child", "prober/internal/rawsock", "", importing("prober/internal/rawsock/bpf"), nil},
		{"the network for tests from the engine", "prober", "", importing("prober/internal/fakenet"),
			[]string{"prober may not import prober/internal/fakenet"}},
		{"the same from a test", "prober", "a_test.go", importing("prober/internal/fakenet"), nil},
		{"the engine from packet I/O", "prober/internal/kdial", "", importing("prober"),
			[]string{"prober/internal/kdial may not import prober"}},
		{"sockets from the API", "api", "", importing("prober/internal/kdial"),
			[]string{"api may not import prober/internal/kdial"}},
		{"the engine from the API", "api/views", "", importing("prober"), nil},
		{"the API from the engine", "prober", "", importing("api"), []string{"prober may not import api"}},
		{"another command from a command", "cmd/vipprobe", "", importing("cmd/vipprobe-bench"),
			[]string{"cmd/vipprobe may not import cmd/vipprobe-bench"}},
		{"a package nobody planned", "prober/extra", "", importing(), []string{"package prober/extra has no room in the floor plan"}},
		{"an import nobody planned", "prober", "", importing("prober/extra"),
			[]string{"prober imports prober/extra, which has no room in the floor plan"}},
		{"a name that only begins alike", "probers", "", importing(), []string{"package probers has no room in the floor plan"}},
		{"upward in a test only", "prober/wire", "a_test.go", importing("prober/observe"), nil},
		{"upward behind a build tag", "prober/wire", "", "//go:build never\n\n" + importing("prober/observe"),
			[]string{"prober/wire may not import prober/observe"}},
	})
}

func TestKernelRooms(t *testing.T) {
	try(t, kernelRooms, []example{
		{"unix in its room", "prober/internal/rawsock", "", `package a; import "golang.org/x/sys/unix"`, nil},
		{"unix in the lab", "prober/lab/arp", "", `package a; import "golang.org/x/sys/unix"`, nil},
		{"unix in the engine", "prober", "", `package a; import "golang.org/x/sys/unix"`,
			[]string{"prober imports golang.org/x/sys/unix: packet and kernel I/O lives in prober/internal"}},
		{"netlink in the API", "api", "", `package a; import "github.com/vishvananda/netlink"`,
			[]string{"api imports github.com/vishvananda/netlink: packet and kernel I/O lives in prober/internal"}},
		{"mapped memory in the engine", "prober", "", `package a; import "unsafe"`,
			[]string{"prober imports unsafe: packet and kernel I/O lives in prober/internal"}},
		{"pcapng in evidence", "prober/evidence", "", `package a; import "github.com/gopacket/gopacket/pcapgo"`, nil},
	})
}

func TestPureImports(t *testing.T) {
	try(t, pureImports, []example{
		{"addresses", "prober/wire", "", `package a; import "net/netip"`, nil},
		{"sums", "prober/stats", "", `package a; import ("math"; "slices"; "hash/maphash")`, nil},
		{"net", "prober/wire", "", `package a; import "net"`, []string{"pure package prober/wire imports net"}},
		{"net/http", "prober/plan", "", `package a; import "net/http"`, []string{"pure package prober/plan imports net/http"}},
		{"log", "prober/diagnose", "", `package a; import "log/slog"`, []string{"pure package prober/diagnose imports log/slog"}},
		{"os", "prober/observe", "", `package a; import "os"`, []string{"pure package prober/observe imports os"}},
		{"system calls", "prober/handshake", "", `package a; import "syscall"`,
			[]string{"pure package prober/handshake imports syscall"}},
		{"entropy", "prober/plan", "", `package a; import "crypto/rand"`, []string{"pure package prober/plan imports crypto/rand"}},
		{"a logger", "prober/experiment", "", `package a; import "github.com/rs/zerolog"`,
			[]string{"pure package prober/experiment imports github.com/rs/zerolog: only the standard library is known to do nothing else"}},
		{"hidden names", "prober/plan", "", `package a; import . "time"`,
			[]string{"pure package prober/plan imports time into its own names"}},
		{"net where it belongs", "prober", "", `package a; import "net"`, nil},
		{"a test's reader", "prober/wire", "a_test.go", `package a; import "os"`, nil},
	})
}

func TestPureBody(t *testing.T) {
	try(t, pureBody, []example{
		{"a duration", "prober/plan", "", `package a; import "time"; const d = 3 * time.Second`, nil},
		{"the clock", "prober/plan", "", `package a; import "time"; func f() time.Time { return time.Now() }`,
			[]string{"pure package prober/plan uses time.Now"}},
		{"the clock by another name", "prober/plan", "", `package a; import t "time"; func f() t.Time { return t.Now() }`,
			[]string{"pure package prober/plan uses time.Now"}},
		{"the clock as a value", "prober/plan", "", `package a; import "time"; func f() func() time.Time { return time.Now }`,
			[]string{"pure package prober/plan uses time.Now"}},
		{"a field called Now", "prober/plan", "", `package a; type c struct{ Now int }; func f(time c) int { return time.Now }`, nil},
		{"a timer", "prober/handshake", "", `package a; import "time"; func f() { <-time.After(1) }`,
			[]string{"pure package prober/handshake uses time.After"}},
		{"the time since", "prober/observe", "", `package a; import "time"; func f(t time.Time) any { return time.Since(t) }`,
			[]string{"pure package prober/observe uses time.Since"}},
		{"a goroutine", "prober/stats", "", `package a; func f() { go f() }`, []string{"pure package prober/stats starts a goroutine"}},
		{"a goroutine of the engine", "prober", "", `package a; func f() { go f() }`, nil},
		{"the process's dice", "prober/stats", "", `package a; import "math/rand/v2"; func f() int { return rand.IntN(6) }`,
			[]string{"pure package prober/stats uses math/rand/v2.IntN"}},
		{"the caller's dice", "prober/stats", "",
			`package a; import "math/rand/v2"; func f(s uint64) int { return rand.New(rand.NewPCG(s, 1)).IntN(6) }`, nil},
		{"the terminal", "prober/wire", "", `package a; import "fmt"; func f() { fmt.Println() }`,
			[]string{"pure package prober/wire uses fmt.Println"}},
		{"a debugging print", "prober/wire", "", `package a; func f() { println() }`, []string{"pure package prober/wire uses println"}},
		{"text", "prober/wire", "", `package a; import "fmt"; func f() string { return fmt.Sprint() }`, nil},
	})
}

func TestNoInit(t *testing.T) {
	try(t, noInit, []example{
		{"init", "api", "", `package a; func init() {}`, []string{"api has an init function"}},
		{"init in a test", "api", "a_test.go", `package a; func init() {}`, []string{"api has an init function"}},
		{"a method of that name", "api", "", `package a; type T int; func (T) init() {}`, nil},
	})
}

func TestNoSleep(t *testing.T) {
	try(t, noSleep, []example{
		{"in a test", "prober", "a_test.go", `package a; import "time"; func f() { time.Sleep(1) }`, []string{"prober sleeps"}},
		{"in the program", "api", "", `package a; import "time"; func f() { time.Sleep(1) }`, []string{"api sleeps"}},
		{"by another name", "api", "", `package a; import "time"; func f() { <-time.After(1) }`, []string{"api sleeps in <-time.After"}},
		{"a limit beside an event", "api", "",
			`package a; import "time"; func f(c chan int) { select { case <-c: case <-time.After(1): } }`, nil},
		{"in a bubble", "api", "a_test.go", `package a; import ("testing"; "testing/synctest"; "time")
			func f(t *testing.T) { synctest.Test(t, func(*testing.T) { time.Sleep(1); <-time.After(1) }) }`, nil},
		{"beside a bubble", "api", "a_test.go", `package a; import ("testing"; "testing/synctest"; "time")
			func f(t *testing.T) { synctest.Test(t, func(*testing.T) {}); time.Sleep(1) }`, []string{"api sleeps"}},
	})
}

func TestNamed(t *testing.T) {
	try(t, named, []example{
		{"util", "prober/util", "", `package util`, []string{"a package named util says nothing of what it holds"}},
		{"helpers for tests", "api/helpers", "a_test.go", `package helpers_test`,
			[]string{"a package named helpers_test says nothing of what it holds"}},
		{"a name that only holds one", "prober/utilization", "", `package utilization`, nil},
	})
}

func TestCommented(t *testing.T) {
	try(t, commented, []example{
		{"none", "prober/plan", "", `package plan`, []string{"prober/plan has no package comment"}},
		{"its own", "prober/plan", "", "// Package plan is data.\npackage plan", nil},
		{"another's", "prober/plan", "", "// Package observe is data.\npackage plan",
			[]string{`the package comment of prober/plan does not begin with "Package plan"`}},
		{"a command", "cmd/vipprobe", "", "// Command vipprobe probes.\npackage main", nil},
		{"tests alone", "cmd/floorplan", "a_test.go", `package floorplan`, []string{"cmd/floorplan has no package comment"}},
	})
}

func TestStrangers(t *testing.T) {
	ignore := "/vipprobe\n/dist/\n*.test\n"
	got := strangers([]string{".git", "cmd", "go.mod", "vipprobe", "dist", "wire.test", "docs", "notes.txt"}, ignore)
	if diff := cmp.Diff([]string{"docs", "notes.txt"}, got); diff != "" {
		t.Errorf("strangers (-want +got):\n%s", diff)
	}
}

// try runs one rule on every example.
func try(t *testing.T, rule func(*source) []fault, examples []example) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.story, func(t *testing.T) {
			file := e.file
			if file == "" {
				file = "a.go"
			}
			var got []string
			for _, f := range rule(parse(t, e.path, map[string]string{file: e.text})) {
				got = append(got, f.what)
			}
			if diff := cmp.Diff(e.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// importing is a package that imports these of ours.
func importing(inner ...string) string {
	var b strings.Builder
	b.WriteString("package a\n")
	for _, p := range inner {
		b.WriteString("import _ \"" + module + "/" + p + "\"\n")
	}
	return b.String()
}
