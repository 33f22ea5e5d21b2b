package targets

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const secrets = `
modules:
  login:
    prober: tcp
    tcp:
      tls: true
      tls_config:
        cert: CERTIFICATE
        key: "hunter2-key"
      query_response:
      - send: "AUTH hunter2"
      - expect: "^OK"
        send: "PASS hunter2"
`

func TestSecretsAreNotShown(t *testing.T) {
	c := mustParse(t, secrets)
	for name, shown := range map[string][]byte{"Redacted": c.Redacted(), "RedactedModule": c.RedactedModule("login")} {
		if strings.Contains(string(shown), "hunter2") {
			t.Errorf("%s shows a secret:\n%s", name, shown)
		}
		if !strings.Contains(string(shown), "<secret>") || !strings.Contains(string(shown), "<hidden, 12 octets>") {
			t.Errorf("%s does not say that something is hidden:\n%s", name, shown)
		}
	}
	for _, w := range c.Warnings() {
		if strings.Contains(w, "hunter2") {
			t.Errorf("warning shows a secret: %s", w)
		}
	}
	if c.RedactedModule("nope") != nil {
		t.Error("an unknown module has text")
	}
}

// TestRedactedIsAConfiguration: what /config shows can be read back and shows the same again.
func TestRedactedIsAConfiguration(t *testing.T) {
	blackbox, err := os.ReadFile("testdata/blackbox.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", everything, string(blackbox)} {
		first := mustParse(t, text).Redacted()
		second := mustParse(t, string(first)).Redacted()
		// the length of a hidden text is that of the hiding text the second time
		if diff := cmp.Diff(maskHidden(first), maskHidden(second)); diff != "" {
			t.Errorf("read back it differs (-first +second):\n%s", diff)
		}
	}
}

func maskHidden(b []byte) string {
	var out []string
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "<hidden, ") {
			line = line[:strings.Index(line, "<hidden, ")] + "…\n"
		}
		out = append(out, line)
	}
	return strings.Join(out, "")
}

// TestRedactedReadsBackAnyText: module names, expressions and labels that YAML might take for something else.
func TestRedactedReadsBackAnyText(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.StringMatching(`[a-zA-Z0-9_.:# -]{1,12}`).Draw(rt, "name")
		value := rapid.StringMatching(`[ -~]{0,20}`).Draw(rt, "label value")
		expect := rapid.StringMatching(`[ -Z^-z]{1,20}`).Draw(rt, "expect")
		quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
		text := "modules:\n  " + quote(name) + ":\n    prober: tcp\n    tcp: {query_response: [{expect: " + quote(expect) + "}]}\n" +
			"jobs: [{name: " + quote(name) + ", targets: [], labels: {l: " + quote(value) + "}}]\n"
		c, err := Parse("f.yml", []byte(text))
		if err != nil {
			rt.Skip(err) // not every expression compiles
		}
		back, err := Parse("back.yml", c.Redacted())
		if err != nil {
			rt.Fatalf("%v\n%s", err, c.Redacted())
		}
		if diff := cmp.Diff(c.Jobs(), back.Jobs()); diff != "" {
			rt.Fatalf("jobs (-first +back):\n%s", diff)
		}
		if diff := cmp.Diff(c.modules[name].TCP, back.modules[name].TCP); diff != "" {
			rt.Fatalf("module (-first +back):\n%s\n%s", diff, c.Redacted())
		}
	})
}

// TestQuestionMarkReadsBack: a bare value that begins with a question mark would be a key.
func TestQuestionMarkReadsBack(t *testing.T) {
	c := mustParse(t, "jobs: [{name: a, targets: [], labels: {l: \"? !\"}}]")
	again := mustParse(t, string(c.Redacted()))
	if got := again.Jobs()[0].Labels["l"]; got != "? !" {
		t.Errorf("the label reads back as %q", got)
	}
}

const discovered = `
allow: [192.0.2.0/24]
jobs:
- name: lb
  labels: {team: net}
  addresses: all
  diagnose: false
  static_configs:
  - targets: ["192.0.2.10:443"]
    labels: {vip: web, role: vip}
  file_sd_configs:
  - files: [/etc/vipprobe/*.yml]
  http_sd_configs:
  - url: https://sd.example/targets?token=hunter2
    basic_auth: {username: u, password: hunter2}
    tls_config: {ca_file: /etc/ca.pem}
    follow_redirects: false
  - url: https://sd.example/others
    authorization: {credentials: hunter2}
  - url: https://sd.example/third
    authorization: {credentials_file: /etc/token}
    proxy_url: http://u:hunter2@proxy.example:3128
  dns_sd_configs:
  - names: [web.example]
    type: A
    port: 443
  relabel_configs:
  - {source_labels: [__meta_a, __meta_b], separator: '', regex: "(.+) ?: '\"#", target_label: zone, replacement: "$1 # x"}
  - {source_labels: [__address__], modulus: 3, target_label: __tmp, action: hashmod}
  - {regex: __meta_(.+), action: labelmap}
`

// TestDiscoveryIsShownWithoutSecrets: and what is shown can be read back.
func TestDiscoveryIsShownWithoutSecrets(t *testing.T) {
	c := mustParse(t, discovered)
	first := string(c.Redacted())
	if strings.Contains(first, "hunter2") {
		t.Errorf("a secret is shown:\n%s", first)
	}
	if diff := cmp.Diff(first, string(mustParse(t, first).Redacted())); diff != "" {
		t.Errorf("read back it differs (-first +second):\n%s", diff)
	}
	for _, want := range []string{"token=hidden", "password: <secret>", "credentials: <secret>", "credentials_file: /etc/token", "hidden@proxy.example", "action: labelmap", "addresses: all"} {
		if !strings.Contains(first, want) {
			t.Errorf("without %q:\n%s", want, first)
		}
	}
}
