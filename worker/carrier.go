package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
	"github.com/backfleet/backfleet/throttle"
)

const (
	renewAfter   = 3 * time.Second // since the last batch or renewal; the lease lives ten
	gatePoll     = 100 * time.Millisecond
	deafMost     = 30 * time.Second // without a budget before a range is handed back: others may hear what this worker does not
	patience     = 30               // contended batches in a row before another range gets its turn
	mostUnknown  = 5                // errors in a row that no class explains
	heldPause    = 500 * time.Millisecond
	lockWait     = 200 * time.Millisecond // the most a batch waits for a row
	lockShare    = 0.8                    // of deadlock_timeout, if that is shorter
	shortestStmt = 2 * time.Second
	stmtTargets  = 20 // statement_timeout, in batch targets
)

// rangeFailedError ends a range until a person retries it.
type rangeFailedError struct{ cause error }

func (e *rangeFailedError) Error() string { return e.cause.Error() }
func (e *rangeFailedError) Unwrap() error { return e.cause }

// carrier is one claim on its way to the range's end.
type carrier struct {
	slot         *slot
	desk         *desk
	log          *zap.Logger
	replySubject string
	journey      journey

	claim  job.Claim // its checkpoint is the last one known to be committed
	job    job.Job
	limits job.Limits
	target statement.Target
	sizer  *throttle.Sizer
	aim    time.Duration // what the sizer aims at,
	most   int           // and the most rows of a batch
	conn   *pgxpool.Conn
	// lockWait is the session's lock_timeout.
	lockWait time.Duration

	// at is where the walk stands: the claim's checkpoint, or the chunk that is opened there and that the next batch stores.
	at    ranges.Checkpoint
	marks marks
	heat  heat
	// density is about how many rows a block holds, where blocks are walked or counted.
	density float64
	short   bool // no chunk is to be opened in this range: what is left of it is too short, or takes too long to look through

	next     boundary // found ahead, for the batch that begins where the walk stands
	poison   isolation
	found    *statement.Step // a proof found open rows in it, and they are not repaired yet
	exclude  bool
	rows     int64
	batches  int64
	lastBeat atomic.Int64 // unix nanoseconds of the last batch or renewal
	// leaseClaim is the claim as keepLease may use it: the walk changes its own meanwhile.
	leaseClaim atomic.Pointer[job.Claim]
}

// boundary is where a batch of about keys ends; no end: that of the pass comes first, which in plain order is the range's.
type boundary struct {
	known bool
	keys  int
	end   ranges.Key
}

// carry walks the claimed range to its end. nil: its end is committed. Otherwise the error says why it stopped before; the claim's
// checkpoint is then the last one known to be committed.
func (c *carrier) carry(ctx, stop context.Context) error {
	defer c.dropConn()
	c.beat()
	if err := c.prepare(ctx); err != nil {
		return err
	}
	retry := newRetry()
	contended, unknown := 0, 0
	for {
		if err := c.permit(stop); err != nil {
			return err
		}
		finished, err := c.step(ctx, stop)
		if err != nil && c.found == nil && postgres.Classify(err) == postgres.Data { // a repair isolates by itself
			finished, err = c.isolate(ctx, err)
		}
		if err == nil {
			retry.Reset()
			contended, unknown = 0, 0
			c.slot.setWaits(false)
			if finished {
				return nil
			}
			continue
		}
		switch {
		case givenUp(err):
			return err
		case errors.Is(err, errHeld):
			if err := pause(stop, heldPause); err != nil {
				return err
			}
			continue
		}
		switch postgres.SQLState(err) {
		case statement.Rewritten:
			return job.ErrRewritten
		case statement.StillOpen:
			return c.endJob(ctx, err)
		}
		class := postgres.Classify(err)
		c.journey.rolledBack(err)
		c.log.Info("batch rolled back", zap.Stringer("class", class), zap.String("cause", postgres.Describe(err)))
		switch class {
		case postgres.Contention:
			c.sizer.Trouble()
			c.slot.setWaits(true)
			c.next = boundary{}
			if contended++; contended >= patience {
				return fmt.Errorf("waits for locks: %s", postgres.Describe(err))
			}
			c.note(ctx, err)
		case postgres.Connection, postgres.Exhausted:
			done, end := c.reclaim(ctx, stop, err)
			if done || end != nil {
				return end
			}
			if class == postgres.Exhausted {
				c.note(ctx, err)
			}
		case postgres.Permission:
			return c.pauseJob(ctx, fmt.Errorf("a privilege is missing: %s; `backfleet db grants` prints what the role needs", postgres.Describe(err)))
		case postgres.Schema:
			if err := c.failJob(ctx, err); err != nil {
				return err
			}
		default:
			if unknown++; unknown >= mostUnknown {
				return &rangeFailedError{errors.New(postgres.Describe(err))}
			}
			c.note(ctx, err)
		}
		if err := pause(stop, retry.NextBackOff()); err != nil {
			return err
		}
	}
}

