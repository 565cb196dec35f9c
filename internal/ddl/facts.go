package ddl

import (
	"maps"
	"slices"
)

// Facts are what a judgement needs to know of a server. [Read] asks one; the zero value knows no table.
type Facts struct {
	Version    int                   // the major, such as 17
	Path       []string              // the schemas that are searched for a bare name, in their order
	UTC        bool                  // the session's TimeZone has no offset and never had one
	Tables     map[Name]Table        // those that the statements name, those that they reference, and their partitions
	Volatility map[string]Volatility // of functions and operators, by the name as written
	Domains    map[string]bool       // by the name as written: whether the domain has a constraint
}

// Volatility is how a function's result may change.
type Volatility string

// The three that PostgreSQL knows, by its own letters.
const (
	Immutable Volatility = "i"
	Stable    Volatility = "s"
	Volatile  Volatility = "v"
)

// Table is a relation that holds rows, a view or a sequence.
type Table struct {
	Name         Name
	Kind         string // pg_class.relkind: r table, p partitioned table, v view, m materialized view, f foreign table, S sequence
	Rows         int64  // an estimate; -1 where the table was never analyzed
	Bytes        int64  // of its own, with TOAST, without indexes
	Columns      []Column
	Indexes      []Index
	Constraints  []Constraint
	Children     []Name // partitions, or tables that inherit
	Parent       *Name  // of a partition
	Default      *Name  // the default partition
	PartitionKey []string
	ReferencedBy []Name

	made bool // by a statement of the same file: nobody uses it yet
}

// Column is a column of a table. Type is as format_type writes it, such as "character varying(20)".
type Column struct {
	Name, Type, Default string
	NotNull             bool
}

// Index is an index of a table. A plain one has neither an expression nor a predicate.
type Index struct {
	Name                          string
	Columns                       []string
	Unique, Primary, Valid, Plain bool
}

// Constraint is a constraint of a table. Kind is pg_constraint.contype: c check, f foreign key, p primary key, u unique, x exclusion, n not null.
type Constraint struct {
	Name, Kind string
	Valid      bool
	Columns    []string
	NotNull    []string // columns of which a check proves that they hold no NULL
	References *Name
}

func (t Table) column(name string) (Column, bool) {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return t.Columns[i], true
}

func (t Table) index(name string) (Index, bool) {
	i := slices.IndexFunc(t.Indexes, func(x Index) bool { return x.Name == name })
	if i < 0 {
		return Index{}, false
	}
	return t.Indexes[i], true
}

func (t Table) constraint(name string) (Constraint, bool) {
	i := slices.IndexFunc(t.Constraints, func(c Constraint) bool { return c.Name == name })
	if i < 0 {
		return Constraint{}, false
	}
	return t.Constraints[i], true
}

// provenNotNull tells whether a validated check lets SET NOT NULL do without a look at the rows.
func (t Table) provenNotNull(column string) bool {
	return slices.ContainsFunc(t.Constraints, func(c Constraint) bool { return c.Valid && slices.Contains(c.NotNull, column) })
}

// clone copies what a judgement changes as it goes through a file.
func (f Facts) clone() Facts {
	f.Tables = maps.Clone(f.Tables)
	if f.Tables == nil {
		f.Tables = map[Name]Table{}
	}
	return f
}

// schemas are where a bare name is looked for.
func (f Facts) schemas() []string {
	if len(f.Path) == 0 {
		return []string{"public"}
	}
	return f.Path
}

// find returns the table of a name as written.
func (f Facts) find(n Name) (Table, bool) {
	if n.Schema != "" {
		t, ok := f.Tables[n]
		return t, ok
	}
	for _, s := range f.schemas() {
		if t, ok := f.Tables[Name{s, n.Name}]; ok {
			return t, true
		}
	}
	return Table{}, false
}

// madeAs is the full name of a table that a statement is to make.
func (f Facts) madeAs(n Name) Name {
	if n.Schema != "" {
		return n
	}
	for _, s := range f.schemas() {
		if s != "pg_catalog" {
			return Name{s, n.Name}
		}
	}
	return n
}

// owner finds the table of an index.
func (f Facts) owner(index Name) (Table, bool) {
	for _, schema := range append([]string{index.Schema}, f.schemas()...) {
		for name, t := range f.Tables {
			if _, ok := t.index(index.Name); ok && name.Schema == schema {
				return t, true
			}
		}
		if index.Schema != "" {
			break
		}
	}
	return Table{}, false
}

// family lists a table and all below it.
func (f Facts) family(t Table) []Table {
	out := []Table{t}
	for _, c := range t.Children {
		if child, ok := f.Tables[c]; ok {
			out = append(out, f.family(child)...)
		}
	}
	return out
}
