package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestRelease: the release of a commit is whole, its program knows its version and commit, and what it is made of is said of that very program.
// Packages are left out: they want the network. That other places and hours give the same bytes is what CI's build holds.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: it links the program")
	}
	dir, commit := committed(t)
	release := exec.CommandContext(t.Context(), "deploy/release", "1.2.3")
	release.Dir = dir
	release.Env = append(os.Environ(), "ARCHES="+runtime.GOARCH, "PACKAGES=no", "GOFLAGS=-buildvcs=false", "GOAMD64=v2", "LC_ALL=C.UTF-8") // as somebody's shell may be
	sums, err := release.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, sums)
	}
	name := "vipprobe-1.2.3-linux-" + runtime.GOARCH
	says(t, "sh", "-c", "cd '"+dir+"/dist' && sha256sum -c SHA256SUMS && tar -xzf "+name+".tar.gz")
	in := filepath.Join(dir, "dist", name)
	said := says(t, in+"/vipprobe", "version")
	if want := "vipprobe v1.2.3 (revision " + commit; !strings.HasPrefix(said, want) {
		t.Errorf("it says %q, want %q", said, want)
	}
	made(t, in)
	modes(t, filepath.Join(dir, "dist"), name)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if !strings.Contains(read(t, in+"/completion/vipprobe."+shell), "vipprobe") {
			t.Errorf("no completion for %s", shell)
		}
	}
	manual := says(t, "gzip", "-dc", in+"/man/vipprobe.1.gz")
	if !strings.HasPrefix(manual, `.nh`) || !strings.Contains(manual, "v1.2.3") {
		t.Errorf("the manual begins %.200q", manual)
	}
	if b, err := exec.CommandContext(t.Context(), dir+"/deploy/release", "next").CombinedOutput(); err == nil {
		t.Errorf("a version that is none: %s", b)
	}
}

// committed is a repository of one commit that has the sources as they lie here.
func committed(t *testing.T) (dir, commit string) {
	t.Helper()
	git := tool(t, "git", "git")
	dir = filepath.Join(t.TempDir(), "with space") // a path that scripts forget to quote
	says(t, git, "init", "-q", dir)
	files := exec.CommandContext(t.Context(), "sh", "-c", `git ls-files -z --cached --others --exclude-standard --deduplicate | tar --null --ignore-failed-read -T - -cf - 2>/dev/null | tar -C "$0" -xf -`, dir)
	files.Dir = ".."
	if b, err := files.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	says(t, git, "-C", dir, "add", "-A")
	says(t, git, "-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "as it lies")
	return dir, strings.TrimSpace(says(t, git, "-C", dir, "rev-parse", "HEAD"))
}

// component is one of a bill of materials.
type component struct {
	Type, Name, Version, PURL string
	Ref                       string `json:"bom-ref"`
	Hashes                    []struct{ Alg, Content string }
}

// bill is CycloneDX, as far as it is looked at.
type bill struct {
	BomFormat, SpecVersion string
	Version                int
	Metadata               struct{ Component component }
	Components             []component
	Dependencies           []struct {
		Ref       string
		DependsOn []string
	}
}

// made holds the bill of materials to the program beside it and to the rules of CycloneDX that a reader stumbles over.
func made(t *testing.T, in string) {
	t.Helper()
	var b bill
	if err := json.Unmarshal([]byte(read(t, in+"/vipprobe.cdx.json")), &b); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(read(t, in+"/vipprobe")))
	main := b.Metadata.Component
	if b.BomFormat != "CycloneDX" || b.SpecVersion != "1.5" || b.Version != 1 || main.Version != "1.2.3" || len(main.Hashes) != 1 ||
		main.Hashes[0].Alg != "SHA-256" || main.Hashes[0].Content != hex.EncodeToString(sum[:]) {
		t.Errorf("%s %s %d is about %+v", b.BomFormat, b.SpecVersion, b.Version, main)
	}
	var names []string
	refs := []string{main.Ref}
	for _, c := range b.Components {
		if c.Type != "library" || c.Name == "" || c.Version == "" || !strings.HasPrefix(c.PURL, "pkg:golang/") || slices.Contains(refs, c.Ref) {
			t.Errorf("component %+v", c)
		}
		names, refs = append(names, c.Name), append(refs, c.Ref)
	}
	if len(names) < 30 || !slices.Contains(names, "github.com/spf13/cobra") || slices.Contains(names, "sigs.k8s.io/kustomize/api") {
		t.Errorf("the program is made of more, and not of what only tests need: %q", names)
	}
	b.whole(t, refs)
}

// whole complains of dependencies on what is no component.
func (b *bill) whole(t *testing.T, refs []string) {
	t.Helper()
	for _, d := range b.Dependencies {
		for _, r := range append(d.DependsOn, d.Ref) {
			if !slices.Contains(refs, r) {
				t.Errorf("dependency %s is no component", r)
			}
		}
	}
}

// modes: the archive is the same whatever the builder's umask and name are, and has all that the packages have of documents.
func modes(t *testing.T, dist, name string) {
	t.Helper()
	listed := says(t, "tar", "-tvzf", filepath.Join(dist, name+".tar.gz"))
	for line := range strings.Lines(listed) {
		f := strings.Fields(line)
		want := "-rw-r--r--"
		switch {
		case strings.HasPrefix(f[0], "d"), strings.HasSuffix(f[len(f)-1], name+"/vipprobe"):
			want = f[0][:1] + "rwxr-xr-x"
		}
		if f[0] != want || f[1] != "0/0" {
			t.Errorf("want %s 0/0: %s", want, line)
		}
	}
	for _, want := range []string{"LICENSE", "README.md", "man/vipprobe-serve.1.gz", "deploy/systemd/vipprobe.service", "deploy/vipprobe.yml"} {
		if !strings.Contains(listed, fmt.Sprintf("%s/%s\n", name, want)) {
			t.Errorf("the archive has no %s", want)
		}
	}
}
