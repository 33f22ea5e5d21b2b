package testimony

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	d "github.com/vipprobe/vipprobe/prober/diagnose"
)

// listed are the counters whose names the files of four kernels have.
func listed(t *testing.T) map[string]map[string]bool {
	t.Helper()
	out := map[string]map[string]bool{}
	for _, kernel := range []string{"2.6.32", "3.10", "4.19", "6.18"} {
		out[kernel] = map[string]bool{"softnet.dropped": true, "softnet.time_squeeze": true, "IcmpMsg.InType3": true, "IcmpMsg.OutType3": true}
		base := filepath.Join("..", "internal", "hostproc", "testdata", kernel, "net")
		if kernel == "6.18" {
			base = filepath.Join("..", "internal", "hostproc", "testdata", kernel, "thread-self", "net")
		}
		for _, file := range []string{"netstat", "snmp", "snmp6", "stat/arp_cache", "stat/ndisc_cache", "stat/nf_conntrack"} {
			b, err := os.ReadFile(filepath.Join(base, file))
			if os.IsNotExist(err) && kernel != "6.18" {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range namesIn(file, string(b)) {
				out[kernel][name] = true
			}
		}
	}
	return out
}

func namesIn(file, text string) (out []string) {
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		section, names, ok := strings.Cut(line, ":")
		f := strings.Fields(line)
		switch {
		case strings.HasPrefix(file, "stat/"):
			if i == 0 {
				for _, n := range f {
					out = append(out, strings.TrimPrefix(file, "stat/")+"."+n)
				}
			}
		case ok:
			for n := range strings.FieldsSeq(names) {
				out = append(out, section+"."+n)
			}
		default:
			for _, p := range []string{"Icmp6", "Ip6"} {
				if rest, ok := strings.CutPrefix(f[0], p); ok {
					out = append(out, p+"."+rest)
				}
			}
		}
	}
	return out
}

// A name misspelt here would be a counter that never moves.
func TestEveryCounterIsSomeKernels(t *testing.T) {
	kernels := listed(t)
	for _, c := range Counters() {
		newest := kernels["6.18"][c.Name]
		switch {
		case c.Until != Kernel{}:
			if newest {
				t.Errorf("%s: until %s, and 6.18 has it", c.Name, c.Until)
			}
			if !kernels["2.6.32"][c.Name] && !kernels["3.10"][c.Name] {
				t.Errorf("%s: neither 2.6.32 nor 3.10 has it", c.Name)
			}
		case !newest:
			t.Errorf("%s: 6.18 does not have it, and no last kernel is named", c.Name)
		}
		old := kernels["2.6.32"][c.Name]
		if section, _, _ := strings.Cut(c.Name, "."); section == "TcpExt" || section == "Tcp" || section == "Ip" {
			if (c.Since == Kernel{}) != old {
				t.Errorf("%s: since %v, and 2.6.32 has it: %v", c.Name, c.Since, old)
			}
			if (Kernel{4, 19}).Before(c.Since) && kernels["4.19"][c.Name] {
				t.Errorf("%s: since %s, and 4.19 has it", c.Name, c.Since)
			}
		}
	}
}

func TestTableIsWhole(t *testing.T) {
	forms := regexp.MustCompile(`^(?:RFC [1-9]\d{2,3}(?: §\d+(?:\.\d+)*)?|net/\S+\.c \w+, Linux \d\.\d+|commit [0-9a-f]{12}, Linux \d\.\d+|measured on Linux \d\.\d+(?:\.\d+)?)$`)
	seen := map[string]bool{}
	for _, c := range Counters() {
		if seen[c.Name] {
			t.Errorf("%s stands twice", c.Name)
		}
		seen[c.Name] = true
		if c.Means == "" || c.Scope == ScopeUnknown || !slices.Contains(Topics(), c.Topic) || strings.HasSuffix(c.Means, ".") {
			t.Errorf("%s: meaning %q, scope %s, topic %s", c.Name, c.Means, c.Scope, c.Topic)
		}
		for s := range strings.SplitSeq(c.Source, "; ") {
			if !forms.MatchString(s) {
				t.Errorf("%s: source %q has none of the forms allowed", c.Name, s)
			}
		}
		said := map[d.Verdict]bool{}
		for _, claim := range c.Claims {
			if said[claim.Verdict] || !slices.Contains(d.Verdicts(), claim.Verdict) || claim.Weight == WeightUnknown {
				t.Errorf("%s: claim %v", c.Name, claim)
			}
			said[claim.Verdict] = true
		}
	}
	for _, topic := range Topics() {
		if topic.String() == "unknown" || topic.Title() == "unknown" {
			t.Errorf("topic %d has no name", topic)
		}
		if (len(topic.Verdicts()) == 0) != (topic == Traffic) {
			t.Errorf("%s speaks for %v", topic, topic.Verdicts())
		}
	}
}

