// Package floorplan holds no program, only the test of the house: which package may import which, what a pure package does
// without, and which habits hold everywhere. The table below is the plan; the rules beside it are tried on small
// wrong examples before they are believed. It never runs or type-checks what it reads, it only parses.
package floorplan

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// room is one line of the floor plan.
type room struct {
	// name is a path below the module: "a" is that package alone, "a/..." it and all below it, "a/*" each child of a by itself
	// (with what lies below the child), so that two children are strangers.
	name string
	// pure rooms compute: values in, values out. They import the standard library alone and do no I/O.
	pure bool
	// kernel rooms may talk to the kernel past the net package: packets, netlink, namespaces.
	kernel bool
	// may lists the other rooms that this one may import; all of them stand further down in the table.
	may []string
}

// house is the floor plan, from the roof to the cellar. Imports point downward only. A new edge is a new word here, with its
// reason in the commit. A package belongs to the first room that takes it.
var house = []room{
	{name: "cmd/*", kernel: true, may: []string{
		"api/...", "targets/...", "prober", "prober/lab/...", "prober/internal/*", "prober/evidence", "prober/results", "prober/results/minute",
		"prober/watch", "prober/experiment", "prober/handshake", "prober/rollout", "prober/profile", "prober/pulse", "prober/sweep", "prober/witness", "prober/testimony", "prober/peers", "prober/diagnose/catalogue", "prober/diagnose",
		"prober/observe", "prober/plan", "prober/retrans", "prober/stats", "prober/wire"}},
	{name: "deploy", may: []string{"targets/...", "prober/diagnose"}}, // files; its tests alone import
	{name: "api/...", may: []string{
		"targets/...", "prober", "prober/evidence", "prober/results", "prober/results/minute", "prober/watch",
		"prober/experiment", "prober/rollout", "prober/profile", "prober/sweep", "prober/witness", "prober/testimony", "prober/peers", "prober/diagnose/catalogue", "prober/diagnose", "prober/observe", "prober/plan", "prober/retrans", "prober/wire"}},
	{name: "targets/...", may: []string{
		"prober", "prober/experiment", "prober/rollout", "prober/profile", "prober/diagnose", "prober/observe", "prober/plan", "prober/wire"}},
	{name: "prober", may: []string{
		"prober/internal/*", "prober/evidence", "prober/results", "prober/results/minute", "prober/experiment", "prober/handshake", "prober/rollout", "prober/profile", "prober/pulse", "prober/sweep", "prober/witness", "prober/testimony", "prober/diagnose",
		"prober/observe", "prober/plan", "prober/retrans", "prober/stats", "prober/wire"}},
	{name: "prober/watch", may: []string{ // a host's own counters, live
		"prober/internal/*", "prober/testimony", "prober/peers", "prober/diagnose", "prober/observe"}}, // a listener's queues are as observe has them
	{name: "prober/lab/...", kernel: true, may: []string{
		"prober/diagnose/catalogue", "prober/diagnose", "prober/observe", "prober/plan", "prober/stats", "prober/wire"}},
	{name: "prober/internal/fakenet/...", pure: true, may: []string{ // networks for tests: no room above it may import it
		"prober/handshake", "prober/observe", "prober/plan", "prober/wire"}},
	{name: "prober/internal/*", kernel: true, may: []string{
		"prober/peers", "prober/observe", "prober/plan", "prober/wire"}},
	{name: "prober/evidence", may: []string{
		"prober/diagnose", "prober/observe", "prober/plan", "prober/retrans", "prober/wire"}},
	{name: "prober/results", may: []string{
		"prober/results/minute", "prober/diagnose", "prober/observe", "prober/plan", "prober/wire"}},
	{name: "prober/results/minute", pure: true, may: []string{"prober/observe"}}, // what is stored of connections, as octets
	{name: "prober/experiment", pure: true, may: []string{
		"prober/testimony", "prober/diagnose", "prober/observe", "prober/plan", "prober/stats", "prober/wire"}},
	{name: "prober/rollout", pure: true, may: []string{"prober/profile", "prober/diagnose", "prober/stats"}},               // hosts against a policy
	{name: "prober/profile", pure: true, may: []string{"prober/diagnose", "prober/observe", "prober/plan", "prober/wire"}}, // what a host is like
	{name: "prober/handshake", pure: true, may: []string{"prober/plan", "prober/wire"}},
	{name: "prober/witness", pure: true, may: []string{ // what servers say of themselves against what was seen of them
		"prober/testimony", "prober/diagnose", "prober/observe", "prober/plan", "prober/stats", "prober/wire"}},
	{name: "prober/testimony", pure: true, may: []string{"prober/diagnose"}}, // what a host's counters say, by verdict
	{name: "prober/sweep", pure: true, may: []string{"prober/wire"}},
	{name: "prober/pulse", pure: true, may: []string{"prober/plan", "prober/wire"}},
	{name: "prober/diagnose/catalogue", pure: true, may: []string{"prober/diagnose", "prober/plan"}}, // texts for people; what judges does not read them
	{name: "prober/diagnose", pure: true, may: []string{
		"prober/observe", "prober/plan", "prober/retrans", "prober/stats", "prober/wire"}},
	{name: "prober/observe", pure: true, may: []string{"prober/plan", "prober/retrans", "prober/wire"}},
	{name: "prober/retrans", pure: true, may: []string{"prober/wire"}},
	{name: "prober/peers", pure: true, may: []string{"prober/stats"}}, // what a host's connections say of their peers
	{name: "prober/plan", pure: true, may: []string{"prober/wire"}},
	{name: "prober/stats", pure: true},
	{name: "prober/wire", pure: true},
}

