package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// TestOwn: a bill of this very test binary lists what the toolchain recorded in it, and is the same each time.
func TestOwn(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var texts [2]bytes.Buffer
	for i := range texts {
		if err := run([]string{"-version", "1.2.3", binary}, &texts[i], os.Stderr); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(texts[0].Bytes(), texts[1].Bytes()) {
		t.Error("the same binary gave two texts")
	}
	var d document
	strict := json.NewDecoder(&texts[0])
	strict.DisallowUnknownFields()
	if err := strict.Decode(&d); err != nil {
		t.Fatal(err)
	}
	octets, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(octets)
	if got := d.Metadata.Component; len(got.Hashes) != 1 || got.Hashes[0].Content != hex.EncodeToString(sum[:]) || !strings.HasSuffix(got.PURL, "@1.2.3") {
		t.Errorf("the component is %+v", got)
	}
	info, _ := debug.ReadBuildInfo()
	if len(d.Components) != len(info.Deps)+1 {
		t.Errorf("%d components, want the %d modules and the standard library", len(d.Components), len(info.Deps))
	}
	if !slices.ContainsFunc(d.Components, func(c component) bool { return c.Name == "std" && "go"+c.Version == info.GoVersion }) {
		t.Errorf("the standard library of %s is missing", info.GoVersion)
	}
}

// TestDocument: replaced modules are what they were replaced by; every reference leads somewhere, no two are alike.
func TestDocument(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Path: "example.org/m", Version: "(devel)"}, Deps: []*debug.Module{
		{Path: "example.org/b", Version: "v1.0.0", Sum: "h1:b="},
		{Path: "example.org/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/a", Version: "v2.0.0+incompatible"}},
	}, Settings: []debug.BuildSetting{{Key: "vcs.time", Value: "2026-03-01T00:00:00Z"}}}
	d := bom(info, info.Main.Version, [sha256.Size]byte{})
	refs := []string{}
	for _, c := range d.Components {
		refs = append(refs, c.Ref)
		if !regexp.MustCompile(`^pkg:golang/[^+@ ]+(@[^+@ ]+)?$`).MatchString(c.PURL) {
			t.Errorf("%q is no package URL", c.PURL)
		}
	}
	want := []string{"pkg:golang/example.org/a@v2.0.0%2Bincompatible", "pkg:golang/example.org/b@v1.0.0", "pkg:golang/std@1.26.0"}
	if !slices.Equal(refs, want) || !slices.Equal(d.Dependencies[0].On, want) || d.Dependencies[0].Ref != "pkg:golang/example.org/m" {
		t.Errorf("components %v, dependencies %v", refs, d.Dependencies)
	}
	if d.Metadata.Timestamp != "2026-03-01T00:00:00Z" {
		t.Errorf("made at %q", d.Metadata.Timestamp)
	}
}

func TestRefuses(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"a", "b"}, {"-frobnicate"}, {text}, {text + "/none"}} {
		var out, complaints bytes.Buffer
		if err := run(args, &out, &complaints); err == nil || out.Len() > 0 {
			t.Errorf("%q: %v, %q", args, err, out.String())
		}
	}
}
