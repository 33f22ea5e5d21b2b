package view

import (
	"math"
	"time"

	"github.com/vipprobe/vipprobe/prober/peers"
	"github.com/vipprobe/vipprobe/prober/testimony"
	"github.com/vipprobe/vipprobe/prober/watch"
)

// Watch is what one place's counters did over a span of time.
type Watch struct {
	Place  string `json:"place"`
	Kernel string `json:"kernel,omitempty"`
	// At is the end of the span, absent for saved copies; Seconds its length, absent where it is not known.
	At      *time.Time `json:"at,omitempty"`
	Seconds float64    `json:"seconds,omitempty"`
	// Final: the span is all that was watched.
	Final    bool           `json:"final"`
	Topics   []WatchTopic   `json:"topics"`
	Verdicts []WatchVerdict `json:"verdicts"`
	// Other are counters that rose and have no explanation, if asked for.
	Other   []WatchCounter `json:"other,omitempty"`
	Missing []string       `json:"missing"` // files that the kernel or namespace does not show, and why
	Reset   []string       `json:"reset"`   // counters that fell, and count anew
	Peers   *WatchPeers    `json:"peers,omitempty"`
	Error   string         `json:"error,omitempty"`
}

// WatchTopic is what rose of one topic.
type WatchTopic struct {
	Topic    string         `json:"topic"`
	Title    string         `json:"title"`
	Counters []WatchCounter `json:"counters"`
	Remarks  []string       `json:"remarks,omitempty"`
}

// WatchCounter is one counter that rose.
type WatchCounter struct {
	Name      string       `json:"name"`
	By        int64        `json:"by"`
	PerSecond *float64     `json:"per_second,omitempty"` // absent where the time is not known
	Means     string       `json:"means,omitempty"`
	Also      string       `json:"also,omitempty"` // what else moves it
	Claims    []WatchClaim `json:"claims,omitempty"`
	Scope     string       `json:"scope,omitempty"` // namespace or machine
	Kernels   string       `json:"kernels,omitempty"`
	Source    string       `json:"source,omitempty"`
}

// WatchClaim is a verdict that a counter speaks for.
type WatchClaim struct {
	Verdict string `json:"verdict"`
	Weight  string `json:"weight"` // names, fits or context
}

// WatchVerdict is a verdict that something which rose speaks for; of all the host's connections, and no diagnosis.
type WatchVerdict struct {
	Verdict  string   `json:"verdict"`
	Weight   string   `json:"weight"`
	Counters []string `json:"counters"`
}

// WatchPeers is who is behind what was sent again.
type WatchPeers struct {
	Connections   int         `json:"connections"`
	New           int         `json:"new"`
	Ended         int         `json:"ended"`
	Unfollowed    int         `json:"unfollowed"` // beyond the limit
	Segments      uint64      `json:"segments"`
	Retransmitted uint64      `json:"retransmitted"`
	Covers        *float64    `json:"covers,omitempty"` // share of the host's own count of segments sent again
	Alpha         float64     `json:"alpha"`
	Peers         []WatchPeer `json:"peers"`
	Others        int         `json:"others"` // peers with repeats that are not listed
}

// WatchPeer is one peer.
type WatchPeer struct {
	Addr          string    `json:"addr"`
	Connections   int       `json:"connections"`
	Repeating     int       `json:"repeating"`
	Segments      uint64    `json:"segments"`
	Retransmitted uint64    `json:"retransmitted"`
	Share         float64   `json:"share"`
	DSACKs        uint64    `json:"dsacks"`
	Reorderings   uint64    `json:"reorderings"`
	Distance      uint32    `json:"distance"`
	Repeats       WatchTest `json:"repeats"`
	Reorders      WatchTest `json:"reorders"`
}

// WatchTest is whether a peer's connections fare worse than all others' since the beginning; p holds over all peers and looks.
type WatchTest struct {
	StandsOut bool     `json:"stands_out"`
	P         *float64 `json:"p,omitempty"`
	Untested  string   `json:"untested,omitempty"`
}

