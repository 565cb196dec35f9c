package preflight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/sqltext"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// sampleRows is how many matching rows stand for the table when `set` is held against `where`.
const sampleRows = 1000

// residual refuses a `where` that the job's own `set` does not make false: its residual could never reach zero. It evaluates
// `where` over a sample of matching rows with the new values in place.
func (c *check) residual(ctx context.Context) error {
	if c.spec.Where == "" {
		return nil
	}
	if stop, err := c.sideEffects(ctx); err != nil || stop {
		return err
	}
	var key []string
	err := c.probe(ctx, func(tx pgx.Tx) error { return queryRow(ctx, tx, c.leftOver()).Scan(&key) })
	pe := sqlError(err)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		c.falsified = true
	case tooSlow(err):
		c.warn(Note, "where", "could not be held against `set` in time: too few rows match it where the table begins", "")
	case pe != nil && pe.Code == "42501":
		c.refuse("where", c.spec.Where, "cannot be evaluated with `set` by role "+c.plan.Server.Role+": "+pe.Message, "grant what it calls or reads")
	case pe != nil && strings.HasPrefix(pe.Code, "22"):
		c.warn(Warning, "set", "fails on a row of the sample: "+pe.Message, "such a row would be quarantined; mend it or the expression before")
	case pe != nil:
		c.warn(Note, "where", "could not be held against `set` beforehand: "+pe.Message, "")
	case err != nil:
		return fmt.Errorf("hold `where` against `set`: %w", err)
	case slices.ContainsFunc(c.plan.Triggers, func(t Trigger) bool { return t.Timing == "BEFORE each row" }):
		c.warn(Warning, "where", "still matches row "+ranges.Key(key).String()+" after `set`, unless the BEFORE trigger mends that",
			"the job fails at its verification if it does not")
	default:
		c.refuse("where", c.spec.Where, "still matches row "+ranges.Key(key).String()+" after `set`, so the residual could never reach zero",
			"write a where that `set` makes false, or leave it out to do every row once")
	}
	return nil
}

// sideEffects reports whether the sample must not run: a volatile function of the user's own might do more than return a value.
func (c *check) sideEffects(ctx context.Context) (bool, error) {
	expressions := append(slices.Collect(maps.Values(c.spec.Set)), c.spec.Where)
	for _, x := range expressions {
		tokens, _ := sqltext.Scan(x)
		found, err := c.volatile(ctx, tokens)
		if err != nil {
			return true, err
		}
		for _, f := range found {
			if !f.Builtin {
				c.warn(Note, "where", "was not held against `set`: "+f.Name+"() is volatile and might do more than return a value", "")
				return true, nil
			}
		}
	}
	return false, nil
}

// leftOver finds the key of a sampled row that still matches `where` with the new values in place, generated columns too.
func (c *check) leftOver() string {
	alias := statement.Quote(c.target.Alias)
	var now, updated, generated, key []string
	derived := false
	for _, col := range c.table.Columns {
		name := statement.Quote(col.Name)
		now = append(now, name)
		if x, written := c.spec.Set[col.Name]; written {
			updated = append(updated, fmt.Sprintf("CAST(%s AS %s) AS %s", statement.Paren(x), col.Declared, name))
		} else {
			updated = append(updated, name)
		}
		if col.Generated {
			derived = true
			generated = append(generated, fmt.Sprintf("CAST((%s) AS %s) AS %s", col.Default, col.Declared, name))
		} else {
			generated = append(generated, name)
		}
	}
	for _, k := range c.table.Key {
		key = append(key, statement.Quote(k.Name)+"::text")
	}
	sample := fmt.Sprintf("SELECT %s FROM %s WHERE %s LIMIT %d", strings.Join(now, ", "), c.from(), statement.Paren(c.spec.Where), sampleRows)
	after := fmt.Sprintf("SELECT %s FROM (%s) AS %s", strings.Join(updated, ", "), sample, alias)
	if derived {
		after = fmt.Sprintf("SELECT %s FROM (%s OFFSET 0) AS %s", strings.Join(generated, ", "), after, alias)
	}
	return fmt.Sprintf("SELECT ARRAY[%s] FROM (%s OFFSET 0) AS %s WHERE %s LIMIT 1", strings.Join(key, ", "), after, alias, statement.Paren(c.spec.Where))
}
