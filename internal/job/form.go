package job

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/internal/sqltext"
)

// Form is a job's statement, apart from the two places that each batch fills in: the table whose rows it takes, and which of them.
type Form struct {
	pieces []string // what stands before, between and behind the places
	places []string // sqltext.Range and sqltext.Table, in their order
	naming string   // what must follow the table's place: " AS alias", or nothing where the statement says it
}

// With returns the statement over the rows of one relation that fulfil a condition. That of a zero form is no SQL.
func (f Form) With(relation, condition string) string {
	if len(f.places) == 0 {
		return sqltext.Range
	}
	var b strings.Builder
	for i, place := range f.places {
		b.WriteString(f.pieces[i])
		if place == sqltext.Range {
			b.WriteString(condition)
		} else {
			b.WriteString(relation + f.naming)
		}
	}
	b.WriteString(f.pieces[len(f.places)])
	return b.String()
}

// alias is what the job's statement and expressions call the rows of its table.
func (s Spec) alias() string {
	if s.Alias != "" {
		return s.Alias
	}
	_, name, err := SplitTable(s.Table)
	if err != nil {
		return s.Table // such a spec is refused
	}
	return name
}

// Form takes the spec's statement apart. Its table is where {{table}} stands, else the one place where it is named under the spec's
// alias. What is refused here can be seen without a database; strings, comments and quoted names hold no place.
func (s Spec) Form() (Form, Refusals) {
	var rs Refusals
	add := func(field, value, why, fix string) {
		rs = append(rs, Refusal{Field: field, Value: value, Why: why, Fix: fix})
	}
	if why := expressionFault(s.Statement); why != "" {
		add("statement", "", why, "write one INSERT, UPDATE, DELETE or MERGE")
		return Form{}, rs
	}
	if s.Alias != "" {
		if why := columnFault(s.Alias); why != "" {
			add("alias", s.Alias, why, "write the table's alias in the statement")
		}
	}
	tokens, _ := sqltext.Scan(s.Statement)
	if len(tokens) == 0 || !tokens[0].Is("insert", "update", "delete", "merge", "with") {
		first := "nothing but comments"
		if len(tokens) > 0 {
			first = strings.ToUpper(tokens[0].Text)
		}
		add("statement", "", "begins with "+first, "write one INSERT, UPDATE, DELETE or MERGE, with a WITH before it where it needs one")
		return Form{}, rs
	}
	var spots []spot
	for i, t := range tokens {
		next := sqltext.Token{}
		if i+1 < len(tokens) {
			next = tokens[i+1]
		}
		switch {
		case t.Is(sqltext.Range):
			spots = append(spots, spot{start: t.Start, end: t.End, place: sqltext.Range})
		case t.Is(";") && i+1 < len(tokens):
			add("statement", "", "holds several statements", "write one; what belongs together is one statement with WITH, or two jobs")
		case t.Is("$") && next.Text != "" && next.Text[0] >= '0' && next.Text[0] <= '9':
			add("statement", "", "holds a parameter ($"+next.Text+")", "write the value itself")
		case t.Is("skip") && next.Is("locked"):
			add("statement", "", "skips locked rows, which would be left out and count as done", "leave SKIP LOCKED out: a batch that meets a lock is tried again")
		case t.Is("tablesample"):
			add("statement", "", "takes a sample of rows (TABLESAMPLE): the others would count as done", "leave it out")
		}
	}
	switch len(spots) {
	case 0:
		why := "does not hold {{range}}"
		if strings.Contains(s.Statement, sqltext.Range) {
			why = "holds {{range}} only inside a string, a comment or a quoted name"
		}
		add("statement", "", why, "write it once in the WHERE that selects the rows of "+s.Table+", like WHERE {{range}}")
	case 1:
	default:
		add("statement", "", fmt.Sprintf("holds {{range}} %d times", len(spots)), "write it once, where the rows of "+s.Table+" are selected")
	}
	table, naming, why, fix := s.source(tokens)
	if why != "" {
		add("alias", s.alias(), why, fix)
	}
	if len(rs) > 0 {
		return Form{}, rs
	}
	spots = append(spots, table)
	slices.SortFunc(spots, func(a, b spot) int { return a.start - b.start })
	f := Form{naming: naming}
	at := 0
	for _, p := range spots {
		f.pieces, f.places = append(f.pieces, s.Statement[at:p.start]), append(f.places, p.place)
		at = p.end
	}
	f.pieces = append(f.pieces, s.Statement[at:])
	return f, nil
}

