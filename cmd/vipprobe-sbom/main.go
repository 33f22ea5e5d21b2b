// Vipprobe-sbom says what a Go binary is made of, as CycloneDX JSON: read from the binary itself, where the toolchain records every module
// with version and checksum. The same binary gives the same text. It asks nobody and reads nothing else.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "vipprobe-sbom:", err)
		}
		os.Exit(2)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("vipprobe-sbom [-version VERSION] BINARY", flag.ContinueOnError)
	fs.SetOutput(stderr)
	version := fs.String("version", "", "version of the release; default: what the binary says")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return fmt.Errorf("want one binary, not %d", fs.NArg())
	}
	name := fs.Arg(0)
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	octets, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if *version == "" {
		*version = info.Main.Version
	}
	e := json.NewEncoder(stdout)
	e.SetIndent("", "  ")
	return e.Encode(bom(info, *version, sha256.Sum256(octets)))
}

// document is a CycloneDX 1.5 bill of materials, as far as it is used here (cyclonedx.org/schema/bom-1.5.schema.json).
type document struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp,omitempty"` // of the commit: the time of building would make every build another
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version,omitempty"`
	PURL       string     `json:"purl,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref string   `json:"ref"`
	On  []string `json:"dependsOn"`
}

// bom is what the toolchain recorded. Which module needs which is not recorded: all are given as needed by the program.
func bom(info *debug.BuildInfo, version string, sum [sha256.Size]byte) document {
	main := component{Type: "application", Name: info.Main.Path, Version: version, PURL: purl(info.Main.Path, version),
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}}}
	main.Ref = main.PURL
	d := document{Format: "CycloneDX", SpecVersion: "1.5", Version: 1}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			d.Metadata.Timestamp = s.Value
		}
		main.Properties = append(main.Properties, property{"go:build:" + s.Key, s.Value})
	}
	standard := strings.TrimPrefix(info.GoVersion, "go")
	d.Components = []component{{Type: "library", Ref: purl("std", standard), Name: "std", Version: standard, PURL: purl("std", standard)}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := component{Type: "library", Ref: purl(m.Path, m.Version), Name: m.Path, Version: m.Version, PURL: purl(m.Path, m.Version)}
		if m.Sum != "" { // of the module's files, as go.sum has it: no hash that CycloneDX knows
			c.Properties = []property{{"go:sum", m.Sum}}
		}
		d.Components = append(d.Components, c)
	}
	slices.SortFunc(d.Components, func(a, b component) int { return strings.Compare(a.Ref, b.Ref) })
	d.Metadata.Component = main
	needs := dependency{Ref: main.Ref}
	for _, c := range d.Components {
		needs.On = append(needs.On, c.Ref)
	}
	d.Dependencies = []dependency{needs}
	return d
}

// purl is a module's package URL (github.com/package-url/purl-spec, type golang).
func purl(path, version string) string {
	if version == "" || version == "(devel)" {
		return "pkg:golang/" + path
	}
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}