// NewWatch converts a reading: the span since the one before, or with final all since the first; with all the counters that have no
// explanation, too.
func NewWatch(r *watch.Reading, final, all bool) Watch {
	delta, span, who := r.Interval, r.Span, r.Peers
	if final {
		delta, span, who = r.Whole, r.Since, r.PeersWhole
	}
	w := Watch{
		Place: r.Place, Kernel: r.Kernel, At: when(r.At), Seconds: span.Seconds(), Final: final,
		Topics: []WatchTopic{}, Verdicts: []WatchVerdict{}, Missing: append([]string{}, r.Missing...), Reset: append([]string{}, r.Reset...),
	}
	if r.Err != nil {
		w.Error = r.Err.Error()
	}
	for _, s := range testimony.Sections(delta) {
		w.Topics = append(w.Topics, newWatchTopic(s, delta, span))
	}
	for _, s := range testimony.Statements(delta) {
		v := WatchVerdict{Verdict: string(s.Verdict), Weight: s.Weight.String()}
		for i := range s.Moved {
			v.Counters = append(v.Counters, s.Moved[i].Counter.Name)
		}
		w.Verdicts = append(w.Verdicts, v)
	}
	if all {
		for _, u := range testimony.Unexplained(delta) {
			w.Other = append(w.Other, WatchCounter{Name: u.Counter.Name, By: u.By, PerSecond: perSecond(u.By, span)})
		}
	}
	if who != nil {
		w.Peers = newWatchPeers(who, delta["Tcp.RetransSegs"])
	}
	return w
}

func newWatchTopic(s testimony.Section, delta map[string]int64, span time.Duration) WatchTopic {
	t := WatchTopic{Topic: s.Topic.String(), Title: s.Topic.Title(), Counters: []WatchCounter{}, Remarks: testimony.Remarks(s.Topic, delta)}
	for i := range s.Moved {
		c := &s.Moved[i].Counter
		w := WatchCounter{
			Name: c.Name, By: s.Moved[i].By, PerSecond: perSecond(s.Moved[i].By, span), Means: c.Means, Also: c.Also, Scope: c.Scope.String(),
			Kernels: c.Range(), Source: c.Source,
		}
		for _, claim := range c.Claims {
			w.Claims = append(w.Claims, WatchClaim{string(claim.Verdict), claim.Weight.String()})
		}
		t.Counters = append(t.Counters, w)
	}
	return t
}

func perSecond(n int64, span time.Duration) *float64 {
	if span <= 0 {
		return nil
	}
	v := math.Round(1000*float64(n)/span.Seconds()) / 1000
	return &v
}

func newWatchPeers(r *peers.Report, retransSegs int64) *WatchPeers {
	w := &WatchPeers{
		Connections: r.Open, New: r.New, Ended: r.Ended, Unfollowed: r.Unfollowed, Segments: r.Total.Segments, Retransmitted: r.Total.Retransmitted,
		Alpha: r.Alpha, Peers: []WatchPeer{}, Others: r.Others,
	}
	if retransSegs > 0 {
		c := r.Covers(retransSegs)
		w.Covers = &c
	}
	for i := range r.Peers {
		p := &r.Peers[i]
		w.Peers = append(w.Peers, WatchPeer{
			Addr: p.Addr.String(), Connections: p.Connections, Repeating: p.Repeating, Segments: p.Segments, Retransmitted: p.Retransmitted,
			Share: p.Share, DSACKs: p.DSACKs, Reorderings: p.Reorderings, Distance: p.Distance,
			Repeats: newWatchTest(p.Repeats), Reorders: newWatchTest(p.Reorders),
		})
	}
	return w
}

func newWatchTest(t peers.Test) WatchTest {
	w := WatchTest{StandsOut: t.StandsOut, Untested: t.Untested}
	if t.Untested == "" {
		w.P = &t.P
	}
	return w
}

// WatchDocument is what a watch found: a place each, and what two compared places have set otherwise.
type WatchDocument struct {
	Places   []Watch               `json:"places"`
	Settings []WatchSettingsDiffer `json:"settings,omitempty"`
}

// WatchSettingsDiffer is a sysctl that two namespaces have otherwise; a value is absent where one does not show it.
type WatchSettingsDiffer struct {
	Name  string `json:"name"`
	A     string `json:"a,omitempty"`
	B     string `json:"b,omitempty"`
	Means string `json:"means,omitempty"`
	Born  string `json:"born,omitempty"` // where a new namespace has it from: default, first_namespace or machine
}

// NewSettings lists what differs, what has a meaning first.
func NewSettings(a, b map[string]string) []WatchSettingsDiffer {
	out := []WatchSettingsDiffer{}
	for _, d := range testimony.Differences(a, b) {
		s := WatchSettingsDiffer{Name: d.Name, A: d.A, B: d.B}
		if d.Known {
			s.Means, s.Born = d.Setting.Means, d.Setting.Born.String()
		}
		out = append(out, s)
	}
	return out
}
