package faults

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// NATS may die and come back, with its store or with none: the ledger knows what is done, and the coordinator releases anew what
// was lost.
func TestKillNATS(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 12_000})
	f.begin(2)
	f.awaitShare(0.1)
	require.NoError(t, f.nats.Kill())
	still := f.awaitStill() // no fresh budget, no batch
	require.NoError(t, f.nats.Start())
	back := f.awaitMore()

	f.awaitShare(0.4)
	require.NoError(t, f.nats.Kill())
	require.NoError(t, f.nats.DeleteStore())
	require.NoError(t, f.nats.Start())
	anew := f.awaitMore()
	f.unleash()
	f.prove(fmt.Sprintf("without NATS the last batch came after %s; batches %s after its return, %s after its return without a store",
		short(still), short(back), short(anew)))
}

// A coordinator that finds the stream lost while it does not reach the database cannot compare the two then. It does so soon after, and does
// not wait for the next time that is due.
func TestStreamLostWithoutDatabase(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 12_000})
	f.nats = harness.NATS(t)
	f.must("db", "init")
	c := f.linkedCoordinator()
	f.awaitLeader(nil)
	f.worker(1)
	f.worker(1)
	f.write()
	f.must("submit", f.file)
	f.awaitShare(0.1)
	c.db.Cut()
	require.NoError(t, f.nats.Kill())
	require.NoError(t, f.nats.DeleteStore())
	require.NoError(t, f.nats.Start())
	f.await("the coordinator has made the stream anew", func(context.Context) (bool, error) { return len(logged(c.Process, "stream made anew")) > 0, nil })
	require.NoError(t, c.db.Mend())
	mended := time.Now()
	f.awaitRanges(4)
	anew := time.Since(mended)
	require.LessOrEqual(t, anew, 15*time.Second)
	f.unleash()
	f.prove(fmt.Sprintf("four more ranges were done %s after the database was reached again", short(anew)))
}

// awaitStill waits until no row was done for a second, and returns when the last one was.
func (f *fleet) awaitStill() time.Duration {
	f.t.Helper()
	began, last, since := time.Now(), int64(-1), time.Now()
	f.await("the fleet holds still", func(ctx context.Context) (bool, error) {
		var n int64
		if err := f.pool.QueryRow(ctx, "SELECT coalesce(sum(rows), 0) FROM backfleet.ranges WHERE kind = 'fill'").Scan(&n); err != nil {
			return false, err
		}
		if n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > time.Second, nil
	})
	var open bool
	require.NoError(f.t, f.pool.QueryRow(f.t.Context(), "SELECT EXISTS (SELECT 1 FROM backfleet.ranges WHERE state <> 'done')").Scan(&open))
	require.True(f.t, open, "it is still because all is done")
	return since.Sub(began)
}

// awaitMore waits until further rows are done, and returns how long that took.
func (f *fleet) awaitMore() time.Duration {
	f.t.Helper()
	began := time.Now()
	var done int64 = -1
	f.await("batches go on", func(ctx context.Context) (bool, error) {
		var n int64
		if err := f.pool.QueryRow(ctx, "SELECT coalesce(sum(rows), 0) FROM backfleet.ranges WHERE kind = 'fill'").Scan(&n); err != nil {
			return false, err
		}
		if done < 0 {
			done = n
		}
		return n > done, nil
	})
	return time.Since(began)
}
