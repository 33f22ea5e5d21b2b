package pools

import (
	"encoding/json"
	"net/netip"
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
		format string
		files  string
		want   []Pool
		notes  []string
	}{
		{"keepalived", "keepalived.conf", []Pool{
			{"web", []string{"192.0.2.10:80", "[2001:db8::10]:80"}, []string{"198.51.100.1:8080", "198.51.100.2:8080"}},
			{"192.0.2.11:443", []string{"192.0.2.11:443"}, []string{"[2001:db8:1::1]:443"}},
			{"fwmark 7", nil, []string{"198.51.100.4:443"}},
		}, []string{
			`keepalived.conf:3: include "/etc/keepalived/more/*.conf" is not followed`, `keepalived.conf:12: "192.0.2.20-25 80": only single addresses`, `keepalived.conf:29: real_server: target "$HOST:443"`,
			`keepalived.conf:32: virtual_server "192.0.2.12:53" is not TCP`, `keepalived.conf:36: virtual_server fwmark "7" has no address`,
		}},
		{"ipvs", "ipvs.txt", []Pool{
			{"192.0.2.10:443", []string{"192.0.2.10:443"}, []string{"198.51.100.1:443", "198.51.100.2:443"}},
			{"[2001:db8::10]:443", []string{"[2001:db8::10]:443"}, []string{"[2001:db8:1::1]:443"}},
			{"192.0.2.11:80", []string{"192.0.2.11:80"}, []string{"198.51.100.5:8080"}},
		}, []string{
			`ipvs.txt:9: UDP service "192.0.2.10:53 rr" is not TCP`, `ipvs.txt:11: FWM service "1 rr" is not TCP`, `ipvs.txt:15: the service is not TCP`, `ipvs.txt:16: target "www.example:http": port "http"`,
		}},
		{"haproxy", "haproxy.cfg", []Pool{
			{"web", []string{"192.0.2.10:443", "192.0.2.10:80"}, []string{"198.51.100.1:8080", "[2001:db8:1::2]:8080"}},
			{"db", []string{"192.0.2.12:5432"}, []string{"198.51.100.7:5432", "db2.example:5433"}},
			{"unused", nil, []string{"198.51.100.8:80"}},
		}, []string{
			`haproxy.cfg:5: frontend "web": there is no backend "gone"`, `haproxy.cfg:7: "*:8404" is every address`, `haproxy.cfg:8: bind "unix@/run/x.sock" is no address`,
			`haproxy.cfg:9: use_backend "%[req.hdr(host)]" is chosen at run time`, `haproxy.cfg:15: server "/run/app.sock" has no address`, `haproxy.cfg:16: server-template is filled`,
		}},
		{"nginx", "nginx.txt", []Pool{
			{"192.0.2.12:5432", []string{"192.0.2.12:5432"}, []string{"198.51.100.7:5432", "[2001:db8:1::7]:5432"}},
			{"192.0.2.12:8443", []string{"192.0.2.12:8443"}, nil},
			{"[2001:db8::12]:6379", []string{"[2001:db8::12]:6379"}, []string{"cache.example:6379"}},
			{"shop.example:80", []string{"192.0.2.10:80", "[2001:db8::10]:80"}, nil},
			{"shop.example:443", []string{"192.0.2.10:443"}, []string{"198.51.100.1:8080", "198.51.100.3:80", "198.51.100.5:8443", "app-2.example:80", "grpc.example:443"}},
			{"*:8080", []string{"192.0.2.1:8080"}, []string{"198.51.100.1:8080", "app-2.example:80"}},
			{"unused", nil, []string{"198.51.100.8:443"}},
		}, []string{
			`/etc/nginx/nginx.conf:14: server "db3.example:5432" is marked down`, `/etc/nginx/nginx.conf:15: server "unix:/run/db.sock" is a Unix`,
			`/etc/nginx/nginx.conf:19: listen "192.0.2.12:53 udp" is UDP`, `/etc/nginx/nginx.conf:20: proxy_pass "$pool" is chosen at run time by "$pool" (/etc/nginx/nginx.conf:6)`,
			`/etc/nginx/nginx.conf:21: listen "192.0.2.12:7000-7009" is a range`,
			`/etc/nginx/conf.d/shop.conf:14: listen "192.0.2.10:443 quic reuseport" is UDP`, `/etc/nginx/conf.d/shop.conf:15: listen "unix:/run/nginx.sock" is a Unix`,
			`/etc/nginx/conf.d/shop.conf:21: proxy_pass "$backend$request_uri" is chosen at run time by "$backend" (/etc/nginx/conf.d/shop.conf:20)`,
			`/etc/nginx/conf.d/shop.conf:24: fastcgi_pass "unix:/run/php.sock" is a Unix`, `/etc/nginx/conf.d/shop.conf:25: content_by_lua_block: what Lua`,
			`/etc/nginx/conf.d/shop.conf:35: include "snippets/gone.conf": there is no such file`,
		}},
		{"envoy", "envoy.yaml", []Pool{
			{"https", []string{"192.0.2.10:443", "[2001:db8::10]:443"}, []string{"198.51.100.2:8080", "198.51.100.4:9000", "[2001:db8:1::3]:8080", "web-1.example:8080"}},
			{"postgres", []string{"192.0.2.1:5432"}, []string{"db.example:5432"}},
			{"redis", []string{"192.0.2.11:6379"}, nil},
		}, []string{
			`envoy.yaml:33: static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[2].route: the cluster is chosen at run time (cluster_header)`,
			`envoy.yaml:48: static_resources.listeners[2].address: 192.0.2.10:53 is "UDP"`, `envoy.yaml:55: static_resources.listeners[3].filter_chains[0].filters[0]: filter "envoy.filters.network.redis_proxy"`,
			`envoy.yaml:59: static_resources.listeners[4].address: a Unix socket`, `envoy.yaml:75: static_resources.clusters[0].load_assignment.endpoints[1].lb_endpoints[1].endpoint.address: a Unix`,
			`envoy.yaml:84: static_resources.clusters[2]: cluster "cart_green" has its endpoints from discovery (EDS)`, `envoy.yaml:94: static_resources.clusters[4]: no listener that is here forwards to cluster "xds"`,
		}},
		{"envoy", "envoy.json", []Pool{
			{"static", []string{"192.0.2.1:80"}, []string{"198.51.100.1:8080", "198.51.100.2:8080"}},
			{"tcp", []string{"192.0.2.2:9000"}, []string{"198.51.100.1:8080", "198.51.100.2:8080"}},
		}, []string{
			`envoy.json:22: configs[1].dynamic_active_clusters[2].cluster: cluster "legacy" is "ORIGINAL_DST"`, `envoy.json:24: configs[1].dynamic_warming_clusters[0]: cluster "new" is warming`,
			`envoy.json:43: configs[2].dynamic_listeners[1].active_state.listener.address: listener "10.96.0.1_443" does not bind`,
			`envoy.json:44: configs[2].dynamic_listeners[1].active_state.listener.default_filter_chain.filters[0].typed_config.cluster: there is no cluster "gone"`,
			`envoy.json:45: configs[2].dynamic_listeners[2].error_state: listener "broken"`, `envoy.json:62: configs[4].dynamic_endpoint_configs[0].endpoint_config.endpoints[0].lb_endpoints[2]: an endpoint that drains`,
		}},
		{"f5-json", "f5.json", []Pool{
			{"/Common/web_https", []string{"192.0.2.10:443"}, []string{"198.51.100.1:8080", "198.51.100.2:80", "[2001:db8:1::3]:8080"}},
			{"/Common/web_v6", []string{"[2001:db8::10]:443"}, []string{"198.51.100.1:8080", "198.51.100.2:80", "[2001:db8:1::3]:8080"}},
			{"/DMZ/app.app/dmz", []string{"192.0.2.20:636"}, []string{"10.60.61.215:636"}},
			{"/DMZ/dmz2", nil, []string{"10.60.61.215:636"}},
			{"/t1/a/named", []string{"192.0.2.30:80"}, nil},
			{"/Common/spare", nil, []string{"app.example:80"}},
			{"/Common/auto", nil, []string{"198.51.100.9:80"}},
		}, []string{
			`f5.json:13: items[3].destination: "/DMZ/192.0.2.20%7:636" is in route domain 7`, `f5.json:14: items[4]: virtual server "/t1/a/named" has no pool`,
			`f5.json:17: items[5].destination: "/Common/0.0.0.0:0" is every address`, `f5.json:19: items[6].destination: "/Common/192.0.2.64:80" with mask "255.255.255.192"`,
			`f5.json:19: items[6].pool: pool "/Common/gone" is not`, `f5.json:20: items[7]: virtual server "/Common/old" is disabled`, `f5.json:22: items[8]: virtual server "/Common/dns" is "udp"`,
			`f5.json:25: items[9].destination: "/Common/192.0.2.14:any" is every port`, `f5.json:40: items[0].membersReference.items[3]: member "198.51.100.4:8080" is disabled`,
			`f5.json:42: items[0].membersReference.items[4]: member "198.51.100.5:8080" is forced offline`, `f5.json:47: items[1].membersReference.items[1]: member "10.60.61.216%6:any" has every port`,
			`f5.json:48: items[1].membersReference.items[2]: member "10.60.61.217%6:xyzzy": service "xyzzy"`, `f5.json:54: items[3].membersReference.items[0]: member "app.example:80" stands for a name`,
			`f5.json:57: items[4].membersReference: the members of pool "/Common/spare2" are not here: ask with ?expandSubcollections=true`,
		}},
		{"elbv2-json", "elbv2.json green.json", []Pool{
			{"front:443", []string{"front-50dc6c495c0c9188.elb.eu-west-1.amazonaws.com:443"}, []string{"shop-1.eu-west-1.elb.amazonaws.com:443"}},
			{"shop:80", []string{"shop-1.eu-west-1.elb.amazonaws.com:80"}, nil},
			{"shop:443", []string{"shop-1.eu-west-1.elb.amazonaws.com:443"}, []string{"10.0.10.1:8080", "10.0.20.1:31338", "[2001:db8:1::2]:8080"}},
		}, []string{
			`elbv2.json:16: Listeners[1]: listener front:53 is UDP`, `elbv2.json:19: Listeners[2]: listener "shop:80" forwards to no`, `elbv2.json:22: Listeners[3]: target group "arn:tg/unlisted" is not`,
			`elbv2.json:41: TargetGroups[3]: target group "fn" is of a Lambda`, `elbv2.json:42: TargetGroups[4]: the targets of group "idle" are not here`,
			`elbv2.json:50: TargetHealthDescriptions[2]: target "10.0.10.3" is draining`, `elbv2.json:51: TargetHealthDescriptions: which target group these are of is not said`,
			`green.json:4: TargetHealthDescriptions[1]: instance "i-088e21d0af0f2890c" has no address here`, `green.json:5: TargetHealthDescriptions[2]: target "i-0fe2202d18299816f" is not in use`,
		}},
	} {
		t.Run(tt.format, func(t *testing.T) {
			own := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
			if tt.format == "haproxy" {
				own = nil
			}
			got, notes, err := Read(tt.format, fixtures(t, strings.Fields(tt.files)...), Options{Own: own})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			for i := range max(len(notes), len(tt.notes)) {
				if i >= len(notes) || i >= len(tt.notes) || !strings.HasPrefix(notes[i].String(), tt.notes[i]) {
					t.Errorf("notes from the %d. on:\n%v\nwant\n%s", i, notes[min(i, len(notes)):], strings.Join(tt.notes[min(i, len(tt.notes)):], "\n"))
					break
				}
			}
			roundTrip(t, got)
		})
	}
	if _, _, err := Read("nagios", nil, Options{}); err == nil || !strings.Contains(err.Error(), "keepalived") {
		t.Errorf("an unknown format: %v", err)
	}
}

