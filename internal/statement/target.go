// Package statement builds every SQL text that depends on a job: its batches, boundaries, bounds and proofs.
//
// Identifiers are quoted; values are bound; a job's expressions stand on lines of their own inside parentheses, so that neither
// an unbalanced parenthesis nor a trailing comment can leave them. Golden tests hold the full text of each statement.
package statement

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// Target is one relation with what a job does to it. Its methods build statements and never fail.
type Target struct {
	Schema, Name string // the relation: a table or a leaf partition
	// Alias is the name that the job's expressions may qualify columns with: the spec's table. Empty means Name.
	Alias string
	Key   []job.Column
	// Blocks says that spans are of row addresses: the relation is walked as its rows lie in it. Rows are still called by their key.
	Blocks bool
	Set    map[string]string
	// Form is the job's own statement, in the place of an UPDATE by Set; nil: it has none.
	Form  *job.Form
	Where string // empty: every row
	Check string // empty: none
}

// SQL is a statement with its bound values.
type SQL struct {
	Text string
	Args []any
}

// Unkept are the values for a run that keeps no plan: the table may be altered before the next.
func (s SQL) Unkept() []any { return append([]any{pgx.QueryExecModeDescribeExec}, s.Args...) }

// For returns the target of a claim under a job. alias is the name of the job's table, unless its statement has another for it.
func For(schema, name string, key []job.Column, spec job.Spec, alias string) Target {
	t := Target{Schema: schema, Name: name, Alias: alias, Key: key, Set: spec.Set, Where: spec.Where, Check: spec.Check}
	if spec.Statement != "" {
		form, _ := spec.Form() // one that was refused makes no SQL
		t.Form = &form
		if spec.Alias != "" {
			t.Alias = spec.Alias
		}
	}
	return t
}

// Quote quotes one identifier.
func Quote(ident string) string { return pgx.Identifier{ident}.Sanitize() }

// Relation is the quoted, qualified name.
func (t Target) Relation() string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }

// from names the relation alone, without children, under the job's alias.
func (t Target) from() string { return "ONLY " + t.Relation() + " AS " + t.alias() }

func (t Target) alias() string {
	if t.Alias != "" {
		return Quote(t.Alias)
	}
	return Quote(t.Name)
}

// column is a key column as the index orders it.
func (t Target) column(c job.Column) string {
	s := t.alias() + "." + Quote(c.Name)
	if c.Collation != "" {
		s += " COLLATE " + c.Collation
	}
	return s
}

// keyRow is the key as a row value, or the lone column.
func (t Target) keyRow() string {
	cols := make([]string, len(t.Key))
	for i, c := range t.Key {
		cols[i] = t.column(c)
	}
	if len(cols) == 1 {
		return cols[0]
	}
	return "(" + strings.Join(cols, ", ") + ")"
}

// keyText is the key as the ledger stores it.
func (t Target) keyText() string {
	cols := make([]string, len(t.Key))
	for i, c := range t.Key {
		cols[i] = t.alias() + "." + Quote(c.Name) + "::text"
	}
	return "ARRAY[" + strings.Join(cols, ", ") + "]"
}

// order is the walk's ORDER BY list.
func (t Target) order(direction string) string {
	walk := t.walk()
	cols := make([]string, len(walk))
	for i, c := range walk {
		cols[i] = t.column(c) + direction
	}
	return strings.Join(cols, ", ")
}

// binder collects values and hands out what stands for them in a text.
type binder interface{ add(v any) string }

// texts collects values as elements of a text array, which is a statement's only parameter.
type texts []string

func (x *texts) add(v any) string {
	text, ok := v.(string)
	if !ok {
		text = fmt.Sprint(v)
	}
	*x = append(*x, text)
	return "($1)[" + strconv.Itoa(len(*x)) + "]"
}

// params collects bound values and hands out their placeholders.
type params struct{ args []any }

func (p *params) add(v any) string {
	p.args = append(p.args, v)
	return "$" + strconv.Itoa(len(p.args))
}

