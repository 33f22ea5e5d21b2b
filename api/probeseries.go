package api

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vipprobe/vipprobe/api/view"
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/observe"
)

// stallBuckets bracket the steps of the retransmission ladders: an edge just below each of 1, 2, 3 and 7 s and one at the end of
// its window, t + t/8 + 50 ms, so that stalls show as buckets of their own.
func stallBuckets() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, .99, 1.175, 1.99, 2.3, 2.99, 3.425, 6.99, 7.925, 15, 31, 63}
}

// probeSeries are the descriptions of all series that a probe may have; collection fills them with one probe's figures.
type probeSeries struct {
	success, duration, lookup, protocol, hash *prometheus.Desc
	phases, connections, retransmits, stalled *prometheus.Desc
	rtt, handshake, neighbor, verdict, level  *prometheus.Desc
	captured, drops                           *prometheus.Desc
	regex, expiry, chainExpiry, chainInfo     *prometheus.Desc
	tlsVersion, tlsCipher                     *prometheus.Desc
	queue, queueState, queueConfirmed         *prometheus.Desc
	remembered, refused, poisoned             *prometheus.Desc
	checkUp, checkEvictions, checkOut         *prometheus.Desc
	answer, queueDropped                      *prometheus.Desc
	buckets                                   []float64
}

func newProbeSeries() *probeSeries {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &probeSeries{
		success:     d("probe_success", "Whether the probe succeeded: every connection was accepted in time, and no more stalled than the module tolerates."),
		duration:    d("probe_duration_seconds", "How long the whole probe took."),
		lookup:      d("probe_dns_lookup_time_seconds", "How long the target's name took to resolve; 0 for an address."),
		protocol:    d("probe_ip_protocol", "Version of IP that was probed, 4 or 6; 0 where no address was found."),
		hash:        d("probe_ip_addr_hash", "Hash of the address that was probed: it changes when the name's address does."),
		phases:      d("probe_tcp_duration_seconds", "How long each phase took: resolve the name; connect, first SYN to answer of the slowest accepted connection; burst, first shot to the end of listening.", "phase"),
		connections: d("probe_tcp_connections", "Connections of the probe by outcome.", "outcome"),
		retransmits: d("probe_tcp_syn_retransmits", "SYNs that had to be repeated."),
		stalled:     d("probe_tcp_stalled_connections", "Connections accepted only after a retransmission timeout, by the SYNs that were lost before.", "lost_syns"),
		rtt:         d("probe_tcp_handshake_rtt_seconds", "Handshake round trip, from the answered SYN to its SYN-ACK, over the accepted connections.", "stat"),
		handshake:   d("probe_tcp_handshake_duration_seconds", "From the first SYN to the answer, of accepted connections; the buckets bracket the stalls of 1, 2, 3 and 7 s."),
		neighbor:    d("probe_neighbor_state", "What ARP or neighbour discovery showed during the probe; several states can hold.", "state"),
		verdict:     d("probe_diagnosis", "Whether the probe's diagnosis names this verdict.", "verdict"),
		level:       d("probe_diagnosis_level", "How firmly the diagnosis stands: the level of its firmest cause.", "level"),
		captured:    d("probe_captured", "Whether segments were captured; without, only the kernel's own word is known."),
		drops:       d("probe_capture_dropped_frames", "Frames that the capture lost: with any, loss is not judged."),
		regex:       d("probe_failed_due_to_regex", "Whether the probe failed because an expected line did not come."),
		expiry:      d("probe_ssl_earliest_cert_expiry", "When the first of the peer's certificates expires, in Unix time."),
		chainExpiry: d("probe_ssl_last_chain_expiry_timestamp_seconds", "When the last of the verified chains expires, in Unix time."),
		chainInfo: d("probe_ssl_last_chain_info", "The peer's leaf certificate.",
			"fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber"),
		tlsVersion:     d("probe_tls_version_info", "TLS version that was agreed on.", "version"),
		tlsCipher:      d("probe_tls_cipher_info", "TLS cipher suite that was agreed on.", "cipher"),
		checkUp:        d("probe_check_up", "Whether a health check after keepalived's TCP_CHECK would have the server in its pool at the end."),
		checkEvictions: d("probe_check_evictions", "How often such a check would have evicted the server during the probe."),
		checkOut:       d("probe_check_out_seconds", "How long such a check would have kept the server out of its pool during the probe."),
		remembered:     d("probe_paws_remembered_tsval", "The TSval that the target remembers from this address: SYNs two ticks below are refused. Only where it was found."),
		refused:        d("probe_paws_refused_ratio", "Single SYNs without an answer, by the quadrant of the circle that their TSval lies in.", "arm"),
		poisoned:       d("probe_paws_poisoned_ratio", "Flows that are refused by TSval each time, of those asked in all quadrants."),
		answer:         d("probe_neighbor_answer_seconds", "How long answers to this host's questions for link addresses took, from the first request; absent where it asked nobody.", "stat"),
		queueDropped:   d("probe_neighbor_queue_dropped", "First packets of the burst that were lost while a link address was asked for, by the side whose queue it was; absent where that side knew the other.", "side"),
		queue: d("probe_neighbor_queue_packets",
			"Packets that the target keeps for a neighbour it is still asking for; at least that many where the state is at_least. Absent where that is not known."),
		queueState:     d("probe_neighbor_queue_state", "How well the target's neighbour queue is known.", "state"),
		queueConfirmed: d("probe_neighbor_queue_confirmed", "Whether a second fresh address gave the same length."),
		buckets:        stallBuckets(),
	}
}

