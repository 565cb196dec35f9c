package preflight

import (
	"context"

	"github.com/backfleet/backfleet/internal/job"
)

// otherJobs warns of unfinished jobs on the same table. Each is exact by itself, yet they may undo each other's columns, and every
// row is written once for each. Without a ledger, or without the right to read it, there is nothing to say.
func (c *check) otherJobs(ctx context.Context) error {
	readable, err := c.readable(ctx, "jobs")
	if err != nil {
		return err
	}
	if !readable {
		return nil
	}
	var name, state, table string
	return c.scanAll(ctx, "the jobs of the ledger", `SELECT name, state, coalesce(spec->>'table', '') FROM backfleet.jobs
		 WHERE database = $1 AND name <> $2 AND ended_at IS NULL ORDER BY 1`, []any{c.spec.Database, c.spec.Name},
		[]any{&name, &state, &table}, func() {
			if schema, relation, err := job.SplitTable(table); err == nil && schema == c.table.Schema && relation == c.table.Name {
				c.warn(Warning, "job "+name, "works on the same table and is "+state+": every row is written by both, and a column that both set ends as either",
					"let one end first")
			}
		})
}
