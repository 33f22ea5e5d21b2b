package diagnose

import "fmt"

// Queue is the capacity of a neighbour queue in SYNs. It is a range where the kernel counts octets: a SYN's truesize differs by build and
// driver.
type Queue struct{ Least, Most int }

// The truesizes of a SYN or SYN-ACK that were measured or follow from other builds, octets.
const (
	leastTruesize = 768
	mostTruesize  = 1280
)

// QueueOfBytes is the capacity of unres_qlen_bytes (Linux ≥ 3.3): at least one packet always waits (net/core/neighbour.c
// __neigh_event_send, 6.18).
func QueueOfBytes(octets int64) Queue {
	return Queue{max(1, int(octets/mostTruesize)), max(1, int(octets/leastTruesize))}
}

// QueueOfPackets is the capacity of unres_qlen (Linux < 3.3).
func QueueOfPackets(n int64) Queue { return Queue{int(n), int(n)} }

// Known reports whether anything is known.
func (q Queue) Known() bool { return q.Most > 0 }

func (q Queue) fits(n int) bool { return q.Known() && n >= q.Least && n <= q.Most }

func (q Queue) String() string {
	if q.Least == q.Most {
		return fmt.Sprintf("%d SYNs", q.Most)
	}
	return fmt.Sprintf("%d to %d SYNs (by their truesize)", q.Least, q.Most)
}
