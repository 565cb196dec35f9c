package fleet

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
	"github.com/backfleet/backfleet/test/harness"
)

// Invariant 8: poison rows are set aside, each alone and with its error; all others are done once. The job is not `complete`
// before they are done too.
func TestPoisonRowsStopNothing(t *testing.T) {
	f := started(t, append(counter(5000),
		"alter table t add constraint tame check (n = 0 or id not in (1, 2500))",
		"create function refuse() returns trigger language plpgsql as $$begin raise exception 'row % is sacred', new.id; end$$",
		"create trigger refuse before update on t for each row when (old.id = 5000) execute function refuse()")...)
	j := f.submit(counterSpec)
	r := f.ends(j, job.CompleteWithErrors)
	require.Contains(t, r.Reason, "3 rows are in quarantine")
	require.Equal(t, int64(4997), r.Rows)
	require.Zero(t, *r.CheckFails, "quarantined rows are excluded from the proof")
	byKey := map[string]job.Quarantined{}
	for _, q := range r.Quarantined {
		byKey[q.Key.String()] = q
	}
	require.Len(t, byKey, 3)
	require.Equal(t, "23514", byKey["1"].SQLState)
	require.Contains(t, byKey["2500"].Error, "tame")
	require.Contains(t, byKey["5000"].Error, "row 5000 is sacred")
	require.Zero(t, f.number("select count(*) from t where n <> case when id in (1, 2500, 5000) then 0 else 1 end"))

	f.exec("alter table t drop constraint tame")
	res, err := f.store.Retry(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	require.Equal(t, int64(2), res.Rows)
	require.Len(t, res.Left, 1)
	require.Equal(t, ranges.Key{"5000"}, res.Left[0].Key)
	f.ends(j, job.CompleteWithErrors)

	f.exec("drop trigger refuse on t")
	_, err = f.store.Retry(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	f.completes(j)
	f.once()
}

// An error that only the commit shows is a row's all the same.
func TestPoisonThatOnlyTheCommitShows(t *testing.T) {
	f := started(t, append(counter(3000),
		"create table owners (id bigint primary key)", "insert into owners values (0), (1)",
		"alter table t add column owner bigint not null default 0 references owners deferrable initially deferred",
		"analyze t")...)
	r := f.ends(f.submit("name: own\ntable: t\nset: {owner: 'case when id in (7, 8, 2999) then 99 else 1 end', n: n + 1}\nlate_rows: ignore\nrows_per_range: 1000"),
		job.CompleteWithErrors)
	require.Len(t, r.Quarantined, 3)
	require.Zero(t, f.number("select count(*) from t where n <> case when id in (7, 8, 2999) then 0 else 1 end"))
}

// A row that the repair of a verification fails on is set aside too, and its neighbours are repaired.
func TestPoisonThatTheRepairMeets(t *testing.T) {
	f := started(t, openTable("alter table t add constraint tame check (open or n < 2 or id <> 50)")...)
	r := f.ends(f.inTheMiddle(openSpec, 10, "update t set open = true where id between 40 and 60"), job.CompleteWithErrors)
	require.Len(t, r.Quarantined, 1)
	require.Equal(t, ranges.Key{"50"}, r.Quarantined[0].Key)
	require.Equal(t, int64(20), r.Repaired)
	require.Equal(t, 1, f.number("select count(*) from t where open"))
}

func TestTooManyPoisonRowsPauseTheJob(t *testing.T) {
	f := started(t, append(counter(5000), "alter table t add constraint tame check (n = 0 or id % 100 <> 7)")...)
	j := f.submit(counterSpec + "on_error: {quarantine_rows: 5}")
	st := f.reaches(j, job.Paused)
	require.Contains(t, st.Reason, "rows in quarantine, on_error.quarantine_rows is 5")
	require.Contains(t, st.Reason, "tame")
	f.until("every range is handed back", func() bool { return len(f.status(j).Workers) == 0 })
	require.Equal(t, int64(5), f.status(j).Quarantine)

	f.exec("alter table t drop constraint tame")
	_, err := f.store.Retry(t.Context(), j.ID, "ann") // does the rows and resumes
	require.NoError(t, err)
	f.completes(j)
	f.once()
}

// Invariant 5: a row that the application has locked is waited for, never skipped.
func TestALockedRowIsWaitedFor(t *testing.T) {
	f := started(t, counter(5000)...)
	release := f.lock("select from t where id = 2500 for update")
	locked := time.Now()
	j := f.submit(counterSpec)
	f.until("all other ranges are done, and three seconds are over", func() bool { return f.done(j) == 4 && time.Since(locked) > 3*time.Second })
	require.Equal(t, job.Running, f.status(j).State)
	release()
	r := f.completes(j)
	require.Positive(t, r.Retries)
	f.once()
}

// Beside an application few slots may work. One that waits for a lock does not count among them, or a row that somebody has locked
// would stop the job.
func TestALockedRowStopsNoOtherRangeBesideAnApplication(t *testing.T) {
	f := stage(t, counter(40_000)...)
	load := harness.Writer{Pool: f.admin, Clients: 4, Rate: 100, Ops: []harness.Op{
		harness.SQL("read", 1, "select n from t where id = $1", func(r *rand.Rand) []any { return []any{r.IntN(40_000) + 1} }),
	}}.Start(t.Context())
	defer load.Stop()
	release := f.lock("select from t where id = 500 for update") // in the first range
	f.start()
	j := f.submit(counterSpec)
	f.until("all other ranges are done", func() bool { return f.done(j) == 39 })
	require.Equal(t, job.Running, f.status(j).State)
	release()
	r := f.completes(j)
	require.Positive(t, r.Retries)
	f.once()
}

// Invariant 1: the first batch waits for a transaction that held a write lock at the freeze, and says so.
func TestTheFirstBatchWaitsForWriters(t *testing.T) {
	f := started(t, counter(3000)...)
	release := f.lock("insert into t (id) values (-1)")
	j := f.submit(counterSpec)
	f.until("the job says what it waits for", func() bool {
		return strings.Contains(f.status(j).Reason, "waits for transactions that held a write lock on the table at the freeze: ")
	})
	require.Equal(t, job.Planning, f.status(j).State)
	require.Zero(t, f.status(j).Batches)
	release()
	require.Empty(t, f.completes(j).Reason)
	f.once()
}

// A column that is gone ends the job with one clear line.
func TestAColumnThatIsGoneFailsTheJob(t *testing.T) {
	f := started(t, counter(3000)...)
	j := f.submit(counterSpec + "throttle: {max_rows_per_second: 500}")
	f.until("it is under way", func() bool { return f.status(j).Rows > 0 })
	f.exec("alter table t rename column n to m")
	st := f.reaches(j, job.Failed)
	require.Contains(t, st.Reason, `column "n"`)
	f.exec("alter table t rename column m to n")
	_, err := f.store.Retry(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	limits := j.Limits
	limits.Throttle.MaxRowsPerSecond = 0
	_, err = f.store.SetLimits(t.Context(), j.ID, "ann", limits, 0)
	require.NoError(t, err)
	f.completes(j)
	f.once()
}
