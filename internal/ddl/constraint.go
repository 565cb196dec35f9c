package ddl

import (
	"fmt"
	"slices"
	"strings"
)

var contypes = map[string]string{
	"CONSTR_CHECK": "c", "CONSTR_FOREIGN": "f", "CONSTR_PRIMARY": "p", "CONSTR_UNIQUE": "u", "CONSTR_EXCLUSION": "x",
}

// note adds a constraint to what is known of a table. column is the one behind which it is written, if so.
func (t *Table) note(c constraint, column string, valid bool) {
	kind, ok := contypes[c.Type]
	if !ok {
		return
	}
	k := Constraint{Name: c.Name, Kind: kind, Valid: valid}
	switch {
	case column != "":
		k.Columns = []string{column}
	case kind == "f":
		k.Columns = texts(c.ForeignKey)
	default:
		k.Columns = texts(c.Keys)
	}
	if kind == "c" {
		k.NotNull = notNull(c.Expression)
		walk(map[string]any{"": c.Expression}, func(key string, object map[string]any) {
			if key == "ColumnRef" {
				k.Columns = append(k.Columns, nameOf(object["fields"]))
			}
		})
	}
	if kind == "f" {
		r := c.Referenced.name()
		k.References = &r
	}
	t.Constraints = append(slices.Clone(t.Constraints), k)
	if kind == "p" || kind == "u" {
		t.Indexes = append(slices.Clone(t.Indexes), Index{Name: c.Name, Columns: k.Columns, Unique: true, Primary: kind == "p", Valid: true, Plain: true})
	}
}

func (j *judge) addConstraint(f *Finding, family []Table, c constraint) {
	t := family[0]
	kind := strings.ToLower(strings.TrimPrefix(c.Type, "CONSTR_"))
	f.What = strings.TrimSpace("add " + kind + " constraint " + ident(c.Name))
	if c.Name == "" {
		f.What = "add " + kind + " constraint"
		defer func() {
			f.refuse("has no name, so nothing could tell after a crash whether it was added", "write ADD CONSTRAINT name ...")
		}()
	} else if there, ok := t.constraint(c.Name); ok {
		f.lock(AccessExclusive, t)
		if there.Kind != contypes[c.Type] {
			f.refuse("there is another constraint of this name", "give it another name")
		} else {
			f.warn("is there already: applying it takes that for its own work")
		}
		return
	}
	validLater := fmt.Sprintf("ALTER TABLE %[1]s ADD CONSTRAINT %[2]s ... NOT VALID; ALTER TABLE %[1]s VALIDATE CONSTRAINT %[2]s;", t.Name, ident(c.Name))
	switch c.Type {
	case "CONSTR_CHECK":
		f.lock(AccessExclusive, family...)
		f.because("new rows must pass it from now on")
		if !c.NotValid {
			f.work(Scan, family, validLater)
		}
	case "CONSTR_FOREIGN":
		f.lock(ShareRowExclusive, family...)
		j.reference(f, c)
		switch {
		case c.NotValid && t.Kind == "p" && j.facts.Version < 18:
			f.refuse(fmt.Sprintf("cannot be NOT VALID on a partitioned table before PostgreSQL 18; this is %d", j.facts.Version),
				"add it NOT VALID to each partition, validate these, then add it to the table: the partitions' are taken over without a scan")
		case !c.NotValid:
			f.work(Scan, family, validLater)
		}
	case "CONSTR_UNIQUE", "CONSTR_PRIMARY":
		f.lock(AccessExclusive, family...)
		j.unique(f, family, c)
	case "CONSTR_EXCLUSION":
		f.lock(AccessExclusive, family...)
		f.work(Build, family, "there is no way without the lock: add it to a new table, and fill that by a job")
	default:
		f.lock(AccessExclusive, family...)
		f.refuse("what it does is not known here", "run it by hand when you know what it locks")
	}
	j.change(family, func(t *Table) { t.note(c, "", !c.NotValid) })
	if c.Type == "CONSTR_PRIMARY" {
		keys := j.keys(t, c)
		j.change(family, func(t *Table) {
			for _, k := range keys {
				t.setNotNull(k, true)
			}
		})
	}
}

