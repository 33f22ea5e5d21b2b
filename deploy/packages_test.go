package deploy

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPackages: what the packages take from the sources is there, and the unit starts what they install, with the file that they install.
func TestPackages(t *testing.T) {
	text := read(t, "packages/nfpm.yaml")
	files := regexp.MustCompile(`src: "?([^",]+)"?,`).FindAllStringSubmatch(text, -1)
	files = append(files, regexp.MustCompile(`(?:postinstall|preremove|postremove)(): (\S+)`).FindAllStringSubmatch(text, -1)...)
	for _, m := range files {
		name := m[len(m)-1]
		if strings.HasPrefix(name, "dist/") { // made by deploy/release
			continue
		}
		if found, err := filepath.Glob("../" + name); err != nil || len(found) == 0 {
			t.Errorf("packages take %s, which there is not (%v)", name, err)
		}
	}
	unit := read(t, "systemd/vipprobe.service")
	for _, path := range []string{"/usr/bin/vipprobe", "/etc/vipprobe/vipprobe.yml", "/etc/default/vipprobe"} {
		if !strings.Contains(text, "dst: "+path+",") || !strings.Contains(unit, path) {
			t.Errorf("%s is not both in the packages and in the unit", path)
		}
	}
}

// TestImage: the last stage of the image is built from nothing, runs as nobody, and says what it is.
func TestImage(t *testing.T) {
	stages := strings.Split(read(t, "../Dockerfile"), "\nFROM ")
	last := stages[len(stages)-1]
	if len(stages) != 3 || !strings.HasPrefix(last, "scratch\n") {
		t.Errorf("%d stages, the last from %.20q", len(stages)-1, last)
	}
	for _, want := range []string{"\nUSER 65534:65534\n", "\nEXPOSE 19115\n", "org.opencontainers.image.source=", "org.opencontainers.image.licenses="} {
		if !strings.Contains(last, want) {
			t.Errorf("the last stage has no %q", want)
		}
	}
}
