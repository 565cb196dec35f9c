package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/nearest"
)

// keyTypes are the base types a key may have: ordered by a btree, and exact in their text form.
var keyTypes = []uint32{pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.UUIDOID, pgtype.TextOID, pgtype.VarcharOID,
	pgtype.TimestamptzOID, pgtype.NumericOID, pgtype.DateOID}

const keyTypeNames = "smallint, integer, bigint, uuid, text, varchar, timestamptz, numeric, date"

// candidate is a key that may serve, before the indexes of every leaf are looked at.
type candidate struct {
	columns []string
	origin  string // "the primary key", "unique index x", "the spec"
}

// chooseKey sets Key, KeyIndex and Grows. Every leaf must be able to walk the key in the same order and hold each value once.
// Uniqueness within each leaf is enough: ranges never span two.
func (t *Table) chooseKey(ctx context.Context, q Querier, given []string) error {
	relations := t.Leaves
	self := Leaf{t.OID, t.Schema, t.Name}
	if len(relations) == 0 {
		relations = []Leaf{self} // partitioned, without a partition yet: judge its own indexes
	}
	all := map[uint32][]index{}
	for _, r := range append([]Leaf{self}, relations...) {
		if _, done := all[r.OID]; done {
			continue
		}
		ixs, err := indexes(ctx, q, r)
		if err != nil {
			return err
		}
		all[r.OID] = ixs
	}
	var candidates []candidate
	if len(given) > 0 {
		for _, name := range given {
			if _, ok := t.Column(name); !ok {
				return job.Refusals{{Field: "key", Value: name, Why: "is not a column of " + t.String(), Fix: nearest.Hint(name, t.ColumnNames())}}
			}
		}
		candidates = []candidate{{given, "the spec"}}
	} else {
		candidates = append(unique(all[self.OID]), unique(all[relations[0].OID])...)
	}
	var first error
	for _, c := range candidates {
		err := t.walkable(c, relations, all)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = t.noUniqueIndex(relations[0])
	}
	return first
}

// walkable sets the key to c if every relation can walk it, and otherwise says why not.
func (t *Table) walkable(c candidate, relations []Leaf, all map[uint32][]index) error {
	var collations []string
	var key []job.Column
	keyIndex := ""
	for i, r := range relations {
		ix, err := t.walkIndex(c, r, all[r.OID], collations)
		if err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		collations, keyIndex = ix.collations[:len(c.columns)], ix.name
		for j, name := range c.columns {
			col, _ := t.Column(name)
			k := job.Column{Name: name, Type: col.Type}
			if ix.collations[j] != col.Collation {
				k.Collation = ix.collations[j]
			}
			key = append(key, k)
		}
	}
	t.Key, t.KeyIndex = key, keyIndex
	if len(t.Leaves) == 0 {
		t.KeyIndex = ""
	}
	t.Grows = len(key) == 1 && t.grows(key[0].Name)
	return nil
}

