package ddl

import (
	"fmt"
	"slices"
	"strings"
)

var serials = []string{"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"}

func newColumn(d columnDef) Column {
	c := Column{Name: d.Name}
	if d.Type != nil {
		c.Type = d.Type.String()
		c.NotNull = slices.Contains(serials, c.Type)
	}
	for _, k := range d.Constraints {
		switch k.Constraint.Type {
		case "CONSTR_NOTNULL", "CONSTR_PRIMARY", "CONSTR_IDENTITY":
			c.NotNull = true
		}
	}
	return c
}

func (j *judge) addColumn(f *Finding, family []Table, c command) {
	d := *c.Def.Column
	t := family[0]
	f.What = "add column " + ident(d.Name)
	f.lock(AccessExclusive, family...)
	if there, ok := t.column(d.Name); ok {
		switch {
		case d.Type != nil && there.Type != d.Type.String():
			f.refuse(fmt.Sprintf("is there already, as %s", there.Type), "drop it first, or give the new one another name")
		case c.MissingOK:
			f.because("is there already")
		default:
			f.warn("is there already: applying it takes that for its own work")
		}
		return
	}
	column := newColumn(d)
	j.values(f, family, d, column)
	for _, k := range d.Constraints {
		j.inline(f, family, d, k.Constraint)
	}
	j.change(family, func(t *Table) {
		t.Columns = append(slices.Clone(t.Columns), column)
		for _, k := range d.Constraints {
			t.note(k.Constraint, d.Name, true)
		}
	})
}

// values judges what the rows that are there get in a new column.
func (j *judge) values(f *Finding, family []Table, d columnDef, column Column) {
	table, name := family[0].Name.String(), ident(d.Name)
	afterwards := fmt.Sprintf("ALTER TABLE %[1]s ADD COLUMN %[2]s %[3]s; ALTER TABLE %[1]s ALTER COLUMN %[2]s SET DEFAULT %[4]s; then fill the old rows by a job",
		table, name, column.Type, j.defaultText(d))
	what, same := "", false
	for _, k := range d.Constraints {
		switch k.Constraint.Type {
		case "CONSTR_DEFAULT":
			if culprit := j.volatile(k.Constraint.Expression); culprit != "" {
				what = "its default calls " + culprit + ", which may differ from row to row"
			} else {
				same = true
			}
		case "CONSTR_IDENTITY":
			what = "every row gets a number"
			afterwards = fmt.Sprintf("ALTER TABLE %[1]s ADD COLUMN %[2]s %[3]s; CREATE SEQUENCE ...; ALTER TABLE %[1]s ALTER COLUMN %[2]s SET DEFAULT nextval(...); "+
				"then number the old rows by a job", table, name, column.Type)
		case "CONSTR_GENERATED":
			what = "every row gets its value computed"
			afterwards = fmt.Sprintf("ALTER TABLE %[1]s ADD COLUMN %[2]s %[3]s; a trigger that fills it for new rows; then fill the old rows by a job", table, name, column.Type)
		}
	}
	switch {
	case slices.Contains(serials, column.Type):
		what = "every row gets a number of the sequence"
		afterwards = fmt.Sprintf("CREATE SEQUENCE ...; ALTER TABLE %[1]s ADD COLUMN %[2]s %[3]s; ALTER TABLE %[1]s ALTER COLUMN %[2]s SET DEFAULT nextval(...); "+
			"then number the old rows by a job", table, name, strings.Replace(strings.Replace(column.Type, "serial8", "bigserial", 1), "bigserial", "bigint", 1))
	case what == "" && d.Type != nil && j.facts.Domains[d.Type.written()]:
		what = "its domain has a constraint, which is checked for every row"
		afterwards = fmt.Sprintf("ALTER TABLE %[1]s ADD COLUMN %[2]s of the domain's base type; "+
			"ALTER TABLE %[1]s ADD CONSTRAINT ... CHECK (...) NOT VALID; ALTER TABLE %[1]s VALIDATE CONSTRAINT ...;", table, name)
	}
	switch {
	case what != "":
		f.because(what)
		f.work(Rewrite, family, afterwards)
	case same:
		f.because("its default is the same for all rows that are there, so it is stored once")
	case column.NotNull && size(family) > 0:
		f.work(Scan, family, "")
		f.refuse("fails: the rows that are there would be NULL", fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s NOT NULL DEFAULT ...; or without NOT NULL, "+
			"then fill it by a job and SET NOT NULL", table, name, column.Type))
	case column.NotNull:
		f.work(Scan, family, "")
	}
}

