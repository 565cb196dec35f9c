package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/ranges"
	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
)

func TestMain(m *testing.M) { harness.Main(m) }

// walk is a job on the one leaf of a partitioned table t (id from 1, n 0), whose only range is claimed, with the carrier that has the
// claim. The budget lets everything run.
type walk struct {
	*testing.T
	ledger *store.Store
	leader *store.Leader
	job    job.Job
	c      *carrier
	exec   func(sql string, args ...any)
	one    func(sql string, args ...any) int
}

// walking is a walk over a hundred rows.
func walking(t *testing.T, spec job.Spec) *walk {
	t.Helper()
	return walkingOver(t, spec, 100)
}

// walkingOver is a walk over so many rows, which are written after what the table is set up with.
func walkingOver(t *testing.T, spec job.Spec, rows int, setup ...string) *walk {
	t.Helper()
	ctx, pool := t.Context(), harness.Database(t).Pool
	w := &walk{T: t, ledger: store.New(pool, "main")}
	w.exec = func(sql string, args ...any) {
		t.Helper()
		_, err := pool.Exec(ctx, sql, args...)
		require.NoError(t, err, sql)
	}
	w.one = func(sql string, args ...any) (n int) {
		t.Helper()
		require.NoError(t, pool.QueryRow(ctx, sql, args...).Scan(&n), sql)
		return n
	}
	_, _, err := w.ledger.Migrate(ctx)
	require.NoError(t, err)
	w.exec("create table t (id bigint primary key, n int not null default 0) partition by range (id)")
	w.exec("create table leaf partition of t default")
	for _, sql := range setup {
		w.exec(sql)
	}
	w.exec("insert into t select i, 0 from generate_series(1, $1::int) i", rows)
	w.exec("analyze leaf")
	spec.Name, spec.Database, spec.Table, spec.LateRows = "walk", "main", "public.t", "ignore"
	spec.OnError.QuarantineRows = 100
	w.job, err = w.ledger.Submit(ctx, "ann", store.NewJob{Spec: spec.WithDefaults(), Key: []job.Column{{Name: "id", Type: "bigint"}},
		Idempotent: true, Order: spec.Order, Passes: 4, SearchPath: "public", Estimate: int64(rows), EstimateBy: "the test"})
	require.NoError(t, err)
	w.leader, err = w.ledger.Lead(ctx, "coordinator")
	require.NoError(t, err)
	leaf := uint32(w.one("select 'leaf'::regclass::oid::bigint"))
	require.NoError(t, w.leader.Freeze(ctx, w.job, []store.Leaf{{OID: leaf, Schema: "public", Name: "leaf", Leaf: true}}))
	rels, err := w.ledger.Relations(ctx, w.job.ID)
	require.NoError(t, err)
	whole := ranges.Range{Relation: leaf, Span: ranges.Span{Hi: rels[0].Bound, HiClosed: true}}
	require.NoError(t, w.leader.AddRanges(ctx, w.job.ID, leaf, rels[0].File, []ranges.Range{whole}, true))
	require.NoError(t, w.leader.Planned(ctx, w.job.ID))
	w.job, err = w.leader.Start(ctx, w.job.ID)
	require.NoError(t, err)

	now := time.Now()
	clock := func() time.Time { return now }
	d := newDesk(Database{Name: "main", Pool: pool, Ledger: w.ledger}, "w1", clock)
	d.budget(job.Budget{Epoch: 1, Seq: 1})
	s := &slot{w: &Worker{cfg: Config{ID: "w1", Now: clock}, log: zap.NewNop()}, limiter: throttle.NewLimiter(clock, 0)}
	w.c = &carrier{slot: s, desk: d, log: zap.NewNop(), replySubject: "reply"}
	t.Cleanup(func() { w.c.dropConn() })
	w.claim()
	return w
}

// claim releases what is queued and gives the carrier the claim of it.
func (w *walk) claim() {
	w.Helper()
	refs, err := w.leader.Release(w.Context(), w.job, 10)
	require.NoError(w, err)
	require.Len(w, refs, 1)
	w.c.claim, err = w.ledger.Claim(w.Context(), refs[0], "w1", "reply", nil)
	require.NoError(w, err)
}

// step carries one batch, which must not fail.
func (w *walk) step() (finished bool) {
	w.Helper()
	finished, err := w.c.step(w.Context(), w.Context())
	require.NoError(w, err)
	return finished
}

// verify takes the job from its done ranges to the claim of the verification's.
func (w *walk) verify() {
	w.Helper()
	var err error
	w.job, err = w.leader.StartRound(w.Context(), w.job.ID, w.job.Round+1)
	require.NoError(w, err)
	w.claim()
}

func TestALeafThatIsRenamedIsCarriedOn(t *testing.T) {
	w := walking(t, job.Spec{Set: map[string]string{"n": "n + 1"}})
	w.exec("alter table leaf rename to old")
	require.NoError(t, w.c.carry(t.Context(), t.Context()))
	require.Equal(t, 100, w.one("select count(*) from t where n = 1"))
	require.Equal(t, 1, w.one("select count(*) from backfleet.jobs where state = 'running'"))
}

