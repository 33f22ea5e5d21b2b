package lab

import "github.com/vipprobe/vipprobe/prober/diagnose"

// harmless: no per-host PAWS, or no connection that a server closes first, or no clock that is ahead.
func harmless(v *Values) bool {
	return v.String("recycle") == "off" || v.set["closer"] == "client"
}

// ahead is a fault by a clock that is gap ticks ahead, as PAWS sees it: at most 2³¹, and more than passes between two connections.
func ahead(v *Values, fault Label) Label {
	const minute, half = 60_000, 1 << 31
	if gap := v.Uint32("gap"); gap < minute || gap > half-minute {
		return doubtful(fault).OrAlso()
	}
	return fault
}

func recycledDirectly(v *Values) Label {
	switch {
	case harmless(v):
		return Healthy()
	case v.String("cookies") == "2":
		return Healthy().OrAlso(diagnose.SYNCookiesActive)
	case v.String("recycle") == "3.10":
		return proven("as CentOS 7's 3.10.0-1160")
	}
	return proven("as 2.6.32")
}

func recycledBehindVIP(v *Values) Label {
	const snat = diagnose.TWRecyclePAWSDropSNAT
	switch ts := v.String("timestamps"); {
	case harmless(v):
		return Healthy()
	case !v.Bool("snat") && ts == "1": // the client's own connections are what the servers remember
		return Healthy().OrAlso(diagnose.ClientRandomTSVsRecycle).OrAlso(diagnose.TWRecyclePAWSDrop).OrAlso(snat).OrAlso()
	case !v.Bool("snat"):
		return Healthy()
	case ts == "1": // whatever the gap
		return Is(snat).OrAlso(diagnose.TWRecyclePAWSDrop)
	case ts == "0" && v.String("recycle") == "3.10":
		return Label{Verdicts: []diagnose.Verdict{snat}, Level: diagnose.Suspected}
	case ts == "0":
		return Healthy().OrAlso(snat)
	}
	return ahead(v, Is(snat))
}

func recycledShare(v *Values) Label {
	if harmless(v) || v.Int("old") == 0 {
		return Healthy()
	}
	return ahead(v, Is(diagnose.TWRecyclePAWSDropSNAT))
}

// monitored is a health monitor without timestamps.
func monitored(v *Values) Label {
	if v.String("recycle") == "3.10" {
		return Is(diagnose.TSClockDomainConflict).OrAlso(diagnose.TWRecyclePAWSDropSNAT)
	}
	return Healthy().OrAlso(diagnose.TSClockDomainConflict).OrAlso(diagnose.TWRecyclePAWSDropSNAT)
}

// rewritten is the box of incident 001 with an address of its own for business.
func rewritten(v *Values) Label {
	switch {
	case harmless(v):
		return Healthy()
	case !v.Bool("timestamps") && v.String("recycle") == "3.10":
		return Label{Verdicts: []diagnose.Verdict{diagnose.TWRecyclePAWSDropSNAT}, Level: diagnose.Suspected}
	case v.Bool("timestamps") && !v.Bool("rewrite"):
		return ahead(v, Is(diagnose.TWRecyclePAWSDropSNAT))
	}
	return Healthy().OrAlso(diagnose.TimestampNormalizedPossible).OrAlso()
}

// reused: a server holds its TIME_WAIT for 60 s (TCP_TIMEWAIT_LEN in include/net/tcp.h, 6.18); ports that come again within that meet it.
func reused(v *Values) Label {
	fault := Is(diagnose.TimeWaitCollision)
	switch {
	case v.Int("forgets") >= 60:
		return Healthy()
	case v.Int("ports") > 64:
		return doubtful(fault)
	}
	return fault
}
