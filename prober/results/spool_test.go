package results

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// unwritten is a Store whose database gets nothing, as if its writer were held up by a disk or by somebody's lock.
func unwritten(t *testing.T, path string) *Store {
	t.Helper()
	s, err := prepare(t.Context(), Options{Path: path, OnError: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	var spooling sync.WaitGroup
	spooling.Go(s.spoolAll)
	t.Cleanup(func() {
		close(s.in)
		for range s.todo { // what came through is of no more use
		}
		spooling.Wait()
		if err := s.release(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// afterKill are the files as a kill now would leave them, under another name.
func afterKill(t *testing.T, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "results.db")
	for _, end := range []string{"", "-wal", "-spool0", "-spool1"} {
		content, err := os.ReadFile(path + end)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+end, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// TestAKillLosesNothingThatWasSpooled: not one transaction comes about, and yet what was added is there after a kill, whole and once.
func TestAKillLosesNothingThatWasSpooled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	s := unwritten(t, path)
	at := base().Add(7 * time.Second)
	bad := entryAt(vip, at, 5, true)
	bad.Labels = map[string]string{"team": "network"}
	id, _ := s.Add(bad)
	for i := range 9 {
		well := entryAt(vip, at.Add(time.Duration(i)*time.Second), 5, false)
		well.Labels = bad.Labels
		s.Add(well)
	}
	s.PutRun(Run{ID: strings.Repeat("a", 32), Created: at, State: Running, Request: []byte(`{"kind":"probe"}`), IdempotencyKey: "mine"})
	for range 11 {
		<-s.todo // it was spooled before it comes out here
	}
	killed := afterKill(t, path)
	for life := range 2 { // the second one finds nothing left to recover
		again := open(t, Options{Path: killed})
		if want := uint64(11 * (1 - life)); again.Stats().Recovered != want {
			t.Errorf("%d recovered, want %d", again.Stats().Recovered, want)
		}
		r := again.Reader()
		got, err := r.Round(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		want := bad.Round
		want.ID, want.Detail, want.Capture = id, true, true
		if d := cmp.Diff(want, got, cmpopts.EquateApproxTime(0)); d != "" {
			t.Error(d)
		}
		var attempts, rounds uint64
		for _, b := range history(t, r, time.Hour, 0).Buckets {
			attempts, rounds = attempts+b.Figures.Attempts, rounds+b.Figures.Rounds
		}
		if extra := uint64(life); attempts != 50+extra || rounds != 10+extra {
			t.Errorf("%d connections of %d rounds in life %d", attempts, rounds, life)
		}
		if run, err := r.RunByKey(t.Context(), "mine"); err != nil || run.State != Interrupted {
			t.Errorf("the run that was under way: %v %+v", err, run)
		}
		one := entryAt(vip, base(), 1, true)
		one.Labels = bad.Labels
		if ids := add(t, again, one); ids[0] <= id {
			t.Errorf("id %d is given after %d", ids[0], id)
		}
		check(t, again.w)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		for _, end := range []string{"-spool0", "-spool1"} {
			if _, err := os.Stat(killed + end); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left behind by a clean end: %v", end, err)
			}
		}
	}
}

// TestASpoolIsKeptOnce: a kill between the transaction and the next use of the spool leaves both; nothing counts twice.
func TestASpoolIsKeptOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	s := open(t, Options{Path: path})
	add(t, s, entryAt(vip, base(), 5, true), entryAt(vip, base(), 5, false))
	again := open(t, Options{Path: afterKill(t, path)})
	var attempts uint64
	for _, b := range history(t, again.Reader(), time.Hour, 0).Buckets {
		attempts += b.Figures.Attempts
	}
	if attempts != 10 || again.Stats().Recovered != 0 {
		t.Errorf("%d connections, %d recovered; want 10 and none", attempts, again.Stats().Recovered)
	}
}

// TestSpoolOfAnotherFile: what lies beside a results file that was made anew is not its own.
func TestSpoolOfAnotherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	s := unwritten(t, path)
	s.Add(entryAt(vip, base(), 5, true))
	<-s.todo
	killed := afterKill(t, path)
	for _, end := range []string{"", "-wal"} {
		if err := os.Remove(killed + end); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, Options{Path: killed})
	list, _, err := again.Reader().Rounds(t.Context(), Filter{}, Cursor{}, 10)
	if err != nil || len(list) != 0 {
		t.Errorf("%v %+v", err, list)
	}
}

// TestSpoolIsBounded: its two files take turns, so that they stay within their limit and what waits, however much goes through.
func TestSpoolIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	s, _, _, err := openSpool(path, 7, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.begin(); err != nil {
		t.Fatal(err)
	}
	e := entryAt(vip, base(), 1, true)
	e.Pcapng = bytes.Repeat([]byte{1}, 1<<20)
	var most int64
	for range 50 {
		if err := s.put([]item{{entry: &e}}); err != nil {
			t.Fatal(err)
		}
		s.settled.Store(s.seq - 1) // the writer is one behind
		most = max(most, s.size[0]+s.size[1])
	}
	if limit := int64(2*spoolLimit + 4<<20); most > limit || most < spoolLimit {
		t.Errorf("%d octets; want no more than %d", most, limit)
	}
	s.stored = s.seq - 1
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	again, left, unread, err := openSpool(path, 7, s.stored)
	if err != nil || len(left) != 1 || left[0].seq != s.seq || unread != 0 {
		t.Fatalf("%d left, %v; want the last one", len(left), err)
	}
	if err := again.close(); err != nil {
		t.Fatal(err)
	}
}

// TestASpoolThatCannotBeWrittenIsTold: once, and the database gets everything all the same.
func TestASpoolThatCannotBeWrittenIsTold(t *testing.T) {
	var told []error
	s, err := prepare(t.Context(), Options{Path: filepath.Join(t.TempDir(), "results.db"), OnError: func(err error) { told = append(told, err) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range s.spool.files {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	go s.spoolAll()
	go s.write(t.Context())
	for range 3 {
		add(t, s, entryAt(vip, base(), 1, true))
	}
	if st := s.Stats(); st.Written != 3 {
		t.Errorf("%d written", st.Written)
	}
	if err := s.Close(); err == nil {
		t.Error("the files were closed before: want to be told")
	}
	if len(told) != 1 || !strings.Contains(told[0].Error(), "a kill would now lose") {
		t.Errorf("told %v", told)
	}
}

// TestSpoolCodec: what was written is read, wherever the end is torn off; and what is damaged ends it.
func TestSpoolCodec(t *testing.T) {
	text := rapid.StringN(0, 20, -1)
	rapid.Check(t, func(t *rapid.T) {
		e := entryAt(Key{text.Draw(t, "job"), text.Draw(t, "module"), text.Draw(t, "target"), text.Draw(t, "addr")}, time.Unix(0, rapid.Int64Range(0, 1<<61).Draw(t, "started")),
			rapid.IntRange(0, 5).Draw(t, "n"), rapid.Bool().Draw(t, "keep"))
		e.Run, e.Error, e.Member, e.ID = text.Draw(t, "run"), text.Draw(t, "error"), rapid.Bool().Draw(t, "member"), rapid.Int64Min(0).Draw(t, "id")
		if rapid.Bool().Draw(t, "labelled") {
			e.Labels = rapid.MapOfN(text, text, 1, 4).Draw(t, "labels")
		}
		whole := appendSpoolHead(nil, 7)
		ends := []int{len(whole)}
		for i := range 3 {
			var err error
			if whole, err = appendRecord(whole, &item{entry: &e, seq: uint64(i + 1)}); err != nil {
				t.Fatal(err)
			}
			ends = append(ends, len(whole))
		}
		cut := rapid.IntRange(0, len(whole)).Draw(t, "cut")
		got, unread := parseSpool(whole[:cut], 7, 0)
		want := max(0, len(ends)-1-len(slices.DeleteFunc(slices.Clone(ends), func(end int) bool { return end <= cut })))
		if len(got) != want || unread != 0 {
			t.Fatalf("%d of 3 records within %d octets of %v, want %d", len(got), cut, ends, want)
		}
		for i := range got {
			x := got[i].entry
			if d := cmp.Diff(e.Round, x.Round, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(0)); d != "" || got[i].seq != uint64(i+1) {
				t.Fatal(d)
			}
			if x.Keep != e.Keep || !bytes.Equal(x.Content, e.Content) || !bytes.Equal(x.Pcapng, e.Pcapng) || !bytes.Equal(appendEntry(nil, x), appendEntry(nil, &e)) {
				t.Fatalf("%+v became %+v", e, x)
			}
		}
		at := rapid.IntRange(ends[0], len(whole)-1).Draw(t, "damaged")
		damaged := slices.Clone(whole)
		damaged[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
		if got, _ := parseSpool(damaged, 7, 0); len(got) >= 3 {
			t.Fatalf("octet %d of %d is damaged, and all is read", at, len(whole))
		}
	})
}

// FuzzParseSpool: whatever lies in a spool file, reading it neither panics nor takes more than the file is long.
func FuzzParseSpool(f *testing.F) {
	e := entryAt(vip, time.Unix(1, 0), 2, true)
	good, err := appendRecord(appendSpoolHead(nil, 7), &item{entry: &e, seq: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	bad := parseItemSeed(good)
	f.Add(bad)
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, _ := parseSpool(b, 7, 0); len(got) > len(b)/recordHead {
			t.Errorf("%d records in %d octets", len(got), len(b))
		}
		if it, err := parseItem(b); err == nil && it.entry == nil && it.run == nil {
			t.Error("an item of nothing")
		}
	})
}

// parseItemSeed is the content of the first record alone.
func parseItemSeed(file []byte) []byte { return file[spoolHead+recordHead+sequenceLen:] }

func BenchmarkSpool(b *testing.B) {
	s, _, _, err := openSpool(filepath.Join(b.TempDir(), "results.db"), 7, 0)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.begin(); err != nil {
		b.Fatal(err)
	}
	e := entryAt(vip, base(), 10, false)
	e.Labels = map[string]string{"team": "network", "vip": "web", "role": "member"}
	for b.Loop() {
		if err := s.put([]item{{entry: &e}}); err != nil {
			b.Fatal(err)
		}
		s.settled.Store(s.seq)
	}
	if err := s.close(); err != nil {
		b.Fatal(fmt.Errorf("end: %w", err))
	}
}
