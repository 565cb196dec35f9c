package preflight_test

import (
	"context"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
)

// forecast checks a spec with sample batches.
func forecast(t *testing.T, pool *pgxpool.Pool, s job.Spec) preflight.Plan {
	t.Helper()
	p, err := preflight.Check(t.Context(), pool, s, preflight.Options{Sample: &preflight.PlanSampling})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return p
}

func number(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) (n int64) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// finding wants a finding of a subject whose text holds want.
func finding(t *testing.T, p preflight.Plan, s preflight.Severity, subject, want string) {
	t.Helper()
	for _, f := range p.Warnings {
		if f.Severity == s && f.Subject == subject && strings.Contains(f.Text, want) {
			return
		}
	}
	t.Errorf("no %s on %q with %q among %+v", s, subject, want, p.Warnings)
}

// restrict is a line of pg_dump that is another each time.
var restrict = regexp.MustCompile(`(?m)^\\(un)?restrict .*$`)

func dump(t *testing.T, dsn string) string {
	t.Helper()
	bin, err := harness.PostgresBin()
	if err != nil {
		t.Fatal(err)
	}
	out, err := osexec.CommandContext(t.Context(), filepath.Join(bin, "pg_dump"), "--dbname="+dsn).CombinedOutput()
	if err != nil {
		t.Fatalf("pg_dump: %v\n%s", err, out)
	}
	return restrict.ReplaceAllString(string(out), "")
}

// Sample batches fire triggers and update rows; nothing of that stays, and nothing stays locked.
func TestSamplesAreRolledBack(t *testing.T) {
	db := harness.Database(t)

	exec(t, db.Pool, plain, "CREATE TABLE log (id bigint, v text)",
		"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (NEW.id, NEW.v); NOTIFY t; RETURN NULL; END $$",
		"CREATE TRIGGER note AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note()",
		"UPDATE t SET v = lower(w) WHERE id % 4 = 0", "VACUUM ANALYZE t")
	before := dump(t, db.DSN)
	p := forecast(t, db.Pool, spec(func(s *job.Spec) { s.Check = "v = lower(w)" }))
	if after := dump(t, db.DSN); after != before {
		t.Error("the samples changed the database")
	}
	if n := number(t, db.Pool, `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend' AND a.application_name <> 'pg_dump' AND l.locktype IN ('relation', 'tuple', 'transactionid')`); n != 0 {
		t.Errorf("%d locks are left", n)
	}
	f := p.Forecast
	if f == nil {
		t.Fatalf("no forecast: %+v", p.Warnings)
	}
	switch s := f.Sample; {
	case s.Batches < 3, s.Batches > 10, s.Keys < 30, s.Rows == 0, s.Rows >= s.Keys, s.HOT <= 0, s.HOT > 1:
		t.Errorf("samples %+v", s)
	case f.Rows.Low > 2250, f.Rows.High < 2250, f.Rows.Low < 1500, f.Keys != 3000:
		t.Errorf("rows %+v of %d: a quarter was done already", f.Rows, f.Keys)
	case f.WAL.Low < 2250*60, f.WAL.High <= f.WAL.Low, f.Heap.High == 0:
		t.Errorf("WAL %+v, growth %+v and %+v", f.WAL, f.Heap, f.Index)
	case f.Duration.Low <= 0, f.Duration.High < f.Duration.Low, f.Duration.High.D() > time.Minute, f.Finish.Latest == nil:
		t.Errorf("duration %+v, finish %+v", f.Duration, f.Finish)
	}
	var text strings.Builder
	if err := p.Render(&text, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Forecast\n    duration", "1 trigger fired in them", "values drawn from sequences"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, text.String())
		}
	}
}

// The server counts HOT updates of a session, not of a batch, until it has taken them over.
func TestSamplesCountHOTUpdatesOfTheirOwnBatch(t *testing.T) {
	pool := harness.Database(t).Pool
	exec(t, pool, "CREATE TABLE roomy (id bigint PRIMARY KEY, v text) WITH (fillfactor = 40)",
		"INSERT INTO roomy SELECT i, 'x' FROM generate_series(1, 5000) i", "VACUUM ANALYZE roomy")
	p := forecast(t, pool, spec(func(s *job.Spec) {
		s.Table, s.Set, s.Where, s.Check = "roomy", map[string]string{"v": "'y'"}, "v = 'x'", ""
	}))
	switch f := p.Forecast; {
	case f == nil:
		t.Fatalf("no forecast: %+v", p.Warnings)
	case f.Sample.Batches < 2, f.Sample.HOT < 0.5, f.Sample.HOT > 1:
		t.Errorf("samples %+v", f.Sample)
	case f.Index.Low < 0, f.Index.High < f.Index.Low:
		t.Errorf("index growth %+v", f.Index)
	}
}

