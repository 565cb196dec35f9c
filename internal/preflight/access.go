package preflight

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/nearest"
	"github.com/backfleet/backfleet/internal/sqltext"
	"github.com/backfleet/backfleet/internal/statement"
)

// server refuses one that is too old, read only, or shows too little.
func (c *check) server(ctx context.Context) error {
	var recovery, monitor bool
	s := &c.plan.Server
	if err := c.tx.QueryRow(ctx, `
		SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_database()::text, current_user::text,
		       pg_is_in_recovery(), pg_has_role('pg_read_all_stats', 'USAGE'),
		       array_to_string(ARRAY(SELECT quote_ident(n) FROM unnest(current_schemas(false)) n), ', ')`,
	).Scan(&s.Version, &s.Number, &s.Database, &s.Role, &recovery, &monitor, &c.plan.SearchPath); err != nil {
		return fmt.Errorf("read the server's identity: %w", err)
	}
	if c.plan.SearchPath == "" {
		c.plan.SearchPath = "pg_catalog" // which is searched anyway; an empty text would leave each session its own
	}
	if s.tooOld() {
		c.refuse("database", c.spec.Database, "is PostgreSQL "+s.Version, "Backfleet needs PostgreSQL "+strconv.Itoa(OldestServer/10000)+" or later")
	}
	if recovery {
		c.refuse("database", c.spec.Database, "is a standby, which takes no writes", "give the primary's DSN, or add target_session_attrs=read-write to it")
	}
	if !monitor { // pg_monitor and superusers have it too
		c.refuse("database", c.spec.Database, "role "+s.Role+" may not see the replicas, and a fleet that cannot see their lag does not start",
			"run GRANT pg_monitor TO "+statement.Quote(s.Role))
	}
	return nil
}

func (s Server) tooOld() bool { return s.Number < OldestServer }

// columns refuses to write what must not or cannot be written.
func (c *check) columns(ctx context.Context) error {
	partitioning, err := c.partitioning(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(c.spec.Set)) {
		field := "set." + name
		col, ok := c.table.Column(name)
		inKey := slices.ContainsFunc(c.table.Key, func(k job.Column) bool { return k.Name == name })
		switch {
		case !ok:
			c.refuse("set", name, "is not a column of "+c.table.String(), nearest.Hint(name, c.table.ColumnNames()))
			continue
		case col.Generated:
			c.refuse(field, "", "is a generated column, which Postgres alone writes", "set the columns that it is generated from")
		case col.Identity == "always":
			c.refuse(field, "", "is GENERATED ALWAYS AS IDENTITY, which takes no UPDATE", "leave it out")
		case inKey:
			c.refuse(field, "", "is a column of the key: its rows would move between ranges while they are walked", "leave it out, or walk the table by another key")
		case slices.Contains(partitioning, name):
			c.refuse(field, "", "is a column of the partition key: its rows would move between partitions", "leave it out")
		}
		c.plan.Columns = append(c.plan.Columns, Written{Name: name, Type: col.Declared, Expression: c.spec.Set[name]})
	}
	return nil
}

// partitioning lists the columns that decide, at any level, in which partition a row lives.
func (c *check) partitioning(ctx context.Context) ([]string, error) {
	if !c.table.Partitioned {
		return nil, nil
	}
	var plain, all []string
	var definition string
	var expression bool
	err := c.scanAll(ctx, "the partition keys", `
		SELECT ARRAY(SELECT a.attname::text FROM unnest(p.partattrs::int2[]) n(num) JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = n.num),
		       pg_get_partkeydef(p.partrelid), p.partexprs IS NOT NULL
		  FROM pg_partition_tree($1::oid::regclass) t JOIN pg_partitioned_table p ON p.partrelid = t.relid`,
		[]any{c.table.OID}, []any{&plain, &definition, &expression}, func() {
			all = append(all, plain...)
			if !expression {
				return
			}
			tokens, _ := sqltext.Scan(definition)
			for i, t := range tokens[1:] { // the first is the strategy
				if t.Name && (i+2 == len(tokens) || tokens[i+2].Text != "(") && tokens[i].Text != ":" {
					all = append(all, t.Text)
				}
			}
		})
	return all, err
}

