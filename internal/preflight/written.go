package preflight

import (
	"context"
	"fmt"
	"slices"

	"github.com/backfleet/backfleet/internal/statement"
)

// written looks at the tables that a job's statement writes: what their triggers and foreign keys will do.
func (c *check) written(ctx context.Context) error {
	c.plan.HOT.Passes = 1 // in which order the job's table is read does nothing for the tables that are written
	if err := c.leafPrivileges(ctx); err != nil {
		return err
	}
	events := map[string]int16{}
	for _, w := range c.plan.Statement.Writes {
		events[w.Relation] |= map[string]int16{"insert": onInsert, "update": onUpdate, "delete": onDelete, "merge": onInsert | onUpdate | onDelete}[w.Operation]
		if w.OnConflict == "update" {
			events[w.Relation] |= onUpdate
		}
	}
	for _, w := range c.plan.Statement.Writes {
		of, left := events[w.Relation]
		if !left {
			continue
		}
		delete(events, w.Relation) // once for each table
		var oids []uint32
		if err := c.tx.QueryRow(ctx, "SELECT array_agg(relid::oid) FROM (SELECT relid FROM pg_partition_tree(to_regclass($1)) UNION SELECT to_regclass($1)) x(relid)",
			w.Relation).Scan(&oids); err != nil {
			return fmt.Errorf("find the partitions of %s: %w", w.Relation, err)
		}
		if err := c.triggersOf(ctx, oids, of, nil); err != nil {
			return err
		}
		if err := c.referencesOf(ctx, oids, of); err != nil {
			return err
		}
	}
	return nil
}

// leafPrivileges refuses a role that may not do to each leaf of the job's table what the statement does to it: the server was asked about
// the first alone.
func (c *check) leafPrivileges(ctx context.Context) error {
	var rights []string
	for _, w := range c.plan.Statement.Writes {
		if c.own(w) && w.Operation != "insert" {
			rights = append(rights, map[string]string{"update": "UPDATE", "delete": "DELETE", "merge": "SELECT"}[w.Operation])
		}
	}
	if c.plan.Statement.Locks && len(rights) == 0 {
		rights = []string{"UPDATE"} // of one column, which is what a lock takes
	}
	var leaf, right string
	return c.scanAll(ctx, "the privileges on the leaves", `
		SELECT min(format('%I.%I', n.nspname, r.relname)), x FROM unnest($1::oid[]) o(oid) JOIN pg_class r USING (oid) JOIN pg_namespace n ON n.oid = r.relnamespace, unnest($2::text[]) x
		 WHERE NOT CASE x WHEN 'DELETE' THEN has_table_privilege(r.oid, x) ELSE has_any_column_privilege(r.oid, x) END GROUP BY x`,
		[]any{c.oids(), rights}, []any{&leaf, &right}, func() {
			c.refuse("table", c.spec.Table, "role "+c.plan.Server.Role+" may not "+right+" its leaf "+leaf,
				fmt.Sprintf("run GRANT %s ON %s TO %s, and on the other leaves", right, leaf, statement.Quote(c.plan.Server.Role)))
		})
}

// referencesOf lists the foreign keys that these events make Postgres check: those of the tables where rows come or change, those to
// them where rows go or change. Which columns change is not known.
func (c *check) referencesOf(ctx context.Context, relations []uint32, events int16) error {
	known := len(c.plan.ForeignKeys)
	var f ForeignKey
	if err := c.scanAll(ctx, "the foreign keys", `
		SELECT x.conname::text, pg_get_constraintdef(x.oid), x.conrelid::regclass::text, x.confrelid = ANY($1::oid[]) AND NOT x.conrelid = ANY($1::oid[])
		  FROM pg_constraint x
		 WHERE x.contype = 'f' AND x.conparentid = 0 AND (x.conrelid = ANY($1::oid[]) AND $2 & 20 <> 0 OR x.confrelid = ANY($1::oid[]) AND $2 & 24 <> 0)
		 ORDER BY x.conrelid, x.conname`, []any{relations, events},
		[]any{&f.Name, &f.Definition, &f.From, &f.Incoming}, func() { c.plan.ForeignKeys = append(c.plan.ForeignKeys, f) }); err != nil {
		return err
	}
	for _, f := range slices.Clone(c.plan.ForeignKeys[known:]) {
		if f.Incoming {
			c.warn(Warning, "foreign key "+f.Name, f.From+" refers to a table that is written: each row that goes or changes its key looks there, and may cascade", "make sure "+f.From+" has an index over it")
		} else {
			c.warn(Warning, "foreign key "+f.Name, "each row that comes looks up, and share-locks, the row it refers to", "")
		}
	}
	return nil
}
