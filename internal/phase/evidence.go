package phase

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/contract"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/migration"
)

// evidence reads what the gates judge beside the facts. It changes nothing.
func (g *Guard) evidence(ctx context.Context, m migration.Migration, now time.Time) (e migration.Evidence, err error) {
	e.Now = now
	if e.Missing, err = g.missing(ctx, m.Spec); err != nil {
		return e, err
	}
	if len(e.Missing) == 0 {
		if e.Trigger, err = g.trigger(ctx, m); err != nil {
			return e, err
		}
	}
	if err := g.backfilled(ctx, m, &e); err != nil {
		return e, err
	}
	if m.Facts.DualWrite != nil {
		if e.Divergence, err = g.divergence(ctx, m); err != nil {
			return e, err
		}
	}
	if m.Facts.Stopped == nil { // until then the trigger itself reads the old schema
		if m.Facts.Percent == 100 {
			e.Required, err = g.required(ctx, m.Spec)
		}
		return e, err
	}
	on, err := g.rehearsing(ctx, m.Spec.Name)
	if err != nil {
		return e, err
	}
	if e.Rehearsing = on != nil; e.Rehearsing && on.Mode == string(contract.Rename) { // what has another name has no readers by this one
		return e, nil
	}
	readers, err := g.Readers(ctx, m)
	if err != nil {
		return e, err
	}
	for _, r := range contract.Forbidding(readers) {
		e.Readers = append(e.Readers, string(r.Kind)+" "+r.Object)
	}
	return e, nil
}

// required are the old columns that an insert cannot leave out.
func (g *Guard) required(ctx context.Context, spec migration.Spec) ([]string, error) {
	if spec.NewTable() {
		return nil, nil
	}
	schema, name, err := job.SplitTable(spec.Table)
	if err != nil {
		return nil, fmt.Errorf("migration %s: table %s: %w", spec.Name, spec.Table, err)
	}
	rows, err := g.Pool.Query(ctx, `SELECT quote_ident(a.attname) FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
		JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
		WHERE s.nspname = $1 AND c.relname = $2 AND a.attname = ANY ($3) AND a.attnum > 0 AND NOT a.attisdropped
		  AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' ORDER BY a.attnum`, schema, name, spec.From.Columns)
	if err != nil {
		return nil, fmt.Errorf("migration %s: look at the old columns: %w", spec.Name, err)
	}
	required, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("migration %s: look at the old columns: %w", spec.Name, err)
	}
	return required, nil
}

// missing is what of the new schema is not there.
func (g *Guard) missing(ctx context.Context, spec migration.Spec) ([]string, error) {
	table := spec.Table
	if spec.NewTable() {
		table = spec.To.Table
	}
	schema, name, err := job.SplitTable(table)
	if err != nil {
		return nil, fmt.Errorf("migration %s: table %s: %w", spec.Name, table, err)
	}
	rows, err := g.Pool.Query(ctx, `SELECT w.name FROM unnest($3::text[]) WITH ORDINALITY AS w(name, n)
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
			JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
			WHERE s.nspname = $1 AND c.relname = $2 AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped) ORDER BY w.n`,
		schema, name, spec.NewColumns())
	if err == nil {
		var missing []string
		if missing, err = pgx.CollectRows(rows, pgx.RowTo[string]); err == nil {
			for i := range missing {
				missing[i] = "column " + missing[i] + " of " + table
			}
			return missing, nil
		}
	}
	return nil, fmt.Errorf("migration %s: look for the new schema: %w", spec.Name, err)
}
