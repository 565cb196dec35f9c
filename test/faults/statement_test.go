package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// worded is a job with a statement, and what must be true once it is complete.
type worded struct {
	name   string
	create []string
	spec   string
	rows   int64            // that its statement writes in all
	proof  map[string]int64 // counts
}

const wordedRows = 20_000

// Every statement here does something that shows when it is done twice: a plain INSERT into a table that takes duplicates, or a sum.
func statements() []worded {
	people := func(table, columns, key, rows string) []string {
		return []string{fmt.Sprintf("CREATE TABLE %s (%s, email text NOT NULL, n int NOT NULL DEFAULT 0, PRIMARY KEY (%s))", table, columns, key), rows, "ANALYZE " + table}
	}
	series := fmt.Sprintf("generate_series(1, %d) i", wordedRows)
	return []worded{
		{
			name: "insert", rows: wordedRows,
			create: append(people("users", "id bigint", "id", "INSERT INTO users SELECT i, 'Mail' || i FROM "+series), "CREATE TABLE mails (id bigint PRIMARY KEY, email text, n int NOT NULL DEFAULT 1)"),
			// A row that is done again counts up: the fence, and not the conflict, makes it one.
			spec: `{table: users, alias: u, late_rows: ignore, statement: "INSERT INTO mails AS m (id, email) SELECT u.id, lower(u.email) FROM users u WHERE {{range}} ` +
				`FOR NO KEY UPDATE OF u ON CONFLICT (id) DO UPDATE SET n = m.n + 1", check: "EXISTS (SELECT FROM mails m WHERE m.id = u.id AND m.email = lower(u.email) AND m.n = 1)"}`,
			proof: map[string]int64{"SELECT count(*) FROM mails WHERE n = 1": wordedRows},
		},
		{
			name: "delete", rows: wordedRows / 4,
			create: people("gone", "id bigint", "id", "INSERT INTO gone SELECT i, 'Mail' || i, i % 4 FROM "+series),
			spec:   `{table: gone, statement: "DELETE FROM gone WHERE {{range}}", where: gone.n = 3}`,
			proof:  map[string]int64{"SELECT count(*) FROM gone": wordedRows * 3 / 4, "SELECT count(*) FROM gone WHERE n = 3": 0},
		},
		{
			name: "update-from", rows: wordedRows,
			create: append(people("orders", "id bigint", "id", "INSERT INTO orders SELECT i, 'm' || i FROM "+series),
				"CREATE TABLE totals (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0)", "INSERT INTO totals SELECT i FROM "+series, "ANALYZE totals"),
			spec: `{table: orders, alias: o, late_rows: ignore, check: "EXISTS (SELECT FROM totals t WHERE t.id = o.id AND t.n = 1)", ` +
				`statement: "UPDATE totals t SET n = t.n + 1 FROM (SELECT o.id FROM orders o WHERE {{range}} FOR NO KEY UPDATE) s WHERE s.id = t.id"}`,
			proof: map[string]int64{"SELECT count(*) FROM totals WHERE n = 1": wordedRows},
		},
		{
			name: "partitioned", rows: 2 * wordedRows,
			create: []string{
				"CREATE TABLE events (id bigint, region text, n int NOT NULL DEFAULT 0, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
				"CREATE TABLE events_a PARTITION OF events FOR VALUES IN ('a')", "CREATE TABLE events_b PARTITION OF events FOR VALUES IN ('b')",
				"INSERT INTO events SELECT i, r FROM " + series + ", unnest(ARRAY['a', 'b']) r", "ANALYZE events", "CREATE TABLE seen (id bigint, region text)",
			},
			spec:  `{table: events, alias: e, late_rows: ignore, statement: "INSERT INTO seen SELECT e.id, e.region FROM public.events AS e WHERE {{range}} FOR SHARE"}`,
			proof: map[string]int64{"SELECT count(*) FROM seen": 2 * wordedRows, "SELECT count(DISTINCT (id, region)) FROM seen": 2 * wordedRows},
		},
		{
			name: "uuid", rows: wordedRows,
			create: append(people("things", "id uuid", "id", "INSERT INTO things SELECT md5(i::text)::uuid, 'm' || i FROM "+series), "CREATE TABLE noted (id uuid)"),
			spec:   `{table: things, late_rows: ignore, statement: "INSERT INTO noted SELECT things.id FROM things WHERE {{range}} FOR NO KEY UPDATE"}`,
			proof:  map[string]int64{"SELECT count(*) FROM noted": wordedRows, "SELECT count(DISTINCT id) FROM noted": wordedRows},
		},
		{
			name: "composite-moved", rows: wordedRows,
			create: append(people("cold", "tenant int, id uuid", "tenant, id", "INSERT INTO cold SELECT i % 7, md5(i::text)::uuid, 'm' || i FROM "+series), "CREATE TABLE archive (LIKE cold)"),
			spec:   `{table: cold, late_rows: ignore, statement: "WITH moved AS (DELETE FROM cold WHERE {{range}} RETURNING *) INSERT INTO archive SELECT * FROM moved"}`,
			proof:  map[string]int64{"SELECT count(*) FROM cold": 0, "SELECT count(*) FROM archive": wordedRows, "SELECT count(DISTINCT (tenant, id)) FROM archive": wordedRows},
		},
	}
}

