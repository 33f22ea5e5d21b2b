package prober

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/lab/topo"
	"github.com/vipprobe/vipprobe/prober/profile"
)

// profiled measures one listener of the rig's server.
func (r *rig) profiled(t *testing.T, dst netip.AddrPort, o ProfileOptions) profile.Profile {
	t.Helper()
	got := r.profile(t, dst, o)
	must(t, got.Err)
	return got.Profile
}

func (r *rig) profile(t *testing.T, dst netip.AddrPort, o ProfileOptions) (out Profiled) {
	t.Helper()
	x := &profiling{p: r.prober(dst.Addr()), m: DefaultModule(), o: &o, addr: dst, target: dst.String()}
	must(t, r.client.Do(func() error {
		out = x.run(t.Context())
		return nil
	}))
	return out
}

// hosts of one kernel whose settings are known: the profile is theirs.
var profiledHosts = []struct {
	name    string
	dst     netip.AddrPort
	sysctls map[string]string
	service topo.Service
	options ProfileOptions
	want    map[profile.Name]string
}{
	{
		"as the kernel comes", netip.MustParseAddrPort(serverV4 + ":80"), nil, topo.Service{Port: 80, Then: topo.Bulk, Size: 30000},
		ProfileOptions{Request: []byte("x"), Patience: 3500 * ms},
		map[profile.Name]string{profile.SYNACKRTO: "1s", profile.SYNACKRepeats: "≥ 2", profile.Options: "mss sackOK TS wscale", profile.MSS: "1460", profile.SACK: "on",
			profile.Timestamps: "on", profile.TimestampHz: "1000", profile.ECN: "on", profile.InitialTTL: "64", profile.Hops: "0", profile.SYNCookies: "no",
			profile.DeferAccept: "no", profile.ClosedPort: "rst", profile.InitialWindow: "10", profile.Backlog: ""},
	},
	{
		"other settings, IPv6", netip.AddrPortFrom(netip.MustParseAddr(serverV6), 80),
		map[string]string{"net.ipv4.tcp_timestamps": "0", "net.ipv4.tcp_sack": "0", "net.ipv4.tcp_ecn": "0", "net.ipv4.tcp_synack_retries": "1", "net.ipv4.tcp_window_scaling": "0"},
		topo.Service{Port: 80, Then: topo.Hang, Backlog: 8}, ProfileOptions{Backlog: 16, Patience: 5 * time.Second},
		map[profile.Name]string{profile.SYNACKRTO: "1s", profile.SYNACKRepeats: "1", profile.Options: "mss", profile.MSS: "1440", profile.SACK: "off", profile.WindowScale: "off",
			profile.Timestamps: "off", profile.TimestampHz: "", profile.TimestampStart: "", profile.ECN: "off", profile.InitialWindow: "", profile.Backlog: "8 to 9"},
	},
	{
		// this kernel's TSvals begin anew with each connection, so nothing tells a cookie from a listener that repeats nothing
		"cookies always", netip.MustParseAddrPort(serverV4 + ":80"), map[string]string{"net.ipv4.tcp_syncookies": "2"},
		topo.Service{Port: 80, Then: topo.Echo}, ProfileOptions{Patience: 3500 * ms},
		map[profile.Name]string{profile.SYNACKRTO: "", profile.SYNCookies: "", profile.Timestamps: "on"},
	},
}

func TestAProfileIsTheHostsSettings(t *testing.T) {
	t.Parallel()
	for _, tc := range profiledHosts {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := network(t)
			for k, v := range tc.sysctls {
				r.server.Sysctl(k, v)
			}
			r.server.Serve(tc.service)
			r.start(t, EngineOptions{})
			got := r.profiled(t, tc.dst, tc.options)
			for name, want := range tc.want {
				v, ok := got.Value(name)
				if !ok || v.Text != want || (want == "") != (v.State == profile.NotMeasured) || want == "" && v.Why == "" {
					t.Errorf("%s: %+v, want %q", name, v, want)
				}
			}
			if took := got.Took.Seconds(); got.SYNs < 15 || got.SYNs > 60 || math.IsNaN(took) {
				t.Errorf("%d SYNs in %.1f s", got.SYNs, took)
			}
		})
	}
}

// What accepts nothing has no profile.
func TestNoListenerNoProfile(t *testing.T) {
	t.Parallel()
	r := newRig(t, EngineOptions{})
	if got := r.profile(t, on(serverV4, 81), ProfileOptions{}); got.Err == nil || len(got.Values) != 0 {
		t.Errorf("%+v", got)
	}
}
