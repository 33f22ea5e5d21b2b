package results

import (
	"context"
	"database/sql"
	"fmt"
)

// applicationID marks the file as this program's ("VIPP"), in the header of every SQLite file (offset 68, https://sqlite.org/fileformat.html).
const applicationID = 0x56495050

// migrations make version i+1 of the schema of version i. One that was released is never changed: a new one follows it, and its fixture
// under testdata shows that what was stored before can be read after.
//
// The id of minutes and points is minute<<32 | series, the minute counted since 1970: rows come in order of time, a target's minute is one
// look-up, and what is old is one range. seen is the day, counted since 1970, of a series' last round. spooled is one row: the mark that the spool's files carry, and the sequence number of the last entry
// that is in the database.
func migrations() []string {
	return []string{`
CREATE TABLE series (
	id INTEGER PRIMARY KEY, target TEXT NOT NULL, job TEXT NOT NULL, module TEXT NOT NULL, addr TEXT NOT NULL,
	labels TEXT NOT NULL, seen INTEGER NOT NULL,
	UNIQUE (target, job, module, addr)
) STRICT;
CREATE TABLE journal (id INTEGER PRIMARY KEY, minute INTEGER NOT NULL, shard INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE minutes (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE points (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE rounds (
	id INTEGER PRIMARY KEY, series INTEGER NOT NULL REFERENCES series (id), origin TEXT NOT NULL, run TEXT NOT NULL, member INTEGER NOT NULL,
	started INTEGER NOT NULL, duration INTEGER NOT NULL, success INTEGER NOT NULL, why TEXT NOT NULL, error TEXT NOT NULL,
	error_kind TEXT NOT NULL, headline TEXT NOT NULL, attempts INTEGER NOT NULL, stalled INTEGER NOT NULL
) STRICT;
CREATE INDEX rounds_started ON rounds (started);
CREATE INDEX rounds_series ON rounds (series, started);
CREATE INDEX rounds_run ON rounds (run) WHERE run <> '';
CREATE TABLE causes (
	round INTEGER NOT NULL REFERENCES rounds (id) ON DELETE CASCADE, rank INTEGER NOT NULL, verdict TEXT NOT NULL, level TEXT NOT NULL,
	PRIMARY KEY (round, rank)
) STRICT, WITHOUT ROWID;
CREATE INDEX causes_verdict ON causes (verdict, round);
CREATE TABLE details (round INTEGER PRIMARY KEY REFERENCES rounds (id) ON DELETE CASCADE, data BLOB NOT NULL) STRICT;
CREATE TABLE captures (round INTEGER PRIMARY KEY REFERENCES rounds (id) ON DELETE CASCADE, data BLOB NOT NULL) STRICT;
CREATE TABLE runs (
	id TEXT PRIMARY KEY, created INTEGER NOT NULL, finished INTEGER NOT NULL, state TEXT NOT NULL, request TEXT NOT NULL, of_run TEXT NOT NULL,
	idempotency_key TEXT NOT NULL, error TEXT NOT NULL, error_kind TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_created ON runs (created);
CREATE INDEX runs_key ON runs (idempotency_key) WHERE idempotency_key <> '';
`, `
CREATE TABLE spooled (id INTEGER PRIMARY KEY CHECK (id = 1), mark INTEGER NOT NULL, seq INTEGER NOT NULL) STRICT;
`}
}

// VersionError refuses a file that a newer version of the program has written, or that is not this program's.
type VersionError struct {
	Path string
	Why  string
}

func (e *VersionError) Error() string { return fmt.Sprintf("results file %s: %s", e.Path, e.Why) }

// recognise tells an empty file and ours from all others, and returns the version of its schema.
func recognise(ctx context.Context, db *sql.DB, path string, newest int) (int, error) {
	var app, version, tables int
	err := db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
		(SELECT count(*) FROM sqlite_schema)`).Scan(&app, &version, &tables)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read results file %s: %w", path, err)
	case app == 0 && version == 0 && tables == 0:
		return 0, nil
	case app != applicationID:
		return 0, &VersionError{path, "it is a database, but not one of vipprobe; name another file"}
	case version > newest:
		return 0, &VersionError{path, fmt.Sprintf("its schema is version %d, this program knows %d: it was written by a newer one; use that, or another file", version, newest)}
	}
	return version, nil
}

// migrate brings the schema from a version to the newest, one transaction a step: it ends at a whole version wherever it is interrupted.
func migrate(ctx context.Context, db *sql.DB, path string, version int, steps []string) error {
	for ; version < len(steps); version++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("results file %s: %w", path, err)
		}
		_, err = tx.ExecContext(ctx, steps[version]+fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", applicationID, version+1))
		if err == nil {
			err = tx.Commit()
		}
		if err != nil {
			_ = tx.Rollback() // the first error counts
			return fmt.Errorf("results file %s: bring its schema to version %d: %w", path, version+1, err)
		}
	}
	return nil
}
