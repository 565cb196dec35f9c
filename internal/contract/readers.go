package contract

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Readers finds who reads the target: what Postgres' catalog knows, functions and scheduled jobs whose text names it, the statements that
// pg_stat_statements remembers, and the sessions of now. It takes no lock that anybody waits for. What no database can tell, [Unseen] says.
// Those for which a drop must wait come first.
//
// Of the target itself it tells nothing: its type, its NOT NULL and its default are part of it.
func Readers(ctx context.Context, q Querier, t Target) ([]Reader, error) {
	rs, err := t.find(ctx, q)
	if err != nil {
		return nil, err
	}
	all, err := t.dependents(ctx, q, rs)
	if err != nil {
		return nil, err
	}
	names := t.words(rs, all)
	for _, look := range []func(context.Context, Querier, []relation, words) ([]Reader, error){
		t.wholeRows, t.functions, t.publications, t.grants, t.sessions, t.cronJobs, t.statements,
	} {
		more, err := look(ctx, q, rs, names)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	sortReaders(all)
	return all, nil
}

// Unseen says what [Readers] could not look at on this database, beside what no database can tell.
func Unseen(ctx context.Context, q Querier) ([]string, error) {
	list := []string{
		"code outside the database: search the applications' repositories, their ORM models and their reports for the names",
		"what was prepared in other sessions, and cursors: pg_prepared_statements shows a session its own only",
		"foreign tables of other databases that read this one while they are not connected",
		"subscribers and consumers of change data: what they do with a column is not known here",
		"statements that ran on standbys: look at pg_stat_statements there",
	}
	schema, err := extension(ctx, q, "pg_stat_statements")
	if err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, `SELECT pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
		'pg_stat_statements' = ANY (pg_catalog.regexp_split_to_array(current_setting('shared_preload_libraries'), '\s*,\s*'))`)
	if err != nil {
		return nil, fmt.Errorf("read what may be seen: %w", err)
	}
	var stats, loaded bool
	if _, err := pgx.ForEachRow(rows, []any{&stats, &loaded}, func() error { return nil }); err != nil {
		return nil, fmt.Errorf("read what may be seen: %w", err)
	}
	switch {
	case schema == "" || !loaded:
		list = append(list, "past statements: pg_stat_statements is not there; load it (shared_preload_libraries) and CREATE EXTENSION pg_stat_statements")
	case !stats:
		list = append(list, "past and present statements of other roles: GRANT pg_monitor to this role")
	}
	return list, nil
}

