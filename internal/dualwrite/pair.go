// Package dualwrite keeps both schemas of a migration equal while both are in use: it generates the triggers that carry each write over,
// installs them, tells exactly whether they still stand, measures what they cost, and builds the comparison of both sides.
//
// Which rows a trigger has seen. CREATE TRIGGER takes a SHARE ROW EXCLUSIVE lock on the table, which every transaction that has written to
// it holds off until it ends, prepared ones too, and which holds off every later write until the commit. A statement that waited finds the
// trigger once it has its lock, whatever the age of its transaction's snapshot. So each row version that was not committed when the
// transaction of [Install] took its lock is written under the trigger.
//
// What goes past it: TRUNCATE and the attaching or dropping of a partition, for which no row trigger fires; a session that disables
// triggers; with a new table, a DELETE
// under REPEATABLE READ of a row that the backfill carried over after its snapshot. The watch finds what they leave.
package dualwrite

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/statement"
)

// Direction says which side follows.
type Direction string

// The directions of dual-write.
const (
	Forward Direction = "forward" // new follows old: before reads switch
	Both    Direction = "both"    // whichever side a statement wrote, the other follows
)

// Pair is both schemas of a migration, as the catalog knows them. Its methods build statements and never fail.
type Pair struct {
	Name       string
	SearchPath string           // under which the expressions mean what they mean
	Source     catalog.Table    // the old table
	Target     *catalog.Table   // the new table; nil: the new columns are the old table's
	Key        []string         // of the new table
	Link       []string         // the source's columns that Key follows from, in its order
	New        []Column         // what forward fills, in the file's order
	Old        []Column         // what backward fills, in the old table's order
	Kept       []catalog.Column // the source's columns that the last phase drops
}

// Column is one column that follows from the other side.
type Column struct {
	Name       string
	Type       string // as declared, qualified: what its expression is cast to
	Expression string
	Default    string // its default where that is a constant, else NULL: what it is where nobody wrote it
	unequal    bool   // its type has no equality: values are compared as text
}

// Load reads both schemas and checks that dual-write can keep them equal. It must run under a search_path of pg_catalog alone, so that
// the names of types come qualified. What cannot be is a [job.Refusals]; any other error is the server's.
func Load(ctx context.Context, q catalog.Querier, spec migration.Spec, searchPath string) (Pair, error) {
	p := Pair{Name: spec.Name, SearchPath: searchPath}
	var rs job.Refusals
	var err error
	if spec.NewTable() {
		if p.Link, rs = link(spec); len(rs) > 0 {
			return Pair{}, rs
		}
		p.Key = spec.To.Key
	}
	if p.Source, err = walkable(ctx, q, spec.Table, spec.Backfill.Key, p.Link); err != nil {
		return Pair{}, err
	}
	into := p.Source
	if spec.NewTable() {
		t, err := walkable(ctx, q, spec.To.Table, nil, p.Key)
		if err != nil {
			return Pair{}, inField(err, "to.")
		}
		p.Target, into = &t, t
	}
	for _, c := range spec.To.Columns {
		col, refused := follows(into, "to.columns", c.Name, spec.Forward[c.Name])
		rs = append(rs, refused...)
		p.New = append(p.New, col)
	}
	for _, c := range p.Source.Columns {
		if slices.Contains(spec.From.Columns, c.Name) {
			p.Kept = append(p.Kept, c)
		}
		if x := spec.Backward[c.Name]; x != "" {
			col, refused := follows(p.Source, "backward", c.Name, x)
			rs = append(rs, refused...)
			p.Old = append(p.Old, col)
		}
	}
	if len(rs) > 0 {
		return Pair{}, rs
	}
	return p, nil
}

// walkable loads a table by the key that it is walked by. Where rows are looked up by other columns, those must identify them: they hold that
// key, or are one themselves.
func walkable(ctx context.Context, q catalog.Querier, table string, key, lookup []string) (catalog.Table, error) {
	t, err := catalog.Load(ctx, q, table, key)
	if len(lookup) == 0 {
		return t, err
	}
	if err == nil && !slices.ContainsFunc(t.Key, func(c job.Column) bool { return !slices.Contains(lookup, c.Name) }) {
		return t, nil
	}
	return catalog.Load(ctx, q, table, lookup)
}

// inField names the field of a migration that a refusal of the catalog is about.
func inField(err error, prefix string) error {
	var rs job.Refusals
	if !errors.As(err, &rs) {
		return err
	}
	rs = slices.Clone(rs)
	for i := range rs {
		rs[i].Field = prefix + rs[i].Field
	}
	return rs
}

// unequal are the types of Postgres that no equality is defined for, or one that does not mean the same value.
var unequal = []string{"json", "xml", "point", "box", "polygon", "circle", "line", "lseg", "path"}

// constant matches a default that is one value: a number, a text, a word, with or without the type it is cast to.
var constant = regexp.MustCompile(`^(-?[0-9.]+|\(-[0-9.]+\)|'(?:[^']|'')*'|true|false)(::[a-z0-9_." \[\](),]+)?$`)

