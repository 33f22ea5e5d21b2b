package diagnose

// stray reports whether flows that are asked again are refused more often than when they were fresh, in the half of the circle from quadrant k on. What stands
// behind a server's memory treats the first SYN of a flow as the tenth. A device that keeps an offset of its own for each flow, so that every
// first SYN fits, lets the leaps of a repeated one through; and a listener that still holds a flow's request, since our reset was lost, refuses
// an older TSval on that flow alone (net/ipv4/tcp_minisocks.c tcp_check_req, 6.18). No client makes such leaps.
func (c *cells) stray(k int) bool {
	fresh, again := silences{}, silences{}
	for i := range c.flows {
		asks := c.flows[i].asks
		first, _ := halves(asks[:min(1, len(asks))], k)
		all, _ := halves(asks, k)
		fresh.silent, fresh.n = fresh.silent+first.silent, fresh.n+first.n
		again.silent, again.n = again.silent+all.silent-first.silent, again.n+all.n-first.n
	}
	return fisher(again, fresh) < 1e-2
}
