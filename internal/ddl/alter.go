package ddl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rule is what a command of ALTER TABLE locks and does whatever its arguments are.
type rule struct {
	mode LockMode
	work Work
	what string
	take bool // takes something away that the application may use
	only bool // does not reach the partitions
	why  string
}

const rebuild = "rewrites the table and all its indexes"

var rules = map[string]rule{
	"AT_ColumnDefault":           {mode: AccessExclusive, what: "default of %s", why: "holds for new rows only"},
	"AT_DropNotNull":             {mode: AccessExclusive, what: "drop not null of %s", why: "changes the catalog only"},
	"AT_SetStatistics":           {mode: ShareUpdateExclusive, what: "statistics target of %s", why: "takes effect with the next ANALYZE"},
	"AT_SetOptions":              {mode: ShareUpdateExclusive, what: "options of %s", why: "takes effect with the next ANALYZE"},
	"AT_ResetOptions":            {mode: ShareUpdateExclusive, what: "options of %s", why: "takes effect with the next ANALYZE"},
	"AT_SetStorage":              {mode: AccessExclusive, what: "storage of %s", why: "holds for new values only"},
	"AT_SetCompression":          {mode: AccessExclusive, what: "compression of %s", why: "holds for new values only"},
	"AT_AddIdentity":             {mode: AccessExclusive, what: "identity of %s", why: "holds for new rows only", only: true},
	"AT_SetIdentity":             {mode: AccessExclusive, what: "identity of %s", why: "holds for new rows only", only: true},
	"AT_DropIdentity":            {mode: AccessExclusive, what: "drop identity of %s", take: true, only: true},
	"AT_DropExpression":          {mode: AccessExclusive, what: "drop expression of %s", take: true},
	"AT_SetExpression":           {mode: AccessExclusive, work: Rewrite, what: "expression of %s", why: rebuild},
	"AT_ClusterOn":               {mode: ShareUpdateExclusive, what: "cluster on", why: "moves no row", only: true},
	"AT_DropCluster":             {mode: ShareUpdateExclusive, what: "set without cluster", why: "moves no row", only: true},
	"AT_EnableTrig":              {mode: ShareRowExclusive, what: "enable trigger %s", why: "waits for the table's writers, and they for it, for a moment"},
	"AT_EnableAlwaysTrig":        {mode: ShareRowExclusive, what: "enable trigger %s", why: "waits for the table's writers, and they for it, for a moment"},
	"AT_EnableReplicaTrig":       {mode: ShareRowExclusive, what: "enable trigger %s", why: "waits for the table's writers, and they for it, for a moment"},
	"AT_DisableTrig":             {mode: ShareRowExclusive, what: "disable trigger %s", take: true},
	"AT_ReplicaIdentity":         {mode: AccessExclusive, what: "replica identity", only: true},
	"AT_EnableRowSecurity":       {mode: AccessExclusive, what: "enable row security", take: true, only: true},
	"AT_ForceRowSecurity":        {mode: AccessExclusive, what: "force row security", take: true, only: true},
	"AT_DisableRowSecurity":      {mode: AccessExclusive, what: "disable row security", only: true},
	"AT_NoForceRowSecurity":      {mode: AccessExclusive, what: "no force row security", only: true},
	"AT_ChangeOwner":             {mode: AccessExclusive, what: "owner", take: true, only: true},
	"AT_SetLogged":               {mode: AccessExclusive, work: Rewrite, what: "set logged", why: rebuild, only: true},
	"AT_SetUnLogged":             {mode: AccessExclusive, work: Rewrite, what: "set unlogged", take: true, why: rebuild, only: true},
	"AT_SetAccessMethod":         {mode: AccessExclusive, work: Rewrite, what: "set access method", why: rebuild, only: true},
	"AT_SetTableSpace":           {mode: AccessExclusive, work: Rewrite, what: "set tablespace", why: "copies the table", only: true},
	"AT_DropColumn":              {mode: AccessExclusive, what: "drop column %s", take: true, why: "changes the catalog only; the space comes back as rows are rewritten"},
	"AT_ReplaceRelOptions":       {mode: AccessExclusive, what: "options", only: true},
	"AT_DetachPartitionFinalize": {mode: ShareUpdateExclusive, what: "finish detach", take: true, only: true},
}

// light are the storage parameters that take SHARE UPDATE EXCLUSIVE; all others take ACCESS EXCLUSIVE.
func light(option string) bool {
	switch option {
	case "fillfactor", "toast_tuple_target", "parallel_workers", "vacuum_index_cleanup", "vacuum_truncate", "log_autovacuum_min_duration",
		"vacuum_max_eager_freeze_failure_rate":
		return true
	}
	return strings.HasPrefix(option, "autovacuum_")
}