// inline judges a constraint written behind a new column.
func (j *judge) inline(f *Finding, family []Table, d columnDef, k constraint) {
	table, name := family[0].Name.String(), ident(d.Name)
	switch k.Type {
	case "CONSTR_CHECK":
		f.because("its check is tried on every row")
		f.work(Scan, family, fmt.Sprintf("ALTER TABLE %[1]s ADD COLUMN %[2]s ...; ALTER TABLE %[1]s ADD CONSTRAINT %[3]s CHECK (...) NOT VALID; "+
			"ALTER TABLE %[1]s VALIDATE CONSTRAINT %[3]s;", table, name, ident(family[0].Name.Name+"_"+d.Name+"_check")))
	case "CONSTR_FOREIGN":
		j.reference(f, k)
		if slices.ContainsFunc(d.Constraints, func(c constraintNode) bool { return c.Constraint.Type == "CONSTR_DEFAULT" }) {
			f.because("with a default the foreign key is tried on every row")
			f.work(Scan, family, fmt.Sprintf("ALTER TABLE %[1]s ADD COLUMN %[2]s ...; ALTER TABLE %[1]s ADD CONSTRAINT %[3]s FOREIGN KEY (%[2]s) REFERENCES ... NOT VALID; "+
				"ALTER TABLE %[1]s VALIDATE CONSTRAINT %[3]s;", table, name, ident(family[0].Name.Name+"_"+d.Name+"_fkey")))
		}
	case "CONSTR_UNIQUE", "CONSTR_PRIMARY":
		f.because("builds an index over the rows that are there")
		f.work(Build, family, fmt.Sprintf("ALTER TABLE %[1]s ADD COLUMN %[2]s ...; CREATE UNIQUE INDEX CONCURRENTLY %[3]s ON %[1]s (%[2]s);",
			table, name, ident(family[0].Name.Name+"_"+d.Name+"_key")))
	}
}

// volatile names a call in an expression whose result may change from row to row, or one of which nothing is known.
func (j *judge) volatile(e expression) string {
	functions, operators := callsOf(map[string]any{"": e})
	for _, name := range functions {
		if j.facts.volatility(name) == Volatile {
			return name + "()"
		}
	}
	for _, name := range operators {
		if v, ok := j.facts.Volatility[name]; ok && v == Volatile {
			return "the operator " + name
		}
	}
	return ""
}

// known are built-in functions of which a judgement without a server can be sure; the rest counts as volatile.
var known = map[string]Volatility{
	"now": Stable, "transaction_timestamp": Stable, "statement_timestamp": Stable, "current_setting": Stable, "current_database": Stable,
	"to_timestamp": Immutable, "lower": Immutable, "upper": Immutable, "md5": Immutable, "coalesce": Immutable, "length": Immutable,
	"jsonb_build_object": Stable, "jsonb_build_array": Stable, "date_trunc": Stable, "timezone": Immutable, "concat": Stable,
}

func (f Facts) volatility(function string) Volatility {
	if v, ok := f.Volatility[function]; ok {
		return v
	}
	if v, ok := known[strings.TrimPrefix(function, "pg_catalog.")]; ok {
		return v
	}
	return Volatile
}

// defaultText is the default's source where it ends the statement, which is where it mostly stands.
func (j *judge) defaultText(d columnDef) string {
	n, ok := j.at.node.(*alterTable)
	if !ok || len(n.Commands) != 1 || len(d.Constraints) == 0 {
		return "..."
	}
	last := d.Constraints[len(d.Constraints)-1].Constraint
	from := last.Location - j.at.at + len("default")
	if last.Type != "CONSTR_DEFAULT" || from < 0 || from > len(j.at.SQL) {
		return "..."
	}
	return strings.TrimSpace(j.at.SQL[from:])
}

func (j *judge) setNotNull(f *Finding, family []Table, column string) {
	t := family[0]
	f.What = "set not null of " + ident(column)
	f.lock(AccessExclusive, family...)
	c, ok := t.column(column)
	switch {
	case !ok:
		f.refuse("there is no such column", "check its name")
	case c.NotNull:
		f.because("is NOT NULL already")
	case !slices.ContainsFunc(family, func(m Table) bool { return m.Kind != "p" && !m.provenNotNull(column) }):
		f.because("a validated check proves it, so no row is read")
	default:
		check := ident(t.Name.Name + "_" + column + "_not_null")
		f.because("every row is tried")
		f.work(Scan, family, fmt.Sprintf("ALTER TABLE %[1]s ADD CONSTRAINT %[2]s CHECK (%[3]s IS NOT NULL) NOT VALID; ALTER TABLE %[1]s VALIDATE CONSTRAINT %[2]s; "+
			"then this; ALTER TABLE %[1]s DROP CONSTRAINT %[2]s;", t.Name, check, ident(column)))
	}
	j.change(family, func(t *Table) { t.setNotNull(column, true) })
}

func size(family []Table) (bytes int64) {
	for _, t := range family {
		bytes += t.Bytes
	}
	return bytes
}
