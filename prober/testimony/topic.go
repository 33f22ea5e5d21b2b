package testimony

import "github.com/vipprobe/vipprobe/prober/diagnose"

// Topic is what counters are listed under: one fault, or several that the same counters speak for.
type Topic uint8

// The topics, in the order in which they are shown.
const (
	TopicUnknown Topic = iota
	Timestamps
	TimeWait
	Echoes
	Listeners
	AcceptQueue
	SYNQueue
	Neighbors
	Conntrack
	Admission
	Loss
	Spurious
	Reordering
	Sizes
	Receiver
	Local
	Traffic
)

// Topics lists every topic in its order.
func Topics() []Topic {
	return []Topic{Timestamps, TimeWait, Echoes, Listeners, AcceptQueue, SYNQueue, Neighbors, Conntrack, Admission, Loss, Spurious, Reordering,
		Sizes, Receiver, Local, Traffic}
}

// String is the topic's name on every face.
func (t Topic) String() string {
	name, _ := t.words()
	return name
}

// Title is the topic in a few words.
func (t Topic) Title() string {
	_, title := t.words()
	return title
}

func (t Topic) words() (name, title string) {
	switch t {
	case Timestamps:
		return "timestamps", "SYNs refused for an older timestamp"
	case TimeWait:
		return "time_wait", "TIME_WAIT met by a new connection"
	case Echoes:
		return "echoes", "timestamps and sequence numbers refused"
	case Listeners:
		return "listeners", "SYNs dropped at listeners, whatever for"
	case AcceptQueue:
		return "accept_queue", "accept queue full"
	case SYNQueue:
		return "syn_queue", "SYN queue full, SYN cookies"
	case Neighbors:
		return "neighbors", "ARP and ND"
	case Conntrack:
		return "conntrack", "connection tracking and NAT"
	case Admission:
		return "admission", "refused, filtered, unreachable"
	case Loss:
		return "loss", "retransmission and loss"
	case Spurious:
		return "spurious", "repeated without need"
	case Reordering:
		return "reordering", "reordering"
	case Sizes:
		return "sizes", "packets too big"
	case Receiver:
		return "receiver", "receivers and memory"
	case Local:
		return "local", "dropped or delayed on this host"
	case Traffic:
		return "traffic", "traffic"
	case TopicUnknown:
	}
	return "unknown", "unknown"
}

// Verdicts lists the verdicts that a topic's counters speak for, in the order of the catalogue.
func (t Topic) Verdicts() []diagnose.Verdict {
	seen := map[diagnose.Verdict]bool{}
	all := Counters()
	for i := range all {
		if all[i].Topic != t {
			continue
		}
		for _, c := range all[i].Claims {
			seen[c.Verdict] = true
		}
	}
	var out []diagnose.Verdict
	for _, v := range diagnose.Verdicts() {
		if seen[v] {
			out = append(out, v)
		}
	}
	return out
}