func (j *judge) alter(n *alterTable) {
	first := j.begin("alter " + strings.ToLower(strings.TrimPrefix(n.Object, "OBJECT_")) + " " + n.Relation.name().String())
	if n.Object != "OBJECT_TABLE" {
		j.alterOther(n, first)
		return
	}
	t, ok := j.facts.find(n.Relation.name())
	if !ok {
		if n.MissingOK {
			first.because("is not there, and need not be")
		} else {
			first.refuse(fmt.Sprintf("there is no table %s", n.Relation.name()), "check its name and schema, or put what makes it before this statement")
		}
		j.add(first)
		return
	}
	var found []Finding
	for _, c := range n.Commands {
		t = j.facts.Tables[t.Name] // as the commands before have left it
		found = append(found, j.command(n, t, c.Command))
	}
	// The statement takes the strongest lock of its commands at the start, so all of them work under it.
	strongest := map[Name]LockMode{}
	for _, f := range found {
		for _, l := range f.Locks {
			strongest[l.Relation] = max(strongest[l.Relation], l.Mode)
		}
	}
	for _, f := range found {
		for _, name := range slices.SortedFunc(maps.Keys(strongest), byName) {
			f.raise(name, strongest[name])
		}
		j.add(f)
	}
}

func byName(a, b Name) int { return strings.Compare(a.String(), b.String()) }

// alterOther judges ALTER TABLE's commands on what is no table.
func (j *judge) alterOther(n *alterTable, f Finding) {
	if n.Object == "OBJECT_INDEX" && len(n.Commands) == 1 {
		c := n.Commands[0].Command
		switch c.Type {
		case "AT_AttachPartition":
			f.What = "attach index " + c.Def.Partition.Name.name().String()
			for _, name := range []Name{n.Relation.name(), c.Def.Partition.Name.name()} {
				if t, ok := j.facts.owner(name); ok {
					f.lock(AccessShare, t)
				}
			}
			f.because("locks the indexes, and the tables weakly")
			j.add(f)
			return
		case "AT_SetRelOptions", "AT_ResetRelOptions", "AT_SetStatistics":
			f.because("holds for new pages only")
			j.add(f)
			return
		}
	}
	f.refuse("what it locks is not known here", "run it by hand when you know what it locks")
	j.add(f)
}

// command judges one command of ALTER TABLE.
func (j *judge) command(n *alterTable, t Table, c command) Finding {
	f := j.begin("alter table " + t.Name.String())
	family := j.facts.family(t)
	if !n.Relation.Inherit { // ONLY
		family = family[:1]
	}
	switch c.Type {
	case "AT_AddColumn":
		j.addColumn(&f, family, c)
	case "AT_AlterColumnType":
		j.alterType(&f, family, c)
	case "AT_SetNotNull":
		j.setNotNull(&f, family, c.Name)
	case "AT_AddConstraint":
		j.addConstraint(&f, family, *c.Def.Constraint)
	case "AT_ValidateConstraint":
		j.validate(&f, family, c.Name)
	case "AT_DropConstraint":
		j.dropConstraint(&f, family, c)
	case "AT_AttachPartition":
		j.attach(&f, t, c.Def.Partition)
	case "AT_DetachPartition":
		j.detach(&f, t, c.Def.Partition)
	case "AT_SetRelOptions", "AT_ResetRelOptions":
		j.options(&f, t, c)
	default:
		j.byRule(&f, family, c)
	}
	return f
}

func (j *judge) byRule(f *Finding, family []Table, c command) {
	r, ok := rules[c.Type]
	if !ok {
		f.lock(AccessExclusive, family[0])
		f.refuse(fmt.Sprintf("what %s locks is not known here", strings.TrimPrefix(c.Type, "AT_")), "run it by hand when you know what it locks")
		return
	}
	f.What = r.what
	if strings.Contains(r.what, "%s") {
		f.What = fmt.Sprintf(r.what, ident(c.Name))
	}
	if r.only {
		family = family[:1]
	}
	f.lock(r.mode, family...)
	f.because(r.why)
	if r.work != Nothing {
		f.work(r.work, family, "make a new table or column beside it, write both, and fill it by a job")
	}
	if c.Type == "AT_DropColumn" {
		j.dropColumn(f, family, c)
	}
	if r.take {
		j.later(f)
	}
	if c.Behavior == "DROP_CASCADE" {
		f.refuse("CASCADE drops whatever depends on it, which cannot be told from here", "drop what depends on it by name, first")
	}
	if c.Type == "AT_DropNotNull" {
		j.change(family, func(t *Table) { t.setNotNull(c.Name, false) })
	}
}

