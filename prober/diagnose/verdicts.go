package diagnose

import "slices"

// The verdicts.
const (
	// timestamps
	TWRecyclePAWSDrop       Verdict = "tw_recycle_paws_drop"
	TWRecyclePAWSDropSNAT   Verdict = "tw_recycle_paws_drop_snat"
	TSClockDomainConflict   Verdict = "ts_clock_domain_conflict"
	ClientRandomTSVsRecycle Verdict = "client_random_ts_vs_recycle"
	TimeWaitCollision       Verdict = "time_wait_collision"
	ClientPAWSReject        Verdict = "client_paws_reject"
	IPVSPortReuseDrop       Verdict = "ipvs_port_reuse_drop"
	// neighbour
	LocalARPQueueOverflow      Verdict = "local_arp_queue_overflow"
	RemoteARPQueueOverflow     Verdict = "remote_arp_queue_overflow"
	LocalARPUnresolved         Verdict = "local_arp_unresolved"
	RemoteARPUnresolved        Verdict = "remote_arp_unresolved"
	NeighTableOverflow         Verdict = "neigh_table_overflow"
	StaleNeighborAfterFailover Verdict = "stale_neighbor_after_failover"
	DuplicateAddress           Verdict = "duplicate_address"
	NeighborFlapping           Verdict = "neighbor_flapping"
	// listener
	AcceptQueueOverflow Verdict = "accept_queue_overflow"
	AbortOnOverflow     Verdict = "abort_on_overflow"
	SYNQueueFullDrop    Verdict = "syn_queue_full_drop"
	SYNCookiesActive    Verdict = "syn_cookies_active"
	DeferAcceptBenign   Verdict = "defer_accept_benign"
	PortClosed          Verdict = "port_closed"
	// filter and NAT
	SYNRateLimited     Verdict = "syn_rate_limited"
	ACLDrop            Verdict = "acl_drop"
	ReversePathFilter  Verdict = "reverse_path_filter"
	ConntrackTableFull Verdict = "conntrack_table_full"
	SNATPortExhaustion Verdict = "snat_port_exhaustion"
	SNATPortRace       Verdict = "snat_port_race"
	// pool
	VIPPoolEmpty Verdict = "vip_pool_empty"
	// path and balancer
	BlackholeBackend     Verdict = "blackhole_backend"
	ECMPPathLoss         Verdict = "ecmp_path_loss"
	ForwardSYNLoss       Verdict = "forward_syn_loss"
	SYNACKLoss           Verdict = "synack_loss"
	MTUBlackhole         Verdict = "mtu_blackhole"
	LBFullProxyMasks     Verdict = "lb_full_proxy_masks"
	BackendHeterogeneity Verdict = "backend_heterogeneity"
	// middlebox
	MiddleboxTSStripped         Verdict = "middlebox_ts_stripped"
	MiddleboxTSecrCorrupt       Verdict = "middlebox_tsecr_corrupt"
	TimestampNormalizedPossible Verdict = "timestamp_normalized_possible"
	// data phase
	PathLoss           Verdict = "path_loss"
	PathReordering     Verdict = "path_reordering"
	SpuriousRetransTLP Verdict = "spurious_retrans_tlp"
	// self
	Healthy              Verdict = "healthy"
	SYNStallUnclassified Verdict = "syn_stall_unclassified"
	SlowPathNotStall     Verdict = "slow_path_not_stall"
	ProberLocalDrop      Verdict = "prober_local_drop"
	ProberClockStep      Verdict = "prober_clock_step"
	InsufficientSamples  Verdict = "insufficient_samples"
)

// Verdicts lists every verdict in the order of the catalogue.
func Verdicts() []Verdict {
	return []Verdict{
		TWRecyclePAWSDrop, TWRecyclePAWSDropSNAT, TSClockDomainConflict, ClientRandomTSVsRecycle, TimeWaitCollision,
		ClientPAWSReject, IPVSPortReuseDrop,
		LocalARPQueueOverflow, RemoteARPQueueOverflow, LocalARPUnresolved, RemoteARPUnresolved, NeighTableOverflow,
		StaleNeighborAfterFailover, DuplicateAddress, NeighborFlapping,
		AcceptQueueOverflow, AbortOnOverflow, SYNQueueFullDrop, SYNCookiesActive, DeferAcceptBenign, PortClosed,
		SYNRateLimited, ACLDrop, ReversePathFilter, ConntrackTableFull, SNATPortExhaustion, SNATPortRace,
		VIPPoolEmpty,
		BlackholeBackend, ECMPPathLoss, ForwardSYNLoss, SYNACKLoss, MTUBlackhole, LBFullProxyMasks, BackendHeterogeneity,
		MiddleboxTSStripped, MiddleboxTSecrCorrupt, TimestampNormalizedPossible,
		PathLoss, PathReordering, SpuriousRetransTLP,
		Healthy, SYNStallUnclassified, SlowPathNotStall, ProberLocalDrop, ProberClockStep, InsufficientSamples,
	}
}

// Subject is what a verdict is about.
type Subject uint8

// The subjects, in the order of the catalogue.
const (
	SubjectUnknown Subject = iota
	SubjectTimestamps
	SubjectNeighbor
	SubjectListener
	SubjectFilter
	SubjectPool
	SubjectPath
	SubjectMiddlebox
	SubjectData
	SubjectSelf
)

// Subject of a verdict; SubjectUnknown for one that is not in the catalogue.
func (v Verdict) Subject() Subject {
	last := []struct {
		verdict Verdict
		subject Subject
	}{
		{IPVSPortReuseDrop, SubjectTimestamps}, {NeighborFlapping, SubjectNeighbor}, {PortClosed, SubjectListener}, {SNATPortRace, SubjectFilter},
		{VIPPoolEmpty, SubjectPool}, {BackendHeterogeneity, SubjectPath}, {TimestampNormalizedPossible, SubjectMiddlebox},
		{SpuriousRetransTLP, SubjectData}, {InsufficientSamples, SubjectSelf},
	}
	at := slices.Index(Verdicts(), v)
	for _, l := range last {
		if at >= 0 && at <= slices.Index(Verdicts(), l.verdict) {
			return l.subject
		}
	}
	return SubjectUnknown
}

// RefusesByTSval reports whether a finding names a server that drops SYNs by their TSval, whoever's clock it remembers.
func (f *Finding) RefusesByTSval() bool {
	return slices.Contains([]Verdict{TWRecyclePAWSDrop, TWRecyclePAWSDropSNAT, TSClockDomainConflict, ClientRandomTSVsRecycle}, f.Verdict)
}

// Benign reports whether a verdict explains something that is no fault: it is told in a note, however firm it is, and never as a cause.
func (v Verdict) Benign() bool {
	return v == SYNCookiesActive || v == DeferAcceptBenign || v == SpuriousRetransTLP
}
