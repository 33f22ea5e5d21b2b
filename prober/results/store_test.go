package results

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vipprobe/vipprobe/prober/observe"
	"github.com/vipprobe/vipprobe/prober/results/minute"
)

var vip = Key{Job: "vips", Module: "connect", Target: "vip.example:443", Addr: "192.0.2.10:443"}

// entryAt is a round of n connections, the last of which stalled where it is to be kept.
func entryAt(k Key, started time.Time, n int, keep bool) Entry {
	e := Entry{Round: Round{Key: k, Origin: Scheduled, Started: started, Duration: 20 * time.Millisecond, Success: !keep, Attempts: n}, Keep: keep}
	into := started.Sub(beginOf(minuteOf(started)))
	for i := range n {
		p := minute.Point{At: into + time.Duration(i)*time.Millisecond, Handshake: time.Duration(i+1) * time.Millisecond, Outcome: observe.Accepted}
		if keep && i == n-1 {
			p.Handshake, p.Lost, p.Stalled, e.Stalled = time.Second, 1, true, 1
			e.Why, e.Content, e.Pcapng = "1 of "+fmt.Sprint(n)+" attempts stalled", []byte(`{"target":"vip.example:443"}`), []byte("\x0a\x0d\x0d\x0a frames")
			e.Headline, e.Causes = "a queue overflowed", []Cause{{"remote_arp_queue_overflow", "proven"}, {"packet_loss_client_to_server", "suspected"}}
		}
		e.Points = append(e.Points, p)
		e.Figures.Note(&p)
	}
	e.Figures.Rounds = 1
	return e
}

// base is a minute that is long over.
func base() time.Time { return time.Now().Add(-3 * time.Hour).Truncate(time.Minute) }

