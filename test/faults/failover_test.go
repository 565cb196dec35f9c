package faults

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// newPair makes a primary with a standby that may take its place, and a fleet whose DSN names both.
func newPair(t *testing.T, s shape, opts ...harness.PostgresOption) (*harness.Cluster, *fleet) {
	t.Helper()
	c := harness.Postgres(t, append([]harness.PostgresOption{harness.WithStandby(1)}, opts...)...)
	dsn := c.FailoverDSN("postgres")
	return c, fleetOn(t, dsn, harness.Pool(t, dsn), s)
}

// failOver kills the primary and promotes its standby.
func failOver(t *testing.T, c *harness.Cluster) (killed time.Time) {
	t.Helper()
	require.NoError(t, c.Kill())
	killed = time.Now()
	require.NoError(t, c.Promote(0))
	return killed
}

// cutOff freezes what sends WAL to the standby: it stays connected and receives nothing, so whatever is committed from now on is lost by
// a failover, at whatever level it was.
func (f *fleet) cutOff() {
	f.t.Helper()
	var pid int
	require.NoError(f.t, f.pool.QueryRow(f.t.Context(), "SELECT pid FROM pg_stat_replication").Scan(&pid))
	require.NoError(f.t, syscall.Kill(pid, syscall.SIGSTOP))
}

// past is what the ledger said on one timeline.
type past struct {
	epoch, rows int64
	revision    int64
	fences      map[int]int64
}

func (f *fleet) past() (p past) {
	f.t.Helper()
	err := f.pool.QueryRow(f.t.Context(), `SELECT (SELECT epoch FROM backfleet.leadership), (SELECT sum(rows)::bigint FROM backfleet.ranges),
		(SELECT revision FROM backfleet.jobs), (SELECT json_object_agg(index, fence) FROM backfleet.ranges)`).Scan(&p.epoch, &p.rows, &p.revision, &p.fences)
	require.NoError(f.t, err)
	return p
}

// proveSnapshot checks that rows and checkpoints stand together at this moment: one snapshot of the table and of the ledger.
func (f *fleet) proveSnapshot() {
	f.t.Helper()
	var table, ledger int64
	err := f.pool.QueryRow(f.t.Context(), `SELECT (SELECT sum(counter)::bigint FROM public.accounts),
		(SELECT sum(rows)::bigint FROM backfleet.ranges)`).Scan(&table, &ledger)
	require.NoError(f.t, err)
	require.Equal(f.t, table, ledger, "the table and the ledger went back to the same moment")
}

