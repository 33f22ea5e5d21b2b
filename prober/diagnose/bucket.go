package diagnose

import (
	"math"
	"time"
)

// bucketFate is what became of a SYN at a limiter.
type bucketFate uint8

const (
	perhaps bucketFate = iota // it may have taken a token, or not
	passed
	dropped
)

// arrival is one SYN at a limiter, by when it left this host.
type arrival struct {
	at   time.Time
	fate bucketFate
}

// bucket is a token bucket, or a range of them: low to high tokens a second, up to size of them, one for each SYN; a SYN that finds less than one is dropped.
// So do nft's limit (net/netfilter/nft_limit.c), iptables' limit and hashlimit (net/netfilter/xt_limit.c, xt_hashlimit.c, 6.18), and most balancers.
type bucket struct{ low, high, size float64 }

// gap is one SYN at a limiter and the seconds since the one before.
type gap struct {
	seconds float64
	fate    bucketFate
}

func gaps(list []arrival) []gap {
	out := make([]gap, len(list))
	for i := range list {
		out[i].fate = list[i].fate
		if i > 0 {
			out[i].seconds = list[i].at.Sub(list[i-1].at).Seconds()
		}
	}
	return out
}

// accounts reports whether a bucket of the range can have made every SYN's fate, in order of time, whatever it held before the first; each may have come to
// the limiter slack seconds earlier or later than the others. It is false only where none can. What a bucket holds is known as a range, which every fate
// narrows.
func (b bucket) accounts(list []gap, slack float64) bool {
	blur := b.high * slack
	low, high := 0.0, b.size
	run := -1.0 // seconds since the first of those that were dropped in a row; none: below 0
	for _, g := range list {
		if run >= 0 {
			run += g.seconds
		}
		low, high = min(low+b.low*g.seconds, b.size-blur), min(high+b.high*g.seconds, b.size+blur)
		switch g.fate {
		case passed:
			if high < 1-blur {
				return false
			}
			low, high, run = max(low, 1-blur)-1, high-1, -1
		case dropped:
			run = max(run, 0)
			if low >= 1+blur || b.low*(run-2*slack) >= 1 { // a token has come meanwhile, and nobody took it
				return false
			}
			high = min(high, 1+blur)
		case perhaps:
			low, run = low-1, -1
		}
		low = max(low, -blur)
		high = max(high, low)
	}
	return true
}

// all reports whether it accounts for several rows, each with a bucket of its own.
func (b bucket) all(rows [][]gap, slack float64) bool {
	for _, row := range rows {
		if !b.accounts(row, slack) {
			return false
		}
	}
	return true
}

// fit is the range of the buckets that account for all that was seen.
type fit struct {
	low, high float64 // tokens a second
	// least and most are how many pass at once; most 0: no bound.
	least, most int
}

// Rates are tried in cells of coarse, and within those that may do of fine. largestBucket is how large a bucket is tried.
const (
	coarse        = 1.04
	fine          = 1.0025
	largestBucket = 64
)

// fitBuckets finds the buckets that account for several rows of arrivals, each with a bucket of its own; all are alike. Rates are looked for within a factor of
// four around near. ok is false where none does.
func fitBuckets(near float64, slack time.Duration, arrivals ...[]arrival) (f fit, ok bool) {
	f.low, f.least = math.Inf(1), largestBucket
	rows := make([][]gap, len(arrivals))
	for i := range arrivals {
		rows[i] = gaps(arrivals[i])
	}
	for size := 1; size <= largestBucket; size++ {
		for rate := near / 4; rate <= near*4; rate *= coarse {
			low, high, within := bucket{rate, rate * coarse, float64(size)}.narrow(rows, slack.Seconds())
			if within {
				ok = true
				f.low, f.high = min(f.low, low), max(f.high, high)
				f.least, f.most = min(f.least, size), size
			}
		}
	}
	if f.most == largestBucket {
		f.most = 0
	}
	return f, ok
}

// narrow is the part of a range's rates that may do.
func (b bucket) narrow(rows [][]gap, slack float64) (low, high float64, ok bool) {
	if !b.all(rows, slack) {
		return 0, 0, false
	}
	for rate := b.low; rate < b.high; rate *= fine {
		if (bucket{rate, rate * fine, b.size}).all(rows, slack) {
			if !ok {
				low = rate
			}
			high, ok = rate*fine, true
		}
	}
	return low, high, ok
}
