package watch

import (
	"path/filepath"
	"testing"

	"github.com/vipprobe/vipprobe/prober/internal/hostproc"
)

func TestReadTwice(t *testing.T) {
	w, err := Open(Options{Peers: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	first := w.Read()[0]
	if first.Err != nil || first.Place != hostproc.Host || first.Span != 0 || len(first.Interval) != 0 || len(first.Values) == 0 {
		t.Errorf("first reading: %+v", first)
	}
	second := w.Read()[0]
	if second.Err != nil || second.Span <= 0 || second.Since != second.Span || second.PeersErr != nil || second.Peers == nil {
		t.Errorf("second reading: %+v", second)
	}
	third := w.Read()[0]
	for name, n := range third.Whole {
		if want := second.Interval[name] + third.Interval[name]; n != want {
			t.Errorf("%s: %d in all, want %d", name, n, want)
		}
	}
}

func TestSaved(t *testing.T) {
	dir := filepath.Join("..", "internal", "hostproc", "testdata")
	for _, kernel := range []string{"2.6.32", "3.10", "4.19"} {
		r, err := Saved(filepath.Join(dir, kernel), filepath.Join(dir, kernel))
		if err != nil || len(r.Whole) != 0 || len(r.Values) == 0 {
			t.Errorf("%s against itself: %v, %v", kernel, r.Whole, err)
		}
	}
	if _, err := Saved(t.TempDir(), t.TempDir()); err == nil {
		t.Error("two empty directories were compared")
	}
}
