// Package store is the ledger: the tables in schema "backfleet" of a target database, and the only writer of state.
//
// Postgres knows what is done; JetStream only delivers. Every change of state is one transaction that states its own settings and
// commits no weaker than synchronous_commit=local. What a coordinator changes is refused once another leads; what a worker changes
// is refused once its claim was taken over.
package store

import (
	"context"
	"embed"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/internal/postgres"
)

//go:embed sql
var sqlFiles embed.FS

// queries holds every static statement by name.
var queries = mustLoad("sql/divergence.sql", "sql/flags.sql", "sql/growth.sql", "sql/jobs.sql", "sql/phases.sql", "sql/plan.sql", "sql/ranges.sql",
	"sql/rounds.sql", "sql/shown.sql")

// jobColumns stands for @job in the statements: the columns of a jobRow by name, so that a later version's column is no concern of
// this one.
const jobColumns = "id, name, database, spec, spec_hash, limits, state, resume_state, reason, revision, key_columns, idempotent," +
	" auto_passes, search_path, estimate, estimate_by, freeze_wait, planned_at, verify_round, submitted_by, submitted_at, started_at, ended_at," +
	" forecast, end_lsn, stream_clear, report, submitted_as, plan_hash, approved_as, approved_at, walk, last_look, snapshot, block_rounds"

// mustLoad reads "-- name: x" sections; a mistake in an embedded file is a mistake in the program.
func mustLoad(files ...string) map[string]string {
	all := map[string]string{}
	for _, f := range files {
		b, err := sqlFiles.ReadFile(f)
		if err != nil {
			panic(err)
		}
		for _, section := range strings.Split("\n"+string(b), "\n-- name: ")[1:] {
			name, text, _ := strings.Cut(section, "\n")
			if _, twice := all[name]; twice {
				panic("store: statement " + name + " stands twice")
			}
			all[name] = strings.TrimSpace(strings.ReplaceAll(text, "@job", jobColumns))
		}
	}
	return all
}

// q returns a static statement.
func q(name string) string {
	text, ok := queries[name]
	if !ok {
		panic("store: no statement " + name)
	}
	return text
}

// Store is the ledger of one database. It is safe for concurrent use.
type Store struct {
	pool     *pgxpool.Pool
	database string
	settings postgres.Settings
	revision int64 // that a change must find; 0 does not ask
}

// If returns the ledger for a change that is refused with a [RevisionError] unless what it changes has this revision. 0 does not ask.
func (s *Store) If(revision int64) *Store {
	asking := *s
	asking.revision = revision
	return &asking
}

// New returns the ledger of a database, without touching it.
func New(pool *pgxpool.Pool, database string) *Store {
	return &Store{pool: pool, database: database, settings: postgres.Settings{
		Application:       "backfleet ledger",
		SearchPath:        "pg_catalog, pg_temp",
		SynchronousCommit: "local",
		LockTimeout:       5 * time.Second,
		StatementTimeout:  30 * time.Second,
		// Whoever was stopped in the middle must not keep the leadership or a range from its successor.
		IdleTimeout: 3 * time.Second,
	}}
}

// Database is the name by which specs call this database.
func (s *Store) Database() string { return s.database }

// Pool gives the connections, for reads of the target's tables.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

// tx runs fn in one transaction of the ledger.
func (s *Store) tx(ctx context.Context, op string, fn func(pgx.Tx) error) error {
	if err := postgres.InTx(ctx, s.pool, s.settings, fn); err != nil {
		return s.explain(op, err)
	}
	return nil
}

// opInit is the operation of Migrate, which needs other privileges than all else.
const opInit = "db init"

// explain adds what was being done, and for the commonest causes what to do.
func (s *Store) explain(op string, err error) error {
	switch postgres.SQLState(err) {
	case "42P01", "3F000", "42703":
		return fmt.Errorf("%s on %q: %w; the ledger is missing or old, run `backfleet db init`", op, s.database, err)
	case "42501":
		if op == opInit {
			return fmt.Errorf("%s on %q: %w; run it as a role with CREATE on the database; "+
				"if the ledger is there, `backfleet db grants` prints what this role needs", op, s.database, err)
		}
		return fmt.Errorf("%s on %q: %w; `backfleet db grants` prints what this role needs", op, s.database, err)
	}
	return fmt.Errorf("%s on %q: %w", op, s.database, err)
}

// list reads all rows of one static statement.
func list[T any](ctx context.Context, s *Store, op string, scan pgx.RowToFunc[T], name string, args ...any) ([]T, error) {
	rows, err := s.pool.Query(ctx, q(name), args...)
	if err == nil {
		var all []T
		if all, err = pgx.CollectRows(rows, scan); err == nil {
			return all, nil
		}
	}
	return nil, s.explain(op, err)
}

// exec runs one static statement in a transaction of its own and returns how many rows it changed.
func (s *Store) exec(ctx context.Context, op, name string, args ...any) (int64, error) {
	var n int64
	err := s.tx(ctx, op, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, q(name), args...)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}