// The two readings of incident 002: every SYN dropped was dropped for its timestamp, and nothing else is named.
func TestIncident(t *testing.T) {
	delta := map[string]int64{"TcpExt.PAWSPassive": 3858 - 3565, "TcpExt.ListenDrops": 3858 - 3565, "Tcp.InSegs": 100000}
	l, ok := ListenDrops(delta)
	if !ok || l.Total.By != 293 || l.Rest != 0 || l.Over != 0 || len(l.Parts) != 1 || l.Parts[0].Counter.Name != "TcpExt.PAWSPassive" {
		t.Errorf("%+v, %v", l, ok)
	}
	var named []d.Verdict
	for _, s := range Statements(delta) {
		if s.Weight == Names {
			named = append(named, s.Verdict)
		}
	}
	want := []d.Verdict{d.TWRecyclePAWSDrop, d.TWRecyclePAWSDropSNAT, d.TSClockDomainConflict, d.ClientRandomTSVsRecycle}
	if diff := cmp.Diff(want, named); diff != "" {
		t.Errorf("named, -want +got:\n%s", diff)
	}
	for _, s := range Statements(delta) {
		if s.Verdict == d.AcceptQueueOverflow || s.Verdict == d.RemoteARPUnresolved {
			t.Errorf("%s fits, though every drop is accounted for otherwise", s.Verdict)
		}
	}
	// one step away: the SYNs are dropped, and the kernel does not say for their timestamps
	delete(delta, "TcpExt.PAWSPassive")
	for _, s := range Statements(delta) {
		if s.Weight == Names {
			t.Errorf("ListenDrops alone names %s", s.Verdict)
		}
	}
	if l, _ := ListenDrops(delta); l.Rest != 293 {
		t.Errorf("unexplained %d, want 293", l.Rest)
	}
}

func TestLedger(t *testing.T) {
	for _, c := range []struct {
		name       string
		delta      map[string]int64
		ok         bool
		rest, over int64
	}{
		{"nothing", map[string]int64{}, false, 0, 0},
		{"no reason known", map[string]int64{"TcpExt.ListenDrops": 7}, true, 7, 0},
		{"two reasons and a rest", map[string]int64{"TcpExt.ListenDrops": 9, "TcpExt.ListenOverflows": 3, "TcpExt.TCPReqQFullDrop": 4}, true, 2, 0},
		{"2.6.32 leaves refused timestamps out", map[string]int64{"TcpExt.ListenDrops": 1, "TcpExt.PAWSPassive": 5}, true, 0, 4},
		{"2.6.32 without any other", map[string]int64{"TcpExt.PAWSPassive": 5}, true, 0, 5},
		{"reset", map[string]int64{"TcpExt.ListenDrops": -7}, false, 0, 0},
	} {
		if l, ok := ListenDrops(c.delta); ok != c.ok || l.Rest != c.rest || l.Over != c.over {
			t.Errorf("%s: %+v, %v", c.name, l, ok)
		}
	}
	l, ok := Retransmissions(map[string]int64{"Tcp.RetransSegs": 100, "TcpExt.TCPSynRetrans": 10, "TcpExt.TCPFastRetrans": 60, "TcpExt.TCPTimeouts": 15})
	if !ok || l.Rest != 30 || len(l.Parts) != 2 {
		t.Errorf("%+v, %v", l, ok)
	}
}

// A tail loss probe alone never speaks above the picture: no alarm rests on it.
func TestLossProbeAloneNamesNothing(t *testing.T) {
	for _, s := range Statements(map[string]int64{"TcpExt.TCPLossProbes": 1000}) {
		if s.Weight > Context {
			t.Errorf("%s: %s", s.Verdict, s.Weight)
		}
	}
}

func TestForIsClearestFirst(t *testing.T) {
	for _, v := range d.Verdicts() {
		last := Names
		for _, c := range For(v) {
			w := c.Says(v)
			if w > last || w == WeightUnknown {
				t.Errorf("%s: %s after %s", v, w, last)
			}
			last = w
		}
	}
	if got := For(d.ReversePathFilter); len(got) != 1 || got[0].Name != "TcpExt.IPReversePathFilter" {
		t.Errorf("reverse_path_filter: %v", got)
	}
}

