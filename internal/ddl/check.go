package ddl

import (
	"fmt"
	"slices"
	"strings"
)

// judge goes through a file in its order. Its facts change as the statements would change the database, so that a table made by
// one statement is new for the next.
type judge struct {
	facts Facts
	mode  Mode
	at    Statement
	out   []Finding
}

// Check judges statements by facts of the server. It is pure. Each statement has at least one finding, an ALTER TABLE one a command, in
// the order of the file. It judges each statement as run in a transaction of its own, as [Apply] does. What it does not know it refuses.
//
// It does not see what depends on values: whether a constraint holds for the rows that are there, or a name is taken.
func Check(statements []Statement, facts Facts, mode Mode) []Finding {
	j := &judge{facts: facts.clone(), mode: mode}
	for _, s := range statements {
		j.at = s
		j.statement()
	}
	return j.out
}

func (j *judge) begin(what string) Finding {
	return Finding{Statement: j.at.Number, Line: j.at.Line, What: what}
}

func (j *judge) add(f Finding) {
	f.settle()
	j.out = append(j.out, f)
}

// later refuses in the additive mode what takes something away.
func (j *judge) later(f *Finding) {
	if j.mode == Additive {
		f.refuse("takes away what the running application may use: phase 5's work", "move it into the file of `phase contract`")
	}
}

func (j *judge) statement() {
	switch n := j.at.node.(type) {
	case *alterTable:
		j.alter(n)
	case *createTable:
		j.createTable(n)
	case *createIndex:
		j.createIndex(n)
	case *drop:
		j.drop(n)
	case *rename:
		j.rename(n)
	case *setSchema:
		f := j.begin("set schema")
		if t, ok := j.target(&f, n.Relation, AccessExclusive); ok {
			f.lock(AccessExclusive, t)
		}
		j.later(&f)
		j.add(f)
	case *createTrigger:
		j.createTrigger(n)
	case *policy:
		f := j.begin("create policy " + ident(n.Name))
		j.target(&f, &n.Table, AccessExclusive)
		j.add(f)
	case *comment:
		j.comment()
	case *grant:
		f := j.begin("grant")
		for _, o := range n.Objects {
			if t, ok := j.facts.find(o.RangeVar.name()); ok && j.facts.Version >= 18 {
				f.lock(AccessShare, t)
			}
		}
		f.because("changes who may do what, and nothing else")
		j.add(f)
	case *statistics:
		j.createStatistics(n)
	case *createAs:
		j.createAs(n)
	case *view:
		j.createView(n)
	case *refresh:
		j.refresh(n)
	case *createFunction:
		f := j.begin("create function " + strings.Join(texts(n.Name), "."))
		if n.Replace && j.mode == Additive {
			f.warn("replaces a function that may be in use: its next call runs the new one")
		}
		if !n.Replace {
			f.warn("cannot be repeated after a crash; CREATE OR REPLACE can")
		}
		f.because("locks no table")
		j.add(f)
	case *alterEnum:
		j.alterEnum(n)
	case *named, *createDomain, *sequence, *struct{}:
		f := j.begin(j.firstWords(2))
		f.because("makes something new, which nobody uses yet")
		j.add(f)
	case *vacuum, *cluster, *reindex:
		j.maintenance()
	case *relations:
		j.relations(n)
	case unknown:
		j.unknown(n.kind)
	}
}

// firstWords names a statement by how it begins.
func (j *judge) firstWords(n int) string {
	words := strings.Fields(strings.ToLower(j.at.SQL))
	return strings.Join(words[:min(n, len(words))], " ")
}

// target finds the table of a statement and locks it. A table that is not there, or is new, ends the judgement.
func (j *judge) target(f *Finding, r *rangeVar, mode LockMode) (Table, bool) {
	if r == nil {
		f.refuse("names no table that is known here", "")
		return Table{}, false
	}
	t, ok := j.facts.find(r.name())
	if !ok {
		f.refuse(fmt.Sprintf("there is no table %s", r.name()), "check its name and schema, or put what makes it before this statement")
		return Table{}, false
	}
	f.lock(mode, t)
	return t, true
}

