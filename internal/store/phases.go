package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/migration"
)

// NoMigrationError says that no migration has this name.
type NoMigrationError struct{ Database, Name string }

func (e *NoMigrationError) Error() string {
	return fmt.Sprintf("migration %q is not known to database %q; `backfleet phase` lists those that are", e.Name, e.Database)
}

// StartMigration stores a migration that begins now, by the clock of whoever asks. created is false where one of this name was there,
// which is returned as it is.
func (s *Store) StartMigration(ctx context.Context, spec migration.Spec, facts migration.Facts, by string, now time.Time) (m migration.Migration, created bool, err error) {
	err = s.tx(ctx, "start migration "+spec.Name, func(tx pgx.Tx) error {
		switch err := tx.QueryRow(ctx, q("migration_start"), spec.Name, jsonb{spec}, jsonb{facts}, by, now).Scan(&m.Revision); {
		case err == nil:
			created = true
			if err := sayMigration(ctx, tx, spec.Name, by, "start", map[string]any{"spec": spec}, now); err != nil {
				return err
			}
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		m, err = scanMigration(tx.QueryRow(ctx, q("migration"), spec.Name))
		return err
	})
	return m, created, err
}

// Migration reads one migration. The error is a [NoMigrationError] where there is none.
func (s *Store) Migration(ctx context.Context, name string) (migration.Migration, error) {
	m, err := scanMigration(s.pool.QueryRow(ctx, q("migration"), name))
	if errors.Is(err, pgx.ErrNoRows) {
		return m, &NoMigrationError{s.database, name}
	}
	if err != nil {
		return m, s.explain("read migration "+name, err)
	}
	return m, nil
}

// Migrations reads all of them, the oldest first.
func (s *Store) Migrations(ctx context.Context) ([]migration.Migration, error) {
	return list(ctx, s, "read the migrations", func(row pgx.CollectableRow) (migration.Migration, error) { return scanMigration(row) }, "migration_list")
}

// MigrationLog reads a migration's audit log, the oldest entry first.
func (s *Store) MigrationLog(ctx context.Context, name string) ([]migration.Entry, error) {
	return list(ctx, s, "read the log of migration "+name, func(row pgx.CollectableRow) (e migration.Entry, err error) {
		err = row.Scan(&e.ID, &e.At, &e.By, &e.Action, &e.Detail)
		return e, err
	}, "migration_log", name)
}

// Move is one change of a migration: what it was, what it becomes, and the line in the audit log.
type Move struct {
	Name, By, Action string
	Now              time.Time
	// Change changes the facts and says what the log shall hold. What it does through tx is committed with them or not at all. An error
	// leaves all as it was.
	Change func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts) (detail map[string]any, err error)
}

// MoveMigration makes one change in a transaction that holds the migration's row, so that two who change it follow each other. A change of
// nothing writes nothing.
func (s *Store) MoveMigration(ctx context.Context, tx pgx.Tx, move Move) (m migration.Migration, err error) {
	m, err = scanMigration(tx.QueryRow(ctx, q("migration_lock"), move.Name))
	if errors.Is(err, pgx.ErrNoRows) {
		return m, &NoMigrationError{s.database, move.Name}
	}
	if err != nil {
		return m, err
	}
	if s.revision != 0 && s.revision != m.Revision {
		return m, &RevisionError{fmt.Sprintf("migration %q", move.Name), m.Revision, s.revision}
	}
	next := m
	next.Facts = m.Facts.Clone()
	detail, err := move.Change(ctx, tx, m, &next.Facts)
	if err != nil {
		return m, err
	}
	if detail == nil {
		return m, nil
	}
	if err := tx.QueryRow(ctx, q("migration_set"), move.Name, jsonb{next.Facts}).Scan(&next.Revision); err != nil {
		return m, err
	}
	return next, sayMigration(ctx, tx, move.Name, move.By, move.Action, detail, move.Now)
}

func sayMigration(ctx context.Context, tx pgx.Tx, name, by, action string, detail map[string]any, now time.Time) error {
	_, err := tx.Exec(ctx, q("migration_say"), name, now, by, action, jsonb{detail})
	return err
}

func scanMigration(row pgx.Row) (m migration.Migration, err error) {
	var name string
	err = row.Scan(&name, &m.Spec, &m.Facts, &m.Revision, &m.StartedBy, &m.StartedAt)
	return m, err
}
