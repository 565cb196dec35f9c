package contract

import (
	"slices"
	"strings"

	"github.com/backfleet/backfleet/internal/sqltext"
)

// words are the names by which a text may mean the target.
type words struct {
	tables  []string // the table, those that inherit from it, and views through which it is read
	columns []string // empty: the table itself
}

// words of a target, given what the catalog knows of its readers.
func (t Target) words(rs []relation, dependents []Reader) words {
	w := words{columns: t.Columns}
	for _, r := range rs {
		w.tables = append(w.tables, r.name)
	}
	for _, r := range dependents {
		if r.Kind == View || r.Kind == Materialized {
			w.tables = append(w.tables, last(r.Object))
		}
	}
	return w
}

// last is the last part of a quoted, qualified name.
func last(object string) string {
	tokens, _ := sqltext.Scan(object)
	return tokens[len(tokens)-1].Text
}

// all are the words of which a text that means the target holds at least one.
func (w words) all() (all []string) {
	list := w.tables
	if len(w.columns) > 0 {
		list = append(slices.Clone(w.tables), w.columns...)
	}
	for _, name := range list {
		all = append(all, name)
		if strings.Contains(name, `"`) {
			all = append(all, strings.ReplaceAll(name, `"`, `""`))
		}
	}
	return all
}

// mention is what a text names of the target.
type mention struct {
	table, column bool
	star          bool // all columns of something: SELECT *, t.*
}

// reads says whether the text means the target, and in which way.
func (m mention) reads(w words) (why string, yes bool) {
	switch {
	case m.table && len(w.columns) == 0:
		return "names the table", true
	case m.table && m.column:
		return "names the table and the column", true
	case m.table && m.star:
		return "names the table and takes all of its columns", true
	}
	return "", false
}

// nested is how deep text in text is looked into: a function's body may build a statement that holds another.
const nested = 4

// look finds what a text names, in comments nothing, and in its strings, which may become statements, all.
func (w words) look(sql string) mention { return w.lookInto(sql, nested) }

func (w words) lookInto(sql string, deep int) (m mention) {
	tokens, _ := sqltext.Scan(sql)
	for i, t := range tokens {
		switch {
		case t.Name:
			m.table = m.table || slices.Contains(w.tables, t.Text)
			m.column = m.column || slices.Contains(w.columns, t.Text)
		case t.Text == "*" && i > 0:
			m.star = m.star || tokens[i-1].Text == "." || tokens[i-1].Text == "," || before(tokens[i-1])
		case deep > 0 && len(t.Text) > 2 && (t.Text[0] == '\'' || t.Text[0] == '$'):
			inner := w.lookInto(unquoted(t.Text), deep-1)
			m.table, m.column, m.star = m.table || inner.table, m.column || inner.column, m.star || inner.star
		}
	}
	return m
}

// before says whether a star after this word stands for columns: it is no product, and no count(*).
func before(t sqltext.Token) bool {
	return t.Name && !t.Quoted && slices.Contains([]string{"select", "distinct", "all", "returning"}, t.Text)
}

// unquoted is the content of a string.
func unquoted(s string) string {
	if s[0] == '\'' {
		return strings.ReplaceAll(strings.TrimSuffix(s[1:], "'"), "''", "'")
	}
	if end := strings.IndexByte(s[1:], '$'); end >= 0 {
		tag := s[:end+2]
		return strings.TrimSuffix(s[len(tag):], tag)
	}
	return ""
}

// named says whether an expression names a column, in its own text.
func named(expression, column string) bool {
	tokens, _ := sqltext.Scan(expression)
	return slices.ContainsFunc(tokens, func(t sqltext.Token) bool { return t.Name && t.Text == column })
}
