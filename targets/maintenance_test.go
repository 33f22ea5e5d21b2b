package targets

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipprobe/vipprobe/prober"
)

const windows = `
allow: [192.0.2.0/24]
jobs:
- name: vips
  targets: [192.0.2.1:80]
  diagnose: false
  maintenance:
`

func TestMaintenance(t *testing.T) {
	c := mustParse(t, windows+`  - {start: 2026-03-01T22:00:00Z, end: 2026-03-02T02:00:00+01:00}
  - {days: [sat, sun], at: "02:30", duration: 2h, zone: UTC}
`)
	want := []prober.Window{
		{Start: time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC), End: time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC)},
		{Days: []time.Weekday{time.Saturday, time.Sunday}, At: 150 * time.Minute, For: 2 * time.Hour, Zone: time.UTC},
	}
	j := c.Jobs()[0]
	if diff := cmp.Diff(want, j.Maintenance, cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() }),
		cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if j.Diagnose {
		t.Error("diagnose: false is not heard")
	}
}

func TestBadMaintenance(t *testing.T) {
	for text, want := range map[string]string{
		"{start: 2026-03-01T22:00:00Z}":                            "no end",
		"{start: yesterday, end: 2026-03-01T22:00:00Z}":            "no time like",
		"{start: 2026-03-01T22:00:00Z, end: 2026-03-01T21:00:00Z}": "ends before it begins",
		"{at: \"02:00\"}":                                            "no duration",
		"{duration: 1h}":                                             "no at",
		"{at: \"25:00\", duration: 1h}":                              "no time of day",
		"{at: \"02:00\", duration: 1h, days: [someday]}":             "is no day",
		"{at: \"02:00\", duration: 1h, zone: Middle/Earth}":          "no time zone",
		"{at: \"02:00\", duration: 1h, start: 2026-03-01T22:00:00Z}": "not both",
		"{at: \"02:00\", duration: 1h, often: true}":                 "often",
	} {
		if _, err := Parse("f.yml", []byte(windows+"  - "+text+"\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
