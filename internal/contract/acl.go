package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// acl are the privileges on a relation and on its columns, as the catalog holds them, in its order. Roles are known by OID: they may be
// renamed meanwhile.
type acl struct {
	Relation uint32           `json:"relation"`
	Default  bool             `json:"default"` // nobody ever granted anything on it: the owner has all
	Table    []item           `json:"table"`
	Columns  map[int16][]item `json:"columns"`
}

// item is what one role was granted by one other.
type item struct {
	Grantee    uint32   `json:"grantee"` // 0: PUBLIC
	Grantor    uint32   `json:"grantor"`
	Privileges []string `json:"privileges"`          // without grant option
	Grantable  []string `json:"grantable,omitempty"` // with it
}

// reads is the part of an item that lets the grantee SELECT; may is false where there is none.
func (i item) reads() (part item, may bool) {
	part = item{Grantee: i.Grantee, Grantor: i.Grantor}
	switch {
	case slices.Contains(i.Grantable, selects):
		part.Grantable = []string{selects}
	case slices.Contains(i.Privileges, selects):
		part.Privileges = []string{selects}
	default:
		return part, false
	}
	return part, true
}

const aclSQL = `SELECT 0::int2, c.relacl IS NULL, a.ord, e.grantee, e.grantor, e.privilege_type, e.is_grantable
  FROM pg_catalog.pg_class c LEFT JOIN LATERAL unnest(c.relacl) WITH ORDINALITY a(item, ord) ON true
  LEFT JOIN LATERAL pg_catalog.aclexplode(ARRAY[a.item]) e ON true WHERE c.oid = $1
UNION ALL
SELECT t.attnum, false, a.ord, e.grantee, e.grantor, e.privilege_type, e.is_grantable
  FROM pg_catalog.pg_attribute t CROSS JOIN LATERAL unnest(t.attacl) WITH ORDINALITY a(item, ord)
  CROSS JOIN LATERAL pg_catalog.aclexplode(ARRAY[a.item]) e WHERE t.attrelid = $1 AND NOT t.attisdropped
 ORDER BY 1, 3, 6`

// readACL reads the privileges on a relation.
func readACL(ctx context.Context, q Querier, relation uint32) (acl, error) {
	a := acl{Relation: relation, Columns: map[int16][]item{}}
	rows, err := q.Query(ctx, aclSQL, relation)
	if err != nil {
		return a, fmt.Errorf("read the privileges on relation %d: %w", relation, err)
	}
	var number int16
	var none bool
	var ord *int64
	var grantee, grantor *uint32
	var privilege *string
	var grantable *bool
	type place struct {
		number int16
		ord    int64
	}
	var last place
	_, err = pgx.ForEachRow(rows, []any{&number, &none, &ord, &grantee, &grantor, &privilege, &grantable}, func() error {
		a.Default = a.Default || none
		if privilege == nil {
			return nil
		}
		list := a.Table
		if number != 0 {
			list = a.Columns[number]
		}
		if at := (place{number, *ord}); at != last || len(list) == 0 {
			list, last = append(list, item{Grantee: *grantee, Grantor: *grantor}), at
		}
		i := &list[len(list)-1]
		if *grantable {
			i.Grantable = append(i.Grantable, *privilege)
		} else {
			i.Privileges = append(i.Privileges, *privilege)
		}
		if number != 0 {
			a.Columns[number] = list
		} else {
			a.Table = list
		}
		return nil
	})
	if err != nil {
		return a, fmt.Errorf("read the privileges on relation %d: %w", relation, err)
	}
	return a, nil
}

func (a acl) equal(b acl) bool {
	same := func(x, y []item) bool {
		return slices.EqualFunc(x, y, func(i, j item) bool {
			return i.Grantee == j.Grantee && i.Grantor == j.Grantor && slices.Equal(i.Privileges, j.Privileges) && slices.Equal(i.Grantable, j.Grantable)
		})
	}
	if a.Relation != b.Relation || a.Default != b.Default || !same(a.Table, b.Table) || len(a.Columns) != len(b.Columns) {
		return false
	}
	for n, items := range a.Columns {
		if !same(items, b.Columns[n]) {
			return false
		}
	}
	return true
}

// granting is one relation to grant on, with the names that SQL needs.
type granting struct {
	tx      pgx.Tx
	name    string // quoted and qualified
	owner   uint32
	columns map[int16]string // by number, system columns too
	roles   map[uint32]string
	self    string // the present role, to come back to
}

