package prober

import (
	"slices"
	"time"
)

// Window is a time of maintenance: once, from Start to End; or, where Start is zero, each week on Days (none: every day) from At after
// midnight in Zone (nil: UTC), for For.
type Window struct {
	Start, End time.Time
	Days       []time.Weekday
	At, For    time.Duration
	Zone       *time.Location
}

// Contains reports whether now falls into the window. A weekly one that begins before midnight goes on into the next day. At counts on the
// clock on the wall: where a change to summer time skips it, the window begins when the clock goes on.
func (w *Window) Contains(now time.Time) bool {
	if !w.Start.IsZero() {
		return !now.Before(w.Start) && now.Before(w.End)
	}
	zone := w.Zone
	if zone == nil {
		zone = time.UTC
	}
	here := now.In(zone)
	for back := range int(w.For/(24*time.Hour)) + 2 {
		day := here.AddDate(0, 0, -back)
		if len(w.Days) > 0 && !slices.Contains(w.Days, day.Weekday()) {
			continue
		}
		begin := time.Date(day.Year(), day.Month(), day.Day(), 0, 0, int(w.At/time.Second), 0, zone)
		if !now.Before(begin) && now.Before(begin.Add(w.For)) {
			return true
		}
	}
	return false
}

func inWindow(list []Window, now time.Time) bool {
	for i := range list {
		if list[i].Contains(now) {
			return true
		}
	}
	return false
}
