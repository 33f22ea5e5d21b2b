package profile

import (
	"fmt"
	"time"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// flight is what a server sent before it heard anything of its data.
type flight struct {
	octets int
	// segment is how large one is: that of a repeat, where there was one.
	segment int
	// ended: the answer was shorter than the window, or more came than is recorded.
	ended bool
	// wait is from the last new octet to the first repeat; 0: none came.
	wait time.Duration
}

// recorded is how many answers of one attempt are kept (observe).
const recorded = 64

// probeAfter is the least time after which a tail loss probe comes: two jiffies of the fastest clock (TCP_TIMEOUT_MIN, include/net/tcp.h). Where
// there are more data it is a segment that was not sent before, and no part of the initial window (net/ipv4/tcp_output.c
// tcp_send_loss_probe, 6.18); it comes after two round trips, while a paced flight has gaps of far less than one.
const probeAfter = 1900 * time.Microsecond

// readFlight reads the data of a connection that acknowledged none. Captured segments may be several at once, as the sender's or receiver's
// offload joined them, so octets are counted.
func readFlight(a *observe.Attempt) (f flight, ok bool) {
	ans := synACK(a)
	if ans == nil {
		return f, false
	}
	next := ans.Seq + 1
	var last time.Time
	pause, newest := time.Duration(0), 0 // before the newest octets, and how many these are
	for k := range a.Answers {
		x := &a.Answers[k]
		if x.Kind != observe.Data && x.Kind != observe.FIN {
			continue
		}
		end := x.Seq.Add(x.Length)
		switch {
		case x.Length > 0 && x.Seq.Before(next):
			if f.segment = max(f.segment, x.Length); f.wait == 0 {
				f.wait = x.At.Sub(last)
			}
		case f.wait > 0:
		case x.Length > 0:
			newest = int(end.Sub(next))
			if pause = 0; f.octets > 0 {
				pause = x.At.Sub(last)
			}
			f.octets += newest
			next, last = end, x.At
		}
		f.ended = f.ended || x.Flags&wire.FIN != 0 && f.wait == 0
	}
	f.ended = f.ended || len(a.Answers) >= recorded
	f.measure()
	if pause > max(probeAfter, a.RTT+a.RTT/4) {
		f.probed(newest, pause)
	}
	// a short last segment ends an answer
	f.ended = f.ended || f.octets%f.segment != 0 || f.segment < smallMSS
	return f, f.octets > 0
}

// probed takes a single segment that came after a pause out of the flight.
func (f *flight) probed(newest int, pause time.Duration) {
	if newest == f.segment && f.octets > newest {
		f.octets, f.wait = f.octets-newest, pause
	}
}

// measure says how large one segment is where no repeat showed it, or several came as one.
func (f *flight) measure() {
	if f.segment > 0 && (f.segment <= smallMSS || f.octets%smallMSS != 0) {
		return
	}
	f.segment = smallMSS
	for _, least := range cookieMSS {
		if f.octets%smallMSS != 0 && f.octets >= 2*least && f.octets%least == 0 {
			f.segment = least
		}
	}
}

// cookieMSS is what a listener on SYN cookies takes ours for, on IPv4 and IPv6: the least of its table (net/ipv4/syncookies.c, net/ipv6/syncookies.c
// msstab, 6.18).
var cookieMSS = [...]int{536, 1220}

func (r *reader) flights(v *Value) (all []flight) {
	asked := 0
	for a := range r.arm(armData) {
		asked++
		if f, ok := readFlight(a); ok {
			all = append(all, f)
		}
	}
	v.Seen = len(all)
	switch {
	case asked == 0:
		v.fail(NotAsked)
	case len(all) == 0:
		v.fail("the request drew no data")
	}
	return all
}

func (r *reader) initialWindow(v *Value) {
	var most flight
	for _, f := range r.flights(v) {
		if f.octets > most.octets {
			most = f
		}
	}
	if most.octets == 0 {
		return
	}
	n := most.octets / most.segment
	if most.octets%most.segment != 0 {
		n++
	}
	v.number(float64(n), fmt.Sprint(n))
	v.How += fmt.Sprintf(" (%d octets, segments of %d)", most.octets, most.segment)
	if most.ended || most.wait == 0 {
		v.State, v.Text, v.High = AtLeast, fmt.Sprintf("≥ %d", n), 0
		v.Why = "the answer ended within the window: ask for something longer"
	}
}

func (r *reader) dataRTO(v *Value) {
	var shortest time.Duration
	for _, f := range r.flights(v) {
		if f.wait > 0 && (shortest == 0 || f.wait < shortest) {
			shortest = f.wait
		}
	}
	switch {
	case shortest > 0:
		v.number(shortest.Seconds(), shortest.Round(time.Millisecond).String())
	case v.Seen > 0:
		v.fail(fmt.Sprintf("nothing was repeated within %s", dataPatience))
	}
}