func fixtures(t testing.TB, names ...string) []File {
	t.Helper()
	var out []File
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, File{name, text})
	}
	return out
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

// FuzzRead: whatever is in a file, what comes of it can be probed, each note is of a line of it, and each name is of one pool.
func FuzzRead(f *testing.F) {
	for i, name := range []string{"keepalived.conf", "ipvs.txt", "haproxy.cfg", "nginx.txt", "envoy.yaml", "envoy.json", "f5.json", "elbv2.json", "green.json"} {
		f.Add(uint8(min(i, 3)), fixtures(f, name)[0].Text)
	}
	for _, s := range []string{"virtual_server {", "}}{{", "real_server", "-a -t", "TCP", "->", "bind", "frontend", "listen\nserver a [", "virtual_server_group g {\n1.2.3.4", "virtual_server { real_server { {",
		"virtual_server_group g {\n192.0.2.1 80\n192.0.2.1 80\n}\nvirtual_server group g\nvirtual_server_group g\nvirtual_server group g"} {
		f.Add(uint8(0), []byte(s))
	}
	for _, s := range []string{"server{listen 1;include f;include f;location / {include f;include f;}}", "stream{server{proxy_pass ${a;}}", "upstream u{server [;}server{proxy_pass http://u;listen []:1;}",
		"# configuration file a:\ninclude b;\n# configuration file b:\ninclude a;", "a_by_lua_block{'", "\"\\", "server{listen a:1;listen b:1;}server{listen b:1;listen c:1;}server{listen c:1;listen a:1;}"} {
		f.Add(uint8(3), []byte(s))
	}
	for _, s := range []string{"a: &a [*a]", "- *x", "<<: {}", "configs: [{bootstrap: }]", `{"static_resources":{"listeners":[{"address":{"socket_address":{"address":"::","port_value":1}}}]}}`,
		`{"static_resources":{"listeners":[{"address":{"socket_address":{}},"filter_chains":[{"filters":[{"name":"tcp_proxy"}]}]}],"clusters":[{"name":"","cluster_type":{"name":"envoy.clusters.aggregate","typed_config":{"clusters":["",""]}}}]}}`,
		"? a\n: b", "\r0", "{", "[[[[", "\t"} {
		f.Add(uint8(4), []byte(s))
	}
	for _, s := range []string{`{"kind":"tm:ltm:virtual:virtualstate","destination":"/%.:"}`, `[{"items":[{"kind":"tm:ltm:pool:poolstate"}]}]`, `{"kind":"x:memberscollectionstate","selfLink":"/ltm/pool/~/members"}`} {
		f.Add(uint8(5), []byte(s))
	}
	for _, s := range []string{`{"Listeners":[{"DefaultActions":[{"Type":"forward"}]}],"LoadBalancers":[{}],"TargetHealthDescriptions":[{"Target":{"Id":"i-"}}],"TargetGroups":[{}]}`} {
		f.Add(uint8(6), []byte(s))
	}
	f.Fuzz(func(t *testing.T, format uint8, text []byte) {
		name := Formats()[int(format)%len(Formats())]
		found, notes, err := Read(name, []File{{"f", text}}, Options{Own: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, p := range found {
			if names[p.Name] {
				t.Errorf("%s: two pools %q", name, p.Name)
			}
			names[p.Name] = true
			for _, a := range append(p.VIPs, p.Members...) {
				if _, err := prober.ParseEndpoint(a); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		for _, n := range notes {
			if n.File == "" || n.Line < 1 || n.Line > strings.Count(string(text), "\n")+1 {
				t.Errorf("%s: a note of %q line %d", name, n.File, n.Line)
			}
		}
	})
}