func follows(t catalog.Table, field, name, expression string) (Column, job.Refusals) {
	c, ok := t.Column(name)
	switch {
	case !ok:
		return Column{}, job.Refusals{{Field: field, Value: name, Why: "is not a column of " + t.String() + " yet", Fix: "add it first: that is phase 1"}}
	case c.Generated:
		return Column{}, job.Refusals{{Field: field, Value: name, Why: "is a generated column, which nobody can write", Fix: "leave it out: it follows by itself"}}
	}
	def := "NULL"
	if constant.MatchString(c.Default) {
		def = c.Default
	}
	return Column{name, c.Declared, expression, def, slices.Contains(unequal, strings.TrimRight(c.Type, "[]"))}, nil
}

// link finds the old columns that the new table's key is made of. They must be columns and no more: both sides are looked up by them.
func link(spec migration.Spec) (columns []string, rs job.Refusals) {
	_, table, _ := job.SplitTable(spec.Table)
	for _, k := range spec.To.Key {
		x := spec.Forward[k]
		c, ok := bareColumn(x, table)
		if !ok {
			rs = append(rs, job.Refusal{Field: "forward." + k, Value: x, Why: "is not a column of the old table, so no row of the new one leads back to its own",
				Fix: "let each column of to.key be a column of a unique key of the old table"})
		}
		columns = append(columns, c)
	}
	return columns, rs
}

// bareColumn reads an expression that is one column, qualified by its table or not.
func bareColumn(x, table string) (name string, ok bool) {
	x = strings.TrimSpace(x)
	var parts []string
	for x != "" {
		var part string
		if x[0] == '"' {
			end := 1
			for end < len(x) && (x[end] != '"' || end+1 < len(x) && x[end+1] == '"') {
				if x[end] == '"' {
					end++
				}
				end++
			}
			if end >= len(x) {
				return "", false
			}
			part, x = strings.ReplaceAll(x[1:end], `""`, `"`), x[end+1:]
		} else {
			part = plain.FindString(x)
			x = x[len(part):]
			part = strings.ToLower(part)
		}
		if part == "" || x != "" && x[0] != '.' || x == "." {
			return "", false
		}
		parts, x = append(parts, part), strings.TrimPrefix(x, ".")
	}
	switch {
	case len(parts) == 1:
		return parts[0], true
	case len(parts) == 2 && parts[0] == table:
		return parts[1], true
	}
	return "", false
}

var plain = regexp.MustCompile(`^[\pL_][\pL\pN_$]*`)

// names lists the names of columns.
func names(cs []Column) []string {
	all := make([]string, len(cs))
	for i, c := range cs {
		all[i] = c.Name
	}
	return all
}

// row is a row of columns of a record or table, which is already quoted where it has to be.
func row(of string, columns []string) string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = of + "." + statement.Quote(c)
	}
	return record(all)
}

// record is a row as one value: two ROW()s would be compared column by column, each with its type's own operator.
func record(values []string) string { return "CAST(ROW(" + strings.Join(values, ", ") + ") AS record)" }

// differs says that two rows are not the same, byte by byte: the equality of a type such as citext would let a change of case pass by.
func differs(a, b string) string { return a + " OPERATOR(pg_catalog.*<>) " + b }

func same(a, b string) string { return a + " OPERATOR(pg_catalog.*=) " + b }

// quoted is a list of quoted identifiers, each with a prefix.
func quoted(prefix string, columns []string) string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = prefix + statement.Quote(c)
	}
	return strings.Join(all, ", ")
}

// equal is the condition that columns of both sides have equal values, each pair on its own.
func equal(a string, ac []string, b string, bc []string) string {
	all := make([]string, len(ac))
	for i := range ac {
		all[i] = a + "." + statement.Quote(ac[i]) + " = " + b + "." + statement.Quote(bc[i])
	}
	return strings.Join(all, " AND ")
}

// expressions is a list of them, each on lines of its own.
func expressions(cs []Column, as shape) string {
	all := make([]string, len(cs))
	for i, c := range cs {
		all[i] = as(c, statement.Paren(c.Expression))
	}
	return strings.Join(all, ", ")
}

// bare is an expression as it stands.
func bare(_ Column, x string) string { return x }

// named is an expression under its column's name.
func named(c Column, x string) string { return x + " AS " + statement.Quote(c.Name) }

// cast is an expression as a value of its column's type, under its name.
func cast(c Column, x string) string {
	return fmt.Sprintf("CAST(%s AS %s) AS %s", x, c.Type, statement.Quote(c.Name))
}

// alias is the name by which expressions call a table.
func alias(t catalog.Table) string { return statement.Quote(t.Name) }

// inSchema is the qualified name of an object beside a table.
func inSchema(t catalog.Table, name string) string { return pgx.Identifier{t.Schema, name}.Sanitize() }