func TestALostSessionForgetsWhatWasBeingIsolated(t *testing.T) {
	w := walking(t, job.Spec{Set: map[string]string{"n": "n + 1"}})
	require.NoError(t, w.c.prepare(t.Context()))
	// The batch up to key 50 was being isolated, and its last part was committed when the session was lost.
	w.c.poison, w.c.next = isolation{active: true, keys: 1, end: ranges.Key{"50"}}, boundary{known: true, keys: 1, end: ranges.Key{"50"}}
	w.exec("update backfleet.ranges set key = '{50}'")
	finished, err := w.c.reclaim(t.Context(), t.Context(), errors.New("connection reset"))
	require.NoError(t, err)
	require.False(t, finished)
	require.Equal(t, ranges.Key{"50"}, w.c.claim.Checkpoint.Key)
	require.Zero(t, w.c.poison, "else every batch to the range's end holds one key")
	require.False(t, w.c.next.known)
}

// A round that passes over a locked row is one of only three.
func TestARepairIsMadeOnceTheRowIsFree(t *testing.T) {
	w := walking(t, job.Spec{Set: map[string]string{"n": "1"}, Where: "n = 0"})
	require.NoError(t, w.c.carry(t.Context(), t.Context()))
	w.exec("update t set n = 0 where id = 50")
	w.verify()
	locked, err := w.c.desk.db.Pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = locked.Rollback(context.Background()) }()
	_, err = locked.Exec(t.Context(), "select from t where id = 50 for update")
	require.NoError(t, err)
	carried := make(chan error, 1)
	go func() { carried <- w.c.carry(t.Context(), t.Context()) }()
	require.Eventually(t, func() bool {
		return w.one("select max(retries) from backfleet.ranges where kind = 'verify'") > 0
	}, 30*time.Second, 10*time.Millisecond, "the repair does not meet the lock")
	require.NoError(t, locked.Rollback(t.Context()))
	require.NoError(t, <-carried)
	require.Zero(t, w.one("select count(*) from t where n = 0"))
	require.Equal(t, 1, w.one("select residual from backfleet.ranges where kind = 'verify' and state = 'done'"))
}

// A worker that NATS does not reach gives its range back: it may be the only one that hears nothing.
func TestAWorkerThatHearsNoBudgetGivesItsRangeUp(t *testing.T) {
	now, looks := time.Now(), 0
	d := newDesk(Database{Name: "main"}, "w1", time.Now)
	c := &carrier{desk: d, slot: &slot{w: &Worker{cfg: Config{Now: func() time.Time {
		now = now.Add(4 * time.Second)
		if looks++; looks == 4 {
			d.gate.Accept(1, 1, true, now) // a hold is a sign of life
		}
		return now
	}}}}}
	require.ErrorIs(t, c.permit(t.Context()), errDeaf)
	require.Equal(t, 13, looks, "4 s apart: eight after the first that heard nothing since the hold")
}

// A reason to give the range up may come in the middle of a batch too. It is not to be taken for a lost session, whose range is claimed
// anew.
func TestWhatGivesARangeUp(t *testing.T) {
	for _, reason := range []error{job.ErrFenced, errStopped, errShutdown, errWithdrawn, errDeaf, &rangeFailedError{errHeld}} {
		require.True(t, givenUp(fmt.Errorf("wrapped: %w", reason)), "%v", reason)
	}
	for _, trouble := range []error{errHeld, errors.New("connection reset"), context.DeadlineExceeded} {
		require.False(t, givenUp(trouble), "%v", trouble)
	}
}

// Finding a boundary may take seconds, and so may a free session.
func TestAHoldThatComesWhileABoundaryIsLookedForStopsTheBatch(t *testing.T) {
	w := walking(t, job.Spec{Set: map[string]string{"n": "n + 1"}})
	require.NoError(t, w.c.prepare(t.Context()))
	now, looks := time.Now(), 0
	stop, cancel := context.WithCancel(t.Context())
	w.c.slot.w.cfg.Now = func() time.Time {
		if looks++; looks == 2 {
			w.c.desk.gate.Accept(1, 2, true, now)
			cancel()
		}
		return now
	}
	_, err := w.c.step(t.Context(), stop)
	require.ErrorIs(t, err, errShutdown)
	require.Zero(t, w.one("select count(*) from t where n = 1"))
}

func TestAHoldStopsARepairBetweenItsParts(t *testing.T) {
	w := walking(t, job.Spec{Set: map[string]string{"n": "1"}, Where: "n = 0"})
	require.NoError(t, w.c.prepare(t.Context()))
	w.c.desk.budget(job.Budget{Epoch: 1, Seq: 2, Hold: true})
	w.c.next = boundary{known: true}
	require.ErrorIs(t, w.c.repairSpan(t.Context(), w.c.move()), errHeld)
	require.Equal(t, 100, w.one("select count(*) from t where n = 0"))
}
