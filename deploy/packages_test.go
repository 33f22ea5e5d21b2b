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
	files = append(files, regexp.MustCompile(`(?:postinstall|preremove)(): (\S+)`).FindAllStringSubmatch(text, -1)...)
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
