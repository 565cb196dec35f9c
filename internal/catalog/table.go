// Package catalog reads what Postgres' catalog says of a table: its columns, the key by which a backfill can walk it, and its
// leaf partitions. It reads only catalog relations, so it is cheap on a table of any size, and it changes nothing.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/nearest"
)

// Querier runs queries: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Kind is what a relation is, in the words of a person.
type Kind string

// The kinds of relation that [Load] can name. Only Ordinary and Partitioned ones can be backfilled.
const (
	Ordinary     Kind = "table"
	Partitioned  Kind = "partitioned table"
	View         Kind = "view"
	Materialized Kind = "materialized view"
	Foreign      Kind = "foreign table"
	Sequence     Kind = "sequence"
	Other        Kind = "relation of another kind"
)

// Table is what the catalog says of one table.
type Table struct {
	OID          uint32       `json:"oid"`
	Schema       string       `json:"schema"`
	Name         string       `json:"name"`
	Kind         Kind         `json:"kind"`
	Partitioned  bool         `json:"partitioned"`
	Unlogged     bool         `json:"unlogged,omitempty"`
	Columns      []Column     `json:"columns"`
	Key          []job.Column `json:"key"`
	KeyIndex     string       `json:"key_index"` // its name, on the table or on its first leaf; empty without any leaf
	Grows        bool         `json:"grows"`     // new rows get keys above all that are there
	PartitionKey []string     `json:"partition_key,omitempty"`
	Leaves       []Leaf       `json:"leaves"` // the table itself when it is not partitioned
}

// Column is one column of a table.
type Column struct {
	Name      string `json:"name"`
	Number    int16  `json:"number"`
	Type      string `json:"type"`          // the base type without modifier: "numeric"; a domain's is what it is over
	Declared  string `json:"declared_type"` // as declared: "numeric(10,2)", or the domain's name
	NotNull   bool   `json:"not_null"`
	Generated bool   `json:"generated,omitempty"`
	Identity  string `json:"identity,omitempty"`  // "always", "by default" or empty
	Default   string `json:"default,omitempty"`   // its expression, for a generated column what it is generated from
	Collation string `json:"collation,omitempty"` // quoted and schema-qualified; empty where the type has none

	baseType      uint32
	deterministic bool
	sequenceUp    bool // filled by a sequence that only climbs
}

// Leaf is one relation that holds rows: a leaf partition, or a table that has no partitions.
type Leaf struct {
	OID    uint32 `json:"oid"`
	Schema string `json:"schema"`
	Name   string `json:"name"`
}

// String returns the quoted, schema-qualified name.
func (l Leaf) String() string { return pgx.Identifier{l.Schema, l.Name}.Sanitize() }

// String returns the quoted, schema-qualified name.
func (t Table) String() string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }

// Column finds a column by its exact name.
func (t Table) Column(name string) (Column, bool) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return t.Columns[i], true
}

// ColumnNames lists the names of all columns in their order.
func (t Table) ColumnNames() []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}

// Load reads a table and chooses its key: the one given, else the primary key, else a unique index over columns that are NOT
// NULL. table is read as [job.SplitTable] does, in schema public where it names none.
//
// What cannot be backfilled (no such table, a view, no usable key ...) is a [job.Refusals]; any other error is the server's.
// Load does not look at privileges, nor at the rows.
func Load(ctx context.Context, q Querier, table string, key []string) (Table, error) {
	schema, name, err := job.SplitTable(table)
	if err != nil {
		return Table{}, job.Refusals{{Field: "table", Value: table, Why: "is not a table's name: " + err.Error()}}
	}
	if schema == "" {
		schema = "public"
	}
	t, err := find(ctx, q, schema, name)
	if err != nil {
		return Table{}, err
	}
	if err := backfillable(ctx, q, t); err != nil {
		return Table{}, err
	}
	if t.Columns, err = columns(ctx, q, t.OID); err != nil {
		return Table{}, err
	}
	if t.Leaves, err = Leaves(ctx, q, t.OID); err != nil {
		return Table{}, err
	}
	if err := t.chooseKey(ctx, q, key); err != nil {
		return Table{}, err
	}
	return t, nil
}

func find(ctx context.Context, q Querier, schema, name string) (Table, error) {
	rows, err := q.Query(ctx, `
		SELECT c.oid, c.relkind::text, c.relpersistence::text, ARRAY(
			SELECT a.attname::text FROM pg_partitioned_table p, unnest(p.partattrs::int2[]) WITH ORDINALITY k(num, ord)
			  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num
			 WHERE p.partrelid = c.oid AND k.num > 0 ORDER BY k.ord)
		  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind NOT IN ('i', 'I', 't', 'c')`, schema, name)
	if err != nil {
		return Table{}, fmt.Errorf("read the catalog of %s.%s: %w", schema, name, err)
	}
	t := Table{Schema: schema, Name: name}
	var kind, persistence string
	found := false
	if _, err := pgx.ForEachRow(rows, []any{&t.OID, &kind, &persistence, &t.PartitionKey}, func() error {
		found = true
		return nil
	}); err != nil {
		return Table{}, fmt.Errorf("read the catalog of %s.%s: %w", schema, name, err)
	}
	if !found {
		return Table{}, unknown(ctx, q, schema, name)
	}
	t.Kind = kindOf(kind)
	t.Partitioned = t.Kind == Partitioned
	t.Unlogged = persistence == "u"
	if persistence == "t" {
		return Table{}, t.refuse("is a temporary table, which only its own session sees", "name a permanent table")
	}
	return t, nil
}

func kindOf(relkind string) Kind {
	kinds := map[string]Kind{"r": Ordinary, "p": Partitioned, "v": View, "m": Materialized, "f": Foreign, "S": Sequence}
	if k, ok := kinds[relkind]; ok {
		return k
	}
	return Other
}