// topLevel lists what may stand at the top of the repository besides dotfiles and what .gitignore names.
var topLevel = []string{
	"cmd", "api", "targets", "prober", "deploy",
	"go.mod", "go.sum", "Dockerfile", "README.md", "LICENSE", "CHANGELOG.md",
}

// rules are all that is asked of a package; each is one function in a file of its kind.
var rules = []struct {
	name  string
	check func(*source) []fault
}{
	{"imports point downward", downward},
	{"packet and kernel I/O has its rooms", kernelRooms},
	{"pure packages import no I/O", pureImports},
	{"pure packages start nothing and read no clock", pureBody},
	{"no init function", noInit},
	{"no mutable package state", noState},
	{"no sleep", noSleep},
	{"packages are named after what they hold", named},
	{"packages say what they are", commented},
}

func TestHouse(t *testing.T) {
	sources := load(t, moduleRoot(t))
	for _, r := range rules {
		t.Run(strings.ReplaceAll(r.name, " ", "_"), func(t *testing.T) {
			for _, s := range sources {
				for _, f := range r.check(s) {
					t.Error(f)
				}
			}
		})
	}
}

// TestTable holds the plan itself to its promise: an edge leads to a room that exists and stands further down.
func TestTable(t *testing.T) {
	floor := map[string]int{}
	for i, r := range house {
		if _, twice := floor[r.name]; twice {
			t.Errorf("room %s stands twice in the plan", r.name)
		}
		floor[r.name] = i
	}
	for i, r := range house {
		for _, m := range r.may {
			switch below, known := floor[m]; {
			case !known:
				t.Errorf("%s may import %s, which is no room", r.name, m)
			case below <= i:
				t.Errorf("%s may import %s, which does not lie below it", r.name, m)
			case r.pure && !house[below].pure:
				t.Errorf("%s is pure and may import %s, which is not", r.name, m)
			}
		}
	}
}

func TestTopLevel(t *testing.T) {
	root := moduleRoot(t)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	ignore, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strangers(names, string(ignore)) {
		t.Errorf("%s stands at the top level and is not of the house", name)
	}
}

// strangers returns the names that are neither of the house nor dotfiles nor matched by a line of the .gitignore text.
func strangers(names []string, ignore string) []string {
	known := map[string]bool{}
	for _, n := range topLevel {
		known[n] = true
	}
	var out []string
	for _, n := range names {
		if known[n] || strings.HasPrefix(n, ".") || ignored(n, ignore) {
			continue
		}
		out = append(out, n)
	}
	return out
}

func ignored(name, ignore string) bool {
	for line := range strings.Lines(ignore) {
		if ok, _ := path.Match(strings.Trim(strings.TrimSpace(line), "/"), name); ok {
			return true
		}
	}
	return false
}

// moduleRoot is the directory of go.mod, upward from the test's own.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}
