package dualwrite

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/statement"
)

// Install makes the triggers of a direction, or those that stand already into these. It changes the catalog only, in the transaction that it
// is given, and waits for the table's writers: the caller sets lock_timeout and tries again. searchPath is that under which the expressions
// mean what they mean.
//
// A write whose forward expression fails, fails as the expression says: to swallow the error would let the sides diverge where nobody looks.
// The expressions should have run over real rows before, as [MeasureCost] does.
//
// Functions are made in the table's schema, by and for the role that runs this, which must own the tables and may create in the schema. The
// expressions run in the trigger as the writer, of a new table as this role.
func Install(ctx context.Context, tx pgx.Tx, spec migration.Spec, d Direction, searchPath string) error {
	return pinned(ctx, tx, searchPath, func() error {
		p, in, err := read(ctx, tx, spec, searchPath)
		if err != nil {
			return err
		}
		ts := p.plan(d, in)
		if err := p.callable(ctx, tx, in); err != nil {
			return err
		}
		for _, f := range functions(ts) {
			if _, err := tx.Exec(ctx, f.create(p.path())); err != nil {
				return fmt.Errorf("create function %s: %w", f, err)
			}
			if _, err := tx.Exec(ctx, "REVOKE ALL ON FUNCTION "+f.String()+"() FROM PUBLIC"); err != nil {
				return fmt.Errorf("close function %s: %w", f, err)
			}
		}
		for _, t := range ts {
			if _, err := tx.Exec(ctx, t.create()); err != nil {
				return fmt.Errorf("create trigger %s on %s: %w", statement.Quote(t.name), t.table, err)
			}
		}
		return enable(ctx, tx, functions(ts))
	})
}

// enable has every trigger of the functions fire always, on each partition too.
func enable(ctx context.Context, tx pgx.Tx, fs []function) error {
	for _, f := range fs {
		rows, err := tx.Query(ctx, `SELECT n.nspname::text, c.relname::text, t.tgname::text
			  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			 WHERE t.tgfoid = $1::text::regproc AND t.tgenabled <> 'A' ORDER BY t.tgparentid, 1, 2, 3`, f.String())
		if err != nil {
			return fmt.Errorf("list the triggers of %s: %w", f, err)
		}
		type of struct{ Schema, Table, Name string }
		ts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[of])
		if err != nil {
			return fmt.Errorf("list the triggers of %s: %w", f, err)
		}
		all := make([]string, len(ts)) // one message, for writers wait meanwhile: a partition each may be a thousand
		for i, t := range ts {
			all[i] = always(pgx.Identifier{t.Schema, t.Table}, t.Name)
		}
		if len(all) > 0 {
			if _, err := tx.Exec(ctx, strings.Join(all, ";\n")); err != nil {
				return fmt.Errorf("enable the triggers of %s: %w", f, err)
			}
		}
	}
	return nil
}

// Remove ends dual-write: it drops the triggers and their functions where they are. Dropping a trigger locks its table against readers too,
// for a moment: the caller sets lock_timeout and tries again.
func Remove(ctx context.Context, tx pgx.Tx, spec migration.Spec) error {
	return pinned(ctx, tx, "", func() error {
		p := Pair{Name: spec.Name}
		rows, err := tx.Query(ctx, `
			SELECT pn.nspname::text, p.proname::text, coalesce(n.nspname::text, ''), coalesce(c.relname::text, ''), coalesce(t.tgname::text, '')
			  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace
			  LEFT JOIN pg_catalog.pg_trigger t ON t.tgfoid = p.oid AND t.tgparentid = 0
			  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			 WHERE p.proname = ANY($1::text[]) AND p.prorettype = 'pg_catalog.trigger'::regtype ORDER BY 1, 2, 3, 4, 5`,
			[]string{p.object("", ""), p.object("", "_back")})
		if err != nil {
			return fmt.Errorf("list the triggers of %s: %w", spec.Name, err)
		}
		type of struct{ In, Function, Schema, Table, Trigger string }
		found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[of])
		if err != nil {
			return fmt.Errorf("list the triggers of %s: %w", spec.Name, err)
		}
		for _, t := range found {
			if t.Trigger == "" {
				continue
			}
			if _, err := tx.Exec(ctx, "DROP TRIGGER "+statement.Quote(t.Trigger)+" ON "+pgx.Identifier{t.Schema, t.Table}.Sanitize()); err != nil {
				return fmt.Errorf("drop trigger %s: %w", statement.Quote(t.Trigger), err)
			}
		}
		for _, t := range found {
			if _, err := tx.Exec(ctx, "DROP FUNCTION IF EXISTS "+pgx.Identifier{t.In, t.Function}.Sanitize()+"()"); err != nil {
				return fmt.Errorf("drop function %s: %w", statement.Quote(t.Function), err)
			}
		}
		return nil
	})
}

// read loads the pair and has its expressions looked at.
func read(ctx context.Context, tx pgx.Tx, spec migration.Spec, searchPath string) (Pair, inspection, error) {
	if err := setPath(ctx, tx, "pg_catalog, pg_temp"); err != nil {
		return Pair{}, inspection{}, err
	}
	p, err := Load(ctx, tx, spec, searchPath)
	if err != nil {
		return Pair{}, inspection{}, err
	}
	if err := setPath(ctx, tx, p.path()); err != nil {
		return Pair{}, inspection{}, err
	}
	in, err := p.inspect(ctx, tx)
	return p, in, err
}

// path is the search path of the functions: the pinned one, with temporary objects last, for a writer could put anything there.
func (p Pair) path() string {
	if p.SearchPath == "" {
		return "pg_catalog, pg_temp"
	}
	return p.SearchPath + ", pg_temp"
}

// pinned restores the transaction's search path after fn.
func pinned(ctx context.Context, tx pgx.Tx, searchPath string, fn func() error) error {
	var before string
	if err := tx.QueryRow(ctx, "SELECT pg_catalog.current_setting('search_path')").Scan(&before); err != nil {
		return fmt.Errorf("read the search path: %w", err)
	}
	if searchPath != "" {
		if err := setPath(ctx, tx, searchPath); err != nil {
			return err
		}
	}
	if err := fn(); err != nil {
		return err // the transaction ends by it
	}
	return setPath(ctx, tx, before)
}

func setPath(ctx context.Context, tx pgx.Tx, path string) error {
	if _, err := tx.Exec(ctx, "SELECT pg_catalog.set_config('search_path', $1, true)", path); err != nil {
		return fmt.Errorf("set the search path: %w", err)
	}
	return nil
}
