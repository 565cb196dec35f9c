package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// summarizingFrom is the first server_version_num whose BRIN indexes do not stand in the way of HOT.
const summarizingFrom = 160000

// How often a chunk is walked where strided order pays. Of 2, 4 and 8, four are the fewest that leave room on each page of a table of fill
// factor 100 for the updates of the next pass, and in the key's order eight spare more WAL and space at the same CPU (docs/benchmarks.md).
const (
	keyPasses   = 8
	blockPasses = 4
)

// leastCorrelation is how well the rows' order must follow that of the key's first column for strided order.
const leastCorrelation = 0.5

// writtenNumbers are, for each relation, the columns that the updates change: those of `set`, and the generated columns that
// follow them. It is the head of a query whose $1 are relations and $2 are names.
const writtenNumbers = `
	WITH direct AS (
		SELECT attrelid, attnum FROM pg_attribute WHERE attrelid = ANY($1::oid[]) AND attname = ANY($2::text[]) AND NOT attisdropped),
	written AS (
		SELECT attrelid, attnum FROM direct
		UNION
		SELECT g.attrelid, g.attnum FROM pg_attribute g JOIN pg_attrdef d ON d.adrelid = g.attrelid AND d.adnum = g.attnum
		  JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass AND p.refobjid = g.attrelid
		   AND (p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
		        OR p.classid = 'pg_class'::regclass AND p.objid = g.attrelid AND p.objsubid = g.attnum)
		  JOIN direct w ON w.attrelid = g.attrelid AND w.attnum = p.refobjsubid
		 WHERE g.attgenerated <> '' AND g.attrelid = ANY($1::oid[]))`

func (c *check) writtenNames() []string {
	names := make([]string, 0, len(c.spec.Set))
	for _, w := range c.plan.Columns {
		names = append(names, w.Name)
	}
	return names
}

// generatedKey refuses to change a key by way of a generated column.
func (c *check) generatedKey(ctx context.Context) error {
	var names []string
	for _, k := range c.table.Key {
		names = append(names, k.Name)
	}
	var name string
	return c.scanAll(ctx, "the generated columns of the key", writtenNumbers+`
		SELECT DISTINCT a.attname::text FROM written w JOIN pg_attribute a USING (attrelid, attnum)
		 WHERE a.attgenerated <> '' AND a.attname = ANY($3::text[]) ORDER BY 1`, []any{c.relations(), c.writtenNames(), names}, []any{&name}, func() {
		c.refuse("set", "", fmt.Sprintf("changes column %q of the key, which is generated from a written column: its rows would move between ranges", name),
			"walk the table by another key")
	})
}

// indexes finds out whether the updates can be HOT: no index may name a written column as a key, in INCLUDE, in an
// expression or in its predicate.
func (c *check) indexes(ctx context.Context) error {
	h := &c.plan.HOT
	h.Blocking = []string{}
	var name string
	if err := c.scanAll(ctx, "the indexes over written columns", writtenNumbers+`
		SELECT DISTINCT ic.relname::text FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am am ON am.oid = ic.relam
		  JOIN written w ON w.attrelid = i.indrelid
		 WHERE i.indislive AND NOT (am.amname = 'brin' AND $3)
		   AND (w.attnum = ANY(i.indkey::int2[])
		        OR EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
		                      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid = w.attnum))
		 ORDER BY 1`, []any{c.oids(), c.writtenNames(), c.plan.Server.Number >= summarizingFrom}, []any{&name}, func() {
		h.Blocking = append(h.Blocking, name)
	}); err != nil {
		return err
	}
	h.Possible = len(h.Blocking) == 0
	h.Fillfactor = 100
	if err := c.scanAll(ctx, "the fill factor", `
		SELECT min(coalesce((SELECT option_value::int FROM pg_options_to_table(reloptions) WHERE option_name = 'fillfactor'), 100))
		  FROM pg_class WHERE oid = ANY($1::oid[]) HAVING count(*) > 0`, []any{c.oids()}, []any{&h.Fillfactor}, func() {}); err != nil {
		return err
	}
	if err := c.scanAll(ctx, "the number of indexes", `
		SELECT coalesce(max(n), 1) - 1 FROM (SELECT count(*)::int AS n FROM pg_index WHERE indrelid = ANY($1::oid[]) AND indislive GROUP BY indrelid) x`,
		[]any{c.oids()}, []any{&h.Secondary}, func() {}); err != nil {
		return err
	}
	if err := c.order(ctx); err != nil {
		return err
	}
	if !h.Possible {
		c.warn(Warning, "indexes", "every updated row writes all indexes anew, since a written column stands in "+few(h.Blocking),
			"where it can wait, build that index after the backfill")
	}
	return nil
}

