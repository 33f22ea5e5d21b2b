package diagnose

import "time"

// A limit whose bucket holds one or two SYNs is empty when a burst begins that follows another, and then passes one SYN here and there: the first of a burst are no better off than
// those behind them, and all that shows the limit is when they passed.
const (
	// fewRationed are the SYNs that must have passed for their times to say anything.
	fewRationed = 3
	// slowestRation and fastestRation bound the SYNs a second that are tried. Above, what a limiter's clock and the way blur (leastSlack) comes near a token, and any order of fates would do.
	slowestRation, fastestRation = 0.5, 64.0
	// rationSteps is the step from one range of rates to the next; largestRation is how large a bucket is tried: the first SYNs of bursts show larger ones.
	rationSteps, largestRation = 1.25, 8
)

// rationed reports whether half of the SYNs or more had no effect, and one bucket of tokens can have dealt out those that had. It is a reason to ask, and no proof.
func (d denial) rationed(in *Input) bool {
	list := d.arrivals(in, nil)
	pass, drop := 0, 0
	for _, a := range list {
		switch a.fate {
		case passed:
			pass++
		case dropped:
			drop++
		case perhaps:
		}
	}
	if pass < fewRationed || drop < pass {
		return false
	}
	rows, slack := [][]gap{gaps(list)}, max(leastSlack, rttSpread(in))
	for rate := slowestRation; rate < fastestRation; rate *= rationSteps {
		for size := 1.0; size <= largestRation; size++ {
			if b := (bucket{rate, rate * rationSteps, size}); !b.all(rows, slack.Seconds()) {
				continue
			}
			for r := rate; r < rate*rationSteps; r *= coarse {
				if (bucket{r, r * coarse, size}).all(rows, slack.Seconds()) {
					return true
				}
			}
		}
	}
	return false
}

// sharp reports whether what was found of a limit leaves little room: one bucket accounts for all, its rate is known within a half, and what is blurred is well below a token.
func (l *RateLimit) sharp() bool {
	return l.Exact && 2*l.RateHigh <= 3*l.RateLow && l.RateHigh*l.slack.Seconds() <= 0.65 && l.slack < time.Second
}
