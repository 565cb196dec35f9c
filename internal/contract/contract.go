// Package contract ends a migration: it finds who still reads what shall be dropped, takes it away for a time to see who notices, drops it,
// and before that writes down how it comes back.
//
// Each step is one function on the caller's transaction, which sets lock_timeout and tries again; nothing here waits. It must run as the
// table's owner, a member of it, or a superuser.
package contract

import (
	"context"
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

// Target is what shall be dropped: columns of a table or, without any, the table.
type Target struct {
	Schema  string   `json:"schema"`
	Table   string   `json:"table"`
	Columns []string `json:"columns,omitempty"`
}

// String is the target as a person writes it, quoted where SQL asks for it.
func (t Target) String() string {
	if t.whole() {
		return t.relation()
	}
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = quote(c)
	}
	return t.relation() + " (" + strings.Join(names, ", ") + ")"
}

func (t Target) whole() bool { return len(t.Columns) == 0 }

func (t Target) relation() string { return pgx.Identifier{t.Schema, t.Table}.Sanitize() }

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// relation is the target's table, or one that inherits from it: a partition at any depth, or a child.
type relation struct {
	oid       uint32
	schema    string
	name      string
	kind      string // relkind
	owner     uint32
	numbers   []int16 // of the target's columns; empty for the whole table
	inherited []string
	typed     bool   // made OF a type
	parent    string // of the table itself: whom it inherits from; empty: nobody
	partKey   string // as pg_get_partkeydef says it
}

func (r relation) String() string { return pgx.Identifier{r.schema, r.name}.Sanitize() }

// find reads the target's table and all that inherit from it, the table first. The error is a [job.Refusals] where the table or a column
// is not there.
func (t Target) find(ctx context.Context, q Querier) ([]relation, error) {
	rows, err := q.Query(ctx, treeSQL, t.Schema, t.Table, t.Columns)
	if err != nil {
		return nil, fmt.Errorf("read the catalog of %s: %w", t.relation(), err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r relation, err error) {
		return r, row.Scan(&r.oid, &r.schema, &r.name, &r.kind, &r.owner, &r.numbers, &r.inherited, &r.typed, &r.parent, &r.partKey)
	})
	if err != nil {
		return nil, fmt.Errorf("read the catalog of %s: %w", t.relation(), err)
	}
	if len(all) == 0 {
		return nil, job.Refusals{{Field: "table", Value: t.Schema + "." + t.Table, Why: "there is no such table in this database", Fix: "look for it with \\dt *.* in psql"}}
	}
	if k := all[0].kind; k != "r" && k != "p" {
		return nil, job.Refusals{{Field: "table", Value: t.Schema + "." + t.Table, Why: "is no ordinary or partitioned table", Fix: "name one"}}
	}
	if len(all[0].numbers) < len(t.Columns) {
		return nil, t.unknownColumns(ctx, q, all[0])
	}
	return all, nil
}

func (t Target) unknownColumns(ctx context.Context, q Querier, r relation) error {
	rows, err := q.Query(ctx, "SELECT attname::text FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum", r.oid)
	if err != nil {
		return fmt.Errorf("read the columns of %s: %w", r, err)
	}
	have, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read the columns of %s: %w", r, err)
	}
	var rs job.Refusals
	for _, c := range t.Columns {
		if !slices.Contains(have, c) {
			rs = append(rs, job.Refusal{Field: "columns", Value: c, Why: "is not a column of " + r.String(), Fix: nearest.Hint(c, have)})
		}
	}
	return rs.Err()
}

// version is the server's, such as 170002.
func version(ctx context.Context, q Querier) (int, error) {
	rows, err := q.Query(ctx, "SELECT current_setting('server_version_num')::int")
	if err != nil {
		return 0, fmt.Errorf("read the server's version: %w", err)
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
}
