package preflight_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
)

const insertMails = "INSERT INTO mails (person, email) SELECT u.id, lower(u.w) FROM t u WHERE {{range}} FOR NO KEY UPDATE OF u ON CONFLICT (person) DO NOTHING"

// worded is a job with a statement over table t, called u in it.
func worded(statement string, change func(*job.Spec)) job.Spec {
	s := job.Spec{Name: "fill", Database: "main", Table: "t", Alias: "u", Statement: statement}
	s.OnError.QuarantineRows = 100
	if change != nil {
		change(&s)
	}
	return s
}

// mailed has table t, and tables that a statement may write.
func mailed(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := harness.Database(t).Pool
	exec(t, pool, plain, "CREATE TABLE mails (person bigint PRIMARY KEY, email text, n int NOT NULL DEFAULT 0)",
		"CREATE TABLE countries (code text, name text)", "INSERT INTO countries SELECT 'c' || i, 'C' FROM generate_series(1, 30000) i", "ANALYZE",
		"CREATE VIEW seen AS SELECT * FROM t")
	if _, _, err := store.New(pool, "main").Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return pool
}

func TestAStatementIsPlanned(t *testing.T) {
	pool := mailed(t)
	exec(t, pool, "ALTER TABLE mails ADD FOREIGN KEY (person) REFERENCES t",
		"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
		"CREATE TRIGGER note AFTER INSERT ON mails FOR EACH ROW EXECUTE FUNCTION note()",
		"CREATE TRIGGER unheard AFTER DELETE ON mails FOR EACH ROW EXECUTE FUNCTION note()",
		"CREATE TRIGGER elsewhere AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note()")
	p := forecast(t, pool, worded(insertMails, func(s *job.Spec) {
		s.Where, s.RowsPerRange = "NOT EXISTS (SELECT FROM mails m WHERE m.person = u.id)", 1000
	}))
	switch e := p.Statement; {
	case e == nil, e.Kind != "insert", !e.Locks, len(e.Writes) != 1, e.Writes[0].Relation != `"public"."mails"`, e.Writes[0].OnConflict != "nothing":
		t.Errorf("%+v", e)
	case len(e.Reads) != 1, e.Reads[0] != (preflight.Read{Relation: `"public"."t"`, Locked: true}):
		t.Errorf("reads %+v", e.Reads)
	case p.Index != "t_pkey", !p.Idempotent, p.HOT.Passes != 1, p.Rows != 3000, p.Ranges != 3:
		t.Errorf("%+v", p)
	case len(p.Triggers) != 1, p.Triggers[0].Name != "note", len(p.ForeignKeys) != 1, p.ForeignKeys[0].Incoming:
		t.Errorf("triggers %+v, foreign keys %+v", p.Triggers, p.ForeignKeys)
	case p.Forecast == nil, p.Forecast.Sample.Rows != p.Forecast.Sample.Keys, p.Forecast.Rows.Low < 2500, p.Forecast.Rows.High > 3500:
		t.Errorf("forecast %+v", p.Forecast)
	}
	for _, f := range p.Warnings {
		if f.Subject == "race" || f.Severity == preflight.Danger {
			t.Errorf("%+v", f)
		}
	}
	if n := number(t, pool, "SELECT count(*) FROM mails"); n != 0 {
		t.Errorf("the samples left %d rows", n)
	}
	var text strings.Builder
	if err := p.Render(&text, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"INSERT INTO mails (person, email)", `"public"."mails", insert, on conflict do nothing`, `"public"."t", its rows locked`,
		"doing a row again would change nothing", "3 ranges, 1 table to write", "is given to the statement exactly once"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, text.String())
		}
	}
}

