package ddl

import (
	"fmt"
	"slices"
	"strings"
)

func (j *judge) drop(n *drop) {
	kind := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(n.Type, "OBJECT_"), "_", " "))
	for i, parts := range n.names() {
		f := j.begin("drop " + kind + " " + strings.Join(parts, "."))
		name := j.at.listed()[i]
		switch n.Type {
		case "OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE":
			j.dropRelation(&f, name)
		case "OBJECT_INDEX":
			j.dropIndex(&f, n, name)
		case "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE":
			if t, ok := j.facts.find(name); ok {
				f.lock(AccessExclusive, t)
				if n.Type == "OBJECT_TRIGGER" {
					f.lock(AccessExclusive, j.facts.family(t)...)
				}
			}
		case "OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_TYPE", "OBJECT_DOMAIN", "OBJECT_SCHEMA", "OBJECT_AGGREGATE", "OBJECT_ROUTINE", "OBJECT_EXTENSION":
			f.because("locks no table by itself")
		default:
			f.refuse(fmt.Sprintf("what dropping a %s locks is not known here", kind), "run it by hand when you know what it locks")
		}
		if n.Behavior == "DROP_CASCADE" {
			f.refuse("CASCADE drops whatever depends on it, which cannot be told from here", "drop what depends on it by name, first")
		}
		if f.Verdict != Refuse {
			j.later(&f)
		}
		j.add(f)
	}
}

func (j *judge) dropRelation(f *Finding, name Name) {
	t, ok := j.facts.find(name)
	if !ok {
		f.because("is not there")
		return
	}
	family := j.facts.family(t)
	f.lock(AccessExclusive, family...)
	if t.Parent != nil {
		if parent, ok := j.facts.find(*t.Parent); ok {
			f.lock(AccessExclusive, parent)
			if parent.Default != nil && *parent.Default != t.Name {
				if rest, ok := j.facts.find(*parent.Default); ok {
					f.lock(AccessExclusive, rest)
				}
			}
			f.warn("locks the partitioned table as well")
			f.Fix = fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s CONCURRENTLY; first", parent.Name, t.Name)
		}
	}
	for _, member := range family {
		j.unreference(f, member.Constraints...)
		delete(j.facts.Tables, member.Name)
	}
	if len(t.ReferencedBy) > 0 {
		f.refuse(fmt.Sprintf("is referenced by a foreign key of %s", t.ReferencedBy[0]), fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT ...; first", t.ReferencedBy[0]))
	}
}

// unreference locks the tables that foreign keys reference: their triggers go with the constraint.
func (j *judge) unreference(f *Finding, constraints ...Constraint) {
	for _, c := range constraints {
		if c.References == nil {
			continue
		}
		if t, ok := j.facts.find(*c.References); ok && !t.made {
			f.lock(AccessExclusive, t)
			f.because(fmt.Sprintf("locks %s too, whose triggers go with the foreign key", t.Name))
		}
	}
}

func (j *judge) dropIndex(f *Finding, n *drop, name Name) {
	t, ok := j.facts.owner(name)
	if !ok {
		f.because("is not there")
		return
	}
	switch {
	case n.Concurrent && t.Kind == "p":
		f.refuse("cannot be CONCURRENTLY on a partitioned table", "DROP INDEX without CONCURRENTLY: it is brief, but waits for every partition's users")
	case n.Concurrent:
		f.lock(ShareUpdateExclusive, t)
		f.because("waits for the transactions that may use it, and blocks none")
	default:
		f.lock(AccessExclusive, j.facts.family(t)...)
		f.warn("waits for the table's users, and all wait for it meanwhile")
		if t.Kind != "p" {
			f.Fix = fmt.Sprintf("DROP INDEX CONCURRENTLY %s;", name)
		}
	}
	t.Indexes = slices.DeleteFunc(slices.Clone(t.Indexes), func(x Index) bool { return x.Name == name.Name })
	j.facts.Tables[t.Name] = t
}

func (j *judge) rename(n *rename) {
	f := j.begin("rename " + strings.ToLower(strings.TrimPrefix(n.Type, "OBJECT_")))
	switch n.Type {
	case "OBJECT_TABLE", "OBJECT_COLUMN", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_TABCONSTRAINT":
		if t, ok := j.target(&f, n.Relation, AccessExclusive); ok {
			if n.Type == "OBJECT_COLUMN" || n.Type == "OBJECT_TRIGGER" {
				f.lock(AccessExclusive, j.facts.family(t)...)
			}
			j.renamed(t, n)
		}
	case "OBJECT_INDEX":
		f.because("an index's name is used by nobody but people")
		j.add(f)
		return
	default:
		f.refuse("what it locks is not known here", "run it by hand when you know what it locks")
	}
	if f.Verdict != Refuse && n.Type != "OBJECT_TABCONSTRAINT" {
		if j.mode == Additive {
			f.refuse("takes a name away that the running application may use: phase 5's work",
				"add the new name beside the old one, and write both, until nothing uses the old one")
		} else {
			f.warn("breaks every statement that still uses the old name, at once")
		}
	}
	j.add(f)
}

func (j *judge) renamed(t Table, n *rename) {
	switch n.Type {
	case "OBJECT_TABLE":
		delete(j.facts.Tables, t.Name)
		t.Name = Name{t.Name.Schema, n.New}
	case "OBJECT_COLUMN":
		t.Columns = slices.Clone(t.Columns)
		for i := range t.Columns {
			if t.Columns[i].Name == n.Old {
				t.Columns[i].Name = n.New
			}
		}
	case "OBJECT_TABCONSTRAINT":
		t.Constraints = slices.Clone(t.Constraints)
		for i := range t.Constraints {
			if t.Constraints[i].Name == n.Old {
				t.Constraints[i].Name = n.New
			}
		}
	}
	j.facts.Tables[t.Name] = t
}