// newGranting reads the names of a relation as they are now.
func newGranting(ctx context.Context, tx pgx.Tx, relation uint32) (*granting, error) {
	g := &granting{tx: tx, columns: map[int16]string{}, roles: map[uint32]string{0: "PUBLIC"}}
	err := tx.QueryRow(ctx, `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), c.relowner, current_user::text
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1`, relation).Scan(&g.name, &g.owner, &g.self)
	if err != nil {
		return nil, fmt.Errorf("read the name of relation %d: %w", relation, err)
	}
	rows, err := tx.Query(ctx, "SELECT attnum, attname::text FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND NOT attisdropped", relation)
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", g.name, err)
	}
	var number int16
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&number, &name}, func() error {
		g.columns[number] = name
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", g.name, err)
	}
	rows, err = tx.Query(ctx, "SELECT oid, rolname::text FROM pg_catalog.pg_roles")
	if err != nil {
		return nil, fmt.Errorf("read the roles: %w", err)
	}
	var oid uint32
	if _, err := pgx.ForEachRow(rows, []any{&oid, &name}, func() error {
		g.roles[oid] = quote(name)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the roles: %w", err)
	}
	return g, nil
}

// grant gives privileges on the relation, or on columns of it, as who gave them first.
func (g *granting) grant(ctx context.Context, i item, columns []string) error {
	for _, part := range []struct {
		privileges []string
		option     string
	}{{i.Privileges, ""}, {i.Grantable, " WITH GRANT OPTION"}} {
		if len(part.privileges) == 0 {
			continue
		}
		if err := g.as(ctx, i.Grantor, "GRANT "+on(part.privileges, columns)+" ON "+g.name+" TO "+g.roles[i.Grantee]+part.option); err != nil {
			return err
		}
	}
	return nil
}

// revoke takes privileges from a role as who gave them: a grant on a column outlives the grantor's own on the table.
func (g *granting) revoke(ctx context.Context, i item, privileges, columns []string) error {
	return g.as(ctx, i.Grantor, "REVOKE "+on(privileges, columns)+" ON "+g.name+" FROM "+g.roles[i.Grantee]+" CASCADE")
}

// on are privileges on columns; without columns, on the table.
func on(privileges, columns []string) string {
	if len(columns) == 0 {
		return strings.Join(privileges, ", ")
	}
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = quote(c)
	}
	parts := make([]string, len(privileges))
	for i, p := range privileges {
		parts[i] = p + " (" + strings.Join(list, ", ") + ")"
	}
	return strings.Join(parts, ", ")
}

// as runs a statement as the role that granted: Postgres records the one who grants, and only that one can take it back.
func (g *granting) as(ctx context.Context, grantor uint32, sql string) error {
	if grantor != g.owner {
		if _, err := g.tx.Exec(ctx, "SET LOCAL ROLE "+g.roles[grantor]); err != nil {
			return fmt.Errorf("act as role %s, which granted on %s: %w", g.roles[grantor], g.name, err)
		}
	}
	if _, err := g.tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	if grantor != g.owner {
		if _, err := g.tx.Exec(ctx, "SET LOCAL ROLE "+quote(g.self)); err != nil {
			return fmt.Errorf("come back from role %s: %w", g.roles[grantor], err)
		}
	}
	return nil
}

// rebuild makes the privileges exactly what they were, in their order: it takes all away and grants all again, which nobody sees before
// the transaction commits.
func (g *granting) rebuild(ctx context.Context, now, was acl) error {
	for _, h := range now.held(g.owner) {
		if err := g.revoke(ctx, h.item, []string{"ALL"}, g.on(h.column)); err != nil {
			return err
		}
	}
	for _, i := range was.Table {
		if err := g.grant(ctx, i, nil); err != nil {
			return err
		}
	}
	for _, n := range sortedNumbers(was.Columns) {
		for _, i := range was.Columns[n] {
			if err := g.grant(ctx, i, []string{g.columns[n]}); err != nil {
				return err
			}
		}
	}
	return nil
}

// on names the column of a grant; nil for the table.
func (g *granting) on(column int16) []string {
	if column == 0 {
		return nil
	}
	return []string{g.columns[column]}
}

// held is one grant: on a column, or on the table (0).
type held struct {
	item
	column int16
}

// held are all grants in the order in which they can be taken back, each by who gave it: those of a grantee before the grantee's own, and
// those on columns, which a grant option on the table may stand behind, before those on the table.
func (a acl) held(owner uint32) (all []held) {
	for _, n := range sortedNumbers(a.Columns) {
		for _, i := range a.Columns[n] {
			all = append(all, held{i, n})
		}
	}
	for _, i := range a.Table {
		all = append(all, held{i, 0})
	}
	far := map[uint32]int{owner: 0} // steps from the owner
	for range all {
		for _, h := range all {
			if d, known := far[h.Grantor]; known {
				if have, there := far[h.Grantee]; !there || d+1 < have {
					far[h.Grantee] = d + 1
				}
			}
		}
	}
	slices.SortStableFunc(all, func(x, y held) int { return far[y.Grantor] - far[x.Grantor] })
	return all
}

func sortedNumbers(m map[int16][]item) (numbers []int16) {
	for n := range m {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers
}