// A failover to a standby that is seconds behind takes batches, claims and ends of ranges back together, and they are done again. The
// fence's number comes again on the new timeline, but not its token: a worker that was frozen all the while commits nothing.
func TestFailover(t *testing.T) {
	t.Parallel()
	c, f := newPair(t, shape{rows: 200_000, perRange: perRange, rate: 10_000})
	_, workers := f.begin(2)
	f.must("set", f.job, "throttle.replicas.standby1=ignore") // a standby that is behind shall not hold the fleet
	f.awaitShare(0.2)
	f.cutOff()
	kept := f.past()
	f.awaitShare(0.35)
	var g grip
	for {
		g = f.awaitGrip("w1", perRange)
		require.NoError(t, workers[0].Stop())
		if g.fence > kept.fences[g.index] { // a claim that the standby has never seen
			break
		}
		require.NoError(t, workers[0].Cont())
	}
	var token string
	const row = "SELECT claim_token::text FROM backfleet.ranges WHERE index = $1"
	require.NoError(t, f.pool.QueryRow(t.Context(), row, g.index).Scan(&token))
	before := f.past()
	killed := failOver(t, c)
	promoted := time.Since(killed)
	after := f.past()
	f.proveSnapshot()
	require.Less(t, after.rows, before.rows, "nothing was lost: nothing was tested")
	require.Less(t, after.fences[g.index], g.fence, "the claim was lost")

	f.awaitMore()
	resumed := time.Since(killed)
	require.LessOrEqual(t, resumed, 15*time.Second)
	f.awaitSQL("a new epoch", "SELECT epoch > $1 FROM backfleet.leadership", before.epoch)
	led := time.Since(killed)
	require.LessOrEqual(t, led, 15*time.Second)
	epoch := f.past().epoch
	require.Greater(t, epoch>>32, before.epoch>>32, "an epoch of the lost timeline cannot come again")
	f.awaitSQL("the range of the lost claim is done", "SELECT state = 'done' FROM backfleet.ranges WHERE index = $1", g.index)
	redone := time.Since(killed)
	var again string
	require.NoError(t, f.pool.QueryRow(t.Context(), row, g.index).Scan(&again))
	require.NotEqual(t, token, again)
	fence := f.past().fences[g.index]
	if fence == g.fence { // where the range was claimed once since, as it mostly is
		t.Log("the number alone would not have told the two claims apart")
	}
	const state = "SELECT fence || ' ' || owner || ' ' || rows || ' ' || batches || ' ' || key::text FROM backfleet.ranges WHERE index = $1"
	var left, right string
	require.NoError(t, f.pool.QueryRow(t.Context(), state, g.index).Scan(&left))
	require.NoError(t, workers[0].Cont())
	f.await("the frozen worker gives its range up", func(context.Context) (bool, error) {
		return len(logged(workers[0], "range lost to another claim"))+len(logged(workers[0], "hand-back not committed")) > 0, nil
	})
	f.proveSnapshot()
	f.unleash()
	f.prove(fmt.Sprintf("%d rows and the claim of range %d lost; promoted after %s, batches after %s, led anew after %s, the claimed range done again after %s, epoch %x -> %x",
		before.rows-after.rows, g.index, short(promoted), short(resumed), short(led), short(redone), before.epoch, epoch))
	require.NoError(t, f.pool.QueryRow(t.Context(), state, g.index).Scan(&right))
	require.Equal(t, left, right, "the frozen worker changed nothing of the range")
}

// What a person said shortly before a failover may be lost by it. The fleet then does what the ledger says, not what it heard: it goes
// on after a pause that is no more, and a pause is obeyed whose revision has been there before.
func TestFailoverLosesAWord(t *testing.T) {
	for name, says := range map[string][]string{"pause": {"pause"}, "set": {"set", "throttle.lag.target=4s"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, f := newPair(t, shape{rows: 150_000, perRange: 50_000, rate: 6_000})
			f.begin(2)
			f.awaitShare(0.1)
			f.cutOff()
			f.must("set", f.job, "workers.max=3")
			f.must(append([]string{says[0], f.job}, says[1:]...)...)
			if name == "pause" {
				f.awaitReleased()
			} else {
				f.awaitMore()
			}
			before := f.past()
			killed := failOver(t, c)
			require.Less(t, f.past().revision, before.revision, "nothing was lost: nothing was tested")
			f.awaitMore()
			resumed := time.Since(killed)
			require.LessOrEqual(t, resumed, 15*time.Second)
			f.must("pause", f.job)
			paused := f.awaitStill() // a claim of the time before may stand until its lease runs out
			require.LessOrEqual(t, paused, reactsIn)
			f.must("resume", f.job)
			f.unleash()
			f.prove(fmt.Sprintf("batches %s after the kill; paused anew in %s", short(resumed), short(paused)))
		})
	}
}

// A job is complete only when the standby has all of it, so no failover takes `complete` back.
func TestFailoverBeforeComplete(t *testing.T) {
	t.Parallel()
	c, f := newPair(t, shape{rows: 60_000, perRange: perRange, rate: 6_000})
	f.begin(2)
	f.must("set", f.job, "throttle.lag.hard=5m", "throttle.lag.soft=3m", "throttle.lag.target=60s") // a standby that is behind holds nothing
	f.awaitShare(0.9)
	f.cutOff()
	f.awaitReason("waits until these replicas have flushed it: standby1", f.api())
	require.Equal(t, job.Verifying, f.status().State)
	before := f.past()
	killed := failOver(t, c)
	after := f.past()
	require.Less(t, after.rows, before.rows, "nothing was lost: nothing was tested")
	f.awaitMore()
	resumed := time.Since(killed)
	require.LessOrEqual(t, resumed, 15*time.Second)
	f.prove(fmt.Sprintf("it was verified and waited for the standby; %d rows lost by the failover were done again, batches %s after the kill",
		before.rows-after.rows, short(resumed)))
}