// What the server alone can see of a statement. What can be seen without it is in internal/job.
func TestStatementsThatAreRefused(t *testing.T) {
	pool := mailed(t)
	for name, c := range map[string]struct {
		statement string
		change    func(*job.Spec)
		want      string
	}{
		"unknown table":     {"INSERT INTO mial SELECT u.id FROM t u WHERE {{range}}", nil, `statement: does not prepare: relation "mial" does not exist; try it in psql`},
		"no SQL":            {"DELETE FROM t u WHER {{range}}", nil, `statement: does not prepare: syntax error at or near "WHER"`},
		"no condition":      {"INSERT INTO mails (person) SELECT u.id FROM t u ORDER BY ({{range}} IS NULL)", nil, `statement: may write rows also where {{range}} is false`},
		"a choice":          {"DELETE FROM t u WHERE {{range}} OR w IS NULL", nil, `statement: may write rows also where {{range}} is false`},
		"the others":        {"DELETE FROM t u WHERE NOT {{range}}", nil, `statement: may write rows also where {{range}} is false`},
		"an outer join":     {"INSERT INTO mails (person) SELECT c.ctid IS NULL FROM countries c LEFT JOIN t u ON u.v = c.code AND {{range}}", nil, `statement: does not prepare`},
		"the outer side":    {"INSERT INTO mails (email) SELECT c.code FROM countries c LEFT JOIN t u ON u.v = c.code AND {{range}}", nil, `statement: may write rows also where {{range}} is false`},
		"a second write":    {"WITH all_gone AS (DELETE FROM countries) DELETE FROM t u WHERE {{range}}", nil, `statement: may write rows also where {{range}} is false`},
		"no place for it":   {"INSERT INTO mails (person) SELECT u.id FROM t u WHERE {{range}} LIMIT 1 + {{range}}", nil, `statement: holds {{range}} 2 times`},
		"not a condition":   {"UPDATE t u SET w = 'x' WHERE n = {{range}}", nil, `statement: does not prepare: operator does not exist: integer = boolean`},
		"another scope":     {"INSERT INTO mails (person) SELECT s.id FROM (SELECT id FROM t u) s WHERE {{range}}", nil, `alias: "u" does not prepare in the statement: missing FROM-clause entry for table "u"; {{range}} must stand where the columns of alias u may be named`},
		"a WITH that reads": {"WITH gone AS (DELETE FROM t u WHERE {{range}} RETURNING id) SELECT count(*) FROM gone", nil, `statement: returns rows and writes nothing by its last part; let it end in an INSERT`},
		"key":               {"UPDATE t u SET w = 'x', id = id + 1 WHERE {{range}}", nil, `statement: "id" is set, and is a column of the key`},
		"key in a list":     {"UPDATE t u SET (w, id) = (SELECT 'x', 1) WHERE {{range}}", nil, `statement: "id" is set, and is a column of the key`},
		"key by MERGE":      {"MERGE INTO t u USING mails m ON m.person = u.id AND {{range}} WHEN MATCHED THEN UPDATE SET id = 5", nil, `statement: "id" is set`},
		"the ledger":        {"DELETE FROM backfleet.jobs j USING t u WHERE j.revision = u.id AND {{range}}", nil, `statement: names "backfleet"."jobs" of the ledger`},
		"reads the ledger":  {"DELETE FROM t u USING backfleet.jobs j WHERE j.revision = u.id AND {{range}}", nil, `statement: names "backfleet"."jobs" of the ledger`},
		"ambiguous where": {"UPDATE mails m SET email = u.w FROM t u WHERE m.person = u.id AND {{range}}", func(s *job.Spec) { s.Where = "n = 0" },
			`where: "n = 0" does not prepare in the statement: column reference "n" is ambiguous; write its columns with the alias before them`},
		"where of another": {insertMails, func(s *job.Spec) { s.Where = "person IS NULL" }, `where: "person IS NULL" does not prepare: column "person" does not exist`},
		"a view":           {"INSERT INTO mails (person) SELECT u.id FROM seen u WHERE {{range}}", nil, `alias: "u" is not public.t in the statement`},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(c.statement, "MERGE") && number(t, pool, "SELECT current_setting('server_version_num')::int") < 150000 {
				c.want = "statement: does not prepare: syntax error at or near \"MERGE\"; MERGE needs PostgreSQL 15"
			}
			refused(t, pool, worded(c.statement, c.change), c.want)
		})
	}
}