// privileges refuses a role that may not read the table or write its columns, leaf by leaf, since batches name the leaves.
func (c *check) privileges(ctx context.Context) error {
	var writable []string
	for _, w := range c.plan.Columns {
		writable = append(writable, w.Name)
	}
	var usage bool
	role := statement.Quote(c.plan.Server.Role)
	if err := c.tx.QueryRow(ctx, `SELECT has_schema_privilege($1, 'USAGE')`, c.table.Schema).Scan(&usage); err != nil {
		return fmt.Errorf("read the privileges on schema %s: %w", c.table.Schema, err)
	}
	if !usage {
		c.refuse("table", c.spec.Table, "role "+c.plan.Server.Role+" may not use its schema",
			fmt.Sprintf("run GRANT USAGE ON SCHEMA %s TO %s", statement.Quote(c.table.Schema), role))
	}
	var schema, name string
	var read bool
	var unwritable []string
	var missing []string
	var grants []string
	if err := c.scanAll(ctx, "the privileges", `
		SELECT n.nspname::text, r.relname::text, has_table_privilege(r.oid, 'SELECT'),
		       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = r.oid AND a.attname = ANY($2::text[]) AND NOT a.attisdropped
		                AND NOT has_column_privilege(r.oid, a.attnum, 'UPDATE') ORDER BY a.attname)
		  FROM unnest($1::oid[]) WITH ORDINALITY o(oid, ord) JOIN pg_class r USING (oid) JOIN pg_namespace n ON n.oid = r.relnamespace ORDER BY o.ord`,
		[]any{c.relations(), writable}, []any{&schema, &name, &read, &unwritable}, func() {
			var rights []string
			if !read {
				rights = append(rights, "SELECT")
			}
			if len(unwritable) > 0 {
				rights = append(rights, "UPDATE ("+quoteAll(unwritable)+")")
			}
			relation := statement.Target{Schema: schema, Name: name}.Relation()
			if len(rights) > 0 && !slices.Contains(missing, relation) {
				missing = append(missing, relation)
				grants = append(grants, fmt.Sprintf("GRANT %s ON %s TO %s", strings.Join(rights, ", "), relation, role))
			}
		}); err != nil {
		return err
	}
	const shown = 3
	fix := "run " + strings.Join(grants[:min(shown, len(grants))], "; ")
	if len(grants) > shown {
		fix += fmt.Sprintf("; and the same on %d more: `backfleet db grants` prints them all", len(grants)-shown)
	}
	if len(grants) > 0 {
		c.refuse("table", c.spec.Table, "role "+c.plan.Server.Role+" may not read or update "+strings.Join(missing[:min(shown, len(missing))], ", "), fix)
	}
	return nil
}

// rowSecurity refuses where a policy would hide rows from this role.
func (c *check) rowSecurity(ctx context.Context) error {
	var hidden []string
	var relation string
	if err := c.scanAll(ctx, "row security", `SELECT o.oid::regclass::text FROM unnest($1::oid[]) o(oid) WHERE row_security_active(o.oid) GROUP BY 1 ORDER BY 1`,
		[]any{c.relations()}, []any{&relation}, func() { hidden = append(hidden, relation) }); err != nil {
		return err
	}
	if len(hidden) > 0 {
		c.refuse("table", c.spec.Table, fmt.Sprintf("row-level security of %s would hide rows from role %s", strings.Join(hidden, ", "), c.plan.Server.Role),
			fmt.Sprintf("run ALTER ROLE %s BYPASSRLS, or run as the table's owner without FORCE ROW LEVEL SECURITY", statement.Quote(c.plan.Server.Role)))
	}
	return nil
}

// publications refuses a table whose updates are published while nothing tells its rows apart: Postgres fails such an UPDATE.
func (c *check) publications(ctx context.Context) error {
	var relation, publication string
	return c.scanAll(ctx, "the publications", `
		WITH ours AS (SELECT r.oid, n.nspname, r.relname, r.relreplident FROM unnest($1::oid[]) o(oid) JOIN pg_class r USING (oid) JOIN pg_namespace n ON n.oid = r.relnamespace),
		published AS (
			SELECT DISTINCT p.pubname::text, r.oid FROM pg_publication p JOIN pg_publication_tables t USING (pubname)
			  JOIN pg_namespace n ON n.nspname = t.schemaname JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = t.tablename
			 WHERE p.pubupdate)
		SELECT o.oid::regclass::text, min(p.pubname)
		  FROM ours o JOIN published p ON p.oid = o.oid OR p.oid IN (SELECT a.relid FROM pg_partition_ancestors(o.oid::regclass) a)
		 WHERE NOT CASE o.relreplident WHEN 'f' THEN true WHEN 'n' THEN false
		       WHEN 'i' THEN EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = o.oid AND i.indisreplident AND i.indisvalid)
		       ELSE EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = o.oid AND i.indisprimary AND i.indisvalid AND i.indimmediate) END
		 GROUP BY 1 ORDER BY 1 LIMIT 3`,
		[]any{c.oids()}, []any{&relation, &publication}, func() {
			c.refuse("table", relation, fmt.Sprintf("publication %q publishes its updates, but it has no replica identity, so every UPDATE would fail", publication),
				fmt.Sprintf("run ALTER TABLE %s REPLICA IDENTITY USING INDEX %s, or give it a primary key", relation, c.identityIndex()))
		})
}

func (c *check) identityIndex() string {
	if c.table.KeyIndex == "" {
		return "<a unique index>"
	}
	return statement.Quote(c.table.KeyIndex)
}

// lateRows refuses a job that could not say which rows are its own.
func (c *check) lateRows(context.Context) error {
	if c.spec.Where == "" && !c.plan.Grows && c.spec.LateRows == "" {
		c.refuse("late_rows", "", "is missing: new rows of "+c.table.String()+" may get keys below the frozen bound, and without a `where` nothing tells them from rows not yet done",
			"keys that do not grow need late_rows: ignore or a where")
	}
	return nil
}

func quoteAll(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = statement.Quote(n)
	}
	return strings.Join(out, ", ")
}
