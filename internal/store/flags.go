package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/flag"
)

// Flags reads every flag, by name.
func (s *Store) Flags(ctx context.Context) ([]flag.Flag, error) {
	return list(ctx, s, "read the flags", func(row pgx.CollectableRow) (flag.Flag, error) { return scanFlag(row) }, "flag_list")
}

// Flag reads one flag; known is false where there is none, which is a flag of 0 %.
func (s *Store) Flag(ctx context.Context, name string) (f flag.Flag, known bool, err error) {
	f, err = scanFlag(s.pool.QueryRow(ctx, q("flag"), name))
	if errors.Is(err, pgx.ErrNoRows) {
		return flag.Flag{Name: name}, false, nil
	}
	if err != nil {
		return f, false, s.explain("read flag "+name, err)
	}
	return f, true, nil
}

// SetFlag sets a flag's percentage in the caller's transaction and writes the audit log; a flag that is not there is made. It returns the
// flag as it was and as it is. Setting what it has changes nothing. The error is a [RevisionError] where the flag does not have the
// revision that was asked for with [Store.If].
func (s *Store) SetFlag(ctx context.Context, tx pgx.Tx, name string, percent int, by string) (old, now flag.Flag, err error) {
	if err := flag.Check(percent); err != nil {
		return old, now, err
	}
	old, err = scanFlag(tx.QueryRow(ctx, q("flag_lock"), name))
	known := err == nil
	if !known && !errors.Is(err, pgx.ErrNoRows) {
		return old, now, err
	}
	old.Name = name
	if s.revision != 0 && s.revision != old.Revision {
		return old, old, &RevisionError{fmt.Sprintf("flag %q", name), old.Revision, s.revision}
	}
	if known && old.Percent == percent {
		return old, old, nil
	}
	if now, err = scanFlag(tx.QueryRow(ctx, q("flag_set"), name, percent, by)); err != nil {
		return old, old, err
	}
	return old, now, event(ctx, tx, "", by, "flag", map[string]any{"flag": name, "old": old.Percent, "new": percent})
}

// FlagGrants returns the statement that lets an application's role ask backfleet.flag(name, key), and nothing else of the ledger.
func FlagGrants(role string) string {
	return "GRANT USAGE ON SCHEMA backfleet TO " + pgx.Identifier{role}.Sanitize() + ";\n"
}

func scanFlag(row pgx.Row) (f flag.Flag, err error) {
	return f, row.Scan(&f.Name, &f.Percent, &f.Since, &f.By, &f.Revision)
}
