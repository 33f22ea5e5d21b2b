package diagnose

import (
	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/plan"
)

// hurried reports whether a connection is late only by a ladder of our own, which asks again sooner than any host does: what came was the answer to its
// first SYN, and it came before a client would have repeated that. Such a connection was served, if slowly; no user of it would have lost a SYN.
func hurried(a *observe.Attempt) bool {
	return a.Via == plan.Raw && a.Outcome == observe.Accepted && a.Late == observe.LateSlow && a.Answered == 0 && a.Unseen == 0 && a.Handshake < slowFrom
}