// givenUp reports whether an error says why the range is given up, and not what a batch met.
func givenUp(err error) bool {
	var failed *rangeFailedError
	return errors.As(err, &failed) || slices.ContainsFunc([]error{job.ErrFenced, errStopped, errShutdown, errWithdrawn, errDeaf},
		func(reason error) bool { return errors.Is(err, reason) })
}

// prepare reads the job and makes what a walk needs.
func (c *carrier) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	var err error
	if c.job, err = c.desk.db.Ledger.Get(ctx, c.claim.Ref.Job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	_, alias, err := job.SplitTable(c.job.Spec.Table)
	if err != nil {
		return &rangeFailedError{err}
	}
	c.limits = c.job.Limits
	c.target = statement.For(c.claim.Schema, c.claim.Table, c.job.Key, c.job.Spec, alias)
	c.target.Blocks = c.claim.File != 0 && c.job.Order == job.OrderBlock
	c.exclude = c.claim.Quarantine > 0
	c.at = c.claim.Checkpoint
	c.sizer = c.slot.sizerFor(c.claim, c.limits, c.counts())
	if !c.target.Blocks {
		c.density = usualBlock
		return nil
	}
	return c.read(ctx, statement.SQL{Text: statement.RowsPerBlock, Args: []any{c.claim.Relation}}, func(rows pgx.Rows, err error) error {
		if err == nil {
			c.density, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[float64])
		}
		return err
	})
}

// permit waits until a batch may start: a fresh budget that does not hold, and a job that may run. It returns why not once the range
// is to be given up.
func (c *carrier) permit(stop context.Context) error {
	var deaf time.Time // since when
	held := false
	for {
		if stop.Err() != nil {
			return why(stop)
		}
		changed := c.desk.changes()
		limits, ok := c.desk.runnable(c.job)
		if !ok {
			return errStopped
		}
		c.limits = limits
		most := limits.Batch.MaxRows
		if c.counts() {
			most = countMost
		}
		if target := c.desk.batchTarget(limits.Batch.Target.D()); target != c.aim || most != c.most {
			c.aim, c.most = target, most
			c.sizer.SetLimits(c.aim, c.most)
		}
		now := c.slot.w.cfg.Now()
		switch {
		case c.desk.gate.Open(now):
			if held {
				c.slot.limiter.Forfeit()
			}
			return nil
		case c.desk.gate.Fresh(now):
			held, deaf = true, time.Time{}
		case deaf.IsZero():
			deaf = now
		case now.Sub(deaf) >= deafMost:
			return errDeaf
		}
		select {
		case <-stop.Done():
		case <-changed:
		case <-time.After(gatePoll):
		}
	}
}

// reclaim settles what became of a batch whose session was lost: a new claim, fence + 1, waits for whatever is still in flight
// and brings the true checkpoint. It tries until the database is back or the range is to be given up. finished: the batch was
// committed, and it was the range's last.
func (c *carrier) reclaim(ctx, stop context.Context, cause error) (finished bool, err error) {
	c.log.Warn("session lost; claiming anew", zap.String("cause", postgres.Describe(cause)))
	retry := newRetry()
	for {
		err := c.claimAnew(ctx)
		switch {
		case err == nil:
			return false, nil
		case errors.Is(err, job.ErrStale): // the batch with the unknown commit was the range's last
			return true, nil
		case errors.Is(err, job.ErrNotRunnable):
			return false, errStopped
		case errors.Is(err, job.ErrFenced), errors.Is(err, job.ErrRelationGone), errors.Is(err, job.ErrRewritten):
			return false, err
		}
		c.log.Debug("not claimed yet", zap.String("cause", postgres.Describe(err)))
		if err := pause(stop, retry.NextBackOff()); err != nil {
			return false, err
		}
	}
}

