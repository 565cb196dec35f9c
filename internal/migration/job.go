package migration

import (
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

// Job is the backfill of the migration: phase 3. Rows to do, and so the residual, are those whose new columns say nothing while the old
// ones say something; the check asks every row whether new follows old. A file's own `where` and `check` take their place.
func (s Spec) Job() job.Spec {
	j := job.Spec(s.Backfill)
	j.Name, j.Database, j.Table = s.Name, s.Database, s.Table
	j.Set = s.Forward
	if j.Where == "" {
		j.Where = s.Missing()
	}
	if j.Check == "" {
		j.Check = s.Follows()
	}
	return j
}

// Missing is the condition of a row of which a new column is null and its expression is not. For new columns of the same table.
func (s Spec) Missing() string {
	return s.each(" OR ", func(column, expression string) string {
		return "(" + column + " IS NULL AND (" + expression + ") IS NOT NULL)"
	})
}

// Follows is the condition that every new column says what its expression says. For new columns of the same table.
func (s Spec) Follows() string {
	return s.each(" AND ", func(column, expression string) string {
		return column + " IS NOT DISTINCT FROM (" + expression + ")"
	})
}

// each joins what a condition says of each new column. An expression stands on a line of its own, so that a comment in it ends there.
func (s Spec) each(joined string, condition func(column, expression string) string) string {
	var parts []string
	for _, c := range s.To.Columns {
		if x := s.Forward[c.Name]; x != "" {
			if strings.Contains(x, "--") {
				x = "\n" + x + "\n"
			}
			parts = append(parts, condition(pgx.Identifier{c.Name}.Sanitize(), x))
		}
	}
	return strings.Join(parts, joined)
}