// walkIndex finds the index of r that walks the key. With collations it must order by exactly those: a job has one key order.
func (t *Table) walkIndex(c candidate, r Leaf, ixs []index, collations []string) (index, error) {
	refuse := func(why, fix string) error {
		return job.Refusals{{Field: "key", Value: strings.Join(c.columns, ", "), Why: why, Fix: fix}}
	}
	for _, name := range c.columns {
		col, _ := t.Column(name)
		switch {
		case !slices.Contains(keyTypes, col.baseType):
			return index{}, refuse(fmt.Sprintf("%s: column %q has type %s, which no key can have", c.origin, name, col.Declared),
				"name a key of "+keyTypeNames+", with a unique index")
		case !col.deterministic:
			return index{}, refuse(fmt.Sprintf("%s: column %q has the nondeterministic collation %s, under which two texts can be one key",
				c.origin, name, col.Collation), "name a key with a deterministic collation")
		}
	}
	if !slices.ContainsFunc(ixs, func(ix index) bool { return ix.identifies(c.columns) }) {
		if nullable := t.nullable(c.columns, ixs); nullable != "" {
			return index{}, refuse(fmt.Sprintf("column %q may be NULL, and a row without a key would be passed over", nullable),
				fmt.Sprintf("run ALTER TABLE %s ALTER COLUMN %s SET NOT NULL, or name another key", t, quote(nullable)))
		}
		return index{}, refuse("no unique index of "+r.String()+" covers it"+faults(ixs, c.columns, true), "run "+createIndex(r, c.columns, t.Partitioned))
	}
	usable := slices.DeleteFunc(slices.Clone(ixs), func(ix index) bool { return ix.fault(c.columns) != "" })
	for _, name := range c.columns {
		if col, _ := t.Column(name); !col.NotNull && !notNullIn(usable, name) {
			return index{}, refuse(fmt.Sprintf("column %q may be NULL, and a row without a key would be passed over", name),
				fmt.Sprintf("run ALTER TABLE %s ALTER COLUMN %s SET NOT NULL, or name another key", t, quote(name)))
		}
	}
	if collations != nil {
		usable = slices.DeleteFunc(usable, func(ix index) bool { return !slices.Equal(ix.collations[:len(c.columns)], collations) })
	}
	if len(usable) == 0 {
		return index{}, refuse("no index of "+r.String()+" can walk it in order"+faults(ixs, c.columns, false), "run "+createIndex(r, c.columns, t.Partitioned))
	}
	native := func(ix index) int { // 0 where the index orders as its columns do
		for j, name := range c.columns {
			if col, _ := t.Column(name); ix.collations[j] != col.Collation {
				return 1
			}
		}
		return 0
	}
	return slices.MinFunc(usable, func(a, b index) int {
		for _, d := range []int{native(a) - native(b), rank(b.primary) - rank(a.primary), rank(b.unique) - rank(a.unique), len(a.columns) - len(b.columns)} {
			if d != 0 {
				return d
			}
		}
		return strings.Compare(a.name, b.name)
	}), nil
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// noUniqueIndex refuses a table on which no key can be found, with the statement to run for the likeliest one.
func (t *Table) noUniqueIndex(r Leaf) error {
	likely := ""
	for _, c := range t.Columns {
		if c.NotNull && slices.Contains(keyTypes, c.baseType) && c.deterministic {
			likely = c.Name
			break
		}
	}
	const why = "has no primary key and no unique index over columns that are NOT NULL, so nothing tells its rows apart"
	if likely == "" {
		return t.refuse(why, "give it a primary key; ALTER TABLE "+r.String()+" ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY rewrites the table")
	}
	return t.refuse(why,
		"if "+quote(likely)+" does, run "+createIndex(r, []string{likely}, t.Partitioned))
}

func createIndex(r Leaf, columns []string, partitioned bool) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = quote(c)
	}
	stmt := fmt.Sprintf("CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s)", r, strings.Join(quoted, ", "))
	if partitioned {
		stmt += " and the same on every other leaf partition that lacks it (CONCURRENTLY does not work on a partitioned table itself)"
	}
	return stmt
}

// grows reports whether the column's default puts new rows above all others: a climbing sequence or the clock. It cannot
// know whether an application writes its own values.
func (t *Table) grows(column string) bool {
	c, _ := t.Column(column)
	clock := []string{"now()", "CURRENT_TIMESTAMP", "transaction_timestamp()", "statement_timestamp()", "clock_timestamp()"}
	return c.sequenceUp || !c.Generated && c.baseType == pgtype.TimestamptzOID && slices.Contains(clock, c.Default)
}

// nullable returns a column for which a unique index of exactly these columns fails to identify rows: it may be NULL.
func (t *Table) nullable(columns []string, ixs []index) string {
	for _, ix := range ixs {
		if !ix.soundlyUnique() || !subset(ix.columns, columns) {
			continue
		}
		for i, name := range ix.columns {
			if !ix.notNull[i] {
				return name
			}
		}
	}
	return ""
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
