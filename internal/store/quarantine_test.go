package store

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// poisoned is a job whose row 5 fails and stands in quarantine; everything else is done.
func poisoned(t *testing.T) *scene {
	t.Helper()
	sc := begun(t, 10, 10)
	sc.exec("alter table t add constraint poison check (id <> 5 or n = 0)")
	c := sc.claim(sc.refs[0], "worker-1")
	_, c = sc.fill(to(c, key(5), false))
	_, err := sc.fillOn(sc.s.pool, to(c, key(6), false))
	require.ErrorContains(t, err, "poison")
	moved, c := sc.quarantine(to(c, key(6), false), key(5))
	require.Equal(t, int64(1), moved)
	sc.finish(c)
	return sc
}

func (sc *scene) quarantine(s statement.Step, k ranges.Key) (moved int64, c job.Claim) {
	sc.Helper()
	sql := sc.target().Quarantine(s, k, 100, "23514", "violates poison", true)
	var held bool
	var others, locked, alone int64
	require.NoError(sc, sc.s.pool.QueryRow(sc.Context(), sql.Text, sql.Args...).Scan(&held, &moved, &others, &locked, &alone))
	c = s.Claim
	if moved > 0 {
		c.Checkpoint = s.To
	}
	return moved, c
}

// Invariant 1: the quarantine row and the checkpoint's move commit together, under the fence, and only for a row that stands alone.
func TestARowIsQuarantinedWithTheMoveOfTheCheckpoint(t *testing.T) {
	sc := begun(t, 10, 10)
	c := sc.claim(sc.refs[0], "worker-1")
	moved, _ := sc.quarantine(to(c, key(3), false), key(1))
	require.Zero(t, moved, "the span holds row 2 as well")
	require.Zero(t, sc.one("select count(*) from backfleet.quarantine"))

	moved, next := sc.quarantine(to(c, key(2), false), key(1))
	require.Equal(t, int64(1), moved)
	moved, _ = sc.quarantine(to(c, key(2), false), key(1))
	require.Zero(t, moved, "the checkpoint has moved")

	sc.expire(next)
	other := sc.claim(sc.refs[0], "worker-2")
	require.Equal(t, 1, other.Quarantine)
	moved, _ = sc.quarantine(to(next, key(3), false), key(2))
	require.Zero(t, moved, "fenced off")
	require.Equal(t, 1, sc.one("select count(*) from backfleet.quarantine where key = '{1}'"))
	sc.finish(other)
	require.Equal(t, 9, sc.one("select count(*) from t where n = 1 and id > 1"))
}

// on_error.quarantine_rows is exact: transactions that set rows aside at one moment take turns, and each counts what the one before has
// put there.
func TestRowsAreQuarantinedInTurnAndNeverBeyondTheLimit(t *testing.T) {
	sc := begun(t, 20, 10)
	one, two := sc.claim(sc.refs[0], "worker-1"), sc.claim(sc.refs[1], "worker-2")
	type outcome struct{ moved, others, alone int64 }
	put := func(tx pgx.Tx, c job.Claim, next, k ranges.Key) (o outcome, err error) {
		turn := statement.QuarantineTurn(sc.j.ID)
		if _, err := tx.Exec(t.Context(), turn.Text, turn.Args...); err != nil {
			return o, err
		}
		sql := sc.target().Quarantine(to(c, next, false), k, 1, "23514", "violates poison", true)
		err = tx.QueryRow(t.Context(), sql.Text, sql.Args...).Scan(new(bool), &o.moved, &o.others, new(int64), &o.alone)
		return o, err
	}
	first, second := sc.begin(), sc.begin()
	got, err := put(first, one, key(2), key(1))
	require.NoError(t, err)
	require.Equal(t, outcome{moved: 1, alone: 1}, got)
	waiting := start(func() (outcome, error) { return put(second, two, key(12), key(11)) })
	sc.waitsForLock()
	require.NoError(t, first.Commit(t.Context()))
	late := <-waiting
	require.NoError(t, late.err)
	require.Equal(t, outcome{others: 1, alone: 1}, late.value)
	require.NoError(t, second.Commit(t.Context()))
	require.Equal(t, 1, sc.one("select count(*) from backfleet.quarantine"))

	again := sc.begin()
	sc.exec("update backfleet.ranges set key = '{1}' where index = 0") // as if the same row came once more
	one.Checkpoint.Key = key(1)
	got, err = put(again, one, key(2), key(1))
	require.NoError(t, err)
	require.Equal(t, outcome{moved: 1, alone: 1}, got, "a row that is in quarantine already takes no more room")
}

