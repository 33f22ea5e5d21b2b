package targets

import (
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober"
)

// Bounds of a window.
const (
	minWindow = time.Minute
	maxWindow = 7 * 24 * time.Hour
)

// readMaintenance reads a job's windows: each from start to end, or each week (on days; none: every day) at a time for a duration.
func readMaintenance(s *section, j *Job) {
	for _, it := range s.list("maintenance") {
		w := it.doc.section(it.key, it.node)
		if w == nil {
			continue
		}
		var x prober.Window
		switch once, weekly := w.has("start") || w.has("end"), w.has("at") || w.has("duration") || w.has("days") || w.has("zone"); {
		case once && weekly:
			w.doc.fail(w.at, "want start and end, or at and duration, not both")
		case once:
			x.Start, x.End = w.instant("start"), w.instant("end")
			if !x.Start.IsZero() && !x.End.IsZero() && !x.End.After(x.Start) {
				w.doc.fail(w.place("end"), "the window ends before it begins")
			}
		default:
			readWeekly(w, &x)
		}
		w.asked["start"], w.asked["end"] = true, true
		for _, k := range []string{"at", "duration", "days", "zone"} {
			w.asked[k] = true
		}
		w.done()
		j.Maintenance = append(j.Maintenance, x)
	}
}

func (s *section) instant(key string) time.Time {
	var v string
	if !s.str(key, &v) {
		s.doc.fail(s.at, "no %s", key)
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		s.doc.fail(s.place(key), "%q is no time like 2026-03-01T22:00:00Z", short(v))
	}
	return t
}

func readWeekly(w *section, x *prober.Window) {
	var at, zone string
	if !w.str("at", &at) {
		w.doc.fail(w.at, "no at: when the window begins, like 02:30")
	} else if t, err := time.Parse("15:04", at); err != nil {
		w.doc.fail(w.place("at"), "%q is no time of day like 02:30", short(at))
	} else {
		x.At = time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
	}
	if !w.duration("duration", &x.For, minWindow, maxWindow) && !w.has("duration") {
		w.doc.fail(w.at, "no duration")
	}
	if w.str("zone", &zone) {
		z, err := time.LoadLocation(zone)
		if err != nil {
			w.doc.fail(w.place("zone"), "%q is no time zone known here", short(zone))
		}
		x.Zone = z
	}
	for _, it := range w.list("days") {
		v, ok := it.text()
		if !ok {
			continue
		}
		i := slices.Index([]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, v)
		if i < 0 {
			it.doc.fail(it.at, "%q is no day: want sun, mon, tue, wed, thu, fri or sat", short(v))
			continue
		}
		x.Days = append(x.Days, time.Weekday(i))
	}
}
