package migration

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

// Job is the backfill of the migration: phase 3. Rows to do, and so the residual, are those whose new columns say nothing while the old
// ones say something, or that have no row in the new table; the check asks every row whether new follows old. A file's own `where` and `check`
// take their place.
func (s Spec) Job() job.Spec {
	j := job.Spec(s.Backfill)
	j.Name, j.Database, j.Table = s.Name, s.Database, s.Table
	if s.NewTable() {
		j.Statement = s.insert()
	} else {
		j.Set = s.Forward
	}
	if j.Where == "" {
		j.Where = s.Missing()
	}
	if j.Check == "" {
		j.Check = s.Follows()
	}
	return j
}

// insert fills the new table. It locks the rows that it reads and leaves those that are there, which the trigger has written: see the forms of
// docs/spec.md.
func (s Spec) insert() string {
	names, values := make([]string, len(s.To.Columns)), make([]string, len(s.To.Columns))
	for i, c := range s.To.Columns {
		names[i], values[i] = quote(c.Name), paren(s.Forward[c.Name])
	}
	return fmt.Sprintf("INSERT INTO %s (%s)\nSELECT %s FROM %s\nWHERE {{range}}\nFOR NO KEY UPDATE\nON CONFLICT (%s) DO NOTHING",
		relation(s.To.Table), strings.Join(names, ", "), strings.Join(values, ", "), relation(s.Table), quoted(s.To.Key))
}

// Missing is the condition of a row of which a new column is null and its expression is not, or which has no row in the new table.
func (s Spec) Missing() string {
	if s.NewTable() {
		return "NOT " + s.exists(s.To.Key, nil)
	}
	return s.each(" OR ", func(column, expression string) string {
		return "(" + column + " IS NULL AND " + expression + " IS NOT NULL)"
	})
}

// Follows is the condition that every new column says what its expression says.
func (s Spec) Follows() string {
	if s.NewTable() {
		return s.exists(s.To.Key, s.NewColumns())
	}
	return s.each(" AND ", func(column, expression string) string {
		return column + " IS NOT DISTINCT FROM " + expression
	})
}

// exists asks for the row's row in the new table. The expressions stand in a subquery of their own, which sees the columns of the old table and
// none of the new one: both may have columns of one name.
func (s Spec) exists(key, equal []string) string {
	var values, conds []string
	for i, c := range s.NewColumns() {
		n := fmt.Sprintf("c%d", i+1)
		isKey := slices.Contains(key, c)
		if isKey || slices.Contains(equal, c) {
			values = append(values, paren(s.Forward[c])+" AS "+n)
		}
		switch {
		case isKey: // by its index
			conds = append(conds, "backfleet_n."+quote(c)+" = backfleet_f."+n)
		case slices.Contains(equal, c):
			conds = append(conds, "backfleet_n."+quote(c)+" IS NOT DISTINCT FROM backfleet_f."+n)
		}
	}
	return fmt.Sprintf("EXISTS (SELECT FROM (SELECT %s) AS backfleet_f, %s AS backfleet_n WHERE %s)",
		strings.Join(values, ", "), relation(s.To.Table), strings.Join(conds, " AND "))
}

// each joins what a condition says of each new column.
func (s Spec) each(joined string, condition func(column, expression string) string) string {
	var parts []string
	for _, c := range s.To.Columns {
		if x := s.Forward[c.Name]; x != "" {
			parts = append(parts, condition(quote(c.Name), paren(x)))
		}
	}
	return strings.Join(parts, joined)
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func quoted(names []string) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = quote(n)
	}
	return strings.Join(all, ", ")
}

// relation is a table's name as SQL writes it; one that cannot be read is refused before.
func relation(table string) string {
	schema, name, err := job.SplitTable(table)
	if err != nil {
		return quote(table)
	}
	return pgx.Identifier{schema, name}.Sanitize()
}

// paren encloses an expression; one that holds what may be a comment stands on a line of its own, so that the comment ends there.
func paren(x string) string {
	if strings.Contains(x, "--") {
		return "(\n" + x + "\n)"
	}
	return "(" + x + ")"
}
