package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
	"github.com/backfleet/backfleet/test/harness"
)

// scattered makes a table of n rows whose keys are random, so that they lie in another order; i tells them apart.
func scattered(n int) []string {
	return []string{
		"create table t (id uuid primary key default gen_random_uuid(), i int not null, n int not null default 0, pad text not null default repeat('x', 60))",
		fmt.Sprintf("insert into t (i) select generate_series(1, %d)", n),
		"create index on t (i)",
		"vacuum analyze t",
	}
}

// byBlock is a job in block order that is not idempotent: it proves that each row was done exactly once. The application may add
// thousands to a row.
func byBlock(passes, rate int) string {
	return fmt.Sprintf(`
name: count
table: t
set: {n: n + 1}
where: n %% 1000 = 0
check: n %% 1000 = 1
order: block
rows_per_range: 4000
batch: {passes: %d, max_rows: 150}
throttle: {max_rows_per_second: %d, signals: {foreground: off}}
`, passes, rate)
}

// moving is an application that moves rows from block to block all the time.
func (f *fleet) moving(rows, rate int) *harness.Load {
	return harness.Writer{Pool: f.admin, Clients: 2, Rate: float64(rate), Ops: []harness.Op{
		harness.SQL("update", 1, "update t set n = n + 1000, pad = repeat('y', 40 + (random() * 60)::int) where i = $1",
			func(r *rand.Rand) []any { return []any{r.IntN(rows) + 1} }),
	}}.Start(f.Context())
}

// faster lets a job go as fast as it can.
func (f *fleet) faster(j job.Job) {
	f.Helper()
	limits := j.Limits
	limits.Throttle.MaxRowsPerSecond = 0
	_, err := f.store.SetLimits(f.Context(), j.ID, "ann", limits, 0)
	require.NoError(f, err)
}

// thousands fails unless every row was done exactly once, whatever the application has added.
func (f *fleet) thousands() {
	f.Helper()
	require.Zero(f, f.number("select count(*) from t where n % 1000 <> 1"))
}

// lastLook fails unless the report holds a look at the whole table in one snapshot that found nothing.
func (f *fleet) lastLook(r job.Report, rows int64) {
	f.Helper()
	require.Equal(f, job.OrderBlock, r.Order)
	require.NotNil(f, r.LastLook)
	require.Equal(f, rows, r.LastLook.Rows)
	require.Zero(f, *r.Residual)
	if r.CheckFails != nil {
		require.Zero(f, *r.CheckFails)
	}
}

// Invariants 1 and 2 in block order: each row is done exactly once while an application moves rows between blocks walked and blocks to come,
// and while leases run out under workers that go on.
func TestTakeoversInBlockOrder(t *testing.T) {
	for _, passes := range []int{1, 4} {
		t.Run(fmt.Sprint(passes), func(t *testing.T) {
			f := stage(t, scattered(40_000)...)
			load := f.moving(40_000, 400)
			defer load.Stop()
			r := f.takenOver(byBlock(passes, 12_000), "batches > 2", 30_000)
			load.Stop()
			require.Equal(t, int64(40_000), r.Rows)
			f.thousands()
			f.lastLook(r, 40_000)
			require.Positive(t, f.number("select count(*) from t where n > 1000"))
		})
	}
}

// The row addresses of a plan mean nothing once the table has another file: batches refuse, and the table is planned anew. What is done is
// not done again.
func TestATableThatIsRewrittenIsPlannedAnew(t *testing.T) {
	for name, rewrite := range map[string]string{
		"vacuum full": "vacuum full t",
		"cluster":     "cluster t using t_i_idx",
		"alter table": "alter table t alter column i type bigint using i + 0",
	} {
		t.Run(name, func(t *testing.T) {
			f := started(t, scattered(24_000)...)
			j := f.submit(byBlock(2, 6000))
			for n := 1; n <= 2; n++ {
				f.until("some rows are done", func() bool { return f.status(j).Rows > int64(6000*n) })
				f.exec(rewrite)
			}
			f.faster(j)
			r := f.completes(j)
			require.Equal(t, int64(24_000), r.Rows)
			f.thousands()
			f.lastLook(r, 24_000)
			require.Equal(t, 2, f.number("select count(*) from backfleet.events where action = 'relation_rewritten'"))
			require.Positive(t, f.number("select count(*) from backfleet.ranges where state = 'dropped'"))
		})
	}
}

