package signals_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

func TestASQLCheckFires(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, "CREATE TABLE queue (id int)")
	rule := throttle.Check(time.Second)
	rule.Soft, rule.Hard, rule.Hysteresis, rule.Blind = 2, 4, false, 100*time.Millisecond
	w := watching(t, one("queue", rule), signals.NewSQLCheck("queue", "SELECT count(*) FROM queue", time.Second, db.Pool))
	w.until(t, "an empty queue", freed)
	exec(t, db.DSN, "INSERT INTO queue VALUES (1), (2)")
	w.until(t, "two are soft", soft)
	exec(t, db.DSN, "INSERT INTO queue VALUES (3), (4), (5)")
	o := w.until(t, "five are hard", hard)
	require.Equal(t, "queue 5 over hard limit 4", o.reasons[0].Text)

	exec(t, db.DSN, "TRUNCATE queue")
	w.until(t, "the fleet goes on", freed)
	exec(t, db.DSN, "ALTER TABLE queue RENAME TO gone")
	o = w.until(t, "a check that fails stops the fleet", hard)
	require.True(t, o.reasons[0].Blind)
	require.Contains(t, o.reasons[0].Text, `SQL check queue: fails: relation "queue" does not exist (SQLSTATE 42P01)`)
}

func TestSQLChecksThatWillDo(t *testing.T) {
	db := harness.Database(t)
	for sql, want := range map[string]float64{
		"SELECT 1":                           1,
		"SELECT 2::int2;":                    2,
		"SELECT 1.5":                         1.5,
		"SELECT '-2.25'::float4 -- a remark": -2.25,
		"WITH q AS (SELECT 7::int8 n) SELECT n FROM q": 7,
		"VALUES (3)": 3,
		"SELECT extract(epoch FROM interval '1 minute')": 60,
	} {
		require.NoError(t, signals.ValidateSQL(t.Context(), db.Pool, sql), sql)
		r := signals.NewSQLCheck("c", sql, time.Second, db.Pool).Read(t.Context())
		require.NoError(t, r[0].Err)
		require.InDelta(t, want, r[0].Value, 1e-9, sql)
	}
}

func TestSQLChecksThatAreRefused(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, "CREATE TABLE t (id int); CREATE SEQUENCE s")
	for _, c := range []struct{ sql, why string }{
		{"", "returns nothing; write a SELECT of one number"},
		{"INSERT INTO t VALUES (1)", "writes or locks rows, which a check must not; write a SELECT of one number"},
		{"WITH w AS (INSERT INTO t VALUES (1) RETURNING id) SELECT id FROM w", "writes or locks rows, which a check must not; write a SELECT of one number"},
		{"SELECT nextval('s')", "writes or locks rows, which a check must not; write a SELECT of one number"},
		{"SELECT id FROM t FOR UPDATE", "writes or locks rows, which a check must not; write a SELECT of one number"},
		{"SELECT set_config('transaction_read_only', 'off', false)", "fails: transaction read-write mode must be set before any query (SQLSTATE 25001)"},
		{"SELECT 1; SELECT 2", "is more than one statement; write one SELECT of one number"},
		{"COMMIT", "returns nothing; write a SELECT of one number"},
		{"SELECT id FROM t", "returns no row; write a query of exactly one, as with count(*) or coalesce(max(…), 0)"},
		{"SELECT generate_series(1, 3)", "returns more than one row; write a query of exactly one, as with max() or LIMIT 1"},
		{"SELECT 1, 2", "returns 2 columns; write a query of exactly one number"},
		{"SELECT 'many' AS n", `returns a column "n" that is no number; cast it, as with extract(epoch FROM …) or ::float8`},
		{"SELECT true AS b", `returns a column "b" that is no number; cast it, as with extract(epoch FROM …) or ::float8`},
		{"SELECT max(id) FROM t", "returns NULL or NaN; write a query that always has a number, as with coalesce(…, 0)"},
		{"SELECT 'NaN'::numeric", "returns NULL or NaN; write a query that always has a number, as with coalesce(…, 0)"},
		{"SELECT 1 FROM pg_sleep(5)", "takes longer than 1s; write a query that reads less"},
		{"SELECT 1/0", "fails: division by zero (SQLSTATE 22012)"},
		{"SELEC 1", `fails: syntax error at or near "SELEC" (SQLSTATE 42601)`},
		{"SELECT $1::int", "cannot run: expected 1 arguments, got 0"},
	} {
		err := signals.ValidateSQL(t.Context(), db.Pool, c.sql)
		require.ErrorContains(t, err, c.why, c.sql)
		require.NotContains(t, err.Error(), "\n", c.sql)
	}
	var rows int
	require.NoError(t, db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&rows))
	require.Zero(t, rows)
	require.Zero(t, db.Pool.Stat().AcquiredConns(), "each gave its connection back")
}
