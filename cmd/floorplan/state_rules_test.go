package floorplan

import "testing"

// TestNoState holds the rule on package variables against each form of one: the constants in all but name, and the state.
func TestNoState(t *testing.T) {
	kept := func(name string) []string { return []string{"prober keeps state in package variable " + name} }
	changed := func(name string) []string { return []string{"prober changes its package variable " + name} }
	try(t, noState, []example{
		{"a sentinel", "prober", "", `package a; import "errors"; var ErrNoRoute = errors.New("no route")`, nil},
		{"a pattern", "prober", "", `package a; import "regexp"; var word = regexp.MustCompile("a+")`, nil},
		{"an exported pattern", "prober", "", `package a; import "regexp"; var Word = regexp.MustCompile("a+")`,
			[]string{"prober lets others change its package variable Word: make it a function"}},
		{"an assertion", "prober", "", `package a; type I interface{}; type T int; var _ I = (*T)(nil)`, nil},
		{"a table", "prober", "", `package a; var names = [...]string{"one", "two"}`, nil},
		{"a table of tables", "prober", "", `package a; type row struct{ a int; b []string }; var t = []row{{1, []string{"x"}}}`, nil},
		{"a table by name", "prober", "", `package a; import "time"; var t = map[string]time.Duration{"a": 2 * time.Second}`, nil},
		{"a table of octets", "prober", "", `package a; var magic = [][]byte{[]byte("ab"), {1, 2}}`, nil},
		{"a table of work", "prober", "", `package a; var rules = []func(){f}; func f() {}`, nil},
		{"an address", "prober", "", `package a; import "net/netip"; var meta = netip.MustParseAddr("169.254.169.254")`, nil},
		{"embedded files", "prober", "", "package a\nimport \"embed\"\n//go:embed x\nvar files embed.FS", nil},
		{"a linker's word", "cmd/vipprobe", "", `package main; var version = "devel"`, nil},
		{"the same outside a command", "prober", "", `package a; var version = "devel"`, kept("version")},
		{"a counter", "prober", "", `package a; var n int`, kept("n")},
		{"a lock", "prober", "", `package a; import "sync"; var mu sync.Mutex`, kept("mu")},
		{"a lock by its zero", "prober", "", `package a; import "sync"; var mu = sync.Mutex{}`, kept("mu")},
		{"a cache", "prober", "", `package a; var seen = make(map[string]bool)`, kept("seen")},
		{"a pointer", "prober", "", `package a; type T struct{ n int }; var one = &T{1}`, kept("one")},
		{"a pointer in a table", "prober", "", `package a; type T struct{ n int }; var all = []*T{&T{1}}`, kept("all")},
		{"something computed", "prober", "", `package a; var m = f(); func f() int { return 1 }`, kept("m")},
		{"a call in a table", "prober", "", `package a; var m = []int{f(1)}; func f(n int) int { return n }`, kept("m")},
		{"a test seam", "prober", "", `package a; import "time"; var now = time.Now`, kept("now")},
		{"an element set", "prober", "", `package a; var t = map[string]int{}; func f() { t["a"] = 1 }`, changed("t")},
		{"an element counted", "prober", "", `package a; var t = [...]int{1}; func f() { t[0]++ }`, changed("t")},
		{"an element deleted", "prober", "", `package a; var t = map[string]int{"a": 1}; func f() { delete(t, "a") }`, changed("t")},
		{"an address taken", "prober", "", `package a; var t = [...]int{1}; func f() *int { return &t[0] }`, changed("t")},
		{"a local of the same name", "prober", "", `package a; var t = [...]int{1}; func f() { t := t; t[0] = 2 }`, nil},
		{"a variable of a test", "prober", "a_test.go", `package a; var update = f(); func f() bool { return false }`, nil},
	})
}
