package ddl

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/ddl/pgquery"
)

//go:embed sql/tables.sql
var tablesSQL string

//go:embed sql/functions.sql
var functionsSQL string

//go:embed sql/domains.sql
var domainsSQL string

// Querier runs queries: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// tableRow is a row of tables.sql.
type tableRow struct {
	name
	Kind        string `json:"kind"`
	Rows, Bytes int64
	Columns     []struct {
		Name    string  `json:"name"`
		Type    string  `json:"type"`
		NotNull bool    `json:"not_null"`
		Default *string `json:"default"`
	} `json:"columns"`
	Indexes     []Index `json:"indexes"`
	Constraints []struct {
		Name       string   `json:"name"`
		Kind       string   `json:"kind"`
		Valid      bool     `json:"valid"`
		Columns    []string `json:"columns"`
		Expression *string  `json:"expression"`
		References *name    `json:"references"`
	} `json:"constraints"`
	Children     []name   `json:"children"`
	Parent       *name    `json:"parent"`
	Default      *name    `json:"default_partition"`
	PartitionKey []string `json:"partition_key"`
	ReferencedBy []name   `json:"referenced_by"`
}

type name struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
}

func (n *name) full() *Name {
	if n == nil {
		return nil
	}
	return &Name{n.Schema, n.Name}
}

func fulls(ns []name) []Name {
	out := make([]Name, 0, len(ns))
	for _, n := range ns {
		out = append(out, *n.full())
	}
	return out
}

// Read asks a server for the facts about all that the statements name. It reads catalogs only and takes no lock that anybody waits for; the
// session's search_path decides what a bare name means.
func Read(ctx context.Context, q Querier, statements []Statement) (Facts, error) {
	f := Facts{Tables: map[Name]Table{}, Volatility: map[string]Volatility{}, Domains: map[string]bool{}}
	rows, err := q.Query(ctx, `SELECT current_setting('server_version_num')::int / 10000, current_schemas(true)::text[],
		current_setting('TimeZone') IN ('UTC', 'Etc/UTC', 'GMT', 'Etc/GMT', 'UCT', 'Zulu')`)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&f.Version, &f.Path, &f.UTC}, func() error { return nil })
	}
	if err != nil {
		return Facts{}, fmt.Errorf("read the server's version: %w", err)
	}
	if err := f.readTables(ctx, q, statements); err != nil {
		return Facts{}, fmt.Errorf("read the tables that the statements name: %w", err)
	}
	var functions, operators, types []string
	for _, s := range statements {
		functions, operators, types = append(functions, s.functions...), append(operators, s.operators...), append(types, s.types...)
	}
	fs, fn := split(functions)
	os, on := split(operators)
	if err := each(ctx, q, functionsSQL, []any{fs, fn, os, on}, func(name string, v Volatility) { f.Volatility[name] = v }); err != nil {
		return Facts{}, fmt.Errorf("read how volatile the functions are: %w", err)
	}
	ts, tn := split(types)
	if err := each(ctx, q, domainsSQL, []any{ts, tn}, func(name string, constrained bool) { f.Domains[name] = constrained }); err != nil {
		return Facts{}, fmt.Errorf("read the domains: %w", err)
	}
	return f, nil
}

func (f Facts) readTables(ctx context.Context, q Querier, statements []Statement) error {
	var schemas, names []string
	for _, s := range statements {
		for _, n := range s.names {
			schemas, names = append(schemas, n.Schema), append(names, n.Name)
		}
	}
	rows, err := q.Query(ctx, tablesSQL, schemas, names)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return err
	}
	for _, raw := range found {
		var r tableRow
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		t := Table{Name: *r.full(), Kind: r.Kind, Rows: r.Rows, Bytes: r.Bytes, Indexes: r.Indexes, Children: fulls(r.Children), Parent: r.Parent.full(),
			Default: r.Default.full(), PartitionKey: r.PartitionKey, ReferencedBy: fulls(r.ReferencedBy)}
		for _, c := range r.Columns {
			column := Column{Name: c.Name, Type: c.Type, NotNull: c.NotNull}
			if c.Default != nil {
				column.Default = *c.Default
			}
			t.Columns = append(t.Columns, column)
		}
		for _, c := range r.Constraints {
			k := Constraint{Name: c.Name, Kind: c.Kind, Valid: c.Valid, Columns: c.Columns, References: c.References.full()}
			if c.Expression != nil {
				k.NotNull = provenBy(ctx, *c.Expression)
			}
			t.Constraints = append(t.Constraints, k)
		}
		f.Tables[t.Name] = t
	}
	return nil
}

// provenBy reads a check's expression. One that the parser cannot read, for it may be a newer server's, proves nothing.
func provenBy(ctx context.Context, check string) []string {
	if !strings.Contains(check, "IS NOT NULL") {
		return nil
	}
	raw, err := pgquery.ParseToJSON(ctx, "SELECT "+check)
	if err != nil {
		return nil
	}
	var tree struct {
		Statements []struct {
			Stmt struct {
				Select struct {
					Targets []struct {
						Target struct {
							Value expression `json:"val"`
						} `json:"ResTarget"`
					} `json:"targetList"`
				} `json:"SelectStmt"`
			} `json:"stmt"`
		} `json:"stmts"`
	}
	if err := json.Unmarshal([]byte(raw), &tree); err != nil || len(tree.Statements) != 1 || len(tree.Statements[0].Stmt.Select.Targets) != 1 {
		return nil
	}
	return notNull(tree.Statements[0].Stmt.Select.Targets[0].Target.Value)
}

// notNull lists the columns that cannot be NULL where an expression is not false: those that it tests, alone or joined by AND.
func notNull(e expression) []string {
	object, _ := e.(map[string]any)
	if test, ok := object["NullTest"].(map[string]any); ok && test["nulltesttype"] == "IS_NOT_NULL" {
		arg, _ := test["arg"].(map[string]any)
		if ref, ok := arg["ColumnRef"].(map[string]any); ok {
			if column := nameOf(ref["fields"]); column != "" {
				return []string{column}
			}
		}
	}
	var out []string
	if and, ok := object["BoolExpr"].(map[string]any); ok && and["boolop"] == "AND_EXPR" {
		args, _ := and["args"].([]any)
		for _, arg := range args {
			out = append(out, notNull(arg)...)
		}
	}
	return out
}

// split takes names as written apart into schemas and names, for two arrays of the same length.
func split(written []string) (schemas, names []string) {
	written = slices.Compact(slices.Sorted(slices.Values(written)))
	schemas, names = make([]string, 0, len(written)), make([]string, 0, len(written))
	for _, w := range written {
		schema, name := "", w
		if at := strings.IndexByte(w, '.'); at > 0 {
			schema, name = w[:at], w[at+1:]
		}
		schemas, names = append(schemas, schema), append(names, name)
	}
	return schemas, names
}

// each calls visit with the name as written and the value of each row of (schema, name, value).
func each[V any](ctx context.Context, q Querier, sql string, args []any, visit func(name string, value V)) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var schema, name string
	var value V
	_, err = pgx.ForEachRow(rows, []any{&schema, &name, &value}, func() error {
		if schema != "" {
			name = schema + "." + name
		}
		visit(name, value)
		return nil
	})
	return err
}
