package targets

import (
	"errors"
	"os"
	"testing"
)

// FuzzParse: a file is read or refused with places inside it, and never ends the program.
func FuzzParse(f *testing.F) {
	blackbox, err := os.ReadFile("testdata/blackbox.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		"", everything, secrets, discovered, string(blackbox),
		"modules: &a\n  <<: *a\n", "a: &x [*x]", "? k\n: v\n", "!!map {}", "{}", "[]", "allow: |\n  x\n", "jobs: [~]", "modules: {~: {}}",
		"modules: {a: {prober: syn, ladder: [~]}}", "modules: {? {a: b} : {}}", "%YAML 1.2\n---\n", "limits: {global_rate: .inf}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("f.yml", text)
		if err == nil {
			c.Redacted()
			c.Jobs()
			return
		}
		var list Errors
		if !errors.As(err, &list) || len(list) == 0 {
			t.Fatalf("error %T without a place", err)
		}
		for _, e := range list {
			if e.Line < 0 || e.Column < 0 || e.Message == "" {
				t.Errorf("place %d:%d message %q", e.Line, e.Column, e.Message)
			}
		}
	})
}
