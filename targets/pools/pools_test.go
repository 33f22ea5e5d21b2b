package pools

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/targets"
	"github.com/vipprobe/vipprobe/targets/discovery"
)

func TestFixtures(t *testing.T) {
	for _, tt := range []struct {
		format, file string
		want         []Pool
		notes        []string
	}{
		{"keepalived", "keepalived.conf", []Pool{
			{"web", []string{"192.0.2.10:80", "[2001:db8::10]:80"}, []string{"198.51.100.1:8080", "198.51.100.2:8080"}},
			{"192.0.2.11:443", []string{"192.0.2.11:443"}, []string{"[2001:db8:1::1]:443"}},
			{"fwmark 7", nil, []string{"198.51.100.4:443"}},
		}, []string{
			`3: include "/etc/keepalived/more/*.conf" is not followed`, `12: "192.0.2.20-25 80": only single addresses`, `29: real_server: target "$HOST:443"`,
			`32: virtual_server "192.0.2.12:53" is not TCP`, `36: virtual_server fwmark "7" has no address`,
		}},
		{"ipvs", "ipvs.txt", []Pool{
			{"192.0.2.10:443", []string{"192.0.2.10:443"}, []string{"198.51.100.1:443", "198.51.100.2:443"}},
			{"[2001:db8::10]:443", []string{"[2001:db8::10]:443"}, []string{"[2001:db8:1::1]:443"}},
			{"192.0.2.11:80", []string{"192.0.2.11:80"}, []string{"198.51.100.5:8080"}},
		}, []string{
			`9: UDP service "192.0.2.10:53 rr" is not TCP`, `11: FWM service "1 rr" is not TCP`, `15: the service is not TCP`, `16: target "www.example:http": port "http"`,
		}},
		{"haproxy", "haproxy.cfg", []Pool{
			{"web", []string{"192.0.2.10:443", "192.0.2.10:80"}, []string{"198.51.100.1:8080", "[2001:db8:1::2]:8080"}},
			{"db", []string{"192.0.2.12:5432"}, []string{"198.51.100.7:5432", "db2.example:5433"}},
			{"unused", nil, []string{"198.51.100.8:80"}},
		}, []string{
			`5: frontend "web": there is no backend "gone"`, `7: bind "*:8404" is every address`, `8: bind "unix@/run/x.sock" is no address`,
			`9: use_backend "%[req.hdr(host)]" is chosen at run time`, `15: server "/run/app.sock" has no address`, `16: server-template is filled`,
		}},
	} {
		t.Run(tt.format, func(t *testing.T) {
			path := filepath.Join("testdata", tt.file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, notes, err := Read(tt.format, path, text)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			for i := range max(len(notes), len(tt.notes)) {
				if i >= len(notes) || i >= len(tt.notes) || !strings.HasPrefix(notes[i].String(), path+":"+tt.notes[i]) {
					t.Errorf("notes:\n%v\nwant\n%s", notes, strings.Join(tt.notes, "\n"))
					break
				}
			}
			roundTrip(t, got)
		})
	}
	if _, _, err := Read("nagios", "f", nil); err == nil || !strings.Contains(err.Error(), "keepalived") {
		t.Errorf("an unknown format: %v", err)
	}
}

// roundTrip: what is written is what file discovery reads, and of it come the same VIPs with the same members.
func roundTrip(t *testing.T, pools []Pool) {
	t.Helper()
	text, err := json.Marshal(Groups(pools))
	if err != nil {
		t.Fatal(err)
	}
	var groups []*targetgroup.Group
	if err := json.Unmarshal(text, &groups); err != nil {
		t.Fatal(err)
	}
	found := discovery.Found{Job: targets.Job{Name: "lb"}}
	found.Targets, found.Dropped = discovery.Resolve(&found.Job, groups)
	members := map[string][]string{}
	for _, j := range discovery.Arrange([]discovery.Found{found}) {
		for _, a := range j.Targets {
			if j.Labels["role"] == "vip" {
				members[a] = j.Members
			}
		}
	}
	for _, p := range pools {
		for _, vip := range p.VIPs {
			if d := cmp.Diff(p.Members, members[vip]); d != "" {
				t.Errorf("%s: members (-want +got)\n%s", vip, d)
			}
		}
	}
}

// FuzzRead: whatever is in a file, what comes of it can be probed, and each note is of a line of it.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"keepalived.conf", "ipvs.txt", "haproxy.cfg"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, s := range []string{"virtual_server {", "}}{{", "real_server", "-a -t", "TCP", "->", "bind", "frontend", "listen\nserver a [", "virtual_server_group g {\n1.2.3.4", "virtual_server { real_server { {"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, format := range Formats() {
			found, notes, err := Read(format, "f", text)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range found {
				for _, a := range append(p.VIPs, p.Members...) {
					if _, err := prober.ParseEndpoint(a); err != nil {
						t.Errorf("%s: %v", format, err)
					}
				}
			}
			for _, n := range notes {
				if n.Line < 1 || n.Line > strings.Count(string(text), "\n")+1 {
					t.Errorf("%s: a note of line %d", format, n.Line)
				}
			}
		}
	})
}
