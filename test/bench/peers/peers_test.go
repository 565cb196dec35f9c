package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// small are the methods with batches of a few rows, so that a table of some hundred rows has many of them.
var small = map[string]func(context.Context, *pgx.Conn, table) (int64, error){
	"monolithic": monolithic,
	"script":     usualScript{10, 0}.fill,
	"gitlab":     gitlab{30, 10, 0}.fill,
	"keyset-cte": keysetCTE(10).fill,
}

func connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), harness.Database(t).DSN)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
	return conn
}

// open makes a table of so many rows anew, whose key's columns and values for row i are as given.
func open(t *testing.T, conn *pgx.Conn, columns, key, keyOf string, rows int) table {
	t.Helper()
	require.NoError(t, conn.DeallocateAll(t.Context()), "plans for the table that was there before")
	for _, sql := range []string{
		"DROP TABLE IF EXISTS t",
		fmt.Sprintf("CREATE TABLE t (%s, v text, w text, n int NOT NULL DEFAULT 0, PRIMARY KEY (%s))", columns, key),
		fmt.Sprintf("INSERT INTO t SELECT %s, 'V' || i FROM generate_series(1::bigint, %d) i", keyOf, rows),
		"ANALYZE t",
	} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
	return table{name: "t", key: strings.Split(key, ","), set: "w = lower(v), n = n + 1", where: "w IS NULL", ends: time.Now().Add(time.Hour)}
}

func TestEachMethodWritesEachRowOnce(t *testing.T) {
	keys := map[string]struct{ columns, key, keyOf string }{
		"bigint":    {"id bigint", "id", "i"},
		"gappy":     {"id bigint", "id", "CASE WHEN i % 10 > 0 THEN i ELSE i * 1000000 END"},
		"uuid":      {"id uuid", "id", "md5(i::text)::uuid"},
		"composite": {"a int, b bigint", "a,b", "i % 7, i"},
	}
	conn := connect(t)
	// No row, less than a batch, whole batches and jobs, and a row more.
	for _, rows := range []int{0, 1, 9, 10, 11, 30, 90, 91, 123} {
		for name, k := range keys {
			t.Run(fmt.Sprintf("%s %d", name, rows), func(t *testing.T) {
				for method, fill := range small {
					table := open(t, conn, k.columns, k.key, k.keyOf, rows)
					written, err := fill(t.Context(), conn, table)
					require.NoError(t, err, method)
					require.EqualValues(t, rows, written, method)
					var wrong int
					require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM t WHERE n <> 1 OR w IS DISTINCT FROM lower(v)").Scan(&wrong))
					require.Zero(t, wrong, method)
				}
			})
		}
	}
}

func TestRowsThatHaveTheirValueAreLeftAlone(t *testing.T) {
	conn := connect(t)
	for method, fill := range small {
		table := open(t, conn, "id bigint", "id", "i", 100)
		_, err := conn.Exec(t.Context(), "UPDATE t SET w = 'there' WHERE id % 3 = 0")
		require.NoError(t, err)
		written, err := fill(t.Context(), conn, table)
		require.NoError(t, err, method)
		require.EqualValues(t, 67, written, method)
		var wrong int
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM t WHERE n <> CASE WHEN id % 3 = 0 THEN 0 ELSE 1 END").Scan(&wrong))
		require.Zero(t, wrong, method)
	}
}

func TestALoopEndsWithTheBatchWhenItsTimeIsUp(t *testing.T) {
	conn := connect(t)
	for method, fill := range small {
		table := open(t, conn, "id bigint", "id", "i", 100)
		table.ends = time.Now()
		written, err := fill(t.Context(), conn, table)
		require.NoError(t, err, method)
		want := 10
		if method == "monolithic" {
			want = 100
		}
		require.EqualValues(t, want, written, method)
	}
}

func TestTheOptimizerFillsTheInterval(t *testing.T) {
	for name, c := range map[string]struct {
		took time.Duration
		jobs int
		want int
	}{
		"it waits for twenty jobs":             {time.Second, 19, 10_000},
		"it grows by a fifth at most":          {time.Second, 20, 12_000},
		"and again":                            {time.Second, 21, 14_400},
		"it leaves be what fills the interval": {111 * time.Second, 40, 10_000},
		"it shrinks to what would fit":         {240 * time.Second, 20, 4_750},
		"but not below a thousand rows":        {time.Hour, 20, 1_000},
	} {
		o := optimizer{size: 10_000, interval: gitlabEvery}
		for range c.jobs {
			o.took(c.took)
		}
		require.Equal(t, c.want, o.size, name)
	}
	o := optimizer{size: jobAtMost, interval: gitlabEvery}
	for range 30 {
		o.took(time.Second)
	}
	require.Equal(t, jobAtMost, o.size)
}

func TestTheLatestJobsWeighMost(t *testing.T) {
	o := optimizer{size: 10_000, interval: gitlabEvery}
	for range optimizerJobs - 1 {
		o.took(time.Second)
	}
	o.took(240 * time.Second) // the smoothed share is 0.8, which is two times 0.4, and a little
	require.InDelta(t, 10_000*0.95/0.805, o.size, 10)
}

func TestAnUnknownMethodIsNamed(t *testing.T) {
	require.EqualError(t, run(t.Context(), []string{"-method", "hope"}), `-method: "hope" is none of monolithic, script, gitlab, keyset-cte`)
}