func TestARoleThatMayNotWriteIsRefused(t *testing.T) {
	d := harness.Database(t)
	role := "clerk_" + strconv.Itoa(int(time.Now().UnixNano()%1e9))
	exec(t, d.Pool, plain, "CREATE TABLE mails (person bigint PRIMARY KEY, email text)", "CREATE ROLE "+role+" LOGIN", "GRANT pg_monitor TO "+role)
	t.Cleanup(func() { exec(t, d.Pool, "DROP OWNED BY "+role, "DROP ROLE "+role) })
	pool := as(t, d, role)
	refused(t, pool, worded(insertMails, nil), fmt.Sprintf(`run GRANT SELECT ON "public"."t" TO %q`, role))
	exec(t, d.Pool, "GRANT SELECT ON t TO "+role)
	refused(t, pool, worded(insertMails, nil), "statement: cannot run: permission denied for table ")
	exec(t, d.Pool, "GRANT INSERT, SELECT ON mails TO "+role)
	refused(t, pool, worded(insertMails, nil), "statement: cannot run: permission denied for table t; grant that to role "+role)
	exec(t, d.Pool, "GRANT UPDATE (n) ON t TO "+role) // one column is enough to lock a row
	check(t, pool, worded(insertMails, nil))
}

func TestWarningsOfStatements(t *testing.T) {
	pool := mailed(t)
	const update = "UPDATE mails m SET email = s.w FROM (SELECT id, w FROM t u WHERE {{range}} FOR SHARE) s WHERE s.id = m.person"
	for name, c := range map[string]struct {
		statement  string
		severity   preflight.Severity
		subject    string
		want       string
		idempotent bool
	}{
		"not locked":     {"INSERT INTO mails (person) SELECT u.id FROM t u WHERE {{range}} ON CONFLICT DO NOTHING", preflight.Warning, "race", `rows of "public"."t" are read without a lock`, true},
		"weakly locked":  {"INSERT INTO mails (person) SELECT u.id FROM t u WHERE {{range}} FOR KEY SHARE", preflight.Warning, "race", `rows of "public"."t" are read without a lock`, false},
		"update from":    {"UPDATE mails m SET email = u.w FROM t u WHERE u.id = m.person AND {{range}}", preflight.Warning, "race", `rows of "public"."t" are read without a lock`, false},
		"another, read":  {"UPDATE t u SET w = c.name FROM countries c WHERE c.code = u.v AND {{range}}", preflight.Note, "race", `rows of "public"."countries" are read without a lock`, false},
		"another, whole": {"UPDATE t u SET w = c.name FROM countries c WHERE c.code = u.v AND {{range}}", preflight.Warning, "index", `each batch reads the whole of "public"."countries"`, false},
		"itself":         {"INSERT INTO t (w) SELECT u.w FROM t u WHERE {{range}}", preflight.Danger, "statement", "inserts into the table that it walks", false},
		"another row":    {"DELETE FROM t x USING t u WHERE x.n = u.id AND {{range}}", preflight.Danger, "statement", "by another name than u", true},
		"limit":          {"INSERT INTO mails (person) SELECT u.id FROM t u WHERE {{range}} LIMIT 10 FOR UPDATE", preflight.Warning, "statement", "holds LIMIT", false},
		"volatile":       {"INSERT INTO mails (person, n) SELECT u.id, random() FROM t u WHERE {{range}} FOR UPDATE ON CONFLICT DO NOTHING", preflight.Warning, "statement", "calls random()", false},
		"without where":  {"DELETE FROM t u WHERE {{range}}", preflight.Note, "where", "is missing: the proof is that each range was walked", true},
		"sums": {"INSERT INTO mails AS m (person, n) SELECT u.n, count(*) FROM t u WHERE {{range}} GROUP BY u.n ON CONFLICT (person) DO UPDATE SET n = m.n + EXCLUDED.n",
			preflight.Warning, "race", "", false},
		"sets": {"INSERT INTO mails AS m (person, n) SELECT u.id, 1 FROM t u WHERE {{range}} ON CONFLICT (person) DO UPDATE SET n = EXCLUDED.n, email = excluded.email WHERE m.n <> EXCLUDED.n",
			preflight.Warning, "race", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			p := check(t, pool, worded(c.statement, nil))
			finding(t, p, c.severity, c.subject, c.want)
			if p.Idempotent != c.idempotent {
				t.Errorf("idempotent is %v", p.Idempotent)
			}
			if p.Index != "t_pkey" {
				t.Errorf("by index %q", p.Index)
			}
		})
	}
	for _, locked := range []string{update, "DELETE FROM t u WHERE {{range}}", "UPDATE t u SET w = lower(w) WHERE {{range}}",
		"WITH gone AS (DELETE FROM t u WHERE {{range}} RETURNING *) INSERT INTO mails (person) SELECT id FROM gone"} {
		p := check(t, pool, worded(locked, nil))
		for _, f := range p.Warnings {
			if f.Subject == "race" {
				t.Errorf("%s: %+v", locked, f)
			}
		}
	}
}

