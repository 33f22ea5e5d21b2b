package diagnose

import "time"

// mostDue is how many SYNs a limit may owe: so many in a row that are due and do not come are chance once in e⁸, 3,000 times, even where others take theirs at random.
const mostDue = 8

// starved is the longest time for which SYNs of one burst were dropped, one after the other, and how many were due then at so many a second: a bucket holds one at
// the latest when it has had the time for it.
func (d denial) starved(in *Input, perSecond float64) (longest time.Duration, due float64) {
	var since time.Time
	for _, x := range d.arrivals(in, nil) {
		switch {
		case x.fate != dropped:
			since = time.Time{}
		case since.IsZero():
			since = x.at
		default:
			longest = max(longest, x.at.Sub(since))
		}
	}
	return longest, longest.Seconds() * perSecond
}
