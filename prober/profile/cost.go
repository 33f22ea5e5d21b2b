package profile

// costOf is what measuring a trait sends to the host. Traits of one cost share it.
func costOf(n Name) string {
	switch n {
	case Options, MSS, WindowScale, Window, SACK, Timestamps, TimestampStart, ECN, InitialTTL, Hops, HandshakeTime:
		return "12 SYNs in 50 ms, each reset at its SYN-ACK"
	case SYNACKRTO, SYNACKRepeats, TimestampHz:
		return "two requests half-open as long as --patience lasts"
	case SYNCookies:
		return "the same; where no SYN-ACK is repeated, two connections more and 6 s"
	case DeferAccept:
		return "two silent connections as long as --patience lasts"
	case ClosedPort:
		return "3 SYNs"
	case InitialWindow, DataRTO:
		return "two answers to the request, for 1.6 s"
	case Reordering, LossByTime:
		return "nine answers to the request one after the other, and up to six more, 2 s"
	case TimeWaitISN, TimeWaitTimestamp, TimeWaitOldISN, TimeWaitOldStamp, TimeWaitRST:
		return "at most 10 answers to a request and 20 SYNs, 4 s; the host holds up to 4 connections in TIME_WAIT afterwards"
	case PerHostPAWS:
		return "some 300 SYNs, 15 s"
	case NeighborQueue:
		return "some 900 SYNs from borrowed addresses, 6 s"
	case Backlog:
		return "that many requests half-open, 3 s"
	case AbortOnOverflow:
		return "the same number of connections at once, silent for 1.5 s"
	}
	return ""
}
