package ddl

import (
	"fmt"
	"slices"
	"strings"
)

func (j *judge) createIndex(n *createIndex) {
	f := j.begin(strings.TrimSpace("create index " + ident(n.Name)))
	if n.Name == "" {
		f.What = "create index"
	}
	mode := Share
	if n.Concurrent {
		mode = ShareUpdateExclusive
	}
	t, ok := j.target(&f, &n.Relation, mode)
	if !ok {
		j.add(f)
		return
	}
	family := j.facts.family(t)
	if !n.Relation.Inherit { // ONLY
		family = family[:1]
	}
	f.lock(mode, family...)
	switch _, there := t.index(n.Name); {
	case n.Name == "":
		f.refuse("has no name, so nothing could tell after a crash whether it was built", "write CREATE INDEX name ON ...")
	case there:
		f.warn("is there already: applying it takes that for its own work")
		j.add(f)
		return
	case n.Concurrent && t.Kind == "p":
		f.refuse("cannot be CONCURRENTLY on a partitioned table", j.eachPartition(n, t))
	case t.Kind == "p" && !n.Relation.Inherit:
		f.because("makes the parent only; it becomes valid when each partition's index is attached")
	default:
		fix := fmt.Sprintf("CREATE INDEX CONCURRENTLY %s ON %s ...;", ident(n.Name), t.Name)
		if t.Kind == "p" {
			fix = j.eachPartition(n, t)
		}
		f.work(Build, family, fix)
		if n.Concurrent {
			f.because("waits for transactions as old as itself, twice")
		}
	}
	if n.Unique && n.Concurrent {
		f.because("fails on duplicates, and is then dropped and tried again")
	}
	x := Index{Name: n.Name, Unique: n.Unique, Valid: true, Plain: n.Where == nil}
	for _, c := range n.Columns {
		if c.Element.Name == "" {
			x.Plain = false
		} else {
			x.Columns = append(x.Columns, c.Element.Name)
		}
	}
	j.change([]Table{t}, func(t *Table) { t.Indexes = append(slices.Clone(t.Indexes), x) })
	j.add(f)
}

// eachPartition is the way to an index on a partitioned table that blocks nobody.
func (j *judge) eachPartition(n *createIndex, t Table) string {
	index := ident(n.Name)
	example := "each partition"
	if len(t.Children) > 0 {
		example = t.Children[0].String()
	}
	return fmt.Sprintf("CREATE INDEX %[1]s ON ONLY %[2]s ...; for each partition: CREATE INDEX CONCURRENTLY %[3]s ON %[4]s ...; ALTER INDEX %[1]s ATTACH PARTITION %[3]s;",
		index, t.Name, ident(n.Name+"_1"), example)
}