// claimAnew claims the range once more, fence + 1, and forgets all that was known of the walk but its sizes. Until it has succeeded the
// lease is not renewed: the old fence would be refused, and that would not mean that somebody else has the range.
func (c *carrier) claimAnew(ctx context.Context) error {
	c.dropConn()
	c.leaseClaim.Store(nil)
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	claim, err := c.desk.db.Ledger.Claim(ctx, c.claim.Ref, c.claim.Owner, c.replySubject, &c.claim)
	if err != nil {
		return err
	}
	c.claim, c.exclude = claim, claim.Quarantine > 0
	c.target.Schema, c.target.Name = claim.Schema, claim.Table
	c.next, c.poison = boundary{}, isolation{}
	c.at, c.marks = claim.Checkpoint, marks{}
	// The job as well: a failover may have taken its revision back, and what is then said of it would count for less than what was read.
	if c.job, err = c.desk.db.Ledger.Get(ctx, c.claim.Ref.Job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	c.beat()
	return nil
}

// errHeld says that backfleet.hold() stands, or that a hold came within a repair.
var errHeld = errors.New("the database is held")

// note keeps an error with the range for people to read; losing the note loses nothing else.
func (c *carrier) note(ctx context.Context, cause error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	if err := c.desk.db.Ledger.NoteError(ctx, c.claim, postgres.Describe(cause)); err != nil {
		c.log.Debug("error not noted", zap.Error(err))
	}
}

// pauseJob stops the whole job for a person, and hands this range back.
func (c *carrier) pauseJob(ctx context.Context, reason error) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	if _, err := c.desk.db.Ledger.Pause(ctx, c.claim.Ref.Job, c.claim.Owner, reason.Error()); err != nil {
		return fmt.Errorf("pause the job (%w): %w", reason, err)
	}
	c.log.Error("job paused", zap.Error(reason))
	return errStopped
}

// failJob ends the job, unless what is missing is a leaf partition that was dropped, or the relation's name: then the walk goes on
// under the one that it has now.
func (c *carrier) failJob(ctx context.Context, cause error) error {
	before := c.target.Relation()
	if err := c.claimAnew(ctx); err != nil {
		return err // ErrRelationGone among them
	}
	if now := c.target.Relation(); now != before {
		c.log.Warn("relation renamed", zap.String("from", before), zap.String("to", now))
		return nil
	}
	return c.endJob(ctx, cause)
}

// endJob ends the job for what a batch met.
func (c *carrier) endJob(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	reason := fmt.Sprintf("a batch of %s: %s; once that is mended, `backfleet retry %s` goes on", c.target.Relation(), postgres.Describe(cause), c.claim.Ref.Name)
	if _, err := c.desk.db.Ledger.Fail(ctx, c.claim.Ref.Job, c.claim.Owner, reason); err != nil {
		return fmt.Errorf("end the job (%s): %w", postgres.Describe(cause), err)
	}
	c.log.Error("job failed", zap.String("cause", postgres.Describe(cause)))
	return errStopped
}

// keepLease renews the lease while no batch does, and stops the range when it is lost.
func (c *carrier) keepLease(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if time.Since(time.Unix(0, c.lastBeat.Load())) < renewAfter {
			continue
		}
		fence := c.leaseClaim.Load()
		if fence == nil {
			continue
		}
		try, done := context.WithTimeout(ctx, databaseTry)
		err := c.desk.db.Ledger.Renew(try, *fence)
		done()
		switch {
		case err == nil:
			c.beat()
		case errors.Is(err, job.ErrFenced) && c.leaseClaim.Load() == fence:
			cancel(job.ErrFenced)
			return
		}
	}
}

func (c *carrier) beat() {
	c.lastBeat.Store(time.Now().UnixNano())
	claim := c.claim
	c.leaseClaim.Store(&claim)
}

func (c *carrier) dropConn() {
	if c.conn != nil {
		c.conn.Release() // a session in a transaction is closed by the pool
		c.conn = nil
	}
}

// why tells the reason of a stop; the end of the process has none of its own.
func why(stop context.Context) error {
	if cause := context.Cause(stop); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return errShutdown
}

// pause waits, unless the range is to be given up.
func pause(stop context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-stop.Done():
		return why(stop)
	case <-timer.C:
		return nil
	}
}

// newRetry is the pace of retries: 50 ms, doubling with jitter to 2 s, without end.
func newRetry() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(2*time.Second),
		backoff.WithMaxElapsedTime(0))
}
