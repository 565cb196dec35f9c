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

// oldestProgram is the version of the ledger that the oldest programs know which may still work beside this one, on a ledger of this
// version. Raise it with a migration that such a program would not survive: until its workers are gone, such a migration must wait.
const oldestProgram = 1

// migrations lists the ledger's scripts in order; the n-th brings the schema to version n.
func migrations() ([]string, error) {
	names, err := fs.Glob(sqlFiles, "sql/migrations/*.sql")
	slices.Sort(names)
	return names, err
}

// Migrate creates or upgrades the ledger in one transaction and says from which version to which. It never downgrades: a ledger
// newer than this program is left as it is, and an error where it says that this program is too old for it.
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
		if _, err := tx.Exec(ctx, `alter table backfleet.schema_version add column if not exists oldest_program int not null default 1`); err != nil {
			return err
		}
		var oldest int
		if err := tx.QueryRow(ctx, versionSQL).Scan(&from, &oldest); err != nil {
			return err
		}
		if from > to {
			if oldest > to {
				return fmt.Errorf("the ledger has version %d, this program knows %d; use a newer backfleet", from, to)
			}
			to = from
			return nil
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
			if _, err := tx.Exec(ctx, "insert into backfleet.schema_version (version, oldest_program) values ($1, least($1, $2::int))", v, oldestProgram); err != nil {
				return err
			}
		}
		return nil
	})
	return from, to, err
}

// versionSQL reads the ledger's version and the oldest programs that may work with it, by their own version of it. The second is read in
// this way because the ledger's first version did not say it.
const versionSQL = `select coalesce(max(v.version), 0),
 coalesce((array_agg((to_jsonb(v)->>'oldest_program')::int order by v.version desc))[1], 1) from backfleet.schema_version v`

// Version reads the ledger's version; 0 where there is no ledger.
func (s *Store) Version(ctx context.Context) (int, error) {
	v, _, err := s.versions(ctx)
	return v, err
}

func (s *Store) versions(ctx context.Context) (have, oldest int, err error) {
	err = s.pool.QueryRow(ctx, versionSQL).Scan(&have, &oldest)
	if code := postgres.SQLState(err); code == "42P01" || code == "3F000" {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, s.explain("read the ledger's version", err)
	}
	return have, oldest, nil
}

// ErrNoLedger says that `db init` was not run.
var ErrNoLedger = errors.New("no ledger")

// Ready checks that the ledger is there and that this program may work with it: it is of this program's version, or of a newer one
// that says that programs of this version may finish their work beside newer ones.
func (s *Store) Ready(ctx context.Context) error {
	have, oldest, err := s.versions(ctx)
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
	case oldest > len(scripts):
		return fmt.Errorf("the ledger of %q has version %d, which a program for version %d cannot work with; use a newer backfleet", s.database, have, len(scripts))
	}
	return nil
}