func TestRange(t *testing.T) {
	for name, want := range map[string]string{
		"TcpExt.PAWSPassive": "Linux ≤ 4.11", "TcpExt.PAWSTimewait": "Linux ≥ 6.16", "TcpExt.ListenDrops": "", "TcpExt.IPReversePathFilter": "Linux ≥ 2.6.36",
	} {
		if c, ok := Find(name); !ok || c.Range() != want {
			t.Errorf("%s: %q, want %q", name, c.Range(), want)
		}
	}
	if _, ok := Find("TcpExt.NoSuch"); ok {
		t.Error("found a counter that is not there")
	}
}

func TestRemarks(t *testing.T) {
	for _, c := range []struct {
		name  string
		topic Topic
		delta map[string]int64
		want  []string
	}{
		{"the incident", Listeners, map[string]int64{"TcpExt.ListenDrops": 293, "TcpExt.PAWSPassive": 293}, []string{"of 293 dropped: 293 for an older timestamp"}},
		{"a rest", Listeners, map[string]int64{"TcpExt.ListenDrops": 1293, "TcpExt.ListenOverflows": 293},
			[]string{"of 1,293 dropped: 293 at a full accept queue, 1,000 for what has no counter of its own (no route, no memory, an ICMP error, unresolved ARP)"}},
		{"nothing dropped", Listeners, map[string]int64{"TcpExt.EmbryonicRsts": 3}, nil},
		{"classes", Loss, map[string]int64{"Tcp.RetransSegs": 1000, "TcpExt.TCPFastRetrans": 600, "TcpExt.TCPSlowStartRetrans": 250, "TcpExt.TCPSynRetrans": 5, "Tcp.OutSegs": 99000},
			[]string{"of 1,000 sent again: 0.5 % SYNs and SYN-ACKs, 60 % in fast recovery, 25 % after a timeout, 14 % the first of a timeout or a tail loss probe; that is 1.0 % of what was sent"}},
		{"probes alone", Loss, map[string]int64{"TcpExt.TCPLossProbes": 5}, []string{"nothing else was sent again: tail loss probes alone are no alarm"}},
		{"needless", Spurious, map[string]int64{"Tcp.RetransSegs": 10, "TcpExt.TCPDSACKRecv": 4}, []string{"DSACKs came for 40 % of what was sent again: the peers had it already"}},
	} {
		if diff := cmp.Diff(c.want, Remarks(c.topic, c.delta)); diff != "" {
			t.Errorf("%s, -want +got:\n%s", c.name, diff)
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 1234567: "1,234,567"} {
		if got := Count(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 %", 1: "< 0.01 %", 30: "0.03 %", 500: "0.5 %", 9400: "9.4 %", 9600: "10 %", 100000: "100 %"} {
		if got := Percent(n, 100000); got != want {
			t.Errorf("%d of 100,000: %q, want %q", n, got, want)
		}
	}
}

func TestDifferences(t *testing.T) {
	a := map[string]string{"net.ipv4.tcp_reordering": "6", "net.ipv4.tcp_sack": "1", "net.x.new": "1", "net.core.somaxconn": "4096", "net.ipv4.tcp_tw_recycle": "1"}
	b := map[string]string{"net.ipv4.tcp_reordering": "3", "net.ipv4.tcp_sack": "1", "net.x.new": "2", "net.core.somaxconn": "128"}
	var got []string
	for _, d := range Differences(a, b) {
		got = append(got, d.Name+" "+d.A+"/"+d.B)
		if d.Known != (d.Name != "net.x.new") || d.Known && (d.Setting.Means == "" || d.Setting.Born == BirthUnknown) {
			t.Errorf("%+v", d)
		}
	}
	want := []string{"net.ipv4.tcp_reordering 6/3", "net.ipv4.tcp_tw_recycle 1/", "net.core.somaxconn 4096/128", "net.x.new 1/2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Repeated SYNs say nothing of the data phase; one repeat of data among them does.
func TestHandshakesAreNoDataPhase(t *testing.T) {
	about := func(delta map[string]int64) (data bool) {
		for _, s := range Statements(delta) {
			data = data || s.Verdict == d.PathLoss
		}
		return data
	}
	delta := map[string]int64{"Tcp.RetransSegs": 5, "TcpExt.TCPSynRetrans": 5, "TcpExt.TCPTimeouts": 5}
	if about(delta) {
		t.Error("repeated SYNs fit path_loss")
	}
	delta["Tcp.RetransSegs"] = 6
	if !about(delta) {
		t.Error("a repeat that is no SYN does not fit path_loss")
	}
}