// A `where` that the statement does not make false is seen in the samples.
func TestAWhereThatTheStatementLeavesTrueIsSeen(t *testing.T) {
	p := forecast(t, mailed(t), worded(insertMails, func(s *job.Spec) { s.Where = "w IS NOT NULL" }))
	finding(t, p, preflight.Danger, "where", "rows of the sample batches after the statement")
}

func TestARoleMustHaveItsRightsOnEachLeaf(t *testing.T) {
	d := harness.Database(t)
	role := "sweeper_" + strconv.Itoa(int(time.Now().UnixNano()%1e9))
	exec(t, d.Pool, "CREATE TABLE t (id bigint, region text, w text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
		"CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a')", "CREATE TABLE t_b PARTITION OF t FOR VALUES IN ('b')",
		"CREATE ROLE "+role+" LOGIN", "GRANT pg_monitor TO "+role, "GRANT SELECT ON t, t_a, t_b TO "+role, "GRANT DELETE ON t, t_a TO "+role)
	t.Cleanup(func() { exec(t, d.Pool, "DROP OWNED BY "+role, "DROP ROLE "+role) })
	pool := as(t, d, role)
	purge := worded("DELETE FROM t u WHERE {{range}}", func(s *job.Spec) { s.LateRows = "ignore" })
	refused(t, pool, purge, fmt.Sprintf(`table: "public.t" role %s may not DELETE its leaf public.t_b; run GRANT DELETE ON public.t_b TO %q`, role, role))
	exec(t, d.Pool, "GRANT DELETE ON t_b TO "+role)
	check(t, pool, purge)
}

// Each leaf is read by its own index, though the statement names the whole.
func TestAPartitionedTableIsReadLeafByLeaf(t *testing.T) {
	pool := harness.Database(t).Pool
	exec(t, pool, "CREATE TABLE t (id bigint, region text, w text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
		"CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a')", "CREATE TABLE t_b PARTITION OF t FOR VALUES IN ('b')",
		"INSERT INTO t SELECT i, r, 'x' FROM generate_series(1, 5000) i, unnest(ARRAY['a', 'b']) r", "CREATE TABLE mails (person bigint, email text)", "ANALYZE")
	p := check(t, pool, worded("INSERT INTO mails SELECT u.id, u.w FROM public.t u WHERE {{range}}", func(s *job.Spec) { s.LateRows = "ignore" }))
	if p.Index != "t_a_pkey" || len(p.Statement.Reads) != 1 || p.Statement.Reads[0].Relation != `"public"."t_a"` {
		t.Errorf("by %q, %+v", p.Index, p.Statement)
	}
	refused(t, pool, worded("UPDATE t u SET region = 'b' WHERE {{range}}", func(s *job.Spec) { s.LateRows = "ignore" }), `statement: "region" is set, and is a column of the key`)
}
