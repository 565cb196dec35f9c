package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/backfleet/backfleet/internal/job"
)

// Invariant 4: a pause hands every range back, at its checkpoint; a resume goes on from there.
func TestPauseAndResume(t *testing.T) {
	f := started(t, counter(20_000)...)
	j := f.submit(counterSpec + "throttle: {max_rows_per_second: 8000}")
	f.until("it is under way", func() bool { return f.status(j).Rows > 2000 })
	_, err := f.store.Pause(t.Context(), j.ID, "ann", "lunch")
	require.NoError(t, err)
	f.until("every range is handed back", func() bool { return len(f.status(j).Workers) == 0 })
	require.Equal(t, "lunch", f.status(j).Reason)
	rows := f.status(j).Rows
	require.Less(t, rows, int64(20_000))
	f.still("no row is written while paused", time.Second, func() bool { return f.status(j).Rows == rows })
	require.Equal(t, int(rows), f.number("select sum(n) from t"))

	_, err = f.store.Resume(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	require.Equal(t, int64(20_000), f.completes(j).Rows)
	f.once()
}

func TestCancelEndsAJobWhereItStands(t *testing.T) {
	f := started(t, counter(20_000)...)
	j := f.submit(counterSpec + "throttle: {max_rows_per_second: 5000}")
	f.until("it is under way", func() bool { return f.status(j).Rows > 1000 })
	_, err := f.store.Cancel(t.Context(), j.ID, "ann", "wrong table")
	require.NoError(t, err)
	f.until("nobody carries a range of it", func() bool { return len(f.status(j).Workers) == 0 })
	f.until("the stream holds nothing of it", func() bool {
		left, err := f.conn.Inventory(t.Context(), "main", j.Name)
		return err == nil && len(left) == 0
	})
	rows := f.status(j).Rows
	require.Less(t, rows, int64(20_000))
	f.still("no row is written any more", 500*time.Millisecond, func() bool { return f.number("select sum(n) from t") == int(rows) })
	require.Equal(t, job.Cancelled, f.status(j).State)
}

// A range that is handed back when its job has ended already is nobody's loss: its message went with the job.
func TestAHandBackAfterACancelWarnsOfNothing(t *testing.T) {
	f := stage(t, counter(20_000)...)
	core, logs := observer.New(zap.DebugLevel)
	f.log = zap.New(core)
	f.start()
	j := f.submit(counterSpec)
	f.until("it is under way", func() bool { return f.status(j).Rows > 0 })
	release := f.lock("select from t for update") // every slot meets it before the job ends
	f.until("a batch waits", func() bool {
		return f.number("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'backfleet count' and wait_event_type = 'Lock'") > 0
	})
	_, err := f.store.Cancel(t.Context(), j.ID, "ann", "wrong table")
	require.NoError(t, err)
	f.until("the stream holds nothing of it", func() bool {
		now, err := f.store.Get(t.Context(), j.ID)
		return err == nil && now.StreamClear
	})
	f.until("acks that found no consumer are given up", func() bool { return logs.FilterMessage("ack given up; the job has ended").Len() > 0 })
	release()
	f.until("nobody carries a range of it", func() bool { return len(f.status(j).Workers) == 0 })
	require.Zero(t, logs.FilterMessageSnippet("ack lost").Len())
}

// While it is not known which replicas must be waited for, no budget is given: the job says so.
func TestReplicasThatCannotBeReadAreNamedAsTheCause(t *testing.T) {
	f := stage(t, counter(3000)...)
	f.exec("alter table backfleet.replicas rename to hidden")
	c := f.coordinator("coordinator-1")
	f.run(map[string]func(context.Context) error{"coordinator": c.Run, "worker": f.worker("worker-1").Run})
	j := f.submit(counterSpec)
	var why []job.Reason
	f.until("something limits it", func() bool {
		live, ok := c.Live("main", j.ID)
		why = live.Limiting
		return ok && len(why) > 0
	})
	require.True(t, why[0].Hard)
	require.Contains(t, why[0].Text, `the replicas to wait for cannot be read: relation "backfleet.replicas" does not exist`)
	require.Zero(t, f.status(j).Batches)
	f.exec("alter table backfleet.hidden rename to replicas")
	f.completes(j)
	f.once()
}

// Invariant 7: the fleet keeps to its cap, within a tenth, over five seconds; `set` changes it while the job runs. Each of four slots
// may be one batch, a quarter of a second of its own rate at most, ahead or behind when the count is taken: that is a twentieth.
func TestTheCapIsKeptAndChanged(t *testing.T) {
	f := started(t, counter(60_000)...)
	const limit = 3000
	j := f.submit(counterSpec + "throttle: {max_rows_per_second: 3000, signals: {probe: off, active_backends: off}}") // others use this server
	f.until("the pace has settled", func() bool { return f.status(j).Rows > 2*limit })
	began, rows := time.Now(), f.status(j).Rows
	f.until("five seconds are over", func() bool { return time.Since(began) > 5*time.Second })
	rate := float64(f.status(j).Rows-rows) / time.Since(began).Seconds()
	require.InEpsilon(t, limit, rate, 0.1)

	limits := j.Limits
	limits.Throttle.MaxRowsPerSecond = 0
	limits.Workers.Max = 2
	_, err := f.store.SetLimits(t.Context(), j.ID, "ann", limits, 0)
	require.NoError(t, err)
	f.until("no more than two slots carry it", func() bool { return len(f.status(j).Workers) <= 2 })
	began = time.Now()
	f.completes(j)
	require.Less(t, time.Since(began), 10*time.Second, "the cap is gone")
	f.once()
}

// The brake that needs none of the fleet's processes stops all batches of the database.
func TestTheBrakeStopsTheFleet(t *testing.T) {
	f := started(t, counter(20_000)...)
	j := f.submit(counterSpec + "throttle: {max_rows_per_second: 8000}")
	f.until("it is under way", func() bool { return f.status(j).Rows > 1000 })
	f.exec("select backfleet.hold('1 hour')")
	// A batch that saw no brake may still be under way; each is over within its lock_timeout and statement_timeout.
	f.until("no batch is under way", func() bool {
		return f.number("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'backfleet count' and state <> 'idle'") == 0
	})
	batches := f.status(j).Batches
	f.still("no batch begins", time.Second, func() bool { return f.status(j).Batches == batches })
	require.Equal(t, job.Running, f.status(j).State)
	f.exec("select backfleet.release()")
	f.completes(j)
	f.once()
}