// `retry` does a row again and takes it out of quarantine in one transaction, or does neither.
func TestARetryIsAtomic(t *testing.T) {
	sc := poisoned(t)
	res, err := sc.s.Retry(t.Context(), sc.j.ID, "ann")
	require.NoError(t, err)
	require.Zero(t, res.Rows)
	require.Len(t, res.Left, 1)
	require.Equal(t, ranges.Key{"5"}, res.Left[0].Key)
	require.Equal(t, 2, sc.one("select attempts from backfleet.quarantine"))
	require.Zero(t, sc.one("select n from t where id = 5"))

	sc.exec("alter table t drop constraint poison")
	type result = answer[RetryResult]
	retry := func() <-chan result {
		return start(func() (RetryResult, error) { return sc.s.Retry(t.Context(), sc.j.ID, "ann") })
	}
	blocker := sc.begin()
	_, err = blocker.Exec(t.Context(), "select from t where id = 5 for update")
	require.NoError(t, err)
	one, two := retry(), retry()
	sc.waitsForLock()
	require.NoError(t, blocker.Rollback(t.Context()))
	a, b := <-one, <-two
	require.NoError(t, a.err)
	require.NoError(t, b.err)
	require.Equal(t, int64(1), a.value.Rows+b.value.Rows)
	require.Equal(t, 10, sc.one("select count(*) from t where n = 1"))
	require.Zero(t, sc.one("select count(*) from backfleet.quarantine"))
}

// A retry that stops on the way has done what it has done: the audit log says so.
func TestARetryThatStopsOnTheWayIsInTheAuditLog(t *testing.T) {
	sc := begun(t, 10, 10)
	c := sc.claim(sc.refs[0], "worker-1")
	_, c = sc.quarantine(to(c, key(2), false), key(1))
	_, c = sc.quarantine(to(c, key(3), false), key(2))
	sc.finish(c)
	sc.exec(`create function deny() returns trigger language plpgsql as $$begin raise insufficient_privilege using message = 'not yours'; end$$`)
	sc.exec("create trigger deny before update on t for each row when (old.id = 2) execute function deny()")
	res, err := sc.s.Retry(t.Context(), sc.j.ID, "ann")
	require.ErrorContains(t, err, "not yours")
	require.Equal(t, int64(1), res.Rows)
	events, err := sc.s.Events(t.Context(), sc.j.ID, 2)
	require.NoError(t, err)
	stopped, began := events[0], events[1]
	require.Equal(t, [3]any{"retry_begun", "ann", 2.0}, [3]any{began.Action, began.By, began.Detail["rows"]})
	require.Equal(t, [3]any{"retry_stopped", "ann", 1.0}, [3]any{stopped.Action, stopped.By, stopped.Detail["rows"]})
	require.Contains(t, stopped.Detail["error"], "not yours")
	require.Equal(t, 1, sc.one("select count(*) from backfleet.quarantine"))
}

