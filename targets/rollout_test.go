package targets

import (
	"strings"
	"testing"
	"time"
)

func TestRollout(t *testing.T) {
	r, err := ParseRollout("rollout.yml", []byte(`
candidates:
  - web31:443
  - "[2001:db8::1]:443"
baseline: golden.json
connects: 100
measure: {neighbor_queue: true, backlog: 256, i_own_this_path: true, prime_with: http, request: http, patience: 10s}
checks:
  - stall_ratio < 0.001
  - remote_neighbor_queue >= 64
  - like baseline except mss
vantages:
  - {name: old1, url: "http://old1:19115"}
  - {name: new31, url: "https://web31:19115", username: u, password_file: /run/p, candidate: "web31:443"}
pool: ["web01:443"]
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Candidates) != 2 || r.Candidates[1].Line != 4 || len(r.Checks) != 3 || r.Checks[2].Line != 11 || r.Checks[2].Column != 5 {
		t.Errorf("%+v", r)
	}
	var got []string
	for _, x := range r.Matrix() {
		got = append(got, x.Vantage.Name+" > "+x.Target.Target)
	}
	if want := "old1 > web31:443, old1 > [2001:db8::1]:443, new31 > [2001:db8::1]:443, new31 > web01:443"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
	if o := &r.Profile; o.Queue == nil || o.Backlog != 256 || !o.MayPrime || len(o.Prime.With) == 0 || len(o.Request) == 0 || o.Patience != 10*time.Second {
		t.Errorf("%+v", r.Profile)
	}
}

func TestRolloutsThatCannotBeRead(t *testing.T) {
	const fine = "candidates: [a:1]\nchecks: [timestamps = on]\n"
	for in, want := range map[string]string{
		"": "no candidates",
		"checks: [timestamps = on]\ncandidates: []\n":                            "",
		"candidates: [a:1]\n":                                                    "no checks",
		"candidates: [a]\n" + fine[18:]:                                          "r.yml:1:14: candidates[0]: ",
		"candidates: [a:1, a:1]\n" + fine[18:]:                                   "a:1 stands twice",
		fine + "connects: 0\n":                                                   "connects",
		fine + "vantages: [{url: \"http://a:1\"}]\n":                             "vantages[0].name: missing",
		fine + "vantages: [{name: a}]\n":                                         "vantages[0].url: missing",
		fine + "vantages: [{name: a, url: x, username: u}]\n":                    "username and password_file together",
		fine + "vantages: [{name: a, url: x, candidate: \"z:1\"}]\n":             "z:1 is none of the candidates",
		fine + "vantages: [{name: a, url: x}, {name: a, url: x}]\n":              "stands twice",
		fine + "pool: [\"a:9\"]\n":                                               "nobody measures it",
		fine + "speed: 9\n":                                                      "unknown key",
		fine + "measure: {patience: 1h}\n":                                       "measure.patience",
		fine + "measure: {request: ftp}\n":                                       "want http or text:STRING",
		fine + "measure: {request: \"text:" + strings.Repeat("x", 101) + "\"}\n": "at most 100",
		"candidates: [a:1]\nchecks: [fast]\n":                                    "checks[0]",
		"candidates: [a:1]\nchecks: [like baseline]\n":                           "there is no baseline",
		"candidates: [a:1]\nchecks: [tw_recycle = off]\n":                        "measure: {i_own_this_path: true}",
		"candidates: [a:1]\nchecks: [listener_backlog > 9]\n":                    "measure: {backlog: N}",
		"candidates: [a:1]\nchecks: [initial_window = 10]\n":                     "measure: {request: http}",
		"candidates: [a:1]\nchecks: [reordering >= 3]\n":                         "measure: {request: http}",
		"candidates: [a:1]\nchecks: [time_wait_rst = ends it]\n":                 "measure: {time_wait: true}",
		"candidates: [a:1]\nchecks: [abort_on_overflow = off]\n":                 "measure: {backlog: N, overflow: true}",
		fine + "measure: {overflow: true}\n":                                     "it follows the measurement of backlog: N",
	} {
		_, err := ParseRollout("r.yml", []byte(in))
		if want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}
