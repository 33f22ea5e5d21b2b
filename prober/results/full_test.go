package results

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestAFullDiskIsCountedAndTold: what cannot be written (SQLITE_FULL) is counted and told, none of it is there in part, and once there is room all goes on.
func TestAFullDiskIsCountedAndTold(t *testing.T) {
	var mu sync.Mutex
	var told []string
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "results.db"), every: time.Hour, OnError: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, err.Error())
	}})
	if err != nil {
		t.Fatal(err)
	}
	pages := func(pragma string) {
		t.Helper()
		if _, err := s.w.ExecContext(t.Context(), pragma); err != nil {
			t.Fatal(err)
		}
	}
	large := entryAt(vip, base(), 3, true)
	large.Pcapng = make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(large.Pcapng) // it never fails; what is random does not become smaller
	pages("PRAGMA max_page_count = 200")
	add(t, s, large, large)
	st := s.Stats()
	if st.Dropped[DroppedError] != 2 || st.Written != 0 || st.Added != 2 {
		t.Errorf("%+v", st)
	}
	if list, _, err := s.Reader().Rounds(t.Context(), Filter{}, Cursor{}, 10); err != nil || len(list) != 0 {
		t.Errorf("of what could not be written whole there is %+v, %v", list, err)
	}
	pages("PRAGMA max_page_count = 100000")
	ids := add(t, s, large)
	if frames, err := s.Reader().Pcapng(t.Context(), ids[0]); err != nil || !bytes.Equal(frames, large.Pcapng) {
		t.Errorf("once there is room: %d octets, %v", len(frames), err)
	}
	check(t, s.w)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(told) == 0 || !strings.Contains(told[0], "full") || !strings.Contains(told[0], "results") {
		t.Errorf("told %q", told)
	}
}
