package catalogue

import (
	"github.com/vipprobe/vipprobe/prober/diagnose"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// Entry is all that the catalogue holds of one verdict.
type Entry struct {
	Verdict diagnose.Verdict
	// Title is the verdict in a few words.
	Title string
	// Group is the layer that it belongs to.
	Group Group
	// Benign: a note that is no fault by itself.
	Benign bool
	// Symptoms are what users, logs and ordinary monitoring show.
	Symptoms []string
	// Mechanism is how it comes about, a fact with its source each.
	Mechanism []Fact
	// Proof is what shows it, and how firmly.
	Proof []Proof
	// LookAlikes are what is taken for it, and what tells them apart.
	LookAlikes []LookAlike
	// Remedies are what to do, by the device or kernel that it holds for.
	Remedies []Remedy
	// Counters are what would confirm it on a machine that one may log in to.
	Counters []Counter
	// Scenario is the lab's, to see it: vipprobe lab run. Empty where Unmade says why the lab cannot make it.
	Scenario string
	Unmade   string
}

// Group is a layer of the network or of the prober.
type Group string

// The groups, in the order of the catalogue.
const (
	Timestamps Group = "timestamps"
	Neighbour  Group = "neighbour"
	Listener   Group = "listener"
	Filter     Group = "filter and NAT"
	Pool       Group = "pool"
	Path       Group = "path and balancer"
	Middlebox  Group = "middlebox"
	Data       Group = "data phase"
	Self       Group = "the prober itself"
)

// Fact is one step of a mechanism and where it stands: "RFC 7323 §3.2", "net/ipv4/tcp_input.c tcp_conn_request, Linux 6.18",
// "commit 4396e46187ca, Linux 4.12", a manual page, "measured on Linux 3.10", "arithmetic", or "unverified". Several sources are
// separated by semicolons.
type Fact struct{ Text, Source string }

// Proof is what one experiment shows when the verdict holds, and the firmest level that it reaches by itself.
type Proof struct {
	Experiment plan.Kind
	Level      diagnose.Level
	Shows      string
}

// LookAlike is another verdict with the same symptoms, and what separates the two.
type LookAlike struct {
	Verdict diagnose.Verdict
	Apart   string
}

// Remedy is what to do in one place.
type Remedy struct{ Where, Do string }

// Counter is what to read, where, and what it says; with the kernels that have it.
type Counter struct{ Where, Name, Reads string }

// Entries lists the catalogue in the order of diagnose.Verdicts.
func Entries() []Entry {
	makers := []func() Entry{
		twRecyclePAWSDrop, twRecyclePAWSDropSNAT, tsClockDomainConflict, clientRandomTSVsRecycle, timeWaitCollision, clientPAWSReject,
		ipvsPortReuseDrop, localARPQueueOverflow, remoteARPQueueOverflow, localARPUnresolved, remoteARPUnresolved, neighTableOverflow,
		staleNeighborAfterFailover, duplicateAddress, neighborFlapping, acceptQueueOverflow, abortOnOverflow, synQueueFullDrop,
		synCookiesActive, deferAcceptBenign, portClosed, synRateLimited, aclDrop, reversePathFilter, conntrackTableFull,
		snatPortExhaustion, snatPortRace, vipPoolEmpty, blackholeBackend, ecmpPathLoss, forwardSYNLoss, synackLoss, mtuBlackhole,
		lbFullProxyMasks, backendHeterogeneity, middleboxTSStripped, middleboxTSecrCorrupt, timestampNormalizedPossible, pathLoss,
		pathReordering, spuriousRetransTLP, healthy, synStallUnclassified, slowPathNotStall, proberLocalDrop, proberClockStep,
		insufficientSamples,
	}
	all := make([]Entry, 0, len(makers))
	for _, entry := range makers {
		all = append(all, entry())
	}
	return all
}

// Find returns the entry of a verdict.
func Find(v diagnose.Verdict) (Entry, bool) {
	for _, e := range Entries() {
		if e.Verdict == v {
			return e, true
		}
	}
	return Entry{}, false
}
