package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
)

const selects = "SELECT"

// revoke takes SELECT of the target from all but the owner, in the table and in all that inherit from it.
func (p Plan) revoke(ctx context.Context, tx pgx.Tx, rs []relation) (changes []change, notes []string, err error) {
	var refused job.Refusals
	grantees := map[uint32]bool{}
	for _, r := range rs {
		was, err := readACL(ctx, tx, r.oid)
		if err != nil {
			return nil, nil, err
		}
		g, err := newGranting(ctx, tx, r.oid)
		if err != nil {
			return nil, nil, err
		}
		found := p.Target.holders(was, r)
		if len(found) == 0 {
			continue
		}
		unable, err := g.unable(ctx, was)
		if err != nil {
			return nil, nil, err
		}
		refused = append(refused, unable...)
		if len(refused) > 0 {
			continue
		}
		for _, role := range found {
			grantees[role] = true
		}
		c, err := p.Target.prove(ctx, tx, r, g, was)
		if err != nil {
			return nil, nil, err
		}
		changes = append(changes, c)
	}
	if len(refused) > 0 {
		return nil, nil, refused
	}
	if len(changes) == 0 {
		return nil, nil, job.Refusals{{Field: "rehearsal", Value: string(Revoke), Why: "nobody but the owner may read " + p.Target.String() + ", so nobody would notice", Fix: "rehearse by rename"}}
	}
	blind, err := p.blind(ctx, tx, rs, grantees)
	if err != nil {
		return nil, nil, err
	}
	if len(blind) > 0 {
		return nil, nil, blind
	}
	return changes, revokeNotes, nil
}

var revokeNotes = []string{
	"owners, superusers, members of pg_read_all_data, and views and SECURITY DEFINER functions that these own read on as before",
	"what asks for the whole table fails with it, though the drop would not break it: SELECT *, whole rows, COPY of the table, LOCK TABLE, and so pg_dump of a role that lives by a grant",
	"who gets SELECT of the table while it lasts has it until the undo and after",
	"columns that are added while it lasts can be read after the undo only",
}

// holders are the roles but the owner that may read the target by a grant.
func (t Target) holders(a acl, r relation) (roles []uint32) {
	add := func(items []item) {
		for _, i := range items {
			if _, yes := i.reads(); yes && i.Grantee != r.owner && !slices.Contains(roles, i.Grantee) {
				roles = append(roles, i.Grantee)
			}
		}
	}
	add(a.Table)
	for n, items := range a.Columns {
		if t.whole() || slices.Contains(r.numbers, n) {
			add(items)
		}
	}
	return roles
}

// prove takes SELECT away, brings it back, sees that all is as it was, and takes it away again: what cannot be undone exactly is not done.
func (t Target) prove(ctx context.Context, tx pgx.Tx, r relation, g *granting, was acl) (change, error) {
	if err := t.take(ctx, g, was, r); err != nil {
		return change{}, err
	}
	during, err := readACL(ctx, tx, r.oid)
	if err != nil {
		return change{}, err
	}
	if err := g.rebuild(ctx, during, was); err != nil {
		return change{}, err
	}
	again, err := readACL(ctx, tx, r.oid)
	if err != nil {
		return change{}, err
	}
	if !again.equal(was) {
		return change{}, job.Refusals{{Field: "rehearsal", Value: r.String(), Why: "its privileges could not be brought back exactly", Fix: "rehearse by rename"}}
	}
	if err := t.take(ctx, g, was, r); err != nil {
		return change{}, err
	}
	during, err = readACL(ctx, tx, r.oid)
	return change{Was: was, During: during}, err
}

