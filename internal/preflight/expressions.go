package preflight

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/backfleet/backfleet/internal/nearest"
	"github.com/backfleet/backfleet/internal/sqltext"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// expressions prepares each expression of the spec as it will stand, alone and in the real statements, and finds out what
// it reads. Preparing runs nothing.
func (c *check) expressions(ctx context.Context) error {
	reads := false
	for _, column := range slices.Sorted(maps.Keys(c.spec.Set)) {
		if _, known := c.table.Column(column); !known || slices.ContainsFunc(c.refused, func(r Refusal) bool { return r.Field == "set."+column }) {
			continue
		}
		x := c.spec.Set[column]
		sound, err := c.sound(ctx, "set."+column, x)
		if err != nil || !sound {
			if err != nil {
				return err
			}
			continue
		}
		one := c.target
		one.Set, one.Where = map[string]string{column: x}, ""
		if _, err := c.prepares(ctx, "set."+column, x, one.Update(ranges.Span{}).Text); err != nil {
			return err
		}
		r, err := c.readsWritten(ctx, x)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(c.plan.Columns, func(w Written) bool { return w.Name == column }); i >= 0 {
			c.plan.Columns[i].Reads = r
		}
		tokens, _ := sqltext.Scan(x)
		again, err := c.volatile(ctx, tokens)
		if err != nil {
			return err
		}
		reads = reads || r || len(again) > 0
	}
	c.plan.Idempotent = !reads // what depends on the row before, or on the moment, is not the same twice
	for _, f := range []struct{ field, x string }{{"where", c.spec.Where}, {"check", c.spec.Check}} {
		if f.x == "" {
			continue
		}
		if err := c.condition(ctx, f.field, f.x); err != nil {
			return err
		}
	}
	return nil
}

// condition refuses an expression that is no boolean, or that no WHERE takes.
func (c *check) condition(ctx context.Context, field, x string) error {
	sound, err := c.sound(ctx, field, x)
	if err != nil || !sound {
		return err
	}
	kind, err := c.prepares(ctx, field, x, "SELECT "+statement.Paren(x)+" FROM "+c.from())
	if err != nil {
		return err
	}
	if kind != pgtype.BoolOID {
		var name string
		if err := c.tx.QueryRow(ctx, "SELECT format_type($1::oid, NULL)", kind).Scan(&name); err != nil {
			return fmt.Errorf("name the type of %s: %w", field, err)
		}
		c.refuse(field, x, "has type "+name, "write a condition, of type boolean")
		return nil
	}
	_, err = c.prepares(ctx, field, x, "SELECT count(*) FILTER (WHERE "+statement.Paren(x)+") FROM "+c.from()+" WHERE "+statement.Paren(x))
	return err
}

// sound prepares an expression in the two forms that only a single expression fits, and refuses what does not fit, a
// parameter, and a comment behind its end. It also warns of what surprises.
func (c *check) sound(ctx context.Context, field, x string) (bool, error) {
	before := len(c.refused)
	tokens, trailing := sqltext.Scan(x)
	if trailing {
		c.refuse(field, x, "ends with a comment", "write the comment before the expression, or in YAML")
		return false, nil
	}
	for _, form := range []string{statement.Paren(x), "ARRAY[\n" + x + "\n]"} {
		kind, err := c.prepares(ctx, field, x, "SELECT "+form+" FROM "+c.from())
		if err != nil {
			return false, err
		}
		if kind == pgtype.RecordOID {
			c.refuse(field, x, "is a row of several values", "write one expression")
		}
		if len(c.refused) > before {
			return false, nil
		}
	}
	if hasSubquery(tokens) && c.spec.Statement == "" { // where a statement writes another table, its `where` must look there
		c.warn(Warning, field, "holds a subquery: it is evaluated for each row, and sees what other transactions change meanwhile",
			"join beforehand into a column, if the rows it reads may change while the job runs")
	}
	found, err := c.volatile(ctx, tokens)
	if err != nil {
		return false, err
	}
	for _, f := range found {
		if !f.Builtin {
			c.plan.volatile = f.Name
		}
		c.warn(Warning, field, "calls "+f.Name+"(), which gives another value at each call, so a retried batch writes other values",
			"make sure that any value is right")
	}
	return true, nil
}