func open(t *testing.T, o Options) *Store {
	t.Helper()
	o.OnError = func(err error) { t.Error(err) }
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func add(t *testing.T, s *Store, entries ...Entry) (ids []int64) {
	t.Helper()
	for _, e := range entries {
		id, ok := s.Add(e)
		if !ok {
			t.Fatal("the queue is full")
		}
		ids = append(ids, id)
	}
	flush(t, s)
	return ids
}

func flush(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// stores runs a test in memory and on a file.
func stores(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("memory", func(t *testing.T) { test(t, Options{}) })
	t.Run("file", func(t *testing.T) { test(t, Options{Path: filepath.Join(t.TempDir(), "a ?%23 name.db")}) })
}

func TestWhatWasAddedComesBack(t *testing.T) {
	stores(t, func(t *testing.T, o Options) {
		s := open(t, o)
		at := base().Add(7 * time.Second)
		bad := entryAt(vip, at, 5, true)
		bad.Labels = map[string]string{"team": "network"}
		ids := add(t, s, entryAt(vip, at.Add(-time.Second), 5, false), bad)
		if ids[0] != 0 || ids[1] == 0 {
			t.Fatalf("ids %v: only what is kept has one", ids)
		}
		r := s.Reader()
		got, err := r.Round(t.Context(), ids[1])
		if err != nil {
			t.Fatal(err)
		}
		want := bad.Round
		want.ID, want.Detail, want.Capture = ids[1], true, true
		if d := cmp.Diff(want, got, cmpopts.EquateApproxTime(0)); d != "" {
			t.Error(d)
		}
		content, err := r.Content(t.Context(), ids[1])
		if err != nil || string(content) != string(bad.Content) {
			t.Errorf("content %q, %v", content, err)
		}
		frames, err := r.Pcapng(t.Context(), ids[1])
		if err != nil || string(frames) != string(bad.Pcapng) {
			t.Errorf("capture %q, %v", frames, err)
		}
		if _, err := r.Content(t.Context(), ids[1]+1); !errors.Is(err, ErrNotFound) {
			t.Errorf("content of a round that is not there: %v", err)
		}
	})
}

func TestFiltersAndPages(t *testing.T) {
	stores(t, func(t *testing.T, o Options) {
		s := open(t, o)
		other := vip
		other.Target, other.Addr = "other:80", "192.0.2.11:80"
		var ids []int64
		for i := range 7 {
			e := entryAt(vip, base().Add(time.Duration(i)*time.Second), 2, true)
			if i%2 == 1 {
				e = entryAt(other, base().Add(time.Duration(i)*time.Second), 2, true)
				e.Causes, e.Origin, e.Run = []Cause{{"healthy", "confirmed"}}, Asked, "r1"
			}
			ids = append(ids, add(t, s, e)...)
		}
		yes, no := true, false
		for _, tt := range []struct {
			name string
			f    Filter
			want []int
		}{
			{"everything", Filter{}, []int{6, 5, 4, 3, 2, 1, 0}},
			{"a target", Filter{Target: "other:80"}, []int{5, 3, 1}},
			{"a target that is not there", Filter{Target: "nobody:80"}, nil},
			{"a run", Filter{Run: "r1"}, []int{5, 3, 1}},
			{"a verdict that is not the first", Filter{Verdict: "packet_loss_client_to_server"}, []int{6, 4, 2, 0}},
			{"a verdict at another level", Filter{Verdict: "packet_loss_client_to_server", Level: "proven"}, nil},
			{"with a cause", Filter{Named: &yes, Healthy: "healthy"}, []int{6, 4, 2, 0}},
			{"without a cause", Filter{Named: &no, Healthy: "healthy"}, []int{5, 3, 1}},
			{"success", Filter{Success: &yes}, nil},
			{"a time", Filter{From: base().Add(2 * time.Second), To: base().Add(4 * time.Second)}, []int{3, 2}},
		} {
			for _, page := range []int{1, 2, 100} {
				var got []int64
				cursor := &Cursor{}
				for cursor != nil {
					var list []Round
					var err error
					if list, cursor, err = s.Reader().Rounds(t.Context(), tt.f, *cursor, page); err != nil {
						t.Fatalf("%s: %v", tt.name, err)
					}
					for i := range list {
						got = append(got, list[i].ID)
					}
				}
				var want []int64
				for _, i := range tt.want {
					want = append(want, ids[i])
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s by pages of %d: %s", tt.name, page, d)
				}
			}
		}
	})
}

// history asks for all of a target's time.
func history(t *testing.T, r *Reader, step time.Duration, points int) History {
	t.Helper()
	h, err := r.History(t.Context(), SeriesFilter{Target: vip.Target, From: base().Add(-time.Hour), To: time.Now(), Step: step, Points: points})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestHistoryIsTheSameBeforeAndAfterFolding: what is seen of a target does not depend on where it lies: in the journal, in rows, in both.
func TestHistoryIsTheSameBeforeAndAfterFolding(t *testing.T) {
	stores(t, func(t *testing.T, o Options) {
		o.every = time.Hour
		s := open(t, o)
		b := base()
		add(t, s, entryAt(vip, b.Add(time.Second), 3, false), entryAt(vip, b.Add(59*time.Second), 3, true), entryAt(vip, b.Add(61*time.Second), 4, false))
		before := history(t, s.Reader(), time.Minute, 100)
		if len(before.Buckets) != 2 || len(before.Dots) != 10 || before.More || before.Buckets[0].Figures.Stalled != 1 {
			t.Fatalf("%+v", before)
		}
		w := &writer{s: s, series: map[Key]*seriesRow{}, kept: time.Now()}
		w.housekeep(context.WithoutCancel(t.Context()), time.Now())
		if n := len(s.fold.sums); n != 0 {
			t.Fatalf("%d cells are not folded", n)
		}
		same := func(want History) {
			t.Helper()
			got := history(t, s.Reader(), time.Minute, 100)
			if d := cmp.Diff(want, got, cmpopts.EquateApproxTime(0), cmpopts.IgnoreUnexported(minute.Sketch{})); d != "" {
				t.Error(d)
			}
		}
		same(before)
		add(t, s, entryAt(vip, b.Add(2*time.Second), 1, false)) // late: its minute has a row
		after := history(t, s.Reader(), time.Minute, 100)
		if got := after.Buckets[0].Figures; got.Attempts != 7 || got.Handshakes.Count() != 7 || len(after.Dots) != 11 {
			t.Errorf("%+v %d dots", got, len(after.Dots))
		}
		w.housekeep(context.WithoutCancel(t.Context()), time.Now())
		same(after)
	})
}

func TestDotsAreTheNewest(t *testing.T) {
	s := open(t, Options{every: 5 * time.Millisecond})
	b := base()
	for i := range 100 {
		if _, ok := s.Add(entryAt(vip, b.Add(time.Duration(i)*time.Minute), 3, false)); !ok {
			t.Fatal("not added")
		}
	}
	flush(t, s)
	h := history(t, s.Reader(), time.Hour, 30)
	if len(h.Dots) != 30 || !h.More || h.Dots[0].At.Before(b.Add(90*time.Minute)) {
		t.Errorf("%d dots from %s, more %t; want the newest 30, from %s", len(h.Dots), h.Dots[0].At, h.More, b.Add(90*time.Minute))
	}
	var attempts uint64
	for _, x := range h.Buckets {
		attempts += x.Figures.Attempts
	}
	if attempts != 300 {
		t.Errorf("the buckets hold %d of 300 connections", attempts)
	}
}

func TestTooMuchAtOnceIsRefused(t *testing.T) {
	s := open(t, Options{})
	_, err := s.Reader().History(t.Context(), SeriesFilter{From: time.Now().AddDate(-1, 0, 0), To: time.Now()})
	if _, ok := errors.AsType[*TooMuchError](err); !ok {
		t.Errorf("a year of history: %v", err)
	}
}

func TestAgeRemoves(t *testing.T) {
	stores(t, func(t *testing.T, o Options) {
		o.every, o.MaxAge, o.PointsAge = time.Hour, 2*time.Hour, time.Hour
		s := open(t, o)
		now := time.Now()
		add(t, s, entryAt(vip, now.Add(-150*time.Minute), 2, true), entryAt(vip, now.Add(-90*time.Minute), 2, true), entryAt(vip, now, 2, true))
		w := &writer{s: s, series: map[Key]*seriesRow{}}
		w.housekeep(context.WithoutCancel(t.Context()), now.Add(2*foldAfter))
		list, _, err := s.Reader().Rounds(t.Context(), Filter{}, Cursor{}, 10)
		if err != nil || len(list) != 2 || !list[0].Capture || list[1].Capture || !list[1].Detail {
			t.Errorf("%v %+v: want the newest whole, and the one before without its capture", err, list)
		}
		h, err := s.Reader().History(t.Context(), SeriesFilter{From: now.Add(-5 * time.Hour), To: now.Add(time.Minute), Points: 10})
		if err != nil || len(h.Buckets) != 2 || len(h.Dots) != 2 {
			t.Errorf("%v: %d buckets and %d dots are left; want 2 and 2", err, len(h.Buckets), len(h.Dots))
		}
		w.housekeep(context.WithoutCancel(t.Context()), now.AddDate(0, 0, 5))
		if series, err := s.Reader().Series(t.Context(), SeriesFilter{}); err != nil || len(series) != 0 {
			t.Errorf("series that nothing belongs to: %v, %v", series, err)
		}
	})
}

// TestSizeMakesRoom: captures go before rounds, and the newest stay.
func TestSizeMakesRoom(t *testing.T) {
	stores(t, func(t *testing.T, o Options) {
		o.every, o.MaxBytes = time.Hour, 400<<10
		s := open(t, o)
		noise := make([]byte, 8<<10)
		x := uint32(1)
		for i := range 200 {
			e := entryAt(vip, base().Add(time.Duration(i)*time.Second), 1, true)
			for k := range noise { // does not compress
				x = x*1664525 + 1013904223
				noise[k] = byte(x >> 24)
			}
			e.Pcapng = append([]byte(nil), noise...)
			add(t, s, e)
		}
		w := &writer{s: s, series: map[Key]*seriesRow{}, kept: time.Now()}
		w.housekeep(context.WithoutCancel(t.Context()), time.Now())
		if got := s.Stats(); got.Bytes > o.MaxBytes || got.Removed == 0 {
			t.Errorf("%d octets are kept of %d permitted; %d rows removed", got.Bytes, o.MaxBytes, got.Removed)
		}
		list, _, err := s.Reader().Rounds(t.Context(), Filter{}, Cursor{}, 1000)
		if err != nil || len(list) != 200 {
			t.Errorf("%d rounds are left of 200, %v: captures should have gone first", len(list), err)
		}
		if o.Path == "" {
			return
		}
		if err := s.Close(); err != nil { // which brings the log into the file
			t.Fatal(err)
		}
		info, err := os.Stat(o.Path)
		if err != nil || info.Size() > 3*o.MaxBytes {
			t.Errorf("the file has %d octets: free pages were not given back", info.Size())
		}
	})
}

// TestOverloadIsCounted: a full queue refuses, says so, and counts what it refused; what it took is written.
func TestOverloadIsCounted(t *testing.T) {
	s := open(t, Options{QueueBytes: 10_000})
	refused := uint64(0)
	for range 1000 {
		if _, ok := s.Add(entryAt(vip, base(), 1, true)); !ok {
			refused++
		}
	}
	flush(t, s)
	got := s.Stats()
	if refused == 0 || got.Dropped[DroppedQueue] != refused || got.Added != 1000-refused || got.Written != got.Added || got.QueueBytes != 0 {
		t.Errorf("refused %d: %+v", refused, got)
	}
}

func TestRuns(t *testing.T) {
	stores(t, func(t *testing.T, o Options) {
		s := open(t, o)
		created := base()
		for i := range 5 {
			s.PutRun(Run{ID: fmt.Sprintf("run%d", i), Created: created.Add(time.Duration(i) * time.Second), State: Running, Request: []byte(`{}`), IdempotencyKey: fmt.Sprintf("key%d", i%5)})
		}
		done := Run{ID: "run3", Created: created.Add(3 * time.Second), Finished: created.Add(9 * time.Second), State: Done, Request: []byte(`{}`), IdempotencyKey: "key3", Error: "none"}
		s.PutRun(done)
		flush(t, s)
		r := s.Reader()
		got, err := r.RunByKey(t.Context(), "key3")
		if d := cmp.Diff(done, got, cmpopts.EquateApproxTime(0)); d != "" || err != nil {
			t.Error(err, d)
		}
		list, next, err := r.Runs(t.Context(), Running, "", 2)
		if err != nil || len(list) != 2 || list[0].ID != "run4" || list[1].ID != "run2" || next != "run2" {
			t.Errorf("%v %+v %q", err, list, next)
		}
		if list, next, err = r.Runs(t.Context(), Running, next, 2); err != nil || len(list) != 2 || next != "" {
			t.Errorf("%v %+v %q", err, list, next)
		}
		if _, err := r.Run(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

// TestAnotherProcessReads stands in for one: a reader of its own beside a Store that writes.
func TestAnotherProcessReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	s := open(t, Options{Path: path})
	ids := add(t, s, entryAt(vip, base(), 3, true), entryAt(vip, base().Add(time.Minute), 3, true))
	r, err := OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Round(t.Context(), ids[1]); err != nil {
		t.Error(err)
	}
	if h := history(t, r, time.Hour, 10); len(h.Dots) != 6 {
		t.Errorf("%d of 6 connections, which are in the journal", len(h.Dots))
	}
	if _, err := r.db.ExecContext(t.Context(), `DELETE FROM rounds`); err == nil {
		t.Error("a reader deleted rounds")
	}
	more := add(t, s, entryAt(vip, base().Add(2*time.Minute), 3, true))
	if _, err := r.Round(t.Context(), more[0]); err != nil {
		t.Errorf("what was added after: %v", err)
	}
	_, err = Open(t.Context(), Options{Path: path})
	if _, ok := errors.AsType[*LockedError](err); !ok {
		t.Errorf("a second writer: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, statements string) string {
		path := filepath.Join(dir, name)
		db, err := connect(url.URL{Scheme: "file", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), statements); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database at all\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"of another program", write("other.db", `CREATE TABLE cookies (x)`), "not one of vipprobe"},
		{"of a newer version", write("newer.db", fmt.Sprintf(`PRAGMA application_id = %d; PRAGMA user_version = 99`, applicationID)), "written by a newer one"},
		{"that is no database", text, "not a database"},
		{"in no directory", filepath.Join(dir, "none", "a.db"), "no such file"},
	} {
		before, _ := os.ReadFile(tt.path)
		s, err := Open(t.Context(), Options{Path: tt.path})
		if err == nil {
			t.Errorf("a file %s was opened: %v", tt.name, s.Close())
			continue
		}
		if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) {
			t.Errorf("a file %s: %q; want %q and the path in it", tt.name, err, tt.want)
		}
		if after, _ := os.ReadFile(tt.path); string(after) != string(before) {
			t.Errorf("a file %s was changed", tt.name)
		}
	}
}

// TestMigration goes through steps that are not the real ones: each is whole or not there, and data of the step before is kept.
func TestMigration(t *testing.T) {
	db, err := connect(url.URL{Scheme: "file", Path: filepath.Join(t.TempDir(), "x.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	steps := []string{`CREATE TABLE a (x); INSERT INTO a VALUES (1);`, `ALTER TABLE a ADD COLUMN y; UPDATE a SET y = x + 1;`, `CREATE TABLE b (z); SELECT nonsense;`}
	if err := migrate(t.Context(), db, "x.db", 0, steps); err == nil || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("a step that cannot be done: %v", err)
	}
	version, err := recognise(t.Context(), db, "x.db", 3)
	if err != nil || version != 2 {
		t.Errorf("version %d, %v; want 2, where it ended", version, err)
	}
	var y, tables int
	if err := db.QueryRowContext(t.Context(), `SELECT y, (SELECT count(*) FROM sqlite_schema) FROM a`).Scan(&y, &tables); err != nil || y != 2 || tables != 1 {
		t.Errorf("y %d, %d tables, %v", y, tables, err)
	}
	steps[2] = `CREATE TABLE b (z);`
	if err := migrate(t.Context(), db, "x.db", version, steps); err != nil {
		t.Error(err)
	}
}

// TestFixtures opens what every version of the schema has left behind (testdata/vN.sql, as sqlite3's .dump has it), and reads it.
func TestFixtures(t *testing.T) {
	for i := range migrations() {
		t.Run(fmt.Sprintf("version %d", i+1), func(t *testing.T) {
			dump, err := os.ReadFile(fmt.Sprintf("testdata/v%d.sql", i+1))
			if err != nil {
				t.Fatalf("each version of the schema needs its fixture: %v", err)
			}
			path := filepath.Join(t.TempDir(), "old.db")
			db, err := connect(url.URL{Scheme: "file", Path: path})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.ExecContext(t.Context(), string(dump)); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			readFixture(t, open(t, Options{Path: path, MaxAge: 1e6 * time.Hour, PointsAge: 1e6 * time.Hour, every: time.Hour}))
		})
	}
}

func readFixture(t *testing.T, s *Store) {
	t.Helper()
	check(t, s.w)
	r := s.Reader()
	list, _, err := r.Rounds(t.Context(), Filter{Target: vip.Target, Verdict: "remote_arp_queue_overflow"}, Cursor{}, 10)
	if err != nil || len(list) != 1 || list[0].Stalled != 1 || len(list[0].Causes) != 2 || list[0].Labels["team"] != "network" {
		t.Fatalf("%v %+v", err, list)
	}
	if content, err := r.Content(t.Context(), list[0].ID); err != nil || len(content) == 0 {
		t.Error(err)
	}
	if frames, err := r.Pcapng(t.Context(), list[0].ID); err != nil || len(frames) == 0 {
		t.Error(err)
	}
	begin := list[0].Started.Add(-time.Hour)
	h, err := r.History(t.Context(), SeriesFilter{Target: vip.Target, From: begin, To: begin.Add(2 * time.Hour), Points: 100})
	if err != nil || len(h.Dots) != 8 || len(h.Buckets) != 2 {
		t.Errorf("%d connections in %d minutes, %v; want 8 in 2, one of which is in the journal", len(h.Dots), len(h.Buckets), err)
	}
	run, err := r.RunByKey(t.Context(), "mine")
	if err != nil || run.State != Interrupted || run.Finished.IsZero() {
		t.Errorf("the run that was left: %v %+v", err, run)
	}
}

// check holds a database to its own rules.
func check(t *testing.T, db *sql.DB) {
	t.Helper()
	for _, pragma := range []string{"integrity_check", "foreign_key_check"} {
		err := each(t.Context(), db, "PRAGMA "+pragma, nil, func(rows *sql.Rows) error {
			columns, err := rows.Columns()
			if err != nil || len(columns) != 1 {
				return fmt.Errorf("a row of %v: %w", columns, err)
			}
			var line string
			if err := rows.Scan(&line); err != nil || line != "ok" {
				return fmt.Errorf("%q: %w", line, err)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", pragma, err)
		}
	}
}