// take revokes SELECT of the target from all but the owner, and gives each what it had of the other columns.
func (t Target) take(ctx context.Context, g *granting, was acl, r relation) error {
	var others []string
	for n, name := range g.columns {
		if !t.whole() && !slices.Contains(r.numbers, n) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	read := func(i item) (item, bool) {
		only, yes := i.reads()
		return only, yes && i.Grantee != g.owner
	}
	for _, h := range was.held(g.owner) {
		only, yes := read(h.item)
		if yes && (h.column == 0 || t.whole() || slices.Contains(r.numbers, h.column)) {
			if err := g.revoke(ctx, only, []string{selects}, g.on(h.column)); err != nil {
				return err
			}
		}
	}
	if len(others) == 0 {
		return nil
	}
	for _, i := range was.Table {
		if only, yes := read(i); yes {
			if err := g.grant(ctx, only, others); err != nil {
				return err
			}
		}
	}
	for _, n := range sortedNumbers(was.Columns) { // a revoke from the table took these as well
		for _, i := range was.Columns[n] {
			if only, yes := read(i); yes && !slices.Contains(r.numbers, n) {
				if err := g.grant(ctx, only, []string{g.columns[n]}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// unable refuses grants of roles in whose name this session cannot act: it could take them, and not bring them back.
func (g *granting) unable(ctx context.Context, a acl) (rs job.Refusals, err error) {
	var grantors []uint32
	add := func(items []item) {
		for _, i := range items {
			if i.Grantor != g.owner && !slices.Contains(grantors, i.Grantor) {
				grantors = append(grantors, i.Grantor)
			}
		}
	}
	add(a.Table)
	for _, n := range sortedNumbers(a.Columns) {
		add(a.Columns[n])
	}
	how := "MEMBER"
	if v, err := version(ctx, g.tx); err != nil {
		return nil, err
	} else if v >= 160000 {
		how = "SET"
	}
	for _, role := range grantors {
		var may bool
		if err := g.tx.QueryRow(ctx, "SELECT pg_catalog.pg_has_role(session_user, $1::oid, $2)", role, how).Scan(&may); err != nil {
			return nil, fmt.Errorf("read who may act as %s: %w", g.roles[role], err)
		}
		if !may {
			rs = append(rs, job.Refusal{Field: "rehearsal", Value: g.name, Why: "role " + g.roles[role] + " granted privileges on it, in whose name this session cannot bring them back",
				Fix: "GRANT " + g.roles[role] + " TO " + quote(g.self) + " for the time, or rehearse by rename"})
		}
	}
	return rs, nil
}

const blindSQL = `SELECT r.oid, r.rolname::text,
       CASE WHEN r.rolsuper THEN 'is a superuser' WHEN r.oid = $1 THEN 'owns the table'
            WHEN pg_catalog.pg_has_role(r.oid, $1::oid, 'USAGE') THEN 'is a member of the table''s owner' ELSE 'may read all data (pg_read_all_data)' END,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity s WHERE s.usesysid = r.oid AND s.datname = current_database() AND s.pid <> pg_backend_pid()
           AND coalesce(s.backend_type, 'client backend') = 'client backend' AND coalesce(s.application_name, '') NOT LIKE 'backfleet%')
  FROM pg_catalog.pg_roles r
 WHERE r.rolname NOT LIKE 'pg\_%' AND (r.rolsuper OR pg_catalog.pg_has_role(r.oid, $1::oid, 'USAGE') OR pg_catalog.pg_has_role(r.oid, 'pg_read_all_data', 'USAGE'))
 ORDER BY 2`

// blind refuses a revoke that roles in use would not notice: those that were granted SELECT, that are connected now, or whose statements
// pg_stat_statements remembers to read the target.
func (p Plan) blind(ctx context.Context, tx pgx.Tx, rs []relation, grantees map[uint32]bool) (refused job.Refusals, err error) {
	readers, err := Readers(ctx, tx, p.Target)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, blindSQL, rs[0].owner)
	if err != nil {
		return nil, fmt.Errorf("read the roles that would not notice: %w", err)
	}
	var oid uint32
	var name, why string
	var connected int
	_, err = pgx.ForEachRow(rows, []any{&oid, &name, &why, &connected}, func() error {
		if slices.Contains(p.Accept, name) {
			return nil
		}
		var use string
		switch {
		case grantees[oid]:
			use = "was granted SELECT"
		case connected > 0:
			use = fmt.Sprintf("is connected (%d sessions)", connected)
		case slices.ContainsFunc(readers, func(r Reader) bool { return r.Kind == Statement && strings.HasPrefix(r.Object, name+": ") }):
			use = "has read it before, as pg_stat_statements remembers"
		default:
			return nil
		}
		refused = append(refused, job.Refusal{Field: "rehearsal", Value: name, Why: why + " and would not notice, but " + use,
			Fix: "rehearse by rename, let its programs use a role of their own, or accept it by name if they do not read the table"})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the roles that would not notice: %w", err)
	}
	return refused, nil
}

// back brings the privileges back: exactly, if nobody has changed them meanwhile.
func (c change) back(ctx context.Context, tx pgx.Tx) (exact bool, err error) {
	now, err := readACL(ctx, tx, c.Was.Relation)
	if err != nil {
		return false, err
	}
	var there bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE oid = $1)", c.Was.Relation).Scan(&there); err != nil {
		return false, fmt.Errorf("look for relation %d: %w", c.Was.Relation, err)
	}
	if !there {
		return false, nil // a partition that was dropped meanwhile
	}
	g, err := newGranting(ctx, tx, c.Was.Relation)
	if err != nil {
		return false, err
	}
	if now.equal(c.During) {
		try, err := tx.Begin(ctx) // a savepoint
		if err != nil {
			return false, fmt.Errorf("set a savepoint: %w", err)
		}
		again := acl{}
		if err = g.rebuild(ctx, now, c.Was); err == nil {
			again, err = readACL(ctx, tx, c.Was.Relation)
		}
		if err == nil && again.equal(c.Was) {
			return true, wrapf(try.Commit(ctx), "release the savepoint")
		}
		if err := try.Rollback(ctx); err != nil {
			return false, fmt.Errorf("go back to the savepoint: %w", err)
		}
	}
	return false, c.onTop(ctx, g)
}

// onTop gives back what the rehearsal took and takes what it gave, and leaves what others have changed.
func (c change) onTop(ctx context.Context, g *granting) error {
	known := func(i item) bool { return g.roles[i.Grantee] != "" && g.roles[i.Grantor] != "" }
	only := func(i item) (item, bool) {
		s, yes := i.reads()
		return s, yes && known(i) && i.Grantee != g.owner
	}
	for _, i := range c.Was.Table {
		if s, yes := only(i); yes {
			if err := g.grant(ctx, s, nil); err != nil {
				return err
			}
		}
	}
	had := func(n int16, grantee, grantor uint32) bool {
		return slices.ContainsFunc(c.Was.Columns[n], func(i item) bool {
			_, yes := i.reads()
			return yes && i.Grantee == grantee && i.Grantor == grantor
		})
	}
	for _, n := range sortedNumbers(c.Was.Columns) {
		for _, i := range c.Was.Columns[n] {
			if s, yes := only(i); yes && g.columns[n] != "" {
				if err := g.grant(ctx, s, []string{g.columns[n]}); err != nil {
					return err
				}
			}
		}
	}
	for _, n := range sortedNumbers(c.During.Columns) {
		for _, i := range c.During.Columns[n] {
			if s, yes := only(i); yes && g.columns[n] != "" && !had(n, i.Grantee, i.Grantor) {
				if err := g.revoke(ctx, s, []string{selects}, []string{g.columns[n]}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
