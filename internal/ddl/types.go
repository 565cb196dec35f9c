package ddl

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// sqlNames are the names that format_type writes for what the parser calls by its name in the catalog.
var sqlNames = map[string]string{
	"int2": "smallint", "int4": "integer", "int8": "bigint", "float4": "real", "float8": "double precision", "bool": "boolean",
	"varchar": "character varying", "bpchar": "character", "varbit": "bit varying", "timestamptz": "timestamp with time zone",
	"timestamp": "timestamp without time zone", "timetz": "time with time zone", "time": "time without time zone",
}

// written is the type's name as the statement has it.
func (t typeName) written() string { return strings.Join(texts(t.Names), ".") }

// quoted writes the type without its modifiers for to_regtype, which before version 16 fails on what it cannot read.
func (t typeName) quoted() string {
	return pgx.Identifier(texts(t.Names)).Sanitize() + strings.Repeat("[]", min(len(t.ArrayBounds), 1))
}

// String writes the type as format_type does, so that it can be compared with a column's.
func (t typeName) String() string {
	parts := texts(t.Names)
	if len(parts) == 2 && parts[0] == "pg_catalog" {
		parts = parts[1:]
	}
	for i, p := range parts {
		parts[i] = ident(p)
	}
	base := strings.Join(parts, ".")
	if long, ok := sqlNames[base]; ok {
		base = long
	}
	if m := t.modifiers(); m != "" && base != "interval" { // an interval's are no numbers to read
		if front, zone, ok := strings.Cut(base, " with"); ok { // timestamp(3) with time zone
			base = front + m + " with" + zone
		} else {
			base += m
		}
	}
	return base + strings.Repeat("[]", min(len(t.ArrayBounds), 1))
}

func (t typeName) modifiers() string {
	var out []string
	for _, m := range t.Modifiers {
		object, _ := m.(map[string]any)
		constant, _ := object["A_Const"].(map[string]any)
		number, _ := constant["ival"].(map[string]any)
		n, _ := number["ival"].(float64) // zero is left out of the tree
		out = append(out, strconv.Itoa(int(n)))
	}
	if len(out) == 0 {
		return ""
	}
	if len(out) == 1 && texts(t.Names)[len(t.Names)-1] == "numeric" {
		out = append(out, "0")
	}
	return "(" + strings.Join(out, ",") + ")"
}

var modified = regexp.MustCompile(`^([^(]*)(?:\(([-\d,]+)\))?(.*)$`)

// parts takes a type as format_type writes it apart: "numeric(10,2)" is numeric with 10 and 2.
func typeParts(t string) (base string, modifiers []int) {
	m := modified.FindStringSubmatch(t)
	if m[2] != "" {
		for n := range strings.SplitSeq(m[2], ",") {
			i, _ := strconv.Atoi(n)
			modifiers = append(modifiers, i)
		}
	}
	return m[1] + m[3], modifiers
}

// free tells whether PostgreSQL changes a column's type without touching a row: the bytes on disk are valid for the new type, all of them.
func free(from, to string, utc bool) bool {
	a, am := typeParts(from)
	b, bm := typeParts(to)
	switch {
	case from == to:
		return true
	case a == "numeric" && b == "numeric":
		return len(bm) == 0 || len(am) == 2 && bm[0] >= am[0] && bm[1] == am[1]
	case a == b && slices.Contains([]string{"character varying", "bit varying", "timestamp without time zone", "timestamp with time zone",
		"time without time zone", "time with time zone"}, a):
		return len(bm) == 0 || len(am) == 1 && bm[0] >= am[0]
	case (a == "character varying" || a == "text") && (b == "text" || b == "character varying"):
		return len(bm) == 0
	case a == "cidr" && b == "inet", a == "integer" && b == "oid", a == "oid" && b == "integer":
		return true
	case strings.HasPrefix(a, "timestamp with") && strings.HasPrefix(b, "timestamp with") && len(am) == 0 && len(bm) == 0:
		return utc
	}
	return false
}

// sameIndex tells whether an index on the column stays valid under its new type as well.
func sameIndex(from, to string) bool {
	a, _ := typeParts(from)
	b, _ := typeParts(to)
	text := []string{"text", "character varying"}
	return a == b || slices.Contains(text, a) && slices.Contains(text, b)
}

func (j *judge) alterType(f *Finding, family []Table, c command) {
	t := family[0]
	to := c.Def.Column.Type.String()
	f.What = "type of " + ident(c.Name)
	f.lock(AccessExclusive, family...)
	column, ok := t.column(c.Name)
	if !ok {
		f.refuse("there is no such column", "check its name")
		return
	}
	beside := fmt.Sprintf("ALTER TABLE %[1]s ADD COLUMN %[2]s %[3]s; write both; fill it by a job; then read the new one",
		t.Name, ident(c.Name+"_new"), to)
	constrained := j.facts.Domains[c.Def.Column.Type.written()]
	switch {
	case c.Def.Column.Using == nil && !constrained && free(column.Type, to, j.facts.UTC):
		f.because(fmt.Sprintf("from %s to %s touches no row", column.Type, to))
		if !sameIndex(column.Type, to) && slices.ContainsFunc(t.Indexes, func(x Index) bool { return slices.Contains(x.Columns, c.Name) }) {
			f.because("but rebuilds the indexes on it")
			f.work(Build, family, beside)
		}
		if column.Type != to && slices.ContainsFunc(t.Constraints, func(k Constraint) bool { return k.Kind == "c" && k.Valid && slices.Contains(k.Columns, c.Name) }) {
			f.because("but tries the checks on it again")
			f.work(Scan, family, beside)
		}
	default:
		f.because(fmt.Sprintf("from %s to %s %s", column.Type, to, rebuild))
		f.work(Rewrite, family, beside)
	}
	for _, k := range t.Constraints {
		if k.Kind == "f" && slices.Contains(k.Columns, c.Name) {
			j.unreference(f, k)
		}
	}
	if j.mode == Additive && (f.Work != Nothing || !widens(column.Type, to)) {
		f.refuse("changes what the running application gets: phase 5's work", beside)
	}
	j.change(family, func(t *Table) {
		t.Columns = slices.Clone(t.Columns)
		for i := range t.Columns {
			if t.Columns[i].Name == c.Name {
				t.Columns[i].Type = to
			}
		}
	})
}

// widens tells whether a free change keeps the type but for its length, so that the application notices nothing.
func widens(from, to string) bool { return sameIndex(from, to) }
