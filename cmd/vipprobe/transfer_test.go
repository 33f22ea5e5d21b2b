package main

import (
	"testing"

	"github.com/vipprobe/vipprobe/prober/plan"
)

func TestParseWay(t *testing.T) {
	for _, tt := range []struct {
		in   string
		way  plan.Way
		path string
		bad  bool
	}{
		{"http:/", plan.Get, "/", false}, {"http:/a?b=c", plan.Get, "/a?b=c", false}, {"post:/up", plan.Post, "/up", false},
		{"echo", plan.Echo, "", false}, {"sink", plan.Sink, "", false}, {"source", plan.Source, "", false},
		{"http", 0, "", true}, {"http:a", 0, "", true}, {"http:/a b", 0, "", true}, {"http:/\r\nX: y", 0, "", true}, {"echo:/x", 0, "", true}, {"https:/", 0, "", true}, {"", 0, "", true},
		{"unknown", 0, "", true},
	} {
		way, path, err := parseWay(tt.in)
		if (err != nil) != tt.bad || !tt.bad && (way != tt.way || path != tt.path) {
			t.Errorf("%q: %s %q %v", tt.in, way, path, err)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64 // 0: refused
	}{
		{"1", 1}, {"500kB", 500_000}, {"1MB", 1_000_000}, {"2MiB", 2 << 20}, {"1.5M", 1_500_000}, {"1G", 1e9}, {"64Ki", 64 << 10},
		{"", 0}, {"0", 0}, {"-1MB", 0}, {"MB", 0}, {"1TB", 0}, {"1e99", 0}, {"NaN", 0}, {"1 MB", 0}, {"1MiBB", 0}, {"0.1", 0},
	} {
		got, err := parseBytes(tt.in)
		if got != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%q: %d, %v; want %d", tt.in, got, err, tt.want)
		}
	}
}
