package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// Invariant 2: a claim that raises the fence while the old worker's statement waits for the ledger row makes that statement touch
// nothing.
func TestABatchThatWaitedBehindAClaimTouchesNothing(t *testing.T) {
	sc := begun(t, 10, 10)
	zombie := sc.claim(sc.refs[0], "zombie")
	sc.expire(zombie)

	claiming := sc.begin()
	var none any
	require.NoError(t, claiming.QueryRow(t.Context(), q("claim"), sc.j.ID, 0, 1, "successor", "reply", -1, "00000000-0000-0000-0000-000000000000").
		Scan(&none, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil))
	late := start(func() (batch, error) { return sc.fillOn(sc.s.pool, to(zombie, key(10), true)) })
	sc.waitsForLock()
	require.NoError(t, claiming.Commit(t.Context()))

	got := <-late
	require.NoError(t, got.err)
	require.Equal(t, fenced, got.value)
	require.Zero(t, sc.one("select sum(n) from t"))
	require.Equal(t, "running", sc.rangeState(sc.refs[0]))
}

// Invariant 2: a batch in flight makes the claimer wait, and then see the checkpoint it committed.
func TestAClaimWaitsForTheBatchInFlight(t *testing.T) {
	sc := begun(t, 10, 10)
	first := sc.claim(sc.refs[0], "worker-1")
	inFlight := sc.begin()
	b, err := sc.fillOn(inFlight, to(first, key(6), false))
	require.NoError(t, err)
	require.Equal(t, batch{moved: 1, rows: 5}, b)

	claiming := start(func() (job.Claim, error) { return sc.s.Claim(t.Context(), sc.refs[0], "worker-1", "reply", &first) })
	sc.waitsForLock()
	require.NoError(t, inFlight.Commit(t.Context()))

	second := <-claiming
	require.NoError(t, second.err)
	require.Equal(t, key(6), second.value.Checkpoint.Key)
	require.Equal(t, first.Fence+1, second.value.Fence)
	require.NotEqual(t, first.Token, second.value.Token)

	b, _ = sc.fill(to(first, key(6), false))
	require.Equal(t, fenced, b, "the claim before is worth nothing any more")
	sc.finish(second.value)
	require.Equal(t, 10, sc.one("select count(*) from t where n = 1"))
}

// Invariant 2: a batch that commits while another waits to take its range over renews the lease, and the other is refused.
func TestABatchInFlightKeepsItsRange(t *testing.T) {
	sc := begun(t, 10, 10)
	slow := sc.claim(sc.refs[0], "slow")
	sc.expire(slow)
	inFlight := sc.begin()
	_, err := sc.fillOn(inFlight, to(slow, key(6), false))
	require.NoError(t, err)

	claiming := start(func() (job.Claim, error) { return sc.s.Claim(t.Context(), sc.refs[0], "eager", "reply", nil) })
	sc.waitsForLock()
	require.NoError(t, inFlight.Commit(t.Context()))
	var busy *job.BusyError
	require.ErrorAs(t, (<-claiming).err, &busy)

	slow.Checkpoint = slow.Checkpoint.Advance(key(6))
	sc.finish(slow)
	require.Equal(t, 10, sc.one("select count(*) from t where n = 1"))
}

// A row that the application changes meanwhile is updated on its newest version: + 1 on top of + 1000.
func TestARowChangedMeanwhileIsUpdatedOnItsNewestVersion(t *testing.T) {
	sc := begun(t, 10, 10)
	c := sc.claim(sc.refs[0], "worker-1")
	application := sc.begin()
	_, err := application.Exec(t.Context(), "update t set n = n + 1000 where id = 5")
	require.NoError(t, err)

	filling := start(func() (batch, error) { return sc.fillOn(sc.s.pool, to(c, key(10), true)) })
	sc.waitsForLock()
	require.NoError(t, application.Commit(t.Context()))
	got := <-filling
	require.NoError(t, got.err)
	require.Equal(t, batch{moved: 1, rows: 10}, got.value)
	require.Equal(t, 1001, sc.one("select n from t where id = 5"))
	require.Equal(t, 10, sc.one("select rows from backfleet.ranges"))
}