// A row that a person skipped is in quarantine without having failed: while its batch may still come, a retry leaves it alone, so
// that it is not done twice.
func TestARetryLeavesSkippedRowsToTheEndOfTheirRange(t *testing.T) {
	sc := begun(t, 10, 10)
	_, err := sc.s.Pause(t.Context(), sc.j.ID, "ann", "")
	require.NoError(t, err)
	_, err = sc.s.SkipRow(t.Context(), sc.j.ID, "ann", "", key(7), "a person's doubt")
	require.NoError(t, err)
	_, err = sc.s.Retry(t.Context(), sc.j.ID, "ann") // resumes
	require.NoError(t, err)
	require.Equal(t, 1, sc.one("select count(*) from backfleet.quarantine"))

	c := sc.claim(sc.refs[0], "worker-1")
	require.Equal(t, 1, c.Quarantine)
	last := to(c, c.Span.Hi, true)
	last.Exclude = true
	b, _ := sc.fill(last)
	require.Equal(t, int64(9), b.rows)
	_, err = sc.s.Retry(t.Context(), sc.j.ID, "ann")
	require.NoError(t, err)
	require.Equal(t, 10, sc.one("select count(*) from t where n = 1"))
}

// What is done cannot be skipped: its retry would do it twice.
func TestARowThatIsDoneCannotBeSkipped(t *testing.T) {
	sc := begun(t, 20, 10)
	sc.finish(sc.claim(sc.refs[0], "worker-1"))
	_, c := sc.fill(to(sc.claim(sc.refs[1], "worker-1"), key(15), false))
	sc.handBack(c, false)
	_, err := sc.s.Pause(t.Context(), sc.j.ID, "ann", "")
	require.NoError(t, err)
	for _, done := range []int{5, 14} {
		_, err = sc.s.SkipRow(t.Context(), sc.j.ID, "ann", "", key(done), "x")
		require.ErrorContains(t, err, "is done already")
	}
	_, err = sc.s.SkipRow(t.Context(), sc.j.ID, "ann", "", key(21), "x")
	require.ErrorContains(t, err, "no row")
	for _, open := range []string{"15", "+0020"} { // in whatever form a person writes the key
		_, err = sc.s.SkipRow(t.Context(), sc.j.ID, "ann", "", ranges.Key{open}, "x")
		require.NoError(t, err)
	}
	require.Equal(t, 2, sc.one("select count(*) from backfleet.quarantine where key in ('{15}', '{20}')"))
}

// In a strided chunk a row is done when its pass has come by it, whatever its key: the skip of each row is refused just where its batch
// has been.
func TestARowOfAStridedChunkCanBeSkippedUntilItsPass(t *testing.T) {
	sc := begun(t, 60, 60)
	c := sc.claim(sc.refs[0], "worker-1")
	at := c.Checkpoint.Open(key(41), 2)
	_, c = sc.fill(pass(c, at, nil))               // the first pass
	_, c = sc.fill(pass(c, c.Checkpoint, key(21))) // half of the second
	sc.handBack(c, false)
	_, err := sc.s.Pause(t.Context(), sc.j.ID, "ann", "")
	require.NoError(t, err)
	skipped := 0
	for id := 1; id <= 60; id++ {
		done := sc.one("select n from t where id = $1", id) == 1
		_, err := sc.s.SkipRow(t.Context(), sc.j.ID, "ann", "", key(id), "x")
		if done {
			require.ErrorContains(t, err, "is done already", "row %d", id)
			continue
		}
		require.NoError(t, err, "row %d", id)
		skipped++
	}
	require.Greater(t, skipped, 20)
	require.Less(t, skipped, 40)

	// The last chunk ends where the range does, which is closed: so is the chunk.
	_, err = sc.s.Resume(t.Context(), sc.j.ID, "ann")
	require.NoError(t, err)
	refs, err := sc.l.Release(t.Context(), sc.j, 10)
	require.NoError(t, err)
	sc.exec("delete from backfleet.quarantine")
	c = sc.claim(refs[0], "worker-1")
	_, c = sc.fill(pass(c, c.Checkpoint, nil))
	_, c = sc.fill(pass(c, c.Checkpoint.Open(key(60), 2), nil))
	sc.handBack(c, false)
	_, err = sc.s.Pause(t.Context(), sc.j.ID, "ann", "")
	require.NoError(t, err)
	done := sc.one("select n from t where id = 60") == 1
	_, err = sc.s.SkipRow(t.Context(), sc.j.ID, "ann", "", key(60), "x")
	require.Equal(t, done, err != nil)
}