// A table that is emptied and filled anew has another file, and other rows.
func TestATableThatIsTruncatedIsPlannedAnew(t *testing.T) {
	f := started(t, scattered(12_000)...)
	j := f.submit(byBlock(1, 4000))
	f.until("some rows are done", func() bool { return f.status(j).Rows > 2000 })
	f.exec("truncate t")
	f.exec("insert into t (i) select generate_series(1, 9000)")
	f.faster(j)
	f.lastLook(f.completes(j), 9000)
	f.thousands()
	f.exec("truncate t")
	again := f.submit(byBlock(1, 0) + "\n")
	require.Equal(t, j.ID, again.ID, "the same file is the same job")
}

// A snapshot that is held keeps the space of dead rows, so few updates are HOT: what is written moves to the end, and is not met again.
func TestBlockOrderUnderAHeldSnapshot(t *testing.T) {
	f := stage(t, scattered(30_000)...)
	release := f.lock("declare c cursor for select from t")
	f.start()
	r := f.completes(f.submit(byBlock(4, 0)))
	release()
	require.Equal(t, int64(30_000), r.Rows)
	f.thousands()
	f.lastLook(r, 30_000)
}

// A row is quarantined by its key, which it keeps when it moves; a row address is no name for it.
func TestPoisonRowsInBlockOrder(t *testing.T) {
	f := started(t, append(scattered(9000), "alter table t add constraint tame check (n % 1000 = 0 or i % 1500 <> 7)")...)
	j := f.submit(byBlock(4, 0))
	r := f.ends(j, job.CompleteWithErrors)
	require.Len(t, r.Quarantined, 6)
	require.Equal(t, int64(8994), r.Rows)
	require.Zero(t, f.number("select count(*) from t where n <> case when i % 1500 = 7 then 0 else 1 end"))
	require.Equal(t, 6, f.number("select count(*) from backfleet.quarantine q join t on t.id = q.key[1]::uuid where i % 1500 = 7"))
	f.exec("alter table t drop constraint tame")
	f.exec("vacuum full t") // the rows are elsewhere now
	res, err := f.store.Retry(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	require.Equal(t, int64(6), res.Rows)
	require.Empty(t, f.ends(j, job.Complete).Quarantined)
	f.once()
}

// A row that still matches `where` after its batch would be done again at its new place. The batch notices, and nothing of it is kept.
func TestARowThatStaysOpenStopsAJobInBlockOrder(t *testing.T) {
	f := stage(t, scattered(9000)...)
	j := f.submit(byBlock(1, 0))
	f.exec("create function undo() returns trigger language plpgsql as $$begin if new.i = 4321 then new.n := 0; end if; return new; end$$")
	f.exec("create trigger undo before update on t for each row execute function undo()")
	f.start()
	st := f.reaches(j, job.Failed)
	require.Contains(t, st.Reason, "still matches `where` after `set`")
	require.Contains(t, st.Reason, f.text("select id::text from t where i = 4321"))
	require.Zero(t, f.number("select count(*) from t where n > 1"))
	require.Zero(t, f.number(`select (select count(*) from t where n = 1) - (select sum(rows) from backfleet.ranges where kind = 'fill')`),
		"what the failed batch did is not kept; others may still commit theirs")

	f.exec("drop trigger undo on t")
	_, err := f.store.Retry(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	f.completes(j)
	f.once()
}

// A row that moves from where a round has not looked yet to where it has is missed by that round. The last look is one snapshot, and sees it;
// the next round repairs it.
func TestTheLastLookFindsWhatARoundMissed(t *testing.T) {
	f := stage(t, scattered(9000)...)
	j := f.submit(byBlock(1, 0))
	f.exec("update t set n = 1 where i <> 4321") // all but one are done already
	stop := f.run(map[string]func(context.Context) error{"coordinator": f.coordinator("coordinator-1").Run})
	f.until("all is planned", func() bool { return f.status(j).Planned })
	f.exec("update backfleet.ranges set state = 'done', key = hi") // as if the row had been elsewhere each time
	f.until("round 1 begins", func() bool { return f.status(j).Round == 1 })
	f.exec("update backfleet.ranges set state = 'done', key = hi where kind = 'verify'")
	f.until("round 2 begins", func() bool { return f.status(j).Round == 2 })
	require.Equal(t, 1, f.number("select (last_look->>'residual')::int from backfleet.jobs"))
	require.Equal(t, f.text("select id::text from t where i = 4321"), f.text("select last_look #>> '{failing_keys,0,0}' from backfleet.jobs"))
	stop()
	f.start()
	r := f.completes(j)
	require.Equal(t, 2, r.Rounds)
	require.Equal(t, int64(1), r.Repaired)
	f.lastLook(r, 9000)
	f.once()
}

// Leaf partitions are walked each by its own blocks, and the last look sees all of them at once: rows may move between them.
func TestPartitionsInBlockOrder(t *testing.T) {
	f := started(t,
		"create table t (id uuid default gen_random_uuid(), i int not null, part int not null, n int not null default 0, primary key (id, part)) partition by list (part)",
		"create table t0 partition of t for values in (0)", "create table t1 partition of t for values in (1)", "create table t2 partition of t default",
		"insert into t (i, part) select i, i % 2 from generate_series(1, 20000) i", "analyze t")
	load := harness.Writer{Pool: f.admin, Clients: 2, Rate: 200, Ops: []harness.Op{
		harness.SQL("move", 1, "update t set part = 1 - part where i = $1", func(r *rand.Rand) []any { return []any{r.IntN(20_000) + 1} }),
	}}.Start(t.Context())
	defer load.Stop()
	j := f.submit(byBlock(2, 5000))
	f.until("some rows are done", func() bool { return f.status(j).Rows > 5000 })
	f.exec("create table t3 partition of t for values in (3)")
	f.exec("insert into t (i, part) select i, 3 from generate_series(20001, 21000) i")
	f.faster(j)
	f.until("no row is left", func() bool { return f.number("select count(*) from t where n % 1000 = 0") == 0 })
	load.Stop()
	r := f.completes(j)
	f.once()
	f.lastLook(r, 21_000)
	require.Len(t, r.Coverage, 4)
}

// The order is decided at the submit: by block where the rows lie in another order than their keys, and the table is of a size.
func TestRandomKeysAreWalkedByBlock(t *testing.T) {
	f := started(t, scattered(120_000)...)
	const spec = "name: %s\ntable: t\nset: {n: n + 1}\nwhere: n %% 1000 = %d\nlate_rows: ignore\n"
	j := f.submit(fmt.Sprintf(spec, "auto", 0))
	require.Equal(t, job.OrderBlock, j.Order)
	require.Equal(t, 4, j.Passes)
	r := f.completes(j)
	require.Equal(t, int64(120_000), r.Rows)
	f.lastLook(r, 120_000)
	f.once()
	key := f.submit(fmt.Sprintf(spec, "key", 1) + "order: key\n")
	require.Equal(t, job.OrderKey, key.Order)
	require.Equal(t, int64(120_000), f.completes(key).Rows)
}

// text reads one text as the application.
func (f *fleet) text(sql string, args ...any) (s string) {
	f.Helper()
	require.NoError(f, f.admin.QueryRow(f.Context(), sql, args...).Scan(&s), sql)
	return s
}

// A row that a person sets aside is called by its key, and is left alone wherever it lies.
func TestARowIsSkippedInBlockOrder(t *testing.T) {
	f := started(t, scattered(9000)...)
	j := f.submit(byBlock(1, 2000))
	f.until("some rows are done", func() bool { return f.status(j).Rows > 500 })
	_, err := f.store.Pause(t.Context(), j.ID, "ann", "")
	require.NoError(t, err)
	f.until("all is handed back", func() bool { return f.number("select count(*) from backfleet.ranges where state = 'running'") == 0 })
	key := f.text("select id::text from t where n = 0 and i > 8000 limit 1")
	_, err = f.store.SkipRow(t.Context(), j.ID, "ann", "", ranges.Key{key}, "later")
	require.NoError(t, err)
	f.exec("update t set pad = repeat('z', 90) where id = $1", key) // it moves
	_, err = f.store.Resume(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	f.faster(j)
	r := f.ends(j, job.CompleteWithErrors)
	require.Len(t, r.Quarantined, 1)
	require.Equal(t, ranges.Key{key}, r.Quarantined[0].Key)
	require.Equal(t, int64(8999), r.Rows)
	require.Equal(t, 1, f.number("select count(*) from t where n <> 1"))
}