// Invariant 2: the fence compares fence, token and checkpoint, not the row's version: a lease renewed meanwhile does no harm.
func TestALeaseRenewedMeanwhileFencesNobody(t *testing.T) {
	sc := begun(t, 10, 10)
	c := sc.claim(sc.refs[0], "worker-1")
	renewing := sc.begin()
	_, err := renewing.Exec(t.Context(), q("renew"), c.Ref.Job, c.Ref.Index, c.Fence, c.Token)
	require.NoError(t, err)

	filling := start(func() (batch, error) { return sc.fillOn(sc.s.pool, to(c, key(10), true)) })
	sc.waitsForLock()
	require.NoError(t, renewing.Commit(t.Context()))
	got := <-filling
	require.NoError(t, got.err)
	require.Equal(t, batch{moved: 1, rows: 10}, got.value)
}

// Invariant 1: a checkpoint moves only from the one that stands: a batch sent twice acts once.
func TestABatchSentTwiceActsOnce(t *testing.T) {
	sc := begun(t, 10, 10)
	c := sc.claim(sc.refs[0], "worker-1")
	step := to(c, key(6), false)
	b, next := sc.fill(step)
	require.Equal(t, batch{moved: 1, rows: 5}, b)
	b, _ = sc.fill(step)
	require.Equal(t, fenced, b)

	earlier := next
	earlier.Checkpoint.Key = key(3)
	b, _ = sc.fill(to(earlier, key(10), true))
	require.Equal(t, fenced, b, "a checkpoint that never stood")
	chunk := next
	chunk.Checkpoint.K = 4
	b, _ = sc.fill(to(chunk, key(10), true))
	require.Equal(t, fenced, b, "the checkpoint is compared whole")
	require.Equal(t, 5, sc.one("select sum(n) from t"))
}

// Invariant 2: a failover may take the fence back to the same number; the token still tells the claims apart.
func TestAFenceTakenBackStillFences(t *testing.T) {
	sc := begun(t, 10, 10)
	before := sc.claim(sc.refs[0], "worker-1")
	sc.exec("update backfleet.ranges set fence = fence - 1, state = 'released', lease_until = null") // as if the claim never was
	after := sc.claim(sc.refs[0], "worker-2")
	require.Equal(t, before.Fence, after.Fence)
	b, _ := sc.fill(to(before, key(10), true))
	require.Equal(t, fenced, b)
	require.ErrorIs(t, sc.s.Renew(t.Context(), before), job.ErrFenced)
	sc.handBackRefused(before, true)
	require.ErrorIs(t, sc.s.FailRange(t.Context(), before, "x"), job.ErrFenced)
	require.ErrorIs(t, sc.s.NoteError(t.Context(), before, "x"), job.ErrFenced)
	require.ErrorIs(t, sc.s.NoteFailing(t.Context(), before, key(1)), job.ErrFenced)
	sc.finish(after)
}

// Invariant 1: a range that a person skipped, or whose leaf is gone, moves no more.
func TestARangeThatWasTakenOutMovesNoMore(t *testing.T) {
	sc := begun(t, 10, 5)
	skipped, dropped := sc.claim(sc.refs[0], "worker-1"), sc.claim(sc.refs[1], "worker-2")
	_, err := sc.s.SkipRange(t.Context(), sc.j.ID, "ann", 0, "broken")
	require.NoError(t, err)
	require.NoError(t, sc.l.DropRelation(t.Context(), sc.j.ID, Relation{OID: sc.relation, Name: "public.t"}))
	for _, c := range []job.Claim{skipped, dropped} {
		b, _ := sc.fill(to(c, c.Span.Hi, true))
		require.Equal(t, fenced, b)
	}
	require.Zero(t, sc.one("select sum(n) from t"))
}