// unknown refuses a table that is not there, with the nearest that is.
func unknown(ctx context.Context, q Querier, schema, name string) error {
	rows, err := q.Query(ctx, `
		SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'backfleet')
		 ORDER BY n.nspname = $1 DESC, c.relname = $2 DESC, 1 LIMIT 5000`, schema, name)
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	fix := "look for it with \\dt *.* in psql"
	if i := slices.IndexFunc(names, func(n string) bool { return strings.HasSuffix(n, "."+name) }); i >= 0 {
		fix = fmt.Sprintf("did you mean %q?", names[i])
	} else if near := nearest.Name(schema+"."+name, names); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	return job.Refusals{{Field: "table", Value: schema + "." + name, Why: "there is no such table in this database", Fix: fix}}
}

func (t Table) refuse(why, fix string) job.Refusals {
	return job.Refusals{{Field: "table", Value: t.Schema + "." + t.Name, Why: why, Fix: fix}}
}

func backfillable(ctx context.Context, q Querier, t Table) error {
	if t.Kind != Ordinary && t.Kind != Partitioned {
		return t.refuse("is a "+string(t.Kind), "name an ordinary or a partitioned table")
	}
	if strings.HasPrefix(t.Schema, "pg_") || t.Schema == "information_schema" || t.Schema == "backfleet" {
		return t.refuse("belongs to Postgres or to Backfleet itself", "name a table of your own")
	}
	if t.Partitioned {
		return nil
	}
	rows, err := q.Query(ctx, `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1 ORDER BY 1 LIMIT 1`, t.OID)
	if err != nil {
		return fmt.Errorf("read the children of %s: %w", t, err)
	}
	child, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("read the children of %s: %w", t, err)
	}
	return t.refuse("has tables that inherit from it ("+child+" ...), which share no key with it",
		"submit one job for each of them, the parent last after ALTER TABLE ... NO INHERIT, or use declarative partitions")
}

// Leaves returns the relations that hold the rows of a table, ordered by schema and name: its leaf partitions at any depth, or
// the table itself when it is not partitioned. A leaf that is not an ordinary table is a [job.Refusals].
func Leaves(ctx context.Context, q Querier, oid uint32) ([]Leaf, error) {
	rows, err := q.Query(ctx, `
		SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text
		  FROM (SELECT relid::oid FROM pg_partition_tree($1::oid::regclass) WHERE isleaf
		        UNION SELECT oid FROM pg_class WHERE oid = $1 AND relkind <> 'p') l(oid)
		  JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
		 ORDER BY n.nspname, c.relname`, oid)
	if err != nil {
		return nil, fmt.Errorf("read the partitions of relation %d: %w", oid, err)
	}
	leaves := []Leaf{}
	var l Leaf
	var kind string
	var refused job.Refusals
	if _, err := pgx.ForEachRow(rows, []any{&l.OID, &l.Schema, &l.Name, &kind}, func() error {
		if k := kindOf(kind); k != Ordinary {
			refused = append(refused, job.Refusal{Field: "table", Value: l.Schema + "." + l.Name,
				Why: "is a " + string(k) + " among the partitions", Fix: "detach it, or backfill each of the other partitions by its own job"})
		}
		leaves = append(leaves, l)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the partitions of relation %d: %w", oid, err)
	}
	return leaves, refused.Err()
}

func columns(ctx context.Context, q Querier, oid uint32) ([]Column, error) {
	rows, err := q.Query(ctx, `
		WITH RECURSIVE base(att, typ) AS (
			SELECT attnum, atttypid FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped
			UNION ALL
			SELECT b.att, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.typ AND t.typtype = 'd')
		SELECT a.attname::text, a.attnum, t.oid, format_type(t.oid, NULL), format_type(a.atttypid, a.atttypmod),
		       a.attnotnull AND NOT EXISTS (SELECT 1 FROM pg_constraint v WHERE v.conrelid = a.attrelid AND v.contype = 'n'
		                                       AND a.attnum = ANY(v.conkey) AND NOT v.convalidated),
		       a.attgenerated <> '',
		       CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' ELSE '' END,
		       coalesce(pg_get_expr(d.adbin, d.adrelid), ''),
		       coalesce(quote_ident(cn.nspname) || '.' || quote_ident(co.collname), ''),
		       coalesce(co.collisdeterministic, true),
		       EXISTS (SELECT 1 FROM pg_depend p JOIN pg_sequence s ON s.seqrelid = CASE p.deptype WHEN 'i' THEN p.objid ELSE p.refobjid END
		                WHERE s.seqincrement > 0 AND NOT s.seqcycle
		                  AND (p.classid = 'pg_class'::regclass AND p.deptype = 'i' AND p.refclassid = 'pg_class'::regclass
		                       AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum
		                    OR p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
		                       AND pg_get_expr(d.adbin, d.adrelid) ~ '^nextval\('))
		  FROM pg_attribute a
		  JOIN base b ON b.att = a.attnum JOIN pg_type t ON t.oid = b.typ AND t.typtype <> 'd'
		  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		  LEFT JOIN pg_collation co ON co.oid = a.attcollation LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
		 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
		 ORDER BY a.attnum`, oid)
	if err != nil {
		return nil, fmt.Errorf("read the columns of relation %d: %w", oid, err)
	}
	var all []Column
	var c Column
	if _, err := pgx.ForEachRow(rows, []any{&c.Name, &c.Number, &c.baseType, &c.Type, &c.Declared, &c.NotNull, &c.Generated,
		&c.Identity, &c.Default, &c.Collation, &c.deterministic, &c.sequenceUp}, func() error {
		all = append(all, c)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the columns of relation %d: %w", oid, err)
	}
	return all, nil
}
