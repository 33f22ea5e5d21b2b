package observe

import "time"

// wall takes the monotonic readings out of what the observation says of time, so that a stored observation is the same as the one that was
// judged live. What lasted from one reading to another keeps the length that the monotonic clock gave it.
func (o *Observation) wall() {
	o.Started, o.Finished = WallSpan(o.Started, o.Finished)
	for i := range o.Transfers {
		t := &o.Transfers[i]
		t.Began, t.Ended = WallSpan(t.Began, t.Ended)
	}
	for i := range o.Attempts {
		a := &o.Attempts[i]
		for k := range a.SYNs {
			a.SYNs[k].Handed = a.SYNs[k].Handed.Round(0)
		}
		if k := a.Kernel; k != nil {
			k.Started, k.Completed = WallSpan(k.Started, k.Completed)
		}
	}
	for i := range o.Pings {
		o.Pings[i].Handed = o.Pings[i].Handed.Round(0)
	}
}

// WallSpan is from and to without monotonic readings, as far apart as before.
func WallSpan(from, to time.Time) (start, end time.Time) {
	start, end = from.Round(0), to.Round(0)
	if !from.IsZero() && !to.IsZero() {
		end = start.Add(to.Sub(from))
	}
	return start, end
}
