package plan

import "time"

// Selective acknowledges the first segments of the peer's answer but for the very first, as if that were lost or late: Segments acknowledgments at
// once, Delay after the first data came, each of which has one segment more in its SACK block (RFC 2018 §4). When the peer
// repeats the first tells how much reordering it tolerates. Nothing is acknowledged that has not come, and nothing where the peer does not permit SACK.
type Selective struct {
	Segments int
	// Size of a full segment, in octets: the MSS that was offered.
	Size  int
	Delay time.Duration
	// Wait is how long the repeat is waited for, after which the connection is aborted.
	Wait time.Duration
}
