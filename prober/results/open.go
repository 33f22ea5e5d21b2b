package results

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"modernc.org/sqlite"
)

// Options shape a Store.
type Options struct {
	// Path of the file; empty: everything is kept in memory, and ends with the process.
	Path string
	// MaxAge is how long rounds, diagnoses and figures are kept; 0: 30 days. PointsAge is how long single connections and captures are; 0: 48 h.
	MaxAge, PointsAge time.Duration
	// MaxBytes bounds what is kept, in octets; 0: 1 GiB, in memory 64 MiB. The oldest goes first, single points before figures, captures
	// before rounds. The write-ahead log comes on top of it, usually 4 MB.
	MaxBytes int64
	// QueueBytes bounds what waits to be written; 0: 32 MiB.
	QueueBytes int64
	// OnError is told what went wrong in the background; nil: nobody is. It is called from one goroutine at a time.
	OnError func(error)
	// every is how often minutes are folded and room is made; 0: a second.
	every time.Duration
}

func (o Options) withDefaults() Options {
	const mib = 1 << 20
	if o.MaxAge <= 0 {
		o.MaxAge = 30 * 24 * time.Hour
	}
	if o.PointsAge <= 0 {
		o.PointsAge = 48 * time.Hour
	}
	if o.MaxBytes <= 0 && o.Path == "" {
		o.MaxBytes = 64 * mib
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 1024 * mib
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = 32 * mib
	}
	if o.every <= 0 {
		o.every = time.Second
	}
	var mu sync.Mutex
	tell := o.OnError
	o.OnError = func(err error) {
		if tell != nil {
			mu.Lock()
			defer mu.Unlock()
			tell(err)
		}
	}
	return o
}

// Store keeps results. It is safe for concurrent use.
type Store struct {
	opts Options
	// w is what the writer's goroutine writes to; r is read by everybody. In memory both are one database with one connection.
	w, r *sql.DB
	lock *os.File // held while this process writes the file

	// What is added goes through in to who spools it, and through todo to the writer; in memory both are one.
	in, todo chan item
	spool    *spool        // nil: in memory
	ended    chan struct{} // the writer is gone
	mu       sync.RWMutex  // closed is guarded; held for reading while something is put into in
	closed   bool
	counts   counts
	ids      ids
	fold     *fold
}

// LockedError says that another process writes the file.
type LockedError struct{ Path string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("results file %s: another process writes it; only one can", e.Path)
}

// Open makes a Store ready to be added to. A file that does not exist is made, for its owner alone, and may be opened to others (chmod); one of an older version is migrated.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	if s.spool != nil {
		go s.spoolAll()
	}
	go s.write(context.WithoutCancel(ctx))
	return s, nil
}

// prepare makes a Store that nobody works for yet.
func prepare(ctx context.Context, o Options) (*Store, error) {
	s := &Store{opts: o.withDefaults(), in: make(chan item, queueLength), ended: make(chan struct{}), fold: newFold()}
	s.todo = s.in
	if s.opts.Path != "" {
		s.todo = make(chan item, queueLength)
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.release())
	}
	if err := s.recover(ctx); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

// inMemory makes the database that lives in one connection, and with it.
func (s *Store) inMemory(ctx context.Context) (err error) {
	if s.w, err = connect(url.URL{Scheme: "file", Opaque: ":memory:"}, "foreign_keys(1)", "auto_vacuum(2)"); err != nil {
		return err
	}
	s.w.SetMaxOpenConns(1)
	s.r = s.w
	return migrate(ctx, s.w, "in memory", 0, migrations())
}

func (s *Store) open(ctx context.Context) error {
	if s.opts.Path == "" {
		return s.inMemory(ctx)
	}
	path, err := filepath.Abs(s.opts.Path)
	if err != nil {
		return fmt.Errorf("results file %s: %w", s.opts.Path, err)
	}
	if s.lock, err = acquire(path); err != nil {
		return err
	}
	if s.w, err = connect(url.URL{Scheme: "file", Path: path}, "busy_timeout(5000)", "foreign_keys(1)", "cache_size(-8192)"); err != nil {
		return err
	}
	s.w.SetMaxOpenConns(1)
	version, err := recognise(ctx, s.w, path, len(migrations()))
	if err != nil {
		return err
	}
	for _, pragma := range []string{"auto_vacuum = INCREMENTAL", "journal_mode = WAL", "synchronous = NORMAL", "journal_size_limit = 16777216"} {
		if _, err := s.w.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return fmt.Errorf("results file %s: set %s: %w", path, pragma, err)
		}
	}
	if err := migrate(ctx, s.w, path, version, migrations()); err != nil {
		return err
	}
	s.r, err = readers(path)
	return err
}

// acquire opens the file and takes the lock that keeps other writers of ours off. SQLite's own locks are of another kind (fcntl(2)) and do not
// meet this one; it must stay open until SQLite's descriptors are closed, since closing any descriptor of a file gives up those
// (https://sqlite.org/howtocorrupt.html §2.2).
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the results file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &LockedError{path}
		}
		return nil, fmt.Errorf("lock the results file %s: %w", path, err)
	}
	return f, nil
}

// maxReaders bounds the questions that are answered at once.
const maxReaders = 4

func readers(path string) (*sql.DB, error) {
	db, err := connect(url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro"}, "busy_timeout(5000)", "query_only(1)", "cache_size(-4096)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxReaders)
	return db, nil
}

// connect makes a database of a name (https://sqlite.org/uri.html) and settings of every connection to it. Nothing is opened yet.
func connect(name url.URL, pragmas ...string) (*sql.DB, error) {
	q := name.Query()
	q["_pragma"] = pragmas
	if q.Get("mode") != "ro" {
		q.Set("_txlock", "immediate") // a transaction that reads first and then finds another writer would fail
	}
	name.RawQuery = q.Encode()
	c, err := sqlite.NewConnector(name.String())
	if err != nil {
		return nil, fmt.Errorf("results file %s: %w", name.Path, err)
	}
	return sql.OpenDB(c), nil
}

// OpenReadOnly opens a file for reading while another process writes it, or none does. A file of another version is refused: who writes it
// migrates it.
func OpenReadOnly(ctx context.Context, path string) (*Reader, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open the results file: %w", err)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("results file %s: %w", path, err)
	}
	db, err := readers(path)
	if err != nil {
		return nil, err
	}
	version, err := recognise(ctx, db, path, len(migrations()))
	if newest := len(migrations()); err == nil && version < newest {
		err = &VersionError{path, fmt.Sprintf("its schema is version %d, this program reads %d: let the service of this version open it once", version, newest)}
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Reader{db: db}, nil
}

// Reader answers questions about what is kept. It is safe for concurrent use.
type Reader struct {
	db   *sql.DB
	tail *fold // what the writer has not folded yet; nil: it is read from the file
	// memory: the database is one connection. A question that is given up there could end it, and all that is kept with it.
	memory bool
}

// Close ends it.
func (r *Reader) Close() error { return r.db.Close() }

// Reader answers questions about what the Store keeps; it ends with it.
func (s *Store) Reader() *Reader { return &Reader{db: s.r, tail: s.fold, memory: s.opts.Path == ""} }

// Close writes what was added, and ends the Store.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.in)
	<-s.ended
	return s.release()
}

func (s *Store) release() error {
	var errs []error
	if s.spool != nil {
		errs = append(errs, s.spool.close())
	}
	if s.r != nil && s.r != s.w {
		errs = append(errs, s.r.Close())
	}
	if s.w != nil {
		errs = append(errs, s.w.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