// collection is the series of one probe. It describes nothing beforehand, since which series there are depends on the probe.
type collection struct {
	*probeSeries
	f *figures
}

var _ prometheus.Collector = collection{}

// Describe makes collection an unchecked collector.
func (c collection) Describe(chan<- *prometheus.Desc) {}

// Collect sends every series of the probe.
func (c collection) Collect(ch chan<- prometheus.Metric) {
	gauge(ch, c.success, truth(c.f.success))
	gauge(ch, c.duration, c.f.took.Seconds())
	gauge(ch, c.lookup, c.f.lookup.Seconds())
	gauge(ch, c.protocol, c.f.ipProtocol())
	gauge(ch, c.hash, c.f.ipHash())
	c.collectConnections(ch)
	c.collectTimes(ch)
	for state, on := range c.f.neighbors.states() {
		gauge(ch, c.neighbor, truth(on), state)
	}
	for _, v := range diagnose.Verdicts() {
		gauge(ch, c.verdict, truth(c.f.verdicts[v]), string(v))
	}
	for _, l := range diagnose.Levels() {
		gauge(ch, c.level, truth(c.f.level == l), l.String())
	}
	gauge(ch, c.captured, truth(c.f.captured))
	gauge(ch, c.drops, float64(c.f.drops))
	if c.f.kind == prober.KindTCP {
		c.collectTCP(ch)
	}
	if k := c.f.check; k != nil && len(k.Loops) > 0 {
		gauge(ch, c.checkUp, truth(k.Loops[len(k.Loops)-1].Up))
		gauge(ch, c.checkEvictions, float64(k.Evictions))
		gauge(ch, c.checkOut, k.Out.Seconds())
	}
	if c.f.kind == prober.KindNeighbor {
		c.collectNeighbor(ch)
	}
	if c.f.stamps != nil {
		c.collectTimestamps(ch)
	}
	if c.f.queue != nil {
		c.collectQueue(ch)
	}
}

// collectNeighbor sends what a neighbor probe measured.
func (c collection) collectNeighbor(ch chan<- prometheus.Metric) {
	if len(c.f.answers) > 0 {
		for stat, q := range map[string]float64{"median": 0.5, "p99": 0.99, "max": 1} {
			gauge(ch, c.answer, view.Rank(c.f.answers, q).Seconds(), stat)
		}
	}
	for side, k := range map[string]*diagnose.Contact{"local": &c.f.contact.Local, "remote": &c.f.contact.Remote} {
		if k.Tested {
			gauge(ch, c.queueDropped, float64(k.Dropped), side)
		}
	}
}

