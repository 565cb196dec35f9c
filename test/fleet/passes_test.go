package fleet

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// inPasses is the counter's job in strided order: ranges of one chunk, of several batches a pass.
// The slots work side by side as if nobody else were there: that is what these tests are about.
func inPasses(passes, rate int) string {
	return fmt.Sprintf(`
name: count
table: t
set: {n: n + 1}
check: n %% 1000 = 1
late_rows: ignore
rows_per_range: 4000
batch: {passes: %d, max_rows: 150}
throttle: {max_rows_per_second: %d, signals: {foreground: off}}
`, passes, rate)
}

// midChunk counts the open ranges that stand within a strided chunk.
func (f *fleet) midChunk() int {
	return f.number("select count(*) from backfleet.ranges where state in ('queued', 'released', 'running') and k > 1")
}

// Invariants 1 and 2: strided order does each row exactly once too, beside an application that writes, while leases run out under
// workers that go on: each range is taken over in mid-chunk, again and again, and who had it before commits nothing more.
func TestTakeoversInMidChunk(t *testing.T) {
	f := stage(t, counter(40_000)...)
	load := harness.Writer{Pool: f.admin, Clients: 2, Rate: 300, Ops: []harness.Op{
		harness.SQL("update", 1, "update t set n = n + 1000 where id = $1", func(r *rand.Rand) []any { return []any{r.IntN(40_000) + 1} }),
	}}.Start(t.Context())
	defer load.Stop()
	r := f.takenOver(inPasses(4, 12_000), "k > 1 and pass between 1 and 2", 30_000)
	load.Stop()
	require.Equal(t, int64(40_000), r.Rows)
	f.thousands()
}

// Invariant 4: ranges are handed back in mid-chunk and gone on with there, by workers that do not know the chunk.
func TestWorkersThatComeAndGoInMidChunk(t *testing.T) {
	f := stage(t, counter(24_000)...)
	j := f.submit(inPasses(4, 12_000))
	caught := 0
	for n := 1; f.done(j) < 6; n++ {
		stop := f.start()
		f.until("some more rows are done, or the job is", func() bool { return f.status(j).Rows > int64(4500*n) || f.status(j).State.Ended() })
		stop()
		require.Zero(t, f.number("select count(*) from backfleet.ranges where state = 'running'"), "everything is handed back")
		caught += f.midChunk()
	}
	require.Positive(t, caught)
	f.start()
	require.Equal(t, int64(24_000), f.completes(j).Rows)
	f.once()
}

// `set` changes the order while the job runs; it changes between chunks only, so every row is still done once.
func TestTheOrderChangesBetweenChunks(t *testing.T) {
	f := started(t, counter(40_000)...)
	j := f.submit(inPasses(1, 10_000))
	seen := func(k int) func() bool {
		return func() bool {
			return f.number("select count(*) from backfleet.ranges where state = 'running' and k = $1", k) > 0 || f.done(j) == 10
		}
	}
	limits := j.Limits
	for _, passes := range []int{8, 2, 1, 4} {
		limits.Batch.Passes = fmt.Sprint(passes)
		_, err := f.store.SetLimits(t.Context(), j.ID, "ann", limits, 0)
		require.NoError(t, err)
		f.until(fmt.Sprintf("a chunk is walked in %d passes", passes), seen(passes))
	}
	limits.Throttle.MaxRowsPerSecond = 0
	_, err := f.store.SetLimits(t.Context(), j.ID, "ann", limits, 0)
	require.NoError(t, err)
	require.Equal(t, int64(40_000), f.completes(j).Rows)
	f.once()
}

// Poison rows are isolated within their pass.
func TestPoisonRowsInPasses(t *testing.T) {
	f := started(t, append(counter(9000), "alter table t add constraint tame check (n = 0 or id % 1500 <> 7)")...)
	r := f.ends(f.submit(inPasses(4, 0)), job.CompleteWithErrors)
	require.Len(t, r.Quarantined, 6)
	require.Equal(t, int64(8994), r.Rows)
	require.Zero(t, f.number("select count(*) from t where n <> case when id % 1500 = 7 then 0 else 1 end"))
}

// `auto` takes strided order where updates can be HOT and indexes would be written otherwise, and says so in the plan.
func TestTheTableDecidesOnItsOrder(t *testing.T) {
	f := stage(t, append(counter(60_000), "alter table t add column v text, add column w text", "update t set v = 'v' || id",
		"create index on t (v)", "vacuum full t", "analyze t")...)
	strided := f.submit("name: hot\ntable: t\nset: {n: n + 1}\nlate_rows: ignore\nthrottle: {max_rows_per_second: 20000}")
	plain := f.submit("name: cold\ntable: t\nset: {v: \"v || 'x'\"}\nlate_rows: ignore\nthrottle: {max_rows_per_second: 20000}")
	require.Equal(t, [2]int{8, 1}, [2]int{strided.Passes, plain.Passes})
	f.start()
	f.until("a chunk is walked in eight passes", func() bool {
		return f.number("select count(*) from backfleet.ranges where job_id = $1 and k = 8", strided.ID) > 0
	})
	f.completes(strided)
	f.completes(plain)
	require.Zero(t, f.number("select count(*) from backfleet.ranges where job_id = $1 and k > 1", plain.ID))
	require.Zero(t, f.number("select count(*) from t where n <> 1 or v <> 'v' || id || 'x'"))
}