func TestSamplesOfEveryKeyAndSize(t *testing.T) {
	pool := harness.Database(t).Pool
	exec(t, pool,
		"CREATE TABLE empty (id bigint PRIMARY KEY, v text)",
		"CREATE TABLE one (id bigint PRIMARY KEY, v text)", "INSERT INTO one VALUES (7)",
		"CREATE TABLE ids (id uuid PRIMARY KEY, v text)", "INSERT INTO ids SELECT gen_random_uuid() FROM generate_series(1, 5000)",
		"CREATE TABLE pair (a text, b timestamptz, v text, PRIMARY KEY (a, b))",
		"INSERT INTO pair SELECT 'k' || i % 7, timestamptz '2020-01-01' + i * interval '1 hour' FROM generate_series(1, 5000) i",
		"CREATE TABLE parts (id bigint PRIMARY KEY, v text) PARTITION BY RANGE (id)",
		"CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (3000)", "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (3000) TO (9000)",
		"CREATE TABLE parts_3 PARTITION OF parts DEFAULT", "INSERT INTO parts SELECT generate_series(1, 5000)", "ANALYZE")
	for table, keys := range map[string]int64{"empty": 0, "one": 1, "ids": 90, "pair": 90, "parts": 90} {
		p := forecast(t, pool, spec(func(s *job.Spec) {
			s.Table, s.Set, s.Where, s.LateRows = table, map[string]string{"v": "'x'"}, "", "ignore"
		}))
		if keys == 0 {
			finding(t, p, preflight.Note, "forecast", "the table is empty")
			if p.Forecast != nil {
				t.Errorf("%s: %+v", table, p.Forecast)
			}
			continue
		}
		if f := p.Forecast; f == nil || f.Sample.Keys < keys || f.Sample.Rows != f.Sample.Keys || f.Rows.Low != p.Rows || f.Rows.High != p.Rows {
			t.Errorf("%s: %+v, %+v", table, p.Forecast, p.Warnings)
		}
	}
	if n := number(t, pool, "SELECT (SELECT count(*) FROM ids WHERE v = 'x') + (SELECT count(*) FROM parts WHERE v = 'x')"); n != 0 {
		t.Errorf("%d rows were changed", n)
	}
}

// What makes a sample fail is told, and refuses nothing.
func TestASampleThatFails(t *testing.T) {
	pool := harness.Database(t).Pool
	exec(t, pool, plain, "UPDATE t SET w = 'seventy' WHERE id = 2990")
	p := forecast(t, pool, spec(func(s *job.Spec) {
		s.Set = map[string]string{"n": "CASE WHEN w = 'seventy' THEN w::int ELSE 1 END"}
		s.Where = "n = 0"
	}))
	finding(t, p, preflight.Warning, "sample", `invalid input syntax for type integer: "seventy"`)
	if p.Forecast == nil || p.Forecast.Sample.Batches < 3 {
		t.Errorf("the other batches make a forecast: %+v", p.Forecast)
	}

	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "SELECT FROM t FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p = forecast(t, pool, spec(nil))
	finding(t, p, preflight.Warning, "sample", "lock timeout")
	if p.Forecast != nil {
		t.Errorf("%+v", p.Forecast)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it waited for locks for %s", took)
	}
}

// A row that is dear makes small batches, so that none holds its locks for long.
func TestDearRowsMakeSmallSamples(t *testing.T) {
	pool := harness.Database(t).Pool
	exec(t, pool, plain, "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$",
		"CREATE TRIGGER slow BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION slow()")
	p, err := preflight.Check(t.Context(), pool, spec(nil), preflight.Options{Sample: &preflight.SubmitSampling})
	if err != nil {
		t.Fatal(err)
	}
	f := p.Forecast
	if f == nil {
		t.Fatalf("no forecast: %+v", p.Warnings)
	}
	if f.Sample.Keys != 10*int64(f.Sample.Batches) || f.Sample.Took.D() > 3*time.Second {
		t.Errorf("samples %+v", f.Sample)
	}
	if f.Slots != 1 || f.Fill.Low.D() > 45*time.Second || f.Fill.High.D() < 30*time.Second {
		t.Errorf("3,000 rows of 10 ms in one range: %d slots, %+v", f.Slots, f.Fill)
	}
}

func TestNoSampleWhereItWouldHarm(t *testing.T) {
	pool := harness.Database(t).Pool
	exec(t, pool, plain, "CREATE FUNCTION far(text) RETURNS text VOLATILE LANGUAGE sql AS 'SELECT lower($1)'")
	wrote := func(p preflight.Plan) {
		t.Helper()
		if p.Forecast != nil {
			t.Errorf("%+v", p.Forecast)
		}
		if n := number(t, pool, "SELECT count(*) FROM t WHERE xmax <> 0"); n != 0 {
			t.Errorf("%d rows were updated and rolled back", n)
		}
	}
	p := check(t, pool, spec(nil))
	wrote(p)
	p = forecast(t, pool, spec(func(s *job.Spec) { s.Set["v"] = "far(w)" }))
	finding(t, p, preflight.Note, "forecast", "far() is volatile")
	wrote(p)

	ledger := store.New(pool, "main")
	if _, _, err := ledger.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Hold(t.Context(), "ann", "", time.Minute); err != nil {
		t.Fatal(err)
	}
	p = forecast(t, pool, spec(nil))
	finding(t, p, preflight.Note, "forecast", "the database is held by ann")
	wrote(p)
	if err := ledger.Release(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if p := forecast(t, pool, spec(nil)); p.Forecast == nil {
		t.Errorf("after the release: %+v", p.Warnings)
	}
	if n := number(t, pool, "SELECT count(*) FROM t WHERE xmax <> 0"); n == 0 {
		t.Error("a rolled back update leaves its xmax: the test looks at the wrong thing")
	}
}
