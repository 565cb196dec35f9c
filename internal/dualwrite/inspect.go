package dualwrite

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
)

// inspect has the server say which columns the expressions read and whether they may depend on a session's settings: it makes a view, and a
// generated column, of an empty temporary table like the real one, under a savepoint that is rolled back. What dual-write could not keep is a
// [job.Refusals].
func (p Pair) inspect(ctx context.Context, tx pgx.Tx) (in inspection, err error) {
	back := p.Source
	if p.Target != nil {
		back = *p.Target
	}
	if in.forward, err = p.probe(ctx, tx, p.Source, p.New, "forward"); err != nil {
		return in, err
	}
	if in.backward, err = p.probe(ctx, tx, back, p.Old, "backward"); err != nil {
		return in, err
	}
	all := in.forward.immutable && in.backward.immutable // one function holds both
	in.forward.immutable, in.backward.immutable = all, all
	if p.Target != nil {
		if err := p.inserts(ctx, tx); err != nil {
			return in, err
		}
	}
	return in, p.refusals(in).Err()
}

// inserts has the server plan what the trigger would run for each row: else a mistake in it would come out with the application's next write.
func (p Pair) inserts(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, fmt.Sprintf("EXPLAIN INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s AS %s WHERE false ON CONFLICT (%s) DO NOTHING",
		p.Target, quoted("", names(p.New)), expressions(p.New, bare), p.Source, alias(p.Source), quoted("", p.Key)))
	switch code := postgres.SQLState(err); {
	case err == nil:
		return nil
	case code == "42P10":
		return job.Refusals{{Field: "to.key", Value: strings.Join(p.Key, ", "), Why: "has no unique index of exactly these columns on " + p.Target.String(), Fix: "make it the new table's primary key"}}
	case postgres.Classify(err) == postgres.Schema:
		return job.Refusals{{Field: "forward", Why: "does not fit the new table: " + postgres.Describe(err), Fix: "try it as INSERT INTO " + p.Target.String() + " SELECT ..."}}
	}
	return fmt.Errorf("plan the insert into %s: %w", p.Target, err)
}

func (p Pair) refusals(in inspection) (rs job.Refusals) {
	if p.Target != nil {
		return nil // its triggers read rows as they are stored
	}
	for _, c := range in.forward.reads {
		if slices.Contains(names(p.New), c) {
			rs = append(rs, job.Refusal{Field: "forward", Value: c, Why: "is read and filled by it, so a row would not be the same after a second write",
				Fix: "let the new columns follow from the old ones alone"})
		}
	}
	for field, reads := range map[string][]string{"forward": in.forward.reads, "backward": in.backward.reads} {
		for _, c := range reads {
			if col, _ := p.Source.Column(c); col.Generated {
				rs = append(rs, job.Refusal{Field: field, Value: c, Why: "is a generated column, which has no value yet when a trigger sees the row",
					Fix: "write what it is generated from: " + col.Default})
			}
		}
	}
	return rs
}

// probe tells of the expressions over one table.
func (p Pair) probe(ctx context.Context, tx pgx.Tx, t catalog.Table, cs []Column, field string) (side inspected, err error) {
	if len(cs) == 0 {
		return inspected{immutable: true}, nil
	}
	if err := p.steady(ctx, tx, cs, field); err != nil {
		return side, err
	}
	sp, err := tx.Begin(ctx)
	if err != nil {
		return side, err
	}
	defer func() { _ = sp.Rollback(ctx) }() // else the connection is lost, and the transaction with it
	probe, view := "pg_temp."+alias(t), "pg_temp.backfleet_view"
	if t.Name == "backfleet_view" {
		view = "pg_temp.backfleet_view_"
	}
	if _, err := sp.Exec(ctx, "CREATE TEMPORARY TABLE "+alias(t)+" (LIKE "+t.String()+") ON COMMIT DROP"); err != nil {
		if postgres.SQLState(err) == "42501" {
			return side, fmt.Errorf("look at the expressions of %s: %w; grant the role TEMPORARY on the database", field, err)
		}
		return side, fmt.Errorf("look at the expressions of %s: %w", field, err)
	}
	if _, err := sp.Exec(ctx, "CREATE TEMPORARY VIEW "+strings.TrimPrefix(view, "pg_temp.")+" AS SELECT "+expressions(cs, cast)+" FROM "+probe+" AS "+alias(t)); err != nil {
		if postgres.Classify(err) == postgres.Schema || postgres.Classify(err) == postgres.Data {
			return side, job.Refusals{{Field: field, Why: "does not prepare: " + postgres.Describe(err), Fix: "try the expressions in a SELECT from " + t.String()}}
		}
		return side, fmt.Errorf("look at the expressions of %s: %w", field, err)
	}
	var columns int
	rows, err := sp.Query(ctx, `
		SELECT a.attname::text FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
		  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		 WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.ev_class = $2::text::regclass
		   AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $1::text::regclass AND a.attnum > 0
		 ORDER BY a.attnum`, probe, view)
	if err != nil {
		return side, fmt.Errorf("look at the expressions of %s: %w", field, err)
	}
	if side.reads, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return side, fmt.Errorf("look at the expressions of %s: %w", field, err)
	}
	if err := sp.QueryRow(ctx, "SELECT count(*) FROM pg_catalog.pg_attribute WHERE attrelid = $1::text::regclass", view).Scan(&columns); err != nil {
		return side, err
	}
	if columns != len(cs) {
		return side, job.Refusals{{Field: field, Why: "holds something that is not one expression for each column", Fix: "look for a comma outside of parentheses"}}
	}
	side.whole = wholeRow(t.Name, cs) || slices.ContainsFunc(t.Columns, func(c catalog.Column) bool {
		return c.Generated && slices.Contains(side.reads, c.Name)
	})
	if side.uses, err = uses(ctx, sp, probe, view); err != nil {
		return side, fmt.Errorf("look at the expressions of %s: %w", field, err)
	}
	side.immutable = p.immutable(ctx, sp, probe, cs)
	return side, nil
}

