package prober

import (
	"math"
	"net/netip"
	"testing"

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

// retries is a patience in which a listener's second repeat comes, at 3 s and up to an eighth later (timerSlack of package profile), or is known not to
// come any more: the first may be as late, and the third part of the time runs from there.
const retries = 4500 * ms

// hosts of one kernel whose settings are known: the profile is theirs. An empty value is one that must not be measured.
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
		ProfileOptions{Request: []byte("x"), Patience: 3500 * ms, TimeWait: true},
		map[profile.Name]string{profile.SYNACKRTO: "1s", profile.SYNACKRepeats: "≥ 2", profile.Options: "mss sackOK TS wscale", profile.MSS: "1460", profile.SACK: "on",
			profile.Timestamps: "on", profile.TimestampHz: "1000", profile.ECN: "on", profile.InitialTTL: "64", profile.Hops: "0", profile.SYNCookies: "no",
			profile.DeferAccept: "no", profile.ClosedPort: "rst", profile.InitialWindow: "10", profile.Backlog: "", profile.AbortOnOverflow: "",
			profile.Reordering: "3", profile.LossByTime: "on", profile.TimeWaitISN: "accepted", profile.TimeWaitOldISN: "challenge ACK", profile.TimeWaitRST: "ends it"},
	},
	{
		"other settings, IPv6", netip.AddrPortFrom(netip.MustParseAddr(serverV6), 80),
		map[string]string{"net.ipv4.tcp_timestamps": "0", "net.ipv4.tcp_sack": "0", "net.ipv4.tcp_ecn": "0", "net.ipv4.tcp_synack_retries": "1", "net.ipv4.tcp_window_scaling": "0"},
		topo.Service{Port: 80, Then: topo.Hang, Backlog: 8}, ProfileOptions{Backlog: 16, Patience: retries, TimeWait: true, Overflow: true},
		map[profile.Name]string{profile.SYNACKRTO: "1s", profile.SYNACKRepeats: "1", profile.Options: "mss", profile.MSS: "1440", profile.SACK: "off", profile.WindowScale: "off",
			profile.Timestamps: "off", profile.TimestampHz: "", profile.TimestampStart: "", profile.ECN: "off", profile.InitialWindow: "", profile.Backlog: "8 to 9",
			profile.TimeWaitISN: "", profile.TimeWaitTimestamp: "", profile.TimeWaitRST: "", profile.AbortOnOverflow: "", profile.Reordering: ""},
	},
	{
		"a server that does not accept, capped by somaxconn", netip.MustParseAddrPort(serverV4 + ":80"),
		map[string]string{"net.core.somaxconn": "6", "net.ipv4.tcp_abort_on_overflow": "1", "net.ipv4.ip_default_ttl": "128", "net.ipv4.tcp_timestamps": "2"},
		topo.Service{Port: 80, Then: topo.Stuck, Backlog: 64}, ProfileOptions{Backlog: 16, Patience: 1500 * ms, Overflow: true},
		map[profile.Name]string{profile.Backlog: "6 to 7", profile.AbortOnOverflow: "on", profile.InitialTTL: "128", profile.TimestampStart: "one clock", profile.SYNACKRepeats: "≥ 1"},
	},
	{
		"the same without RST, IPv6", netip.AddrPortFrom(netip.MustParseAddr(serverV6), 80), nil,
		topo.Service{Port: 80, Then: topo.Stuck, Backlog: 8}, ProfileOptions{Backlog: 16, Patience: 1500 * ms, Overflow: true},
		map[profile.Name]string{profile.Backlog: "8 to 9", profile.AbortOnOverflow: "off", profile.TimestampStart: "one per connection"},
	},
	{
		"patient with reordering, a TIME_WAIT that no RST ends, IPv6", netip.AddrPortFrom(netip.MustParseAddr(serverV6), 80),
		map[string]string{"net.ipv4.tcp_reordering": "6", "net.ipv4.tcp_rfc1337": "1"}, topo.Service{Port: 80, Then: topo.Bulk, Size: 30000},
		ProfileOptions{Request: []byte("x"), Patience: 1500 * ms, TimeWait: true},
		map[profile.Name]string{profile.Reordering: "6", profile.LossByTime: "on", profile.TimeWaitRST: "ignored", profile.TimeWaitOldISN: "challenge ACK",
			profile.TimeWaitTimestamp: "accepted", profile.TimeWaitOldStamp: "challenge ACK"},
	},
	{
		"only time counts, no TIME_WAIT, one clock", netip.MustParseAddrPort(serverV4 + ":80"),
		map[string]string{"net.ipv4.tcp_recovery": "5", "net.ipv4.tcp_max_tw_buckets": "0", "net.ipv4.tcp_timestamps": "2"}, topo.Service{Port: 80, Then: topo.Bulk, Size: 30000},
		ProfileOptions{Request: []byte("x"), Patience: 1500 * ms, TimeWait: true},
		map[profile.Name]string{profile.Reordering: "≥ 10", profile.LossByTime: "on", profile.TimeWaitOldISN: "accepted", profile.TimeWaitRST: "",
			profile.TimestampStart: "one clock", profile.TimeWaitTimestamp: "", profile.TimeWaitOldStamp: ""},
	},
	{
		"cookies always", netip.MustParseAddrPort(serverV4 + ":80"), map[string]string{"net.ipv4.tcp_syncookies": "2"},
		topo.Service{Port: 80, Then: topo.Bulk, Size: 30000}, ProfileOptions{Patience: 1500 * ms, Request: []byte("x")},
		map[profile.Name]string{profile.SYNACKRTO: "", profile.SYNCookies: "yes", profile.Timestamps: "on", profile.InitialWindow: "≥ 10", profile.Reordering: ""},
	},
	{
		"no cookies, and no repeats", netip.MustParseAddrPort(serverV4 + ":80"), map[string]string{"net.ipv4.tcp_synack_retries": "0"},
		topo.Service{Port: 80, Then: topo.Hang}, ProfileOptions{Patience: 1500 * ms},
		map[profile.Name]string{profile.SYNACKRTO: "", profile.SYNCookies: "no", profile.SYNACKRepeats: "≥ 0"},
	},
}

// inTime are the values that a machine short of processor time does not give: they are asked for again.
func inTime(n profile.Name) bool { return n == profile.Reordering || n == profile.LossByTime }

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
			again := tc.options
			again.TimeWait, again.Patience = false, 1500*ms
			for name, want := range tc.want {
				v, ok := got.Value(name)
				for range 3 {
					if !inTime(name) || v.Text == want || v.State == profile.Measured {
						break
					}
					once := r.profiled(t, tc.dst, again)
					v, ok = once.Value(name)
				}
				if !ok || v.Text != want || (want == "") != (v.State == profile.NotMeasured) || want == "" && v.Why == "" {
					t.Errorf("%s: %+v, want %q", name, v, want)
				}
			}
			if took := got.Took.Seconds(); got.SYNs < 15 || got.SYNs > 80 || math.IsNaN(took) {
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
