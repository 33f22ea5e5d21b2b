package targets

import (
	"strings"
	"testing"
	"time"
)

func TestResultsSection(t *testing.T) {
	c, err := Parse("a.yml", []byte("results: {path: /var/lib/vipprobe/r.db, max_age: 2160h, points_age: 12h, max_size: 2GB, captures: false}"))
	if err != nil {
		t.Fatal(err)
	}
	want := Results{Path: "/var/lib/vipprobe/r.db", MaxAge: 90 * 24 * time.Hour, PointsAge: 12 * time.Hour, MaxSize: 2 << 30}
	if got := c.Results(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	again, err := Parse("shown.yml", c.Redacted())
	if err != nil || again.Results() != want {
		t.Errorf("shown and read again: %+v, %v", again.Results(), err)
	}
	if got := Default().Results(); got.Path != "" || !got.Captures || got.MaxAge != 30*24*time.Hour {
		t.Errorf("by default %+v", got)
	}
	for text, place := range map[string]string{
		"results: {max_age: 1s}":       "a.yml:1:20: results.max_age",
		"results: {max_size: 2}":       `results.max_size: "2" is no size`,
		"results: {max_size: 9999TB}":  "results.max_size: 9999TB is not within 1MB to 16TB",
		"results: {max_sizes: 1GB}":    "did you mean max_size?",
		"results: {captures: perhaps}": "results.captures: want true or false",
		"results: [1]":                 "results",
	} {
		if _, err := Parse("a.yml", []byte(text)); err == nil || !strings.Contains(err.Error(), place) {
			t.Errorf("%s: %v; want %q", text, err, place)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"1MB": 1 << 20, "1MiB": 1 << 20, "1048576B": 1 << 20, "512MB": 512 << 20, "2GiB": 2 << 30, "16TB": 1 << 44} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", s, got, err, want)
		}
		if back, err := ParseSize(spellSize(want)); err != nil || back != want {
			t.Errorf("%d is spelt %s, which reads %d, %v", want, spellSize(want), back, err)
		}
	}
	for _, s := range []string{"", "B", "iB", "MB", "1", "1M", "1iB", "-1MB", "+1MB", "1.5GB", "1KB", "17TB", "99999999999TB", "1 MB", "1mb", "1XB"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("%q is read as %d", s, got)
		}
	}
}
