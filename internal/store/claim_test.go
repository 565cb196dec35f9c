package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// Invariant 2: a claim succeeds only where no unexpired lease stands, by the database's clock, and else tells the time that remains.
func TestAnUnexpiredLeaseRefusesAClaim(t *testing.T) {
	sc := begun(t, 10, 10)
	first := sc.claim(sc.refs[0], "worker-1")
	require.Equal(t, int64(1), first.Fence)
	require.Equal(t, 1, first.Attempts)
	require.Equal(t, sc.relation, first.Relation)

	_, err := sc.s.Claim(t.Context(), sc.refs[0], "worker-2", "reply", nil)
	var busy *job.BusyError
	require.ErrorAs(t, err, &busy)
	require.Greater(t, busy.Remaining, 5*time.Second)
	require.LessOrEqual(t, busy.Remaining, 10*time.Second)

	sc.expire(first)
	second := sc.claim(sc.refs[0], "worker-2")
	require.Equal(t, int64(2), second.Fence)
	require.Equal(t, 2, second.Attempts)
	require.ErrorIs(t, sc.s.Renew(t.Context(), first), job.ErrFenced)
	require.NoError(t, sc.s.Renew(t.Context(), second))
}

func TestRenewingKeepsARangeForTenMoreSeconds(t *testing.T) {
	sc := begun(t, 10, 10)
	c := sc.claim(sc.refs[0], "worker-1")
	sc.expire(c)
	require.NoError(t, sc.s.Renew(t.Context(), c))
	require.Equal(t, 1, sc.one("select count(*) from backfleet.ranges where lease_until between clock_timestamp() + interval '9 seconds' and clock_timestamp() + interval '10 seconds'"))
	expired, err := sc.l.Sweep(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.Empty(t, expired)
}

// Invariant 2: an unknown commit is settled by a claim of one's own range, whether the commit came about or not.
func TestAnUnknownCommitIsSettledByANewClaim(t *testing.T) {
	sc := begun(t, 30, 10)
	again := func(prior job.Claim) (job.Claim, error) {
		return sc.s.Claim(t.Context(), prior.Ref, prior.Owner, "reply", &prior)
	}

	lost := sc.claim(sc.refs[0], "worker-1")
	next, err := again(lost)
	require.NoError(t, err, "its own lease stands in nobody's way")
	require.Equal(t, lost.Checkpoint, next.Checkpoint, "the commit was lost")
	require.Equal(t, lost.Fence+1, next.Fence)
	require.Equal(t, lost.Attempts, next.Attempts, "who claims anew is alive: it is no attempt that somebody died of")

	sc.fill(to(next, key(4), false))
	after, err := again(next)
	require.NoError(t, err)
	require.Equal(t, key(4), after.Checkpoint.Key, "the commit came about")

	_, err = again(next)
	require.ErrorIs(t, err, job.ErrFenced, "a claim before the last is nobody's")

	last := sc.claim(sc.refs[1], "worker-1")
	sc.finish(last)
	_, err = again(last)
	require.ErrorIs(t, err, job.ErrStale, "the commit was the range's last: acknowledge the message")

	gone := sc.claim(sc.refs[2], "worker-1")
	sc.expire(gone)
	sc.claim(sc.refs[2], "worker-2")
	_, err = again(gone)
	require.ErrorIs(t, err, job.ErrFenced, "another has it: leave the message alone")
}

func TestAnUnknownCommitOfASweptRangeIsSettledToo(t *testing.T) {
	sc := begun(t, 10, 10)
	c := sc.claim(sc.refs[0], "worker-1")
	sc.expire(c)
	_, err := sc.l.Sweep(t.Context(), sc.j.ID)
	require.NoError(t, err)
	next, err := sc.s.Claim(t.Context(), c.Ref, "worker-1", "reply", &c)
	require.NoError(t, err)
	require.Equal(t, c.Fence+1, next.Fence)
	b, _ := sc.fill(to(c, key(10), true))
	require.Equal(t, fenced, b)
}

// Invariant 4: a stale message, a duplicate and one of a range that is done are no-ops.
func TestAStaleMessageClaimsNothing(t *testing.T) {
	sc := begun(t, 20, 10)
	for _, generation := range []int{0, 2} {
		ref := sc.refs[0]
		ref.Generation = generation
		_, err := sc.s.Claim(t.Context(), ref, "worker-1", "reply", nil)
		require.ErrorIs(t, err, job.ErrStale)
	}
	unknown := sc.refs[0]
	unknown.Index = 99
	_, err := sc.s.Claim(t.Context(), unknown, "worker-1", "reply", nil)
	require.ErrorIs(t, err, job.ErrStale)
	unknown = sc.refs[0]
	unknown.Job = "01JD8Z7Q4T0000000000000001"
	_, err = sc.s.Claim(t.Context(), unknown, "worker-1", "reply", nil)
	require.ErrorIs(t, err, job.ErrStale)

	sc.finish(sc.claim(sc.refs[0], "worker-1"))
	_, err = sc.s.Claim(t.Context(), sc.refs[0], "worker-2", "reply", nil)
	require.ErrorIs(t, err, job.ErrStale)
	require.Equal(t, "done", sc.rangeState(sc.refs[0]))
	require.Equal(t, 10, sc.one("select sum(n) from t"))
}

// Invariant 4: a message that comes while its job may not run goes back to the ledger, and goes out anew under another generation.
func TestAMessageOfAPausedJobGoesBackToTheLedger(t *testing.T) {
	sc := begun(t, 10, 10)
	_, err := sc.s.Pause(t.Context(), sc.j.ID, "ann", "lunch")
	require.NoError(t, err)
	_, err = sc.s.Claim(t.Context(), sc.refs[0], "worker-1", "reply", nil)
	require.ErrorIs(t, err, job.ErrNotRunnable)
	require.NoError(t, sc.s.GiveBack(t.Context(), sc.refs[0]))
	require.Equal(t, "queued", sc.rangeState(sc.refs[0]))

	_, err = sc.s.Resume(t.Context(), sc.j.ID, "ann")
	require.NoError(t, err)
	_, err = sc.s.Claim(t.Context(), sc.refs[0], "worker-1", "reply", nil)
	require.ErrorIs(t, err, job.ErrStale, "what was given back is not delivered")
	refs, err := sc.l.Release(t.Context(), sc.j, 10)
	require.NoError(t, err)
	require.Equal(t, 2, refs[0].Generation)
	sc.finish(sc.claim(refs[0], "worker-1"))
}

func TestAPausedJobStopsAClaimAfterAnUnknownCommit(t *testing.T) {
	sc := begun(t, 10, 10)
	c := sc.claim(sc.refs[0], "worker-1")
	_, err := sc.s.Pause(t.Context(), sc.j.ID, "ann", "")
	require.NoError(t, err)
	_, err = sc.s.Claim(t.Context(), c.Ref, "worker-1", "reply", &c)
	require.ErrorIs(t, err, job.ErrNotRunnable)
	require.False(t, sc.handBack(c, true), "a stopped job's message is acknowledged, whatever the worker asked")
	require.Equal(t, "queued", sc.rangeState(c.Ref))
}

// Invariant 4: a hand-back keeps the checkpoint. To `queued` it needs a new message, to `released` the same one comes again.
func TestARangeIsHandedBackAtItsCheckpoint(t *testing.T) {
	for _, redeliver := range []bool{true, false} {
		sc := begun(t, 10, 10)
		_, c := sc.fill(to(sc.claim(sc.refs[0], "worker-1"), key(4), false))
		require.Equal(t, redeliver, sc.handBack(c, redeliver))
		sc.handBackRefused(c, redeliver)
		b, _ := sc.fill(to(c, key(10), true))
		require.Equal(t, fenced, b, "what was handed back is nobody's")

		ref := sc.refs[0]
		if !redeliver {
			_, err := sc.s.Claim(t.Context(), ref, "worker-2", "reply", nil)
			require.ErrorIs(t, err, job.ErrStale)
			refs, err := sc.l.Release(t.Context(), sc.j, 10)
			require.NoError(t, err)
			require.Equal(t, ref.Generation+1, refs[0].Generation)
			ref = refs[0]
		}
		next := sc.claim(ref, "worker-2")
		require.Equal(t, key(4), next.Checkpoint.Key)
		require.Equal(t, 1, next.Attempts, "a hand-back is no failure")
		sc.finish(next)
		require.Equal(t, 10, sc.one("select count(*) from t where n = 1"))
	}
}

func TestTheSweepTakesBackOnlyWhatRanOut(t *testing.T) {
	sc := begun(t, 20, 10)
	dead, alive := sc.claim(sc.refs[0], "dead"), sc.claim(sc.refs[1], "alive")
	_, dead = sc.fill(to(dead, key(4), false))
	sc.expire(dead)
	expired, err := sc.l.Sweep(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.Equal(t, []Expired{{Index: 0, Generation: dead.Ref.Generation, Owner: "dead", ReplySubject: "reply.dead"}}, expired)
	require.Equal(t, "released", sc.rangeState(dead.Ref), "the message in the stream is still good")

	b, _ := sc.fill(to(dead, key(10), false))
	require.Equal(t, fenced, b, "a zombie commits nothing")
	b, _ = sc.fill(to(alive, key(20), true))
	require.Equal(t, int64(1), b.moved)
	next := sc.claim(dead.Ref, "successor")
	require.Equal(t, key(4), next.Checkpoint.Key)
	sc.finish(next)
	require.Equal(t, 20, sc.one("select count(*) from t where n = 1"))
}

// Invariant 3: what is released and lost goes out anew; what was claimed meanwhile stays.
func TestUnreleaseTakesBackWhatNobodyHas(t *testing.T) {
	sc := begun(t, 20, 10)
	claimed := sc.claim(sc.refs[1], "worker-1")
	released, err := sc.s.ReleasedFor(t.Context(), sc.j, 0)
	require.NoError(t, err)
	require.Equal(t, sc.refs[:1], released)
	n, err := sc.l.Unrelease(t.Context(), sc.j.ID, sc.refs)
	require.NoError(t, err)
	require.Equal(t, int64(1), n)
	require.Equal(t, "queued", sc.rangeState(sc.refs[0]))
	require.Equal(t, "running", sc.rangeState(claimed.Ref))
	refs, err := sc.l.Release(t.Context(), sc.j, 10)
	require.NoError(t, err)
	n, err = sc.l.Unrelease(t.Context(), sc.j.ID, sc.refs)
	require.NoError(t, err)
	require.Zero(t, n, "an older generation is not what is released now")
	require.Equal(t, 2, refs[0].Generation)
}

// The heart of the ledger's cost: the one row that every batch updates stays HOT.
func TestAThousandBatchesUpdateTheirRangeRowInPlace(t *testing.T) {
	const batches = 1000
	sc := begun(t, batches, batches)
	c := sc.claim(sc.refs[0], "worker-1")
	for n := 2; n <= batches; n++ {
		var b batch
		b, c = sc.fill(to(c, key(n), false))
		require.Equal(t, int64(1), b.rows)
	}
	sc.finish(c)
	var updates, hot int
	require.Eventually(t, func() bool {
		sc.exec("select pg_stat_clear_snapshot()")
		err := sc.s.pool.QueryRow(t.Context(), "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relid = 'backfleet.ranges'::regclass").Scan(&updates, &hot)
		return err == nil && updates >= batches
	}, 30*time.Second, 20*time.Millisecond)
	require.Greater(t, float64(hot), 0.9*float64(updates))
	require.Equal(t, batches, sc.one("select rows from backfleet.ranges"))
}