func (j *judge) unknown(kind string) {
	f := j.begin(j.firstWords(2))
	switch kind {
	case "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CopyStmt":
		f.refuse("changes rows: that is the backfill's work, in batches", "write it as a job's `set` and `where`, or its `statement`")
	case "SelectStmt", "DoStmt", "CallStmt", "ExecuteStmt":
		f.refuse("runs code, which cannot be judged by its text", "write the statements that it would run")
	case "TransactionStmt":
		f.refuse("each statement gets a transaction of its own, so that no lock outlives it", "leave BEGIN and COMMIT out")
	case "VariableSetStmt":
		f.refuse("settings are apply's own: it sets lock_timeout and statement_timeout for each statement", "leave SET out")
	default:
		f.refuse(fmt.Sprintf("what a %s locks is not known here", strings.TrimSuffix(kind, "Stmt")), "run it by hand when you know what it locks")
	}
	j.add(f)
}

func (j *judge) createTable(n *createTable) {
	name := j.facts.madeAs(n.Relation.name())
	f := j.begin("create table " + name.String())
	made := Table{Name: name, Kind: "r", made: true}
	if n.Partitioned != nil {
		made.Kind = "p"
	}
	if there, ok := j.facts.find(n.Relation.name()); ok {
		if n.MissingOK {
			f.because("is there already")
		} else {
			f.warn("is there already: applying it takes that for its own work")
		}
		made = there
		j.add(f)
		return
	}
	f.because("nobody uses a new table yet")
	for _, e := range n.Elements {
		switch {
		case e.Column != nil:
			made.Columns = append(made.Columns, newColumn(*e.Column))
			for _, c := range e.Column.Constraints {
				j.reference(&f, c.Constraint)
				made.note(c.Constraint, e.Column.Name, true)
			}
		case e.Constraint != nil:
			j.reference(&f, *e.Constraint)
			made.note(*e.Constraint, "", true)
		case e.Like != nil:
			if t, ok := j.target(&f, &e.Like.Relation, AccessShare); ok {
				made.Columns = append(made.Columns, t.Columns...)
			}
		}
	}
	for _, p := range n.Parents {
		parent, ok := j.target(&f, &p.RangeVar, ShareUpdateExclusive)
		if !ok {
			continue
		}
		made.Columns = append(made.Columns, parent.Columns...)
		parent.Children = append(slices.Clone(parent.Children), name)
		if n.Bound != nil {
			j.newPartition(&f, parent, nil)
			made.Parent = &parent.Name
		}
		j.facts.Tables[parent.Name] = parent
	}
	j.facts.Tables[name] = made
	j.add(f)
}

// newPartition locks the parent of a new partition as CREATE TABLE ... PARTITION OF does, and the default partition, whose rows must not belong
// to the new one.
func (j *judge) newPartition(f *Finding, parent Table, attached *Table) {
	mode := AccessExclusive
	if attached != nil {
		mode = ShareUpdateExclusive
	}
	f.lock(mode, parent)
	if parent.Default == nil {
		if mode == AccessExclusive && !parent.made && f.Verdict != Refuse {
			f.warn("locks the partitioned table itself for a moment")
			f.Fix = fmt.Sprintf("CREATE TABLE new (LIKE %[1]s INCLUDING ALL); ALTER TABLE %[1]s ATTACH PARTITION new FOR VALUES ...;", parent.Name)
		}
		return
	}
	rest, ok := j.facts.find(*parent.Default)
	if !ok {
		return
	}
	below := j.facts.family(rest)
	f.lock(AccessExclusive, below...)
	f.work(Scan, below, fmt.Sprintf("ALTER TABLE %[1]s ADD CONSTRAINT not_in_new CHECK (...) NOT VALID; ALTER TABLE %[1]s VALIDATE CONSTRAINT not_in_new; first: "+
		"a check that no row of the default partition belongs to the new one spares the scan", rest.Name))
}

// reference locks the table that a foreign key references.
func (j *judge) reference(f *Finding, c constraint) {
	if c.Type != "CONSTR_FOREIGN" {
		return
	}
	if t, ok := j.facts.find(c.Referenced.name()); ok {
		f.lock(ShareRowExclusive, j.facts.family(t)...)
		if !t.made {
			f.because(fmt.Sprintf("adds a trigger to %s, so it waits for that table's writers", t.Name))
		}
	}
}

func (j *judge) createTrigger(n *createTrigger) {
	f := j.begin("create trigger " + ident(n.Name))
	t, ok := j.target(&f, &n.Relation, ShareRowExclusive)
	if ok {
		if n.Row {
			f.lock(ShareRowExclusive, j.facts.family(t)...)
		}
		if t.Kind == "v" {
			f.Locks = nil
			f.lock(ShareRowExclusive, t)
		}
		f.because("waits for the table's writers, and writes wait for it, for a moment")
		if n.From != nil {
			j.target(&f, n.From, AccessShare)
		}
	}
	j.add(f)
}

