package targets

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBadFiles holds every message exactly: a person at a console has nothing else.
func TestBadFiles(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key at the root", "module:\n  x: {}\n", "f.yml:1:1: module: unknown key; did you mean modules?"},
		{"unknown key far from all", "modules:\n  a:\n    prober: connect\n    frobnicate: 3\n",
			"f.yml:4:5: modules.a.frobnicate: unknown key; known are burst, count, hop_limit, interface, ip_protocol_fallback, max_stalled, pause, preferred_ip_protocol, prober, source_ip_address, timeout, tos"},
		{"misspelt option", "modules:\n  paws:\n    prober: connect\n    burts: 3\n", "f.yml:4:5: modules.paws.burts: unknown key; did you mean burst?"},
		{"burst of none", "modules:\n  paws:\n    prober: connect\n    burst: 0\n", "f.yml:4:12: modules.paws.burst: 0 is not within 1 to 4096"},
		{"burst of a word", "modules: {paws: {prober: connect, burst: many}}", `f.yml:1:42: modules.paws.burst: want a whole number, not "many"`},
		{"burst of a half", "modules: {paws: {prober: connect, burst: 1.5}}", "f.yml:1:42: modules.paws.burst: want a whole number, not 1.5"},
		{"burst beyond 64 bits", "modules: {paws: {prober: connect, burst: 18446744073709551615}}", "f.yml:1:42: modules.paws.burst: 18446744073709551615 is not within 1 to 4096"},
		{"burst beyond its budget", "limits: {per_target_burst: 5}\nmodules: {paws: {prober: connect, burst: 6}}", "f.yml:2:42: modules.paws.burst: 6 is more than limits.per_target_burst, 5"},
		{"duration without a unit", "modules: {a: {prober: tcp, timeout: 5}}", `f.yml:1:37: modules.a.timeout: "5" is no duration; write a number with its unit, such as 500ms, 9.5s or 2m`},
		{"timeout of zero", "modules: {a: {prober: tcp, timeout: 0s}}", "f.yml:1:37: modules.a.timeout: 0s is not within 1ms to 2m0s"},
		{"timeout of an hour", "modules: {a: {prober: tcp, timeout: 1h}}", "f.yml:1:37: modules.a.timeout: 1h0m0s is not within 1ms to 2m0s"},
		{"http of blackbox_exporter", "modules:\n  http_2xx:\n    prober: http\n    http:\n      method: POST\n",
			"f.yml:3:13: modules.http_2xx.prober: http is not a probe of vipprobe; it has connect, syn, tcp, paws, neighbor, neighbor-queue and check"},
		{"each foreign prober is named", "modules:\n  i:\n    prober: icmp\n  g:\n    prober: grpc\n",
			"f.yml:3:13: modules.i.prober: icmp is not a probe of vipprobe; it has connect, syn, tcp, paws, neighbor, neighbor-queue and check\n" +
				"f.yml:5:13: modules.g.prober: grpc is not a probe of vipprobe; it has connect, syn, tcp, paws, neighbor, neighbor-queue and check"},
		{"an invented prober", "modules: {a: {prober: sctp}}", `f.yml:1:23: modules.a.prober: "sctp" is none of connect, syn, tcp, paws, neighbor, neighbor-queue, check`},
		{"no prober", "modules:\n  a:\n    timeout: 5s\n", "f.yml:2:3: modules.a.prober: missing; want connect, syn, tcp, paws, neighbor, neighbor-queue or check"},
		{"an empty module", "modules:\n  a:\n", "f.yml:2:3: modules.a: a module needs a name and prober: connect, syn, tcp, paws, neighbor, neighbor-queue or check"},
		{"a module that is a word", "modules:\n  a: tcp\n", `f.yml:2:6: modules.a: want keys and values, not "tcp"`},
		{"modules as a list", "modules:\n- a\n", "f.yml:2:1: modules: want keys and values, not a list"},
		{"a dot in a module's name", "modules: {\"a.b\": {prober: tcp, burst: 2}}", `f.yml:1:32: modules."a.b".burst: only connect, syn, paws, neighbor and neighbor-queue modules have it; this is a tcp module`},
		{"ladder of a connect", "modules: {a: {prober: connect, ladder: single}}", "f.yml:1:32: modules.a.ladder: only a syn module has it; this is a connect module"},
		{"tcp section of a syn", "modules: {a: {prober: syn, tcp: {tls: true}}}", "f.yml:1:28: modules.a.tcp: only a tcp module has this section; this is a syn module"},
		{"source address beside a tcp section", "modules: {a: {prober: tcp, source_ip_address: 192.0.2.1}}", "f.yml:1:28: modules.a.source_ip_address: it belongs under tcp; this is a tcp module"},
		{"ladder of a paws", "modules: {a: {prober: paws, ladder: single}}", "f.yml:1:29: modules.a.ladder: only a syn module has it; this is a paws module"},
		{"count of a neighbor", "modules:\n  a:\n    prober: neighbor\n    count: 3\n", "f.yml:4:5: modules.a.count: only connect and syn modules have it; this is a neighbor module"},
		{"priming by a connect", "modules: {a: {prober: connect, prime: true}}", "f.yml:1:32: modules.a.prime: only a paws module has it; this is a connect module"},
		{"priming without the owner's word", "modules: {a: {prober: paws, prime: true}}", "f.yml:1:36: modules.a.prime: it makes a server with per-host PAWS refuse older clocks from this source address for a minute: " +
			"say i_own_this_path: true where nobody else shares the address"},
		{"the owner's word for nothing", "modules: {a: {prober: paws, i_own_this_path: true}}", "f.yml:1:46: modules.a.i_own_this_path: only prime: true needs that word"},
		{"priming that is no boolean", "modules: {a: {prober: paws, prime: 1}}", "f.yml:1:36: modules.a.prime: want true or false, not 1"},
		{"a paws burst beyond its budget", "limits: {per_target_burst: 5}\nmodules: {a: {prober: paws, burst: 6}}", "f.yml:2:36: modules.a.burst: 6 is more than limits.per_target_burst, 5"},
		{"a neighbour queue from the wrong family", "modules: {a: {prober: neighbor-queue, preferred_ip_protocol: ip6, ip_protocol_fallback: false, source_ip_address: 192.0.2.1}}",
			"f.yml:1:115: modules.a.source_ip_address: 192.0.2.1 cannot send ip6, and ip_protocol_fallback is false"},
		{"a misspelt option of paws", "modules: {a: {prober: paws, prim: true}}", "f.yml:1:29: modules.a.prim: unknown key; did you mean prime?"},
		{"loops of a connect", "modules: {a: {prober: connect, loops: 3}}", "f.yml:1:32: modules.a.loops: only a check module has it; this is a connect module"},
		{"burst of a check", "modules: {a: {prober: check, burst: 3}}", "f.yml:1:30: modules.a.burst: only connect, syn, paws, neighbor and neighbor-queue modules have it; this is a check module"},
		{"retries below none", "modules: {a: {prober: check, retry: -1}}", "f.yml:1:37: modules.a.retry: -1 is not within 0 to 100"},
		{"a check that cannot end", "modules: {a: {prober: check, timeout: 5s, connect_timeout: 3s}}", "f.yml:1:60: modules.a.connect_timeout: one loop with 1 retries takes up to 6s, the timeout is 5s"},
		{"a loop without delay", "modules: {a: {prober: check, delay_loop: 0s}}", "f.yml:1:42: modules.a.delay_loop: 0s is not within 100ms to 2m0s"},
		{"a misspelt option of a check", "modules: {a: {prober: check, delay_lop: 1s}}", "f.yml:1:30: modules.a.delay_lop: unknown key; did you mean delay_loop?"},
		{"a ladder nobody climbs", "modules: {a: {prober: syn, ladder: spiral}}", `f.yml:1:36: modules.a.ladder: "spiral" is none of kernel, single, linear, exponential, classic`},
		{"rungs that do not rise", "modules: {a: {prober: syn, ladder: [0s, 1s, 1s]}}", "f.yml:1:45: modules.a.ladder[2]: 1s does not come after 1s"},
		{"a ladder that starts late", "modules: {a: {prober: syn, ladder: [1s]}}", "f.yml:1:37: modules.a.ladder[0]: 1s: the first SYN leaves at 0s"},
		{"TSval beyond 32 bits", "modules: {a: {prober: syn, tsval: 4294967296}}", "f.yml:1:35: modules.a.tsval: 4294967296 is not within 0 to 4294967295"},
		{"TSval without timestamps", "modules: {a: {prober: syn, tsval: 1, timestamps: false}}", "f.yml:1:50: modules.a.timestamps: false, but tsval or tshz is given"},
		{"hop limit of a bus", "modules: {a: {prober: connect, hop_limit: 256}}", "f.yml:1:43: modules.a.hop_limit: 256 is not within 1 to 255"},
		{"interface name too long", "modules: {a: {prober: connect, interface: abcdefghijklmnop}}", `f.yml:1:43: modules.a.interface: "abcdefghijklmnop" is longer than the 15 octets of an interface name`},
		{"address that is a name", "modules: {a: {prober: connect, source_ip_address: eth0}}", `f.yml:1:51: modules.a.source_ip_address: "eth0" is no IP address`},
		{"source of the other family", "modules: {a: {prober: connect, preferred_ip_protocol: ip6, ip_protocol_fallback: false, source_ip_address: 192.0.2.1}}",
			"f.yml:1:108: modules.a.source_ip_address: 192.0.2.1 cannot send ip6, and ip_protocol_fallback is false"},
		{"an unknown family", "modules: {a: {prober: connect, preferred_ip_protocol: ipx}}", `f.yml:1:55: modules.a.preferred_ip_protocol: "ipx" is none of ip4, ip6`},
		{"a boolean of a number", "modules: {a: {prober: connect, ip_protocol_fallback: 1}}", "f.yml:1:54: modules.a.ip_protocol_fallback: want true or false, not 1"},
		{"pauses longer than the timeout", "modules: {a: {prober: connect, count: 3, pause: 5s}}", "f.yml:1:49: modules.a.pause: the pauses between 3 bursts are 10s, the timeout 9.5s"},
		{"an expression that does not compile", "modules:\n  a:\n    prober: tcp\n    tcp:\n      query_response:\n      - expect: \"(\"\n",
			"f.yml:6:17: modules.a.tcp.query_response[0].expect: error parsing regexp: missing closing ): `(`"},
		{"a step with an unknown key", "modules: {a: {prober: tcp, tcp: {query_response: [{except: x}]}}}", "f.yml:1:52: modules.a.tcp.query_response[0].except: unknown key; did you mean expect?"},
		{"a label without a name", "modules: {a: {prober: tcp, tcp: {query_response: [{expect: x, labels: [{name: 9x, value: y}]}]}}}",
			`f.yml:1:79: modules.a.tcp.query_response[0].labels[0].name: "9x" is no label name`},
		{"key without certificate", "modules:\n  a:\n    prober: tcp\n    tcp:\n      tls_config:\n        key: hush\n",
			"f.yml:5:7: modules.a.tcp.tls_config: exactly one of cert or cert_file must be configured when a client key is configured"},
		{"a TLS version of the future", "modules: {a: {prober: tcp, tcp: {tls_config: {min_version: TLS14}}}}", `f.yml:1:60: modules.a.tcp.tls_config.min_version: "TLS14" is none of TLS10, TLS11, TLS12, TLS13`},
		{"TLS versions crossed", "modules: {a: {prober: tcp, tcp: {tls_config: {min_version: TLS13, max_version: TLS12}}}}", "f.yml:1:80: modules.a.tcp.tls_config.max_version: lower than min_version"},
		{"allow a name", "allow: [192.0.2.0/24, db.example]", `f.yml:1:23: allow[1]: "db.example" is neither an address nor a prefix; list what a name resolves to, since addresses are what is checked`},
		{"allow a prefix with host bits", "allow: [192.0.2.1/24]", `f.yml:1:9: allow[0]: "192.0.2.1/24" has bits set below its length; 192.0.2.0/24 is meant?`},
		{"allow as one word", "allow: 192.0.2.1", `f.yml:1:8: allow: want a list, not "192.0.2.1"`},
		{"a rate of nothing", "limits: {global_rate: 0}", "f.yml:1:23: limits.global_rate: 0 is not within 0.01 to 1e+06"},
		{"a rate that is no number", "limits: {global_rate: .nan}", "f.yml:1:23: limits.global_rate: want a number, not .nan"},
		{"an unknown limit", "limits: {half_opn: 3}", "f.yml:1:10: limits.half_opn: unknown key; did you mean half_open?"},
		{"budgets crossed", "limits: {per_target_burst: 30000}", "f.yml:1:28: limits.per_target_burst: 30000 is more than global_burst, 20000"},
		{"ports backwards", "source_ports: 65535-61000", `f.yml:1:15: source_ports: port range "65535-61000": want LO-HI with 1 ≤ LO ≤ HI ≤ 65535`},
		{"ports of services", "source_ports: 80-65000", "f.yml:1:15: source_ports: 80-65000 begins below 1024, among the ports of services"},
		{"a handful of ports", "source_ports: 61000-61003", "f.yml:1:15: source_ports: 61000-61003 is 4 ports; at least 16 are needed"},
		{"detail beyond all", "metrics_detail: all", `f.yml:1:17: metrics_detail: "all" is none of none, target, backend`},
		{"a tab for indentation", "modules:\n\ta: {}\n", "f.yml:2:1: found character '\t' that cannot start any token"},
		{"a key twice", "modules: {}\nmodules: {}\n", `f.yml:2:1: mapping key "modules" already defined at [1:1]`},
		{"an open bracket", "allow: [192.0.2.1", "f.yml:1:8: sequence end token ']' not found"},
		{"two documents", "allow: []\n---\nallow: []\n", "f.yml:3:1: a second YAML document; a configuration is one"},
		{"a list as a file", "- a\n", "f.yml:1:1: want keys and values, not a list"},
		{"an alias of nothing", "allow: *nope\n", "f.yml:1:8: allow: alias *nope has no anchor"},
		{"an alias of itself", "modules: &a\n  <<: *a\n", "f.yml:2:7: modules: merges (<<) refer to each other"},
		{"an anchor twice", "allow: &a []\nlimits: &a {}\n", "f.yml:2:9: anchor &a is defined twice"},
		{"a tag of one's own", "allow: !mine []\n", "f.yml:1:8: allow: tag !mine is not known"},
		{"brackets without end", "allow: " + strings.Repeat("[", 5000), "f.yml:1:24: brackets nested deeper than 16"},
		{"dashes without end", strings.Repeat("- ", 5000), "f.yml:1:17: lists nested deeper than 8 on one line"},
		{"a file too large", "#" + strings.Repeat("x", maxFile), "f.yml: 4194305 octets; at most 4194304 are read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("f.yml", []byte(tt.text))
			if err == nil {
				t.Fatalf("no mistake found; read as\n%s", c.Redacted())
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

// TestManyMistakes: all are found, and the message stays readable.
func TestManyMistakes(t *testing.T) {
	_, err := Parse("f.yml", []byte("allow: ["+strings.Repeat("x, ", 50)+"]"))
	list, ok := errors.AsType[Errors](err)
	if !ok || len(list) != 50 {
		t.Fatalf("%d mistakes in %T", len(list), err)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 21 || lines[20] != "and 30 more" {
		t.Errorf("the message is\n%v", err)
	}
}

func TestBadJobs(t *testing.T) {
	const head = "allow: [192.0.2.0/24]\njobs:\n- name: a\n"
	for _, tt := range []struct{ name, text, want string }{
		{"no name", "jobs:\n- targets: []\n", "f.yml:2:3: jobs[0].name: missing; a job needs a name"},
		{"a job twice", "jobs: [{name: a, targets: []}, {name: a, targets: []}]", `f.yml:1:39: jobs[1].name: job "a" stands twice`},
		{"no targets", head, "f.yml:3:3: jobs[0]: no targets: want targets, static_configs, file_sd_configs, http_sd_configs or dns_sd_configs"},
		{"an unknown key of discovery", head + "  file_sd_configs:\n  - file: [a.yml]\n", "f.yml:5:5: jobs[0].file_sd_configs[0].files: no files\n" +
			"f.yml:5:5: jobs[0].file_sd_configs[0].file: unknown key; did you mean files?"},
		{"an unknown key of its client", head + "  http_sd_configs:\n  - url: http://a\n    basic_auth:\n      user: b\n",
			"f.yml:7:7: jobs[0].http_sd_configs[0].basic_auth.user: unknown key; known are password, password_file, username, username_file"},
		{"an unknown discovery", head + "  consul_sd_configs: []\n  targets: []\n", "f.yml:4:3: jobs[0].consul_sd_configs: unknown key; known are addresses, diagnose, dns_sd_configs, file_sd_configs, " +
			"http_sd_configs, interval, kubernetes_sd_configs, labels, maintenance, module, name, relabel_configs, static_configs, targets"},
		{"a file of another kind", head + "  file_sd_configs: [{files: [a.txt]}]\n",
			`f.yml:4:30: jobs[0].file_sd_configs[0].files[0]: "a.txt": want a path that ends in .json, .yml or .yaml, with a * at most in its last element`},
		{"a password in a URL", head + "  http_sd_configs: [{url: 'http://u:p@a/'}]\n", "f.yml:4:27: jobs[0].http_sd_configs[0].url: name and password belong under basic_auth"},
		{"two ways to authenticate", head + "  http_sd_configs: [{url: 'http://a/', basic_auth: {username: u}, authorization: {credentials: p}}]\n",
			"f.yml:4:21: jobs[0].http_sd_configs[0]: at most one of basic_auth, oauth2 & authorization must be configured"},
		{"addresses without a port", head + "  dns_sd_configs: [{names: [a.example], type: AAAA}]\n", "f.yml:4:20: jobs[0].dns_sd_configs[0].port: no port; only SRV records have one"},
		{"a rule without a target", head + "  targets: []\n  relabel_configs: [{source_labels: [a]}]\n",
			"f.yml:5:21: jobs[0].relabel_configs[0]: relabel configuration for replace action requires 'target_label' value"},
		{"an expression of a rule", head + "  targets: []\n  relabel_configs: [{action: keep, regex: '('}]\n",
			"f.yml:5:43: jobs[0].relabel_configs[0].regex: error parsing regexp: missing closing ): `^(?s:()$`"},
		{"a rule that nobody knows", head + "  targets: []\n  relabel_configs: [{action: keap}]\n",
			`f.yml:5:30: jobs[0].relabel_configs[0].action: "keap" is none of replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase`},
		{"a static target off the list", head + "  static_configs: [{targets: [\"198.51.100.7:443\"]}]\n",
			`f.yml:4:31: jobs[0].static_configs[0].targets[0]: target 198.51.100.7:443: 198.51.100.7 is not on the allow list; to permit it add "198.51.100.7" under allow:`},
		{"a word for addresses", head + "  targets: []\n  addresses: some\n", `f.yml:5:14: jobs[0].addresses: "some" is none of all, one`},
		{"unknown module", head + "  targets: []\n  module: pause\n", `f.yml:5:11: jobs[0].module: unknown module "pause"; there are connect, neighbor, paws`},
		{"target without a port", head + "  targets: [192.0.2.1]\n", `f.yml:4:13: jobs[0].targets[0]: target "192.0.2.1": no port; want HOST:PORT, 192.0.2.1:443 or [2001:db8::1]:443`},
		{"target off the list", head + "  targets: [192.0.2.1:443, 198.51.100.7:443]\n",
			`f.yml:4:28: jobs[0].targets[1]: target 198.51.100.7:443: 198.51.100.7 is not on the allow list; to permit it add "198.51.100.7" under allow:`},
		{"metadata under a wide prefix", "allow: [0.0.0.0/0]\njobs: [{name: a, targets: [\"169.254.169.254:80\"]}]",
			`f.yml:2:28: jobs[0].targets[0]: target 169.254.169.254:80: 169.254.169.254 is a cloud metadata address and needs an entry of its own; to permit it add "169.254.169.254" under allow:`},
		{"a target twice", head + "  targets: [192.0.2.1:443, 192.0.2.1:443]\n", "f.yml:4:28: jobs[0].targets[1]: 192.0.2.1:443 stands twice"},
		{"a label of ours", head + "  targets: []\n  labels: {outcome: x}\n", "f.yml:5:12: jobs[0].labels.outcome: the service's own series have this label"},
		{"a label with a dash", head + "  targets: []\n  labels: {a-b: x}\n", "f.yml:5:12: jobs[0].labels.a-b: no label name"},
		{"an interval of nothing", head + "  targets: []\n  interval: 1ms\n", "f.yml:5:13: jobs[0].interval: 1ms is not within 100ms to 24h0m0s"},
		{"rounds that overlap", "modules: {m: {prober: connect, timeout: 9s}}\njobs: [{name: a, module: m, interval: 5s, targets: []}]",
			"f.yml:2:39: jobs[0].interval: 5s is shorter than the timeout of module m, 9s: rounds would overlap"},
		{"ports run out", "allow: [192.0.2.0/24]\nmodules: {m: {prober: syn, burst: 100}}\njobs:\n- name: a\n  module: m\n  interval: 2s\n  targets: [192.0.2.1:443]\n",
			"f.yml:6:13: jobs[0].interval: burst 100 × count 1 × 61 rounds within 2m0s (120s ÷ 2s, and one more) need 6100 source ports for a target; " +
				"the upper half of source_ports, 63268-65535, has 2268: lengthen the interval, lower the burst or widen source_ports"},
		{"ports run out for a paws round", "allow: [192.0.2.0/24]\nmodules: {m: {prober: paws, timeout: 1s}}\njobs:\n- name: a\n  module: m\n  interval: 5s\n  targets: [192.0.2.1:443]\n",
			"f.yml:6:13: jobs[0].interval: 110 connections of a paws round × 25 rounds within 2m0s (120s ÷ 5s, and one more) need 2750 source ports for a target; " +
				"the upper half of source_ports, 63268-65535, has 2268: lengthen the interval, lower the burst or widen source_ports"},
		{"ports run out for two jobs", "allow: [192.0.2.0/24]\nmodules: {m: {prober: connect, burst: 200}}\n" +
			"jobs:\n- {name: a, module: m, interval: 20s, targets: [\"192.0.2.1:443\"]}\n- {name: b, module: m, interval: 20s, targets: [\"192.0.2.1:443\"]}\n",
			"f.yml:5:48: jobs[1].targets: 192.0.2.1:443 is probed by job \"a\" too: together they need 2800 source ports; " +
				"the lower half of source_ports, 61000-63267, has 2268"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("f.yml", []byte(tt.text))
			if err == nil {
				t.Fatalf("no mistake found; read as\n%s", c.Redacted())
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}