// dropColumn locks what the column's foreign keys reference, for these go with it.
func (j *judge) dropColumn(f *Finding, family []Table, c command) {
	for _, k := range family[0].Constraints {
		if slices.Contains(k.Columns, c.Name) {
			j.unreference(f, k)
		}
	}
	j.change(family, func(t *Table) {
		t.Columns = slices.DeleteFunc(slices.Clone(t.Columns), func(x Column) bool { return x.Name == c.Name })
		t.Indexes = slices.DeleteFunc(slices.Clone(t.Indexes), func(x Index) bool { return slices.Contains(x.Columns, c.Name) })
		t.Constraints = slices.DeleteFunc(slices.Clone(t.Constraints), func(k Constraint) bool { return slices.Contains(k.Columns, c.Name) })
	})
}

func (j *judge) options(f *Finding, t Table, c command) {
	f.What = "options"
	mode := ShareUpdateExclusive
	if c.Def.List != nil {
		for _, o := range c.Def.List.Items {
			if !light(o.DefElem.Name) {
				mode = AccessExclusive
			}
		}
	}
	f.lock(mode, t)
	f.because("holds for new pages only")
}

// change applies a statement's effect to the facts, for the statements after it.
func (j *judge) change(family []Table, effect func(*Table)) {
	for _, member := range family {
		t := j.facts.Tables[member.Name]
		effect(&t)
		j.facts.Tables[member.Name] = t
	}
}

func (t *Table) setNotNull(column string, to bool) {
	t.Columns = slices.Clone(t.Columns)
	for i := range t.Columns {
		if t.Columns[i].Name == column {
			t.Columns[i].NotNull = to
		}
	}
}

func (j *judge) attach(f *Finding, t Table, p *partition) {
	f.What = "attach partition " + p.Name.name().String()
	child, ok := j.target(f, &p.Name, AccessExclusive)
	if !ok {
		return
	}
	below := j.facts.family(child)
	f.lock(AccessExclusive, below...)
	f.lock(ShareUpdateExclusive, t)
	fix := fmt.Sprintf("ALTER TABLE %[1]s ADD CONSTRAINT in_bounds CHECK (...) NOT VALID; ALTER TABLE %[1]s VALIDATE CONSTRAINT in_bounds; first", child.Name)
	proven := slices.ContainsFunc(child.Constraints, func(c Constraint) bool {
		return c.Kind == "c" && c.Valid && slices.ContainsFunc(t.PartitionKey, func(k string) bool { return slices.Contains(c.Columns, k) })
	})
	switch {
	case p.Bound.Default && t.Parent == nil && len(t.Children) == 0:
		f.because("a default partition without others may hold any row")
	case proven:
		f.warn(fmt.Sprintf("reads %s unless its check on the partition key proves the bounds", child.Name))
	default:
		f.work(Scan, below, fix)
		f.because("nothing proves that its rows are within the bounds")
	}
	for _, x := range t.Indexes {
		if !slices.ContainsFunc(child.Indexes, func(y Index) bool {
			return y.Valid && y.Plain == x.Plain && (y.Unique || !x.Unique) && slices.Equal(x.Columns, y.Columns)
		}) {
			f.work(Build, below, fmt.Sprintf("CREATE INDEX CONCURRENTLY on %s the like of %s first", child.Name, x.Name))
			f.because("builds the index that " + ident(x.Name) + " needs")
		}
	}
	if !p.Bound.Default {
		j.newPartition(f, t, &child)
	}
	j.change([]Table{child}, func(c *Table) { c.Parent = &t.Name })
	j.change([]Table{t}, func(p *Table) { p.Children = append(slices.Clone(p.Children), child.Name) })
}

func (j *judge) detach(f *Finding, t Table, p *partition) {
	f.What = "detach partition " + p.Name.name().String()
	mode := AccessExclusive
	if p.Concurrent {
		mode = ShareUpdateExclusive
	}
	child, ok := j.target(f, &p.Name, AccessExclusive)
	if !ok {
		return
	}
	f.lock(mode, t)
	rest, hasDefault := Table{}, false
	if t.Default != nil && *t.Default != child.Name {
		rest, hasDefault = j.facts.find(*t.Default)
	}
	switch {
	case p.Concurrent && hasDefault:
		f.refuse("cannot be CONCURRENTLY while there is a default partition", "detach without CONCURRENTLY, or detach the default partition first")
	case p.Concurrent:
		f.because("waits for the transactions that may use it; only the partition itself is locked, for a moment, at the end")
	default:
		if hasDefault {
			f.lock(AccessExclusive, rest)
		}
		f.warn("locks the partitioned table itself for a moment")
		f.Fix = fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s CONCURRENTLY;", t.Name, child.Name)
	}
	if f.Verdict != Refuse {
		j.later(f)
	}
	j.change([]Table{child}, func(c *Table) { c.Parent = nil })
	j.change([]Table{t}, func(p *Table) {
		p.Children = slices.DeleteFunc(slices.Clone(p.Children), func(n Name) bool { return n == child.Name })
	})
}
