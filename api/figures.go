package api

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// figures is what the series of one probe are made of. Several rounds (a name with several addresses) add up: the counts are
// sums, durations are of all attempts together, and success is the success of every round.
type figures struct {
	success bool
	took    time.Duration
	lookup  time.Duration
	addr    netip.Addr // of the first round that has one
	kind    prober.Kind

	outcomes    map[observe.Outcome]int
	retransmits int
	stalled     [4]int // by lost SYNs: 1, 2, 3, more
	rtts        []time.Duration
	handshakes  []time.Duration
	bursts      time.Duration // the longest round's observations together

	captured  bool // every burst had a tap
	drops     uint64
	neighbors neighbors

	verdicts map[diagnose.Verdict]bool
	level    diagnose.Level // of the firmest cause, or of the firmest note where nothing is named
	tcp      *prober.TCPResult
	check    *prober.HealthCheck   // of the first round that has one
	stamps   *diagnose.Timestamps  // of the first round that has them
	queue    *prober.NeighborQueue // of the first round that has one
	answers  []time.Duration       // to questions for link addresses
	contact  diagnose.FirstContact // of the first round that has one
}

// newFigures counts rounds, of which there are none where err stopped the probe.
func newFigures(m prober.Module, rounds []prober.Round, err error, took time.Duration) *figures {
	f := &figures{
		success: err == nil && len(rounds) > 0, took: took, kind: m.Kind, outcomes: map[observe.Outcome]int{},
		verdicts: map[diagnose.Verdict]bool{}, captured: len(rounds) > 0,
	}
	for i := range rounds {
		f.add(&rounds[i])
	}
	slices.Sort(f.rtts)
	slices.Sort(f.answers)
	slices.Sort(f.handshakes)
	return f
}

// take keeps what the first round of a kind measured.
func (f *figures) take(r *prober.Round) {
	f.tcp = cmp.Or(f.tcp, r.TCP)
	f.check = cmp.Or(f.check, r.Check)
	f.stamps = cmp.Or(f.stamps, r.Timestamps)
	f.queue = cmp.Or(f.queue, r.Queue)
}

func (f *figures) add(r *prober.Round) {
	f.success = f.success && r.Success && r.Err == nil
	f.lookup = max(f.lookup, r.Lookup)
	if !f.addr.IsValid() {
		f.addr = r.Addr.Addr()
	}
	f.take(r)
	f.addNeighbors(r)
	attempts := r.Connections()
	s := prober.Summarize(attempts)
	for o, n := range s.Outcomes {
		f.outcomes[o] += n
	}
	f.retransmits += s.Retransmissions
	f.handshakes = append(f.handshakes, view.Handshakes(attempts)...)
	for _, a := range attempts {
		if a.RTT > 0 && a.Outcome == observe.Accepted { // the way of an RST is another
			f.rtts = append(f.rtts, a.RTT)
		}
		if a.Stalled() {
			f.stalled[min(lostSYNs(a), len(f.stalled))-1]++
		}
	}
	var bursts time.Duration
	for i := range r.Observations {
		o := &r.Observations[i]
		bursts += o.Finished.Sub(o.Started)
		f.captured = f.captured && o.Captured
		f.drops += uint64(o.CaptureDrops)
		f.neighbors.add(o, r.Addr.Addr())
	}
	f.captured = f.captured && len(r.Observations) > 0
	f.bursts = max(f.bursts, bursts)
	f.judge(&r.Diagnosis)
}

// addNeighbors takes what a round showed of link addresses.
func (f *figures) addNeighbors(r *prober.Round) {
	f.answers = append(f.answers, r.NeighborTimes().Answers...)
	if f.contact == (diagnose.FirstContact{}) {
		f.contact = r.Diagnosis.FirstContact
	}
}

// lostSYNs is how many SYNs a stalled attempt lost: as proved, else the repeats it took.
func lostSYNs(a *observe.Attempt) int {
	if a.LostBy != observe.ProofUnknown && a.Lost > 0 {
		return a.Lost
	}
	return max(1, a.Retransmissions)
}

func (f *figures) judge(d *diagnose.Diagnosis) {
	for _, c := range d.Causes {
		f.verdicts[c.Verdict] = true
		f.level = max(f.level, c.Level)
	}
	if len(d.Causes) > 0 {
		return
	}
	for _, n := range d.Notes {
		if n.Level == diagnose.Inconclusive {
			f.level = max(f.level, n.Level)
		}
	}
}

// ipProtocol is 4, 6, or 0 where no address was probed.
func (f *figures) ipProtocol() float64 {
	switch {
	case f.addr.Is4() || f.addr.Is4In6():
		return 4
	case f.addr.Is6():
		return 6
	}
	return 0
}

// ipHash is blackbox_exporter's hash of an address, FNV-1a of its octets in 32 bits: it changes when the name's address does.
func (f *figures) ipHash() float64 {
	if !f.addr.IsValid() {
		return 0
	}
	h := fnv.New32a()
	h.Write(f.addr.Unmap().AsSlice())
	return float64(h.Sum32())
}

// neighbors is what the ARP and ND frames of the bursts say of the way to the target. The states are not exclusive.
type neighbors struct {
	captured   bool
	asked      map[netip.Addr]bool // by us; the value: answered
	peerAsked  bool
	gratuitous bool
}

func (n *neighbors) add(o *observe.Observation, target netip.Addr) {
	n.captured = n.captured || o.Captured
	for i := range o.Neighbor {
		e := &o.Neighbor[i]
		switch {
		case e.Kind == observe.NeighborGratuitous:
			n.gratuitous = true
		case e.Kind == observe.NeighborRequest && e.Outgoing:
			if n.asked == nil {
				n.asked = map[netip.Addr]bool{}
			}
			if !n.asked[e.Target] {
				n.asked[e.Target] = false // still without answer
			}
		case e.Kind == observe.NeighborReply && !e.Outgoing:
			if _, ok := n.asked[e.Sender]; ok {
				n.asked[e.Sender] = true
			}
		case e.Kind == observe.NeighborRequest && !e.Outgoing:
			_, known := n.asked[e.Sender]
			n.peerAsked = n.peerAsked || known || e.Sender == target
		}
	}
}

// The states of probe_neighbor_state, each 0 or 1.
const (
	neighborUnobserved = "unobserved"    // no tap: nothing is known
	neighborQuiet      = "quiet"         // nobody asked: both sides knew, or the target is not on an Ethernet
	neighborResolved   = "resolved"      // we asked, and all that we asked for answered
	neighborUnanswered = "unanswered"    // we asked, and something stayed without answer
	neighborPeerAsked  = "asked_by_peer" // the target or a neighbour that we asked for asked for us
	neighborGratuitous = "gratuitous"    // somebody announced itself
)

func (n *neighbors) states() map[string]bool {
	answered, unanswered := false, false
	for _, ok := range n.asked {
		answered, unanswered = answered || ok, unanswered || !ok
	}
	return map[string]bool{
		neighborUnobserved: !n.captured,
		neighborQuiet:      n.captured && len(n.asked) == 0 && !n.peerAsked && !n.gratuitous,
		neighborResolved:   answered && !unanswered,
		neighborUnanswered: unanswered,
		neighborPeerAsked:  n.peerAsked,
		neighborGratuitous: n.gratuitous,
	}
}