// Invariants 1, 2 and 8 for jobs with a statement: six of them through one fleet of three workers, one of which is killed with its ranges
// half done. Each is complete, and each row was done once, by number.
func TestStatementsOfAKilledWorker(t *testing.T) {
	t.Parallel()
	db := harness.Database(t)
	f := &fleet{t: t, bin: harness.Backfleet(t), dsn: db.DSN, pool: db.Pool, dir: t.TempDir(), nats: harness.NATS(t)}
	all := statements()
	f.must("db", "init")
	f.coordinator()
	f.awaitLeader(nil)
	var workers []*harness.Process
	for range 3 {
		workers = append(workers, f.worker(2))
	}
	for _, s := range all {
		for _, sql := range s.create {
			f.exec(sql)
		}
		file := filepath.Join(f.dir, s.name+".yaml")
		more := fmt.Sprintf(`, name: %s, database: main, rows_per_range: 2000, batch: {max_rows: 100}, `+
			`throttle: {max_rows_per_second: 2000, lag: {target: 5s, soft: 20s, hard: 30s}, signals: {foreground: off, probe: off, active_backends: off}}}`, s.name)
		require.NoError(t, os.WriteFile(file, []byte(strings.TrimSuffix(s.spec, "}")+more), 0o600))
		f.must("submit", "--no-sample", file)
	}
	f.await("the first worker is in the middle of a range", func(ctx context.Context) (yes bool, err error) {
		err = f.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM backfleet.ranges WHERE state = 'running' AND kind = 'fill' AND rows BETWEEN 1 AND 1500 AND owner = 'w1')`).Scan(&yes)
		return yes, err
	})
	require.NoError(t, workers[0].Kill())
	for _, s := range all {
		f.must("set", s.name, "throttle.max_rows_per_second=0", "batch.max_rows=10000")
	}
	var takeovers int64
	for _, s := range all {
		f.job, f.rows = s.name, s.rows
		f.awaitEnd()
		var r job.Report
		a := f.cli("report", s.name, "-o", "json")
		require.NoError(t, json.Unmarshal([]byte(a.stdout), &r), a.stdout+a.stderr)
		require.Equal(t, job.Complete, r.State, "%s: %s", s.name, r.Reason)
		require.True(t, r.Verified, s.name)
		require.Equal(t, s.rows, r.Rows, s.name)
		require.Zero(t, r.Repaired, s.name)
		for _, c := range r.Coverage {
			require.Empty(t, c.Gaps, s.name)
		}
		for sql, want := range s.proof {
			var n int64
			require.NoError(t, f.pool.QueryRow(t.Context(), sql).Scan(&n))
			require.Equal(t, want, n, "%s: %s", s.name, sql)
		}
		takeovers += r.Takeovers
	}
	require.Positive(t, takeovers)
}