// pass is the step of a claim's checkpoint over what is left of a pass, or up to a key within it.
func pass(c job.Claim, at ranges.Checkpoint, next ranges.Key) statement.Step {
	s := statement.Step{Claim: c, Span: at.Left(c.Span), Pass: at.Turn(), Keys: 1}
	if next == nil {
		s.To, s.Last = at.EndPass(c.Span)
		return s
	}
	s.Span.Hi, s.Span.HiClosed, s.To = next, false, at.Advance(next)
	return s
}

// Invariants 1 and 2: a chunk's first batch stores its ends and its K with the rows, or neither; a takeover in mid-chunk goes on with
// them; and the tuple is compared whole, so no batch of another pass, chunk or order commits.
func TestAChunkIsFencedWhole(t *testing.T) {
	sc := begun(t, 100, 100)
	c := sc.claim(sc.refs[0], "worker-1")
	chunk := c.Checkpoint.Open(key(61), 2)
	rolledBack := sc.begin()
	b, err := sc.fillOn(rolledBack, pass(c, chunk, key(31)))
	require.NoError(t, err)
	require.Equal(t, int64(1), b.moved)
	require.NoError(t, rolledBack.Rollback(t.Context()))
	require.Equal(t, 1, sc.one("select count(*) from backfleet.ranges where (chunk_lo, chunk_hi, k, pass, key) is not distinct from (lo, hi, 1, 0, lo)"))

	first, next := sc.fill(pass(c, chunk, key(31)))
	require.Equal(t, 1, sc.one("select count(*) from backfleet.ranges where chunk_lo is null and chunk_hi = '{61}' and k = 2 and pass = 0 and key = '{31}'"))
	require.Less(t, first.rows, int64(30))
	again, _ := sc.fill(pass(c, chunk, key(31)))
	require.Equal(t, fenced, again, "the chunk was opened already")
	for name, wrong := range map[string]func(*ranges.Checkpoint){
		"pass": func(c *ranges.Checkpoint) { c.Pass = 1 }, "K": func(c *ranges.Checkpoint) { c.K = 4 },
		"end": func(c *ranges.Checkpoint) { c.ChunkHi = key(62) }, "start": func(c *ranges.Checkpoint) { c.ChunkLo = key(1) },
	} {
		other := next
		wrong(&other.Checkpoint)
		got, _ := sc.fill(pass(other, other.Checkpoint, nil))
		require.Equal(t, fenced, got, name)
	}

	sc.expire(next)
	heir := sc.claim(sc.refs[0], "worker-2")
	require.Equal(t, next.Checkpoint, heir.Checkpoint)
	late, _ := sc.fill(pass(next, next.Checkpoint, nil))
	require.Equal(t, fenced, late, "a zombie's batch of the same pass")
	_, heir = sc.fill(pass(heir, heir.Checkpoint, nil))
	require.Equal(t, ranges.Pass{K: 2, N: 1}, heir.Checkpoint.Turn())
	_, heir = sc.fill(pass(heir, heir.Checkpoint, nil))
	require.Equal(t, ranges.Checkpoint{ChunkLo: key(61), ChunkHi: key(100), K: 1, Key: key(61)}, heir.Checkpoint)
	require.Equal(t, 60, sc.one("select count(*) from t where n = 1"))
	rest := heir.Checkpoint.Open(heir.Span.Hi, 4)
	for range 4 {
		_, heir = sc.fill(pass(heir, rest, nil))
		rest = heir.Checkpoint
	}
	require.Equal(t, "done", sc.rangeState(sc.refs[0]))
	require.Equal(t, 100, sc.one("select count(*) from t where n = 1"))
	require.Equal(t, 1, sc.one("select count(*) from backfleet.ranges where key = hi and rows = 100"))
}