// spot is where in a statement a place is, in bytes.
type spot struct {
	start, end int
	place      string
}

// follows are the words that may come behind a table without being its alias.
var follows = []string{"where", "on", "using", "join", "inner", "left", "right", "full", "cross", "natural", "set", "group", "order", "limit",
	"offset", "fetch", "for", "union", "intersect", "except", "returning", "having", "window", "tablesample", "when", "default", "overriding", "select", "values"}

// source finds the place of the job's table, or says why there is none. naming is the alias that must be written behind it.
func (s Spec) source(tokens []sqltext.Token) (found spot, naming, why, fix string) {
	schema, table, err := SplitTable(s.Table)
	if err != nil {
		return spot{}, "", "", "" // refused already
	}
	var marked, named []spot
	var namings []string
	for i, t := range tokens {
		if t.Is(sqltext.Table) {
			marked = append(marked, spot{t.Start, t.End, sqltext.Table})
			if alias, said := aliasAt(tokens, i+1); said && alias != s.alias() {
				return spot{}, "", "is not what the statement calls {{table}}: that is " + alias, "write one of the two as the other"
			} else if !said {
				naming = " AS " + quote(s.alias())
			}
		}
		end := i // of the name
		switch {
		case !t.Name:
			continue
		case t.Text == schema && i+2 < len(tokens) && tokens[i+1].Is(".") && tokens[i+2].Name && tokens[i+2].Text == table:
			end = i + 2
		case t.Text != table || i > 0 && tokens[i-1].Is("."):
			continue
		}
		if end+1 < len(tokens) && tokens[end+1].Is(".", "(") {
			continue // a column's, or a function's
		}
		alias, said := aliasAt(tokens, end+1)
		if !said {
			alias = table
		}
		begin := i
		if begin > 0 && tokens[begin-1].Is("only") {
			begin--
		}
		into := begin > 1 && tokens[begin-1].Is("into") && tokens[begin-2].Is("insert")
		if into || begin == 0 || alias != s.alias() || !tokens[begin-1].Is("from", "join", "update", "using", "into", ",") && (!said || !tokens[begin-1].Is("(")) {
			continue
		}
		n := ""
		if !said {
			n = " AS " + quote(alias)
		}
		named, namings = append(named, spot{tokens[begin].Start, tokens[end].End, sqltext.Table}), append(namings, n)
	}
	switch {
	case len(marked) == 1:
		return marked[0], naming, "", ""
	case len(marked) > 1:
		return spot{}, "", fmt.Sprintf("has {{table}} %d times", len(marked)), "write it once, where the rows of {{range}} come from"
	case len(named) == 1:
		return named[0], namings[0], "", ""
	case len(named) > 1:
		return spot{}, "", fmt.Sprintf("is %s in %d places of the statement", s.Table, len(named)), "write {{table}} in the place whose rows {{range}} selects"
	}
	return spot{}, "", "is not " + s.Table + " in the statement", fmt.Sprintf("write FROM %s %s, or alias: as the statement has it", s.Table, s.alias())
}

// aliasAt reads the alias of a table whose name ends before token i, if it has one.
func aliasAt(tokens []sqltext.Token, i int) (alias string, said bool) {
	if i < len(tokens) && tokens[i].Is("as") {
		i++
	}
	if i < len(tokens) && tokens[i].Name && !tokens[i].Is(follows...) {
		return tokens[i].Text, true
	}
	return "", false
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
