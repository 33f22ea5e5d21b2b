package diagnose

import (
	"fmt"
	"math"
)

// What keepalived 2.x does where its configuration says nothing: one retry (keepalived/check/check_api.c queue_checker), a loop every
// 60 s (KEEPALIVED_DEFAULT_DELAY, keepalived/include/check_data.h).
const (
	checkRetry = 1
	checkLoop  = 60 // s
)

// refusal is the share of connects of a refused clock that fail, as measured: within flows where these were asked, else over single SYNs.
func refusal(c *cells, t *tsvals) float64 {
	if len(c.flows) > 0 {
		in, _ := c.total(t.k)
		return share(in)
	}
	return share(t.allIn)
}

// eviction says how soon a health check whose connects fail with a chance of q takes a healthy server out of its pool: a loop fails when the
// first try and every retry do.
func eviction(q float64) string {
	loop := math.Pow(q, checkRetry+1)
	switch {
	case loop < 1e-4:
		return ""
	case loop > 0.98:
		return "a health check with such a clock (keepalived's TCP_CHECK, 1 retry) fails every loop: it evicts what it checks at once, although the server is well"
	}
	return fmt.Sprintf("a health check with such a clock fails one connect with %.0f %%: with keepalived's default of 1 retry it evicts in %.2g %% of its loops, "+
		"once in about %.0f loops (%s at the default of 60 s), although the server is well", 100*q, 100*loop, 1/loop, about(checkLoop/loop))
}

// about writes seconds as a person would.
func about(s float64) string {
	switch {
	case s < 90:
		return fmt.Sprintf("%.0f s", s)
	case s < 5400:
		return fmt.Sprintf("%.0f min", s/60)
	}
	return fmt.Sprintf("%.0f h", s/3600)
}
