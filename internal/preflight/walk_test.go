package preflight_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/test/harness"
)

// Block order is chosen where rows lie in another order than their keys, the table is of a size, and it was shown that a row that is done
// matches `where` no longer.
func TestBlockOrderIsChosenWhereItPaysAndIsAllowed(t *testing.T) {
	pool := harness.Database(t).Pool
	const random, ordered = "hashint8(i)::bigint * 1000000 + i", "i"
	for _, v := range []struct {
		name, key string
		rows      int
		spec      func(*job.Spec)
		order     job.Order
		passes    int
		says      string
	}{
		{name: "random keys", key: random, rows: 120_000, order: job.OrderBlock, passes: 4, says: "by block, as the rows lie in the table: its rows lie in another order than their keys (correlation 0.0"},
		{name: "keys in order", key: ordered, rows: 120_000, order: job.OrderKey, passes: 1, says: "that of the key"},
		{name: "a small table", key: random, rows: 5000, order: job.OrderKey, passes: 1, says: "that of the key"},
		{name: "a small table, asked for", key: random, rows: 5000, spec: func(s *job.Spec) { s.Order = job.OrderBlock }, order: job.OrderBlock, passes: 4, says: "by block, as the rows lie in the table: as `order` says"},
		{name: "refused by the spec", key: random, rows: 120_000, spec: func(s *job.Spec) { s.Order = job.OrderKey }, order: job.OrderKey, passes: 1, says: "that of the key"},
		{name: "no where", key: random, rows: 120_000, spec: func(s *job.Spec) { s.Where = ""; s.LateRows = "ignore" }, order: job.OrderKey, passes: 1, says: "that of the key"},
		{name: "a subquery", key: random, rows: 120_000, spec: func(s *job.Spec) { s.Where = "v IS NULL AND (SELECT true)" }, order: job.OrderKey, passes: 1, says: "they cannot be walked by block: `where` holds a subquery"},
		{name: "a volatile where", key: random, rows: 120_000, spec: func(s *job.Spec) { s.Where = "v IS NULL AND random() < 2" }, order: job.OrderKey, passes: 1, says: "they cannot be walked by block: `where` calls random()"},
		{name: "one pass", key: random, rows: 120_000, spec: func(s *job.Spec) { s.Batch.Passes = "1" }, order: job.OrderBlock, passes: 4, says: "(correlation 0.00); one pass"},
	} {
		t.Run(v.name, func(t *testing.T) {
			exec(t, pool, "DROP TABLE IF EXISTS t", "CREATE TABLE t (id bigint PRIMARY KEY, v text, w text)")
			_, err := pool.Exec(t.Context(), "INSERT INTO t SELECT "+v.key+", NULL, 'Row ' || i FROM generate_series(1, $1) i", v.rows)
			require.NoError(t, err)
			exec(t, pool, "ALTER TABLE t ALTER id SET STATISTICS 1000", "ANALYZE t") // reads every row: a sample's correlation differs each time
			p := check(t, pool, spec(func(s *job.Spec) {
				s.Where = "v IS NULL"
				if v.spec != nil {
					v.spec(s)
				}
			}))
			var text strings.Builder
			require.NoError(t, p.Render(&text, false))
			require.Equal(t, v.order, p.Walk.Order, text.String())
			require.Equal(t, v.passes, p.HOT.Passes)
			require.Contains(t, text.String(), v.says)
		})
	}
}

// Who asks for block order where a row might be done twice is told why not.
func TestBlockOrderIsRefusedWhereARowMightBeDoneTwice(t *testing.T) {
	pool := harness.Database(t).Pool
	exec(t, pool, "CREATE TABLE t (id bigint PRIMARY KEY, v text, w text)", "INSERT INTO t SELECT i, NULL, 'Row ' || i FROM generate_series(1, 3000) i", "ANALYZE t")
	byBlock := func(where string) job.Spec {
		return spec(func(s *job.Spec) { s.Order, s.Where = job.OrderBlock, where })
	}
	for where, want := range map[string]string{
		"v IS NULL AND (SELECT true)": "order: \"block\" is not possible: `where` holds a subquery",
		"v IS NULL AND random() < 2":  "order: \"block\" is not possible: `where` calls random()",
		"w IS NOT NULL":               "still matches row 1 after `set`",
	} {
		_, err := preflight.Check(t.Context(), pool, byBlock(where), preflight.Options{})
		require.ErrorContains(t, err, want)
	}

	// A trigger takes back what the `set` does: the expressions alone do not show it, the sample batches do.
	exec(t, pool, "CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.v := NULL; RETURN NEW; END$$",
		"CREATE TRIGGER undo BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION undo()")
	_, err := preflight.Check(t.Context(), pool, byBlock("v IS NULL"), preflight.Options{Sample: &preflight.PlanSampling})
	require.ErrorContains(t, err, "matched `where` still after `set`")
	require.ErrorContains(t, err, "order: \"block\" is not possible")
}

// The sample batches of a job in block order are stretches of blocks, and their figures those of such batches.
func TestTheForecastOfBlockOrder(t *testing.T) {
	pool := harness.Database(t).Pool
	exec(t, pool, "CREATE TABLE t (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), v text, w text)", "INSERT INTO t (w) SELECT 'Row ' || i FROM generate_series(1, 120000) i", "ANALYZE t")
	forecast := func(order job.Order) *job.Forecast {
		s := spec(func(s *job.Spec) { s.Where, s.Order = "v IS NULL", order })
		p, err := preflight.Check(t.Context(), pool, s, preflight.Options{Sample: &preflight.PlanSampling})
		require.NoError(t, err)
		require.Equal(t, order, p.Walk.Order)
		require.NotNil(t, p.Forecast)
		return p.Forecast
	}
	block, key := forecast(job.OrderBlock), forecast(job.OrderKey)
	require.Greater(t, block.Sample.Batches, 3)
	require.InDelta(t, 120_000, block.Rows.Low, 6000)
	require.Less(t, block.WAL.Low, key.WAL.Low, "fewer pages are touched")
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM t WHERE v IS NOT NULL").Scan(&n))
	require.Zero(t, n, "all of it is rolled back")
}
