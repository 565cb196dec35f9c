package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/postgres"
)

// migrationLock serialises concurrent `db init`s; it is held only inside the transaction.
const migrationLock = 0x6261636b666c6565 // "backflee"

// migrations lists the ledger's scripts in order; the n-th brings the schema to version n.
func migrations() ([]string, error) {
	names, err := fs.Glob(sqlFiles, "sql/migrations/*.sql")
	slices.Sort(names)
	return names, err
}

// Migrate creates or upgrades the ledger in one transaction and says from which version to which. It never downgrades: a ledger
// newer than this program is an error.
func (s *Store) Migrate(ctx context.Context) (from, to int, err error) {
	scripts, err := migrations()
	if err != nil {
		return 0, 0, err
	}
	to = len(scripts)
	err = s.tx(ctx, opInit, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `create schema if not exists backfleet`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `create table if not exists backfleet.schema_version
			(version int primary key, applied_at timestamptz not null default clock_timestamp())`); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "select coalesce(max(version), 0) from backfleet.schema_version").Scan(&from); err != nil {
			return err
		}
		if from > to {
			return fmt.Errorf("the ledger has version %d, this program knows %d; use a newer backfleet", from, to)
		}
		for v := from + 1; v <= to; v++ {
			script, err := sqlFiles.ReadFile(scripts[v-1])
			if err != nil {
				return err
			}
			// The simple protocol takes a script of several statements.
			if _, err := tx.Conn().PgConn().Exec(ctx, string(script)).ReadAll(); err != nil {
				return fmt.Errorf("migration %d: %w", v, err)
			}
			if _, err := tx.Exec(ctx, "insert into backfleet.schema_version (version) values ($1)", v); err != nil {
				return err
			}
		}
		return nil
	})
	return from, to, err
}

// Version reads the ledger's version; 0 where there is no ledger.
func (s *Store) Version(ctx context.Context) (int, error) {
	var v int
	err := s.pool.QueryRow(ctx, "select coalesce(max(version), 0) from backfleet.schema_version").Scan(&v)
	if code := postgres.SQLState(err); code == "42P01" || code == "3F000" {
		return 0, nil
	}
	if err != nil {
		return 0, s.explain("read the ledger's version", err)
	}
	return v, nil
}

// ErrNoLedger says that `db init` was not run.
var ErrNoLedger = errors.New("no ledger")

// Ready checks that the ledger is there and of this program's version.
func (s *Store) Ready(ctx context.Context) error {
	have, err := s.Version(ctx)
	if err != nil {
		return err
	}
	scripts, err := migrations()
	if err != nil {
		return err
	}
	switch {
	case have == 0:
		return fmt.Errorf("%w in database %q; run `backfleet db init %s`", ErrNoLedger, s.database, s.database)
	case have < len(scripts):
		return fmt.Errorf("the ledger of %q has version %d, this program needs %d; run `backfleet db init %s`", s.database, have, len(scripts), s.database)
	case have > len(scripts):
		return fmt.Errorf("the ledger of %q has version %d, newer than this program's %d; use a newer backfleet", s.database, have, len(scripts))
	}
	return nil
}