// key binds a key and returns it as a row value cast to the key's types.
func (t Target) key(b binder, k ranges.Key) string {
	parts := make([]string, len(t.Key))
	for i, c := range t.Key {
		parts[i] = "CAST(" + b.add(k[i]) + " AS " + c.Type + ")"
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

// within is the predicate of a span; a span open on both ends is "true".
func (t Target) within(b binder, s ranges.Span) string {
	t.Key = t.walk()
	var conds []string
	if !s.Lo.Unbounded() {
		conds = append(conds, t.keyRow()+" >= "+t.key(b, s.Lo))
	}
	if !s.Hi.Unbounded() {
		op := " < "
		if s.HiClosed {
			op = " <= "
		}
		conds = append(conds, t.keyRow()+op+t.key(b, s.Hi))
	}
	if len(conds) == 0 {
		return "true"
	}
	return strings.Join(conds, " AND ")
}

// assignments is the SET list, in column order so that the text is the same every time.
func (t Target) assignments() string {
	cols := slices.Sorted(maps.Keys(t.Set))
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = Quote(c) + " = " + Paren(t.Set[c])
	}
	return strings.Join(out, ", ")
}

// Paren encloses an expression of a job on lines of its own.
func Paren(expr string) string { return "(\n" + expr + "\n)" }

// notQuarantined excludes the rows of the job's quarantine.
func (t Target) notQuarantined(b binder, id job.ID, relation uint32) string {
	return fmt.Sprintf("NOT EXISTS (SELECT 1 FROM backfleet.quarantine AS backfleet_q WHERE backfleet_q.job_id = %s"+
		" AND backfleet_q.relation = CAST(%s AS oid) AND backfleet_q.key = %s)", b.add(string(id)), b.add(relation), t.keyText())
}

// From names the relation alone, without children, under its alias; for statements that other packages build.
func (t Target) From() string { return t.from() }

// KeyText is the key as the ledger stores it.
func (t Target) KeyText() string { return t.keyText() }

// Within is the predicate of a span.
func (t Target) Within(s ranges.Span) SQL {
	var p params
	text := t.within(&p, s)
	return SQL{text, p.args}
}

// work is what a batch does to the rows that fulfil a condition: the UPDATE of the job's assignments, or its statement.
func (t Target) work(condition string) string {
	if t.Form != nil {
		return t.Form.With("ONLY "+t.Relation(), "("+condition+")")
	}
	return "UPDATE " + t.from() + " SET " + t.assignments() + "\n  WHERE " + condition
}

// todo narrows a condition to the rows that still match `where`.
func (t Target) todo(condition string) string {
	if t.Where == "" {
		return condition
	}
	return condition + " AND " + Paren(t.Where)
}

// Update is the job's bare work over a span, as `plan` explains and prepares it. A batch carries the same text inside its fence.
func (t Target) Update(s ranges.Span) SQL {
	var p params
	return SQL{t.work(t.todo(t.within(&p, s))), p.args}
}

// Bare is the job's work with one condition in the place of all that a batch asks of its rows, for `plan` to prepare.
func (t Target) Bare(condition string) SQL { return SQL{Text: t.work(condition)} }

// Boundary finds the key that lies n keys of the pass into the span; no row where the span holds n of them or fewer. In block order it is
// a row address, and all rows of the span are looked at.
func (t Target) Boundary(s ranges.Span, pass ranges.Pass, n int) SQL {
	walk := t
	walk.Key = t.walk()
	return t.nth(walk.keyText(), s, pass, n)
}

// nth finds what a text says of the row that lies n rows of the pass into the span.
func (t Target) nth(text string, s ranges.Span, pass ranges.Pass, n int) SQL {
	var p params
	where := t.within(&p, s) + t.taken(&p, pass)
	return SQL{fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s OFFSET %s LIMIT 1", text, t.from(), where, t.order(""), p.add(n)), p.args}
}

// Bound finds the highest key: the bound that a freeze stores. No row where the relation is empty.
func (t Target) Bound() SQL {
	return SQL{fmt.Sprintf("SELECT %s FROM %s ORDER BY %s LIMIT 1", t.keyText(), t.from(), t.order(" DESC")), nil}
}

// FirstKey finds the key of the first row of a pass over a span.
func (t Target) FirstKey(s ranges.Span, pass ranges.Pass) SQL { return t.nth(t.keyText(), s, pass, 0) }

// Steps finds up to count boundaries, each rows keys after the one before, in one statement: a recursive walk of the index that
// never sorts and returns only the boundaries.
func (t Target) Steps(s ranges.Span, rows, count int) SQL {
	var p params
	names := make([]string, len(t.Key))
	keys := make([]string, len(t.Key))
	texts := make([]string, len(t.Key))
	for i, c := range t.Key {
		names[i] = fmt.Sprintf("k%d", i+1)
		keys[i] = t.alias() + "." + Quote(c.Name) + " AS " + names[i]
		texts[i] = "backfleet_s." + names[i] + "::text"
	}
	list := strings.Join(keys, ", ")
	first := t.within(&p, s)
	upper := t.within(&p, ranges.Span{Hi: s.Hi, HiClosed: s.HiClosed})
	offset, limit := p.add(rows), p.add(count)
	prior := make([]string, len(names))
	for i := range names {
		prior[i] = "backfleet_s." + names[i]
	}
	from := strings.Join(prior, ", ")
	if len(prior) > 1 {
		from = "(" + from + ")"
	}
	return SQL{fmt.Sprintf(`WITH RECURSIVE backfleet_s AS (
 (SELECT %[1]s, 1 AS n FROM %[2]s WHERE %[3]s ORDER BY %[4]s OFFSET %[5]s LIMIT 1)
 UNION ALL
 SELECT backfleet_b.*, backfleet_s.n + 1 FROM backfleet_s CROSS JOIN LATERAL
  (SELECT %[1]s FROM %[2]s WHERE %[6]s >= %[7]s AND %[8]s ORDER BY %[4]s OFFSET %[5]s LIMIT 1) AS backfleet_b
  WHERE backfleet_s.n < %[9]s)
SELECT ARRAY[%[10]s] FROM backfleet_s ORDER BY backfleet_s.n`,
		list, t.from(), first, t.order(""), offset, t.keyRow(), from, upper, limit, strings.Join(texts, ", ")), p.args}
}