// uses lists what the expressions need of others' objects: functions and tables that are not Postgres' own.
func uses(ctx context.Context, tx pgx.Tx, probe, view string) ([]used, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT 'function', d.refobjid, d.refobjid::regprocedure::text, p.pronamespace, p.pronamespace::regnamespace::text
		  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
		 WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.ev_class = $2::text::regclass AND d.refclassid = 'pg_catalog.pg_proc'::regclass
		   AND p.pronamespace <> 'pg_catalog'::regnamespace
		UNION
		SELECT DISTINCT 'table', d.refobjid, d.refobjid::regclass::text, c.relnamespace, c.relnamespace::regnamespace::text
		  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid JOIN pg_catalog.pg_class c ON c.oid = d.refobjid
		 WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.ev_class = $2::text::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
		   AND c.oid NOT IN ($1::text::regclass, $2::text::regclass) AND c.relnamespace <> 'pg_catalog'::regnamespace
		 ORDER BY 1, 3`, probe, view)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[used])
}

// immutable reports whether Postgres would take each expression for a generated column, which must not depend on a session's settings.
// What it does not take for another reason counts as dependent: that only costs the settings.
func (p Pair) immutable(ctx context.Context, sp pgx.Tx, probe string, cs []Column) bool {
	for i, c := range cs {
		inner, err := sp.Begin(ctx)
		if err != nil {
			return false
		}
		_, err = inner.Exec(ctx, fmt.Sprintf("ALTER TABLE %s ADD COLUMN backfleet_%d %s GENERATED ALWAYS AS %s STORED", probe, i, c.Type, statement.Paren(c.Expression)))
		if back := inner.Rollback(ctx); err != nil || back != nil {
			return false
		}
	}
	return true
}

var called = regexp.MustCompile(`"?([\pL_][\pL\pN_$]*)"?\s*\(`)

// steady refuses expressions that call a function which gives another value at each call. It goes by names, as a job's plan does.
func (p Pair) steady(ctx context.Context, tx pgx.Tx, cs []Column, field string) error {
	for _, c := range cs {
		var calls []string
		for _, m := range called.FindAllStringSubmatch(c.Expression, -1) {
			calls = append(calls, m[1], strings.ToLower(m[1]))
		}
		rows, err := tx.Query(ctx, `SELECT p.proname::text FROM pg_catalog.pg_proc p WHERE p.provolatile = 'v' AND p.prokind = 'f' AND p.proname = ANY($1::text[])
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc o WHERE o.proname = p.proname AND o.provolatile <> 'v') ORDER BY 1 LIMIT 1`, calls)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return job.Refusals{{Field: field + "." + c.Name, Value: c.Expression, Why: "calls " + found[0] + "(), which gives another value at each call, so the two sides would never agree",
				Fix: "use a function that is immutable, or a default"}}
		}
	}
	return nil
}

// wholeRow reports whether an expression may name the table itself, and so read every column. It errs on the side of reading more.
func wholeRow(table string, cs []Column) bool {
	name := regexp.MustCompile(`(^|[^\pL\pN_$.])"?` + regexp.QuoteMeta(table) + `"?\s*($|[^\pL\pN_$.("]|\.\s*\*)`)
	return slices.ContainsFunc(cs, func(c Column) bool { return name.MatchString(c.Expression) })
}
