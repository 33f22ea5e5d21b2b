package api

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// scrapeTimeout is the header in which Prometheus says how long it will wait, in seconds.
const scrapeTimeout = "X-Prometheus-Scrape-Timeout-Seconds"

// noScrapeTimeout stands in for a missing or zero header, as in blackbox_exporter.
const noScrapeTimeout = 120 * time.Second

// probeTimeout is how long a probe may take: what the scrape leaves after offset, at most the module's timeout. A scrape that is
// shorter than offset gets all of its time: half a second of patience is no reason to try nothing. The query parameter timeout
// may shorten that, never lengthen it.
func probeTimeout(r *http.Request, module, offset time.Duration) (time.Duration, error) {
	limit := noScrapeTimeout
	if v := r.Header.Get(scrapeTimeout); v != "" {
		s, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsNaN(s) || math.IsInf(s, 0) || s < 0 {
			return 0, fmt.Errorf("header %s: %q is no number of seconds", scrapeTimeout, v)
		}
		if s > 0 {
			limit = time.Duration(min(s, noScrapeTimeout.Seconds()) * float64(time.Second))
		}
	}
	if limit > offset {
		limit -= offset
	}
	limit = min(limit, module)
	v := r.URL.Query().Get("timeout")
	if v == "" {
		return limit, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("timeout: %q is no duration above zero; write it with a unit, such as 2s", v)
	}
	return min(limit, d), nil
}