// order chooses in how many passes `auto` walks a chunk. With the key's index alone a pass more costs about what its HOT updates save.
// And a pass must come back to the pages of the pass before: where rows lie in another order than their keys, it does not.
func (c *check) order(ctx context.Context) error {
	h := &c.plan.HOT
	h.Passes = 1
	if !h.Possible || h.Secondary == 0 {
		return nil
	}
	correlation := 1.0 // without statistics
	err := c.scanAll(ctx, "the order of the rows", `
		SELECT coalesce(avg(abs(s.correlation)), 1)::float8 FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace
		  JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = r.relname AND s.attname = $2 AND NOT s.inherited
		 WHERE r.oid = ANY($1::oid[])`, []any{c.oids(), c.table.Key[0].Name}, []any{&correlation}, func() {})
	if err == nil && correlation >= leastCorrelation {
		h.Passes = keyPasses
	}
	return err
}

// triggers lists the row and statement triggers that an UPDATE of these columns fires in an ordinary session.
func (c *check) triggers(ctx context.Context) error {
	return c.triggersOf(ctx, c.oids(), onUpdate, c.writtenNames())
}

// The events of a trigger, as pg_trigger.tgtype has them.
const onInsert, onDelete, onUpdate = 4, 8, 16

// triggersOf lists the triggers of relations that these events fire. columns are those that an update sets; nil: any.
func (c *check) triggersOf(ctx context.Context, relations []uint32, events int16, columns []string) error {
	const row, before, insteadOf = 1, 2, 64
	known := len(c.plan.Triggers)
	var t Trigger
	var kind int16
	if err := c.scanAll(ctx, "the triggers", `
		SELECT DISTINCT t.tgname::text, t.tgtype, t.tgfoid::regproc::text, p.prosrc LIKE '%backfleet.job%'
		  FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
		 WHERE t.tgrelid = ANY($1::oid[]) AND t.tgtype & $3 <> 0 AND t.tgenabled IN ('O', 'A')
		   AND (NOT t.tgisinternal OR EXISTS (SELECT 1 FROM pg_trigger u WHERE u.oid = t.tgparentid AND t.tgconstraint = 0))
		   AND (t.tgattr::text = '' OR t.tgtype & $3 & ~16 <> 0 OR $2::text[] IS NULL OR EXISTS (
		        SELECT 1 FROM pg_attribute a WHERE a.attrelid = t.tgrelid AND a.attnum = ANY(t.tgattr::int2[]) AND a.attname = ANY($2::text[])))
		 ORDER BY 1`, []any{relations, columns, events}, []any{&t.Name, &kind, &t.Function, &t.Aware}, func() {
		when, each := "AFTER", "statement"
		if kind&before != 0 {
			when = "BEFORE"
		} else if kind&insteadOf != 0 {
			when = "INSTEAD OF"
		}
		if kind&row != 0 {
			each = "row"
		}
		t.Timing = when + " each " + each
		c.plan.Triggers = append(c.plan.Triggers, t)
	}); err != nil {
		return err
	}
	for _, t := range c.plan.Triggers[known:] {
		if !t.Aware {
			c.warn(Warning, "trigger "+t.Name, fmt.Sprintf("fires %s and does not look at backfleet.job: an updated_at would change, and each row costs more", t.Timing),
				"let it pass when current_setting('backfleet.job', true) <> '', where the backfill should not fire it")
		}
	}
	return nil
}

// foreignKeys lists the constraints, on both ends, that Postgres checks because a written column is part of them.
func (c *check) foreignKeys(ctx context.Context) error {
	var f ForeignKey
	if err := c.scanAll(ctx, "the foreign keys", writtenNumbers+`
		SELECT DISTINCT ON (x.conrelid, x.conname) x.conname::text, pg_get_constraintdef(x.oid), x.conrelid::regclass::text, x.confrelid = ANY($1::oid[]) AND NOT x.conrelid = ANY($1::oid[])
		  FROM pg_constraint x JOIN written w ON w.attrelid = x.conrelid AND w.attnum = ANY(x.conkey) OR w.attrelid = x.confrelid AND w.attnum = ANY(x.confkey)
		 WHERE x.contype = 'f' AND x.conparentid = 0 ORDER BY x.conrelid, x.conname`, []any{c.relations(), c.writtenNames()},
		[]any{&f.Name, &f.Definition, &f.From, &f.Incoming}, func() { c.plan.ForeignKeys = append(c.plan.ForeignKeys, f) }); err != nil {
		return err
	}
	for _, f := range c.plan.ForeignKeys {
		if f.Incoming {
			c.warn(Warning, "foreign key "+f.Name, f.From+" refers to a written column: each changed row looks there, and may cascade", "make sure "+f.From+" has an index over it")
		} else {
			c.warn(Warning, "foreign key "+f.Name, "each row that changes its value looks up, and share-locks, the row it refers to", "")
		}
	}
	return nil
}

// few lists names, at most four.
func few(names []string) string {
	const most = 4
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(slices.Clone(names[:most]), ", "), len(names)-most)
}