func (j *judge) comment() {
	f := j.begin("comment")
	for _, name := range j.at.listed() {
		if t, ok := j.facts.find(name); ok {
			f.lock(ShareUpdateExclusive, t)
		}
	}
	f.because("changes a text")
	j.add(f)
}

func (j *judge) createStatistics(n *statistics) {
	f := j.begin("create statistics")
	for _, r := range n.Relations {
		j.target(&f, &r.RangeVar, ShareUpdateExclusive)
	}
	f.because("takes effect with the next ANALYZE")
	j.add(f)
}

func (j *judge) alterEnum(n *alterEnum) {
	f := j.begin("alter type " + strings.Join(texts(n.Type), "."))
	if n.Old != "" {
		j.later(&f)
	} else {
		f.because("locks no table; programs that list the values must know the new one before it is written")
	}
	j.add(f)
}

func (j *judge) createAs(n *createAs) {
	f := j.begin("create table as")
	if n.Type == "OBJECT_MATVIEW" {
		f.What = "create materialized view"
	}
	for _, name := range j.at.names {
		if t, ok := j.facts.find(name); ok {
			f.lock(AccessShare, t)
		}
	}
	if n.Into.SkipData {
		f.because("nobody uses it yet, and it is made empty")
	} else {
		f.refuse("runs a query for as long as it takes, in one transaction, which holds back vacuum",
			"CREATE TABLE it empty and fill it by a job with `statement: INSERT ... SELECT`")
	}
	j.add(f)
}

func (j *judge) createView(n *view) {
	f := j.begin("create view " + n.View.name().String())
	for _, name := range j.at.names {
		if t, ok := j.facts.find(name); ok && name != n.View.name() {
			f.lock(AccessShare, t)
		}
	}
	if there, ok := j.facts.find(n.View.name()); ok && n.Replace {
		f.lock(AccessExclusive, there)
		f.warn("replaces a view that may be in use")
	} else {
		f.because("nobody uses a new view yet")
		j.facts.Tables[j.facts.madeAs(n.View.name())] = Table{Name: j.facts.madeAs(n.View.name()), Kind: "v", made: true}
	}
	j.add(f)
}

func (j *judge) refresh(n *refresh) {
	f := j.begin("refresh materialized view")
	mode := AccessExclusive
	if n.Concurrent {
		mode = Exclusive
	}
	if t, ok := j.target(&f, &n.Relation, mode); ok && !n.SkipData {
		f.work(Rewrite, []Table{t}, "")
		f.refuse("runs its query for as long as it takes", "run REFRESH MATERIALIZED VIEW CONCURRENTLY by hand when it suits")
	}
	j.add(f)
}

// maintenance is no part of a migration, whatever it locks.
func (j *judge) maintenance() {
	f := j.begin(j.firstWords(2))
	var r *rangeVar
	mode, work, fix := ShareUpdateExclusive, Scan, "run it by hand"
	switch n := j.at.node.(type) {
	case *vacuum:
		if len(n.Relations) > 0 {
			r = &n.Relations[0].Vacuum.Relation
		}
		if on(n.Options, "full") {
			mode, work, fix = AccessExclusive, Rewrite, "pg_repack or pg_squeeze rewrite a table without blocking it"
		}
	case *cluster:
		r, mode, work, fix = n.Relation, AccessExclusive, Rewrite, "pg_repack or pg_squeeze rewrite a table without blocking it"
	case *reindex:
		r, work = n.Relation, Build
		if !on(n.Params, "concurrently") {
			mode, fix = Share, "REINDEX ... CONCURRENTLY, by hand"
		}
	}
	if r != nil {
		t, ok := j.facts.find(r.name())
		if !ok {
			t, ok = j.facts.owner(r.name())
		}
		if ok {
			f.lock(mode, t)
			f.work(work, []Table{t}, fix)
		}
	}
	f.refuse("is maintenance, and no part of a migration", fix)
	j.add(f)
}

// relations judges TRUNCATE and LOCK TABLE.
func (j *judge) relations(n *relations) {
	f := j.begin(j.firstWords(1))
	mode := AccessExclusive
	if n.Mode > 0 {
		mode = LockMode(n.Mode)
	}
	for _, r := range n.Relations {
		if t, ok := j.target(&f, &r.RangeVar, mode); ok {
			f.lock(mode, j.facts.family(t)...)
		}
	}
	if n.Mode > 0 {
		f.refuse("a lock ends with the transaction of its statement, so it would keep the application waiting for nothing", "leave it out")
	} else {
		f.refuse("deletes every row", "drop the table in phase 5, or truncate it by hand")
	}
	j.add(f)
}