// keys are the columns of a unique constraint, which USING INDEX leaves to its index.
func (j *judge) keys(t Table, c constraint) []string {
	if x, ok := t.index(c.Index); ok && c.Index != "" {
		return x.Columns
	}
	return texts(c.Keys)
}

func (j *judge) unique(f *Finding, family []Table, c constraint) {
	t := family[0]
	if c.Index == "" {
		index := ident(t.Name.Name + "_" + strings.Join(texts(c.Keys), "_") + "_key")
		f.because("builds its index")
		kind := "UNIQUE"
		if c.Type == "CONSTR_PRIMARY" {
			kind = "PRIMARY KEY"
		}
		f.work(Build, family, fmt.Sprintf("CREATE UNIQUE INDEX CONCURRENTLY %[2]s ON %[1]s (%[3]s); ALTER TABLE %[1]s ADD CONSTRAINT %[4]s %[5]s USING INDEX %[2]s;",
			t.Name, index, strings.Join(texts(c.Keys), ", "), ident(c.Name), kind))
		return
	}
	x, ok := t.index(c.Index)
	switch {
	case !ok:
		f.refuse(fmt.Sprintf("there is no index %s on %s", ident(c.Index), t.Name), "CREATE UNIQUE INDEX CONCURRENTLY it first")
		return
	case !x.Unique || !x.Valid || !x.Plain:
		f.refuse(fmt.Sprintf("the index %s is not a valid unique index of whole columns", ident(c.Index)), "CREATE UNIQUE INDEX CONCURRENTLY another")
		return
	}
	f.because("takes the index over")
	if c.Type != "CONSTR_PRIMARY" {
		return
	}
	for _, k := range x.Columns {
		if col, ok := t.column(k); ok && !col.NotNull && !t.provenNotNull(k) {
			check := ident(t.Name.Name + "_" + k + "_not_null")
			f.because(fmt.Sprintf("but every row is tried for NULL in %s", ident(k)))
			f.work(Scan, family, fmt.Sprintf("ALTER TABLE %[1]s ADD CONSTRAINT %[2]s CHECK (%[3]s IS NOT NULL) NOT VALID; ALTER TABLE %[1]s VALIDATE CONSTRAINT %[2]s; first",
				t.Name, check, ident(k)))
		}
	}
}

func (j *judge) validate(f *Finding, family []Table, name string) {
	t := family[0]
	f.What = "validate constraint " + ident(name)
	f.lock(ShareUpdateExclusive, family...)
	k, ok := t.constraint(name)
	switch {
	case !ok:
		f.refuse(fmt.Sprintf("there is no constraint %s on %s", ident(name), t.Name), "check its name")
	case k.Valid:
		f.because("is valid already")
	default:
		f.work(Scan, family, "write it as a statement of its own")
		if k.References != nil {
			if r, ok := j.facts.find(*k.References); ok {
				f.lock(RowShare, j.facts.family(r)...)
			}
		}
	}
	j.change(family, func(t *Table) {
		t.Constraints = slices.Clone(t.Constraints)
		for i := range t.Constraints {
			if t.Constraints[i].Name == name {
				t.Constraints[i].Valid = true
			}
		}
	})
}

func (j *judge) dropConstraint(f *Finding, family []Table, c command) {
	f.What = "drop constraint " + ident(c.Name)
	f.lock(AccessExclusive, family...)
	k, ok := family[0].constraint(c.Name)
	switch {
	case !ok && c.MissingOK:
		f.because("is not there")
	case !ok:
		f.warn("is not there: applying it takes that for its own work")
	case k.Kind == "c": // the last step of SET NOT NULL's safe way, or a loosening
		f.because("changes the catalog only")
	default:
		j.unreference(f, k)
		j.later(f)
	}
	if c.Behavior == "DROP_CASCADE" {
		f.refuse("CASCADE drops whatever depends on it, which cannot be told from here", "drop what depends on it by name, first")
	}
	j.change(family, func(t *Table) {
		t.Constraints = slices.DeleteFunc(slices.Clone(t.Constraints), func(k Constraint) bool { return k.Name == c.Name })
	})
}
