package results

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/vipprobe/vipprobe/prober/results/minute"
)

// BenchmarkHistory asks for the last 100,000 connections of one of a hundred targets, a day and some hours of ten every ten seconds, and for the
// figures of that time.
func BenchmarkHistory(b *testing.B) {
	s, err := Open(b.Context(), Options{Path: filepath.Join(b.TempDir(), "results.db"), every: time.Hour, OnError: func(err error) { b.Error(err) }})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const minutes = 1700
	end := time.Now().Truncate(time.Minute).Add(-time.Hour)
	tx, err := s.w.BeginTx(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := tx.ExecContext(b.Context(), `INSERT INTO series VALUES (50, 'vip:443', '', '', '', '', 0)`); err != nil {
		b.Fatal(err)
	}
	for m := range int64(minutes) {
		sums := map[cell]*sum{}
		for series := range int64(100) {
			x := &sum{}
			for r := range 6 {
				e := entryAt(vip, end.Add(time.Duration(m-minutes)*time.Minute+time.Duration(r)*10*time.Second), 10, false)
				x.figures.Merge(&e.Figures)
				x.points = minute.AppendPoints(x.points, e.Points)
			}
			sums[cell{minuteOf(end) - minutes + m, series}] = x
		}
		if err := putMinutes(b.Context(), tx, sums); err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
	r := s.Reader()
	for b.Loop() {
		h, err := r.History(b.Context(), SeriesFilter{Target: "vip:443", From: end.Add(-minutes * time.Minute), To: end, Step: 4 * time.Minute, Points: 100_000})
		if err != nil || len(h.Dots) != 100_000 || len(h.Buckets) < 400 {
			b.Fatal(err, len(h.Dots), len(h.Buckets))
		}
	}
}