// collectTimestamps sends what a paws probe measured.
func (c collection) collectTimestamps(ch chan<- prometheus.Metric) {
	ts := c.f.stamps
	if ts.Known {
		gauge(ch, c.remembered, float64(ts.Remembered))
	}
	for i := range ts.Arms {
		if a := &ts.Arms[i]; a.N > 0 {
			gauge(ch, c.refused, float64(a.Silent)/float64(a.N), strconv.Itoa(i))
		}
	}
	if ts.Flows > 0 {
		gauge(ch, c.poisoned, float64(ts.Poisoned)/float64(ts.Flows))
	}
}

// collectQueue sends what a neighbor-queue probe measured.
func (c collection) collectQueue(ch chan<- prometheus.Metric) {
	q := c.f.queue
	if q.State == experiment.QueueMeasured || q.State == experiment.QueueAtLeast {
		gauge(ch, c.queue, float64(q.Packets))
	}
	gauge(ch, c.queueConfirmed, truth(q.Confirmed))
	for _, s := range experiment.QueueStates() {
		gauge(ch, c.queueState, truth(q.State == s), string(s))
	}
}

func (c collection) collectConnections(ch chan<- prometheus.Metric) {
	for _, o := range observe.Outcomes() {
		gauge(ch, c.connections, float64(c.f.outcomes[o]), o.String())
	}
	gauge(ch, c.retransmits, float64(c.f.retransmits))
	for i, n := range c.f.stalled {
		lost := strconv.Itoa(i + 1)
		if i == len(c.f.stalled)-1 {
			lost += "+"
		}
		gauge(ch, c.stalled, float64(n), lost)
	}
}

func (c collection) collectTimes(ch chan<- prometheus.Metric) {
	gauge(ch, c.phases, c.f.lookup.Seconds(), "resolve")
	gauge(ch, c.phases, c.f.bursts.Seconds(), "burst")
	if h := c.f.handshakes; len(h) > 0 {
		gauge(ch, c.phases, view.Rank(h, 1).Seconds(), "connect")
	}
	if len(c.f.rtts) > 0 {
		for stat, q := range map[string]float64{"min": 0, "median": 0.5, "p99": 0.99, "max": 1} {
			gauge(ch, c.rtt, view.Rank(c.f.rtts, q).Seconds(), stat)
		}
	}
	var sum time.Duration
	counts := make(map[float64]uint64, len(c.buckets))
	i := 0
	for _, edge := range c.buckets {
		for i < len(c.f.handshakes) && c.f.handshakes[i].Seconds() <= edge {
			i++
		}
		counts[edge] = uint64(i)
	}
	for _, h := range c.f.handshakes {
		sum += h
	}
	ch <- prometheus.MustNewConstHistogram(c.handshake, uint64(len(c.f.handshakes)), sum.Seconds(), counts)
}

// collectTCP sends blackbox_exporter's own series of a tcp probe.
func (c collection) collectTCP(ch chan<- prometheus.Metric) {
	t := c.f.tcp
	if t == nil {
		t = &prober.TCPResult{}
	}
	gauge(ch, c.regex, truth(t.FailedDueToRegex))
	if len(t.ExpectInfo) > 0 {
		names := slices.Sorted(maps.Keys(t.ExpectInfo))
		values := make([]string, len(names))
		for i, n := range names {
			values[i] = t.ExpectInfo[n]
		}
		gauge(ch, prometheus.NewDesc("probe_expect_info", "What the labels of the matched lines say.", names, nil), 1, values...)
	}
	if t.TLSVersion == "" {
		return
	}
	gauge(ch, c.tlsVersion, 1, t.TLSVersion)
	if t.TLSCipher != "" {
		gauge(ch, c.tlsCipher, 1, t.TLSCipher)
	}
	if !t.EarliestExpiry.IsZero() {
		gauge(ch, c.expiry, float64(t.EarliestExpiry.Unix()))
	}
	if !t.LastChainExpiry.IsZero() {
		gauge(ch, c.chainExpiry, float64(t.LastChainExpiry.Unix()))
	}
	gauge(ch, c.chainInfo, 1, t.Fingerprint, t.Subject, t.Issuer, t.SubjectAltNames, t.Serial)
}

// gauge sends one value. Label values can come from the peer, so they are made valid UTF-8 first.
func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	m, err := prometheus.NewConstMetric(d, prometheus.GaugeValue, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	ch <- m
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
