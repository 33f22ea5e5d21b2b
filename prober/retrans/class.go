package retrans

// Class is why a segment was sent again.
type Class uint8

// The classes, by the sender's state (net/ipv4/tcp_input.c, tcp_output.c, tcp_timer.c, 6.18), each with the counter that the kernel keeps of it:
// RTO, the retransmission timer fired and the first segment that was not acknowledged left again (TCPTimeouts); AfterRTO, what follows it as
// acknowledgments come, until all that had been sent by then is acknowledged (TCPSlowStartRetrans); Fast, SACKs, duplicate acknowledgments or
// RACK told of a loss (TCPFastRetrans); TLP, a tail loss probe that repeats the last segment (RFC 8985 §7; TCPLossProbes, which also counts
// the probes that carry new data). ClassUnknown fits none of them, as after a path MTU change.
const (
	ClassUnknown Class = iota
	RTO
	AfterRTO
	Fast
	TLP
	classes = 5
)

// Classes lists the classes in the order of every face.
func Classes() []Class { return []Class{RTO, AfterRTO, Fast, TLP, ClassUnknown} }

func (c Class) String() string {
	switch c {
	case RTO:
		return "rto"
	case AfterRTO:
		return "after_rto"
	case Fast:
		return "fast"
	case TLP:
		return "tlp"
	case ClassUnknown:
	}
	return "unknown"
}

// Counts are numbers of segments by class.
type Counts [classes]int

// Total is their sum.
func (c *Counts) Total() int {
	n := 0
	for _, k := range c {
		n += k
	}
	return n
}

// Add adds the counts of another connection.
func (c *Counts) Add(o Counts) {
	for k, n := range o {
		c[k] += n
	}
}
