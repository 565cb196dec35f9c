package fleet

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// grownRows is large enough that a vacuum's turn comes several times.
const grownRows = 500_000

// plainHeap is a table that no autovacuum looks at, so that every vacuum is the fleet's.
func plainHeap() []string {
	return []string{
		"create table t (id bigint primary key, email text not null, email_norm text, pad text not null default repeat('x', 60)) with (autovacuum_enabled = false)",
		fmt.Sprintf("insert into t (id, email) select i, 'User' || i || '@Example.com' from generate_series(1, %d) i", grownRows),
		"vacuum (analyze) t",
	}
}

const growthSpec = "name: grow\ntable: t\nset: {email_norm: lower(email)}\nwhere: email_norm is null\nrows_per_range: 20000\n"

// growth is the heap's size by that at the freeze.
func (f *fleet) growth() (times float64) {
	f.Helper()
	require.NoError(f, f.admin.QueryRow(f.Context(), "select pg_relation_size('t')::float8 / (select size from backfleet.relations)").Scan(&times))
	return times
}

// watched starts the fleet and tells what holds a job back.
func (f *fleet) watched() func(job.Job) []job.Reason {
	c := f.coordinator("coordinator-1")
	f.run(map[string]func(context.Context) error{"coordinator": c.Run, "worker": f.worker("worker-1").Run})
	return func(j job.Job) []job.Reason {
		live, _ := c.Live("main", j.ID)
		return live.Limiting
	}
}

// beyond is how far a table may come to lie beyond a bound of 1.3: twice a fiftieth of the room.
const beyond = 2 * 0.02 * 0.3

// throttle.max_growth bounds the heap, in key order and in passes; without it a table of which every row is updated doubles.
func TestMaxGrowthHolds(t *testing.T) {
	for _, passes := range []string{"1", "4"} {
		t.Run("passes "+passes, func(t *testing.T) {
			f := started(t, plainHeap()...)
			r := f.completes(f.submit(growthSpec + "batch: {passes: " + passes + "}\nthrottle: {max_growth: 1.3}"))
			t.Logf("growth %.3f, %.0f rows/s", f.growth(), r.RowsPerSec)
			require.LessOrEqual(t, f.growth(), 1.3+beyond)
			require.Positive(t, f.number("select count(*) from pg_stat_user_tables where relname = 't' and last_vacuum is not null"))
		})
	}
	t.Run("without it", func(t *testing.T) {
		f := started(t, plainHeap()...)
		r := f.completes(f.submit(growthSpec + "batch: {passes: 1}"))
		t.Logf("growth %.3f, %.0f rows/s", f.growth(), r.RowsPerSec)
		require.Greater(t, f.growth(), 1.9)
	})
}

// Who holds a snapshot, or is idle in a transaction that has written, makes vacuum useless: the job waits at the bound, names who it is, and goes
// on by itself once that transaction has ended.
func TestMaxGrowthNamesWhoKeepsDeadRows(t *testing.T) {
	for name, holds := range map[string][]string{
		"a snapshot":     {"begin isolation level repeatable read", "select count(*) from pg_class"},
		"an idle writer": {"begin isolation level read committed", "insert into other values (1)"},
	} {
		t.Run(name, func(t *testing.T) {
			f := stage(t, append(plainHeap(), "create table other (id int)")...)
			throttled := f.watched()
			held, err := pgx.Connect(t.Context(), f.db.DSN)
			require.NoError(t, err)
			t.Cleanup(func() { _ = held.Close(context.Background()) })
			for _, sql := range append([]string{"set application_name = 'nightly-dump'"}, holds...) {
				_, err := held.Exec(t.Context(), sql)
				require.NoError(t, err)
			}
			j := f.submit(growthSpec + "batch: {passes: 1}\nthrottle: {max_growth: 1.3}")
			var why job.Reason
			f.until("the job waits for the transaction", func() bool {
				for _, r := range throttled(j) {
					if r.Signal == "growth" && strings.Contains(r.Text, "nightly-dump") {
						why = r
						return true
					}
				}
				return false
			})
			require.Contains(t, why.Text, "of 1.30; dead rows of public.t are kept for pid")
			require.Equal(t, 1.3, why.Threshold)
			require.Greater(t, why.Observed, 1.2)
			done := f.number("select coalesce(sum(rows), 0) from backfleet.ranges")
			require.Less(t, done, grownRows/2)
			f.still("the job waits", 2*time.Second, func() bool { return f.growth() <= 1.3+beyond && f.status(j).State == job.Running })
			_, err = held.Exec(t.Context(), "rollback")
			require.NoError(t, err)
			f.completes(j)
			require.LessOrEqual(t, f.growth(), 1.3+beyond)
		})
	}
}

// The bound is live: a job that waits for it goes on when it is raised.
func TestMaxGrowthIsRaisedLive(t *testing.T) {
	f := stage(t, plainHeap()...)
	throttled := f.watched()
	release := f.lock("select txid_current()") // keeps what is dead
	j := f.submit(growthSpec + "batch: {passes: 1}\nthrottle: {max_growth: 1.2}")
	f.until("the job waits", func() bool {
		return len(throttled(j)) > 0 && throttled(j)[0].Signal == "growth" && throttled(j)[0].Hard
	})
	limits, _, err := j.Limits.Set(map[string]string{"throttle.max_growth": "0"})
	require.NoError(t, err)
	_, err = f.store.SetLimits(t.Context(), j.ID, "ann", limits, 0)
	require.NoError(t, err)
	f.completes(j)
	release()
	require.Greater(t, f.growth(), 1.9)
}