// prepares refuses the expression x of a field if the server does not take sql, which holds it. It returns the type of the
// statement's first column, 0 where it has none.
func (c *check) prepares(ctx context.Context, field, x, sql string) (kind uint32, err error) {
	var params []uint32
	err = c.probe(ctx, func(tx pgx.Tx) error {
		d, err := tx.Prepare(ctx, "", sql)
		if err != nil {
			return err
		}
		params = d.ParamOIDs
		if len(d.Fields) > 0 {
			kind = d.Fields[0].DataTypeOID
		}
		return nil
	})
	if pe := sqlError(err); pe != nil && !tooSlow(err) {
		c.refuse(field, x, "does not prepare: "+pe.Message, c.advice(pe))
		return 0, nil
	}
	if err == nil && len(params) > 0 {
		c.refuse(field, x, "holds a parameter ($1)", "write the value itself")
	}
	return kind, err
}

var missingColumn = regexp.MustCompile(`^column "?(?:[^"]*\.)?([^".]+)"? does not exist$`)

// advice turns the server's answer into what would be right.
func (c *check) advice(pe *pgconn.PgError) string {
	switch {
	case pe.Code == "42703":
		if m := missingColumn.FindStringSubmatch(pe.Message); m != nil {
			return nearest.Hint(m[1], c.table.ColumnNames())
		}
	case pe.Hint != "":
		return pe.Hint
	case pe.Code == "42601":
		return "write one SQL expression, with its parentheses in pairs"
	case pe.Code == "42803" || pe.Code == "42P20" || pe.Code == "0A000":
		return "write an expression over one row"
	}
	return "try it in psql: SELECT (...) FROM " + c.table.String()
}

// readsWritten reports whether an expression reads a column that the job writes, so that doing a row twice is not doing it
// once: it does if it no longer prepares over the table without those columns. A generated column may follow them, a
// subquery may read the table again, and a whole row holds them: all three count as reading.
func (c *check) readsWritten(ctx context.Context, x string) (bool, error) {
	tokens, _ := sqltext.Scan(x)
	if hasSubquery(tokens) || readsWholeRow(tokens, c.target.Alias) {
		return true, nil
	}
	var kept []string
	for _, col := range c.table.Columns {
		if _, written := c.spec.Set[col.Name]; !written && !col.Generated {
			kept = append(kept, statement.Quote(col.Name))
		}
	}
	sql := fmt.Sprintf("SELECT %s FROM (SELECT %s FROM %s) AS %s", statement.Paren(x), strings.Join(kept, ", "), c.from(), statement.Quote(c.target.Alias))
	err := c.probe(ctx, func(tx pgx.Tx) error {
		_, err := tx.Prepare(ctx, "", sql)
		return err
	})
	if sqlError(err) != nil && !tooSlow(err) {
		return true, nil
	}
	return false, err
}

// volatile is a volatile function that an expression calls.
type volatile struct {
	Name    string
	Builtin bool // Postgres' own
}

// volatile finds the volatile functions among the names that an expression calls. It goes by names, of any overload that the
// call could mean, so it does not see one behind an operator, a cast or another function that claims to be stable.
func (c *check) volatile(ctx context.Context, tokens []sqltext.Token) ([]volatile, error) {
	bare, qualified := calls(tokens)
	rows, err := c.tx.Query(ctx, `
		SELECT p.proname::text, bool_and(p.pronamespace = 'pg_catalog'::regnamespace) FROM pg_proc p
		 WHERE p.provolatile = 'v' AND p.prokind = 'f'
		   AND (p.proname = ANY($1::text[]) AND pg_function_is_visible(p.oid) OR p.proname = ANY($2::text[]))
		 GROUP BY 1 ORDER BY 1`, bare, qualified)
	if err != nil {
		return nil, fmt.Errorf("read the volatility of functions: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[volatile])
	if err != nil {
		return nil, fmt.Errorf("read the volatility of functions: %w", err)
	}
	return found, nil
}

// from names the whole table under the alias of the job's expressions.
func (c *check) from() string { return c.table.String() + " AS " + statement.Quote(c.target.Alias) }