// extension is the schema in which an extension is; empty where it is not.
func extension(ctx context.Context, q Querier, name string) (string, error) {
	rows, err := q.Query(ctx, "SELECT n.nspname::text FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1", name)
	if err != nil {
		return "", fmt.Errorf("look for extension %s: %w", name, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0], nil
}

// arrays are the relations and, for each of the target's columns in each of them, the pair of relation and number. The whole table is
// number 0 of the table, on which its partitions and children depend.
func (t Target) arrays(rs []relation) (relations, pairs []uint32, numbers []int32) {
	for _, r := range rs {
		relations = append(relations, r.oid)
		for _, n := range r.numbers {
			pairs, numbers = append(pairs, r.oid), append(numbers, int32(n))
		}
	}
	if t.whole() {
		pairs, numbers = []uint32{rs[0].oid}, []int32{0}
	}
	return relations, pairs, numbers
}

// dependents are what Postgres itself knows to depend on the target, and what else makes it refuse the drop.
func (t Target) dependents(ctx context.Context, q Querier, rs []relation) ([]Reader, error) {
	_, pairs, numbers := t.arrays(rs)
	rows, err := q.Query(ctx, dependentsSQL, pairs, numbers)
	if err != nil {
		return nil, fmt.Errorf("read what depends on %s: %w", t, err)
	}
	var all []Reader
	var kind, object string
	var blocks, shared bool
	if _, err := pgx.ForEachRow(rows, []any{&kind, &object, &blocks, &shared}, func() error {
		r := Reader{Kind: Kind(kind), Object: object, Certainty: Sure, AtDrop: Goes, Shared: shared || kind == string(Generated)}
		if blocks {
			r.AtDrop = Blocks
		}
		r.Why, r.Fix = told(r.Kind, r.AtDrop, r.Shared)
		all = append(all, r)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read what depends on %s: %w", t, err)
	}
	return append(all, t.structure(rs)...), nil
}

// structure is what of the table's own make-up stands in the way.
func (t Target) structure(rs []relation) (all []Reader) {
	add := func(kind Kind, object, why, fix string) {
		all = append(all, Reader{Kind: kind, Object: object, Certainty: Sure, AtDrop: Blocks, Why: why, Fix: fix})
	}
	if t.whole() {
		if rs[0].parent != "" && rs[0].kind == "r" {
			add(Inheritance, rs[0].parent, "the table is part of it, and its rows are read through it", "detach it first")
		}
		return all
	}
	if len(rs[0].inherited) > 0 {
		add(Inheritance, rs[0].parent, "the column is inherited from it", "drop the column there")
	}
	if rs[0].typed {
		add(RowType, rs[0].String(), "the table is made of a type, whose columns are its own", "drop the attribute of the type: ALTER TYPE ... DROP ATTRIBUTE ... CASCADE")
	}
	for _, r := range rs {
		if r.partKey != "" && slices.ContainsFunc(t.Columns, func(c string) bool { return named(r.partKey, c) }) {
			add(PartitionKey, r.String(), "rows are put into partitions by it", "no fix: move the rows to a table with another partition key")
		}
	}
	return all
}

// wholeRows are views that take the table's rows as values, of which Postgres does not know which columns they need.
func (t Target) wholeRows(ctx context.Context, q Querier, rs []relation, _ words) ([]Reader, error) {
	if t.whole() {
		return nil, nil // the catalog knows them all
	}
	_, pairs, numbers := t.arrays(rs)
	rows, err := q.Query(ctx, wholeRowsSQL, pairs, numbers)
	if err != nil {
		return nil, fmt.Errorf("read the views of %s: %w", t.relation(), err)
	}
	var all []Reader
	var name, definition, object string
	var materialized bool
	_, err = pgx.ForEachRow(rows, []any{&name, &definition, &object, &materialized}, func() error {
		if strings.Contains(definition, ".*") {
			kind := View
			if materialized {
				kind = Materialized
			}
			all = append(all, Reader{Kind: kind, Object: object, Certainty: Maybe, AtDrop: Breaks, Why: "takes a whole row as a value, which has one field less afterwards",
				Fix: "look whether somebody needs that field of it"})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the views of %s: %w", t.relation(), err)
	}
	return all, nil
}

// publications send the target to who knows whom.
func (t Target) publications(ctx context.Context, q Querier, rs []relation, _ words) ([]Reader, error) {
	relations, _, _ := t.arrays(rs)
	columns := t.Columns
	if columns == nil {
		columns = []string{}
	}
	rows, err := q.Query(ctx, publicationsSQL, relations, columns)
	if err != nil {
		return nil, fmt.Errorf("read the publications of %s: %w", t.relation(), err)
	}
	var all []Reader
	var name string
	var slots int
	if _, err := pgx.ForEachRow(rows, []any{&name, &slots}, func() error {
		all = append(all, Reader{Kind: Publication, Object: quote(name), Certainty: Maybe, AtDrop: Breaks,
			Why: fmt.Sprintf("sends it to its subscribers (%d logical slots here), who get nothing of it from then on", slots),
			Fix: "ask who subscribes whether they need it"})
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the publications of %s: %w", t.relation(), err)
	}
	return all, nil
}

// grants on the columns themselves tell who was meant to read them.
func (t Target) grants(ctx context.Context, q Querier, rs []relation, _ words) ([]Reader, error) {
	_, pairs, numbers := t.arrays(rs)
	rows, err := q.Query(ctx, grantsSQL, pairs, numbers)
	if err != nil {
		return nil, fmt.Errorf("read the grants on %s: %w", t, err)
	}
	var all []Reader
	var table, column, role, privileges string
	if _, err := pgx.ForEachRow(rows, []any{&table, &column, &role, &privileges}, func() error {
		all = append(all, Reader{Kind: Grant, Object: role + " on " + table + "." + quote(column), Certainty: Sure, AtDrop: Goes,
			Why: "was granted " + privileges + " on this very column", Fix: "ask who uses that role"})
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the grants on %s: %w", t, err)
	}
	return all, nil
}
