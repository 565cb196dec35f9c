package fleet

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

func TestTablesOfEverySize(t *testing.T) {
	f := stage(t,
		"create table nobody (id bigint primary key, v text)",
		"create table alone (id bigint primary key, v text)",
		"insert into alone values (7)",
		"create table over (id bigint primary key, v text)",
		"insert into over select i, 'x' from generate_series(1, 500) i",
		"analyze")
	jobs := map[string]job.Job{}
	for _, table := range []string{"nobody", "alone", "over"} {
		jobs[table] = f.submit("name: " + table + "\ntable: " + table + "\nset: {v: \"'x'\"}\nwhere: v is null\nrows_per_range: 100")
	}
	f.start()
	for table, rows := range map[string]int64{"nobody": 0, "alone": 1, "over": 0} {
		r := f.completes(jobs[table])
		require.Equal(t, rows, r.Rows, table)
		require.Zero(t, *r.Residual)
		require.Len(t, r.Coverage, 1)
	}
	require.Zero(t, f.number("select count(*) from alone where v is distinct from 'x'"))
	require.Zero(t, f.number("select count(*) from over where xmin <> (select xmin from over limit 1)"), "what is done is not written")
}

// Identifiers are quoted everywhere.
func TestWeirdNames(t *testing.T) {
	f := started(t,
		`create schema "s.p;"`,
		`create table "s.p;"."we""ird; drop table x" ("select" int primary key, "a""b" text, "$1" int not null default 0)`,
		`insert into "s.p;"."we""ird; drop table x" select i, 'V' || i from generate_series(1, 300) i`,
		`analyze "s.p;"."we""ird; drop table x"`)
	f.completes(f.submit(`
name: weird
table: '"s.p;"."we""ird; drop table x"'
set: {'a"b': 'lower(/* a comment */ "a""b")', $1: '"we""ird; drop table x"."$1" + 1'}
where: '"we""ird; drop table x"."a""b" <> lower("a""b")'
check: '"$1" = 1'
key: [select]
rows_per_range: 40`))
	require.Zero(t, f.number(`select count(*) from "s.p;"."we""ird; drop table x" where "a""b" <> 'v' || "select" or "$1" <> 1`))
}

const partitionedSpec = `
name: parts
table: t
set: {n: n + 1}
check: n = 1
key: [id]
late_rows: ignore
rows_per_range: 100
`

// partitions makes a table of three leaves with 1000 rows each; one lies in another schema, under a middle level.
func partitions(more ...string) []string {
	return append([]string{
		"create schema cold",
		"create table t (id bigint, region text, n int not null default 0, primary key (id, region)) partition by list (region)",
		"create table t_a partition of t for values in ('a')",
		"create table t_b partition of t for values in ('b')",
		"create table t_c partition of t for values in ('c') partition by range (id)",
		"create table cold.t_c partition of t_c default",
		"create unique index on t_a (id)", "create unique index on t_b (id)", "create unique index on cold.t_c (id)",
		"insert into t select i, r from generate_series(1, 1000) i, unnest(array['a', 'b', 'c']) r",
		"analyze t",
	}, more...)
}

func TestAPartitionedTableHasRangesPerLeaf(t *testing.T) {
	f := started(t, partitions()...)
	r := f.completes(f.submit(partitionedSpec))
	require.Len(t, r.Coverage, 3)
	for _, c := range r.Coverage {
		require.Equal(t, 10, c.Ranges, c.Relation)
	}
	require.Equal(t, int64(3000), r.Rows)
	f.once()
}

// A leaf that is dropped in mid-run ends `dropped`; one that is attached in mid-run is planned before verification.
func TestLeavesComeAndGoInMidRun(t *testing.T) {
	f := started(t, partitions()...)
	keepA := f.lock("select from t_a where id = 1000 for update")
	dropB, err := f.admin.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = dropB.Rollback(t.Context()) }()
	_, err = dropB.Exec(t.Context(), "select from t_b where id = 500 for update")
	require.NoError(t, err)

	j := f.submit(partitionedSpec)
	f.until("only the locked ranges are left", func() bool { return f.done(j) == 28 })
	_, err = dropB.Exec(t.Context(), "drop table t_b")
	require.NoError(t, err)
	require.NoError(t, dropB.Commit(t.Context()))
	f.until("the open range of the dropped leaf is dropped", func() bool {
		return f.number("select count(*) from backfleet.ranges where job_id = $1 and state = 'dropped'", j.ID) == 1
	})
	f.exec("create table t_d partition of t for values in ('d')")
	f.exec("create unique index on t_d (id)")
	f.exec("insert into t select i, 'd' from generate_series(1, 250) i")
	keepA()

	r := f.completes(j)
	require.Equal(t, []string{`"public"."t_b"`}, r.Dropped)
	var relations []string
	for _, c := range r.Coverage {
		relations = append(relations, c.Relation)
	}
	require.ElementsMatch(t, []string{`"public"."t_a"`, `"cold"."t_c"`, `"public"."t_d"`}, relations)
	require.Equal(t, 2250, f.number("select count(*) from t"))
	f.once()
}

// A leaf that is attached while the job is verified is planned and done, and the whole is proved anew.
func TestALeafThatComesDuringTheVerificationIsDone(t *testing.T) {
	f := started(t, partitions("create function slow(n int) returns bool language plpgsql as $$begin"+
		" if exists (select from pg_locks where locktype = 'advisory' and objid = 4711"+
		" and database = (select oid from pg_database where datname = current_database())) then perform pg_sleep(0.1); end if; return n = 1; end$$")...)
	hold := f.lock("select pg_advisory_xact_lock(4711)") // each row's check takes its time: the round is under way
	j := f.submit(strings.Replace(partitionedSpec, "check: n = 1", "check: slow(n)", 1))
	f.reaches(j, job.Verifying)
	f.exec("create table t_d partition of t for values in ('d')")
	f.exec("create unique index on t_d (id)")
	f.exec("insert into t select i, 'd' from generate_series(1, 250) i")
	require.Equal(t, job.Verifying, f.status(j).State)
	hold()

	r := f.completes(j)
	require.Len(t, r.Coverage, 4)
	require.Equal(t, int64(3250), r.Rows)
	require.Equal(t, 1, r.Rounds)
	require.Equal(t, 4, f.number("select count(*) from backfleet.ranges where job_id = $1 and kind = 'verify'", j.ID), "the blocks of each leaf")
	f.once()
}

// A leaf that is detached and attached again in mid-run goes on from its checkpoints.
func TestALeafThatComesBackIsFinished(t *testing.T) {
	f := started(t, partitions()...)
	keepA := f.lock("select from t_a where id = 1000 for update")
	detachB, err := f.admin.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = detachB.Rollback(t.Context()) }()
	_, err = detachB.Exec(t.Context(), "select from t_b where id = 500 for update")
	require.NoError(t, err)

	j := f.submit(partitionedSpec)
	f.until("only the locked ranges are left", func() bool { return f.done(j) == 28 })
	_, err = detachB.Exec(t.Context(), "alter table t detach partition t_b")
	require.NoError(t, err)
	require.NoError(t, detachB.Commit(t.Context()))
	f.until("the ledger knows that it is gone", func() bool {
		return f.number("select count(*) from backfleet.relations where job_id = $1 and dropped", j.ID) == 1
	})
	f.exec("alter table t attach partition t_b for values in ('b')")
	keepA()
	r := f.completes(j)
	require.Empty(t, r.Dropped)
	require.Len(t, r.Coverage, 3)
	require.Equal(t, 3000, f.number("select count(*) from t"))
	f.once()
}
