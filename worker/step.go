package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// step carries one batch: the limiter, the boundary, and one transaction in one round trip that also finds where the next batch
// ends. finished: the range's end is committed.
func (c *carrier) step(ctx, stop context.Context) (finished bool, err error) {
	want := c.size()
	keys, err := c.slot.limiter.Wait(stop, want)
	if err != nil {
		return false, why(stop)
	}
	if !c.open() { // a hold may have come while the limiter waited
		return false, c.permit(stop)
	}
	if c.found == nil && (!c.next.known || c.next.keys > keys+keys/2) {
		if c.next, err = c.find(ctx, c.claim.Checkpoint.Key, keys); err != nil {
			return false, err
		}
	}
	if err := c.connect(ctx); err != nil { // what went before may have lost the session
		return false, err
	}
	if !c.open() { // or while the boundary was looked for, or a session
		return false, c.permit(stop)
	}
	if c.found != nil {
		return false, c.repair(ctx)
	}
	if c.claim.Kind == job.Verify {
		return c.prove(ctx)
	}
	return c.fill(ctx)
}

// open reports whether a batch may start now.
func (c *carrier) open() bool { return c.desk.gate.Open(c.slot.w.cfg.Now()) }

// size is how many keys the next batch should walk.
func (c *carrier) size() int {
	if c.poison.active {
		return c.poison.keys
	}
	return c.sizer.Next(c.limits.Batch.MaxRows)
}

// move is the step from the checkpoint to the boundary found for it.
func (c *carrier) move() statement.Step {
	s := statement.Step{
		Claim: c.claim, Keys: c.next.keys, Exclude: c.exclude,
		Span: ranges.Span{Lo: c.claim.Checkpoint.Key, Hi: c.next.end}, Next: c.next.end,
	}
	if c.next.end == nil {
		s.Span.Hi, s.Span.HiClosed, s.Next, s.Last = c.claim.Span.Hi, c.claim.Span.HiClosed, c.claim.Span.Hi, true
		s.Keys = 0 // how many are left is not known
	}
	return s
}

// fill updates one batch.
func (c *carrier) fill(ctx context.Context) (finished bool, err error) {
	s := c.move()
	var rows int64
	took, ahead, err := c.transact(ctx, transaction{step: s, sql: c.target.Fill(s)}, &rows)
	if err != nil {
		return false, err
	}
	c.slot.limiter.Charge(int(rows))
	c.slot.w.tally.add(c.claim.Ref, rows, took)
	c.committed(s, took, rows)
	c.next = ahead
	return s.Last, nil
}

// committed takes over what a transaction has made true.
func (c *carrier) committed(s statement.Step, took time.Duration, rows int64) {
	c.claim.Checkpoint = c.claim.Checkpoint.Advance(s.Next)
	c.beat()
	c.rows += rows
	c.batches++
	c.sizer.Observe(s.Keys, took)
	c.poison.passed(s.Next)
}

// transaction is one fenced statement with what goes before it.
type transaction struct {
	step  statement.Step
	first *statement.SQL // nil: nothing
	sql   statement.SQL
}

// transact runs one fenced statement in one transaction and one round trip, together with the search for the boundary after it, which
// runs first so that it holds no row lock. Counts beyond (held, moved) are scanned into dest. Errors: errHeld, job.ErrFenced, or
// the driver's.
func (c *carrier) transact(ctx context.Context, t transaction, dest ...any) (took time.Duration, ahead boundary, err error) {
	s := t.step
	if err := c.connect(ctx); err != nil { // what went before may have lost the session
		return 0, boundary{}, err
	}
	settings := c.settings(s.Last)
	ctx, cancel := context.WithTimeout(ctx, settings.StatementTimeout+10*time.Second)
	defer cancel()
	var b pgx.Batch
	b.Queue(postgres.Begin)
	set, args := settings.Statement()
	b.Queue(set, args...)
	look := !s.Last && !c.poison.active
	if look {
		ahead.keys = c.sizer.Next(c.limits.Batch.MaxRows)
		find := c.boundarySQL(s.Next, ahead.keys)
		b.Queue(find.Text, find.Args...)
	}
	if t.first != nil {
		b.Queue(t.first.Text, t.first.Args...)
	}
	b.Queue(t.sql.Text, t.sql.Args...)
	b.Queue("commit")

	began := time.Now()
	results := c.conn.SendBatch(ctx, &b)
	var held bool
	var moved int64
	err = func() error {
		for range 2 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		if look {
			var err error
			if ahead.end, err = statement.OneKey(results.Query()); err != nil {
				return err
			}
			ahead.known = true
		}
		if t.first != nil {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		if err := results.QueryRow().Scan(append([]any{&held, &moved}, dest...)...); err != nil {
			return err
		}
		_, err := results.Exec()
		return err
	}()
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	took = time.Since(began)
	if err != nil {
		c.rollback(ctx)
		return took, boundary{}, err
	}
	switch {
	case moved > 0:
		return took, ahead, nil
	case held:
		return took, boundary{}, errHeld
	}
	return took, boundary{}, job.ErrFenced
}

// rollback ends a failed transaction; a session that cannot is given up.
func (c *carrier) rollback(ctx context.Context) {
	if _, err := c.conn.Exec(ctx, "rollback"); err != nil {
		c.dropConn()
	}
}

// find searches the boundary of a batch that begins at a key, in a transaction of its own.
func (c *carrier) find(ctx context.Context, from ranges.Key, keys int) (boundary, error) {
	end, err := c.key(ctx, c.boundarySQL(from, keys))
	return boundary{known: err == nil, keys: keys, end: end}, err
}

func (c *carrier) boundarySQL(from ranges.Key, keys int) statement.SQL {
	return c.target.Boundary(ranges.Span{Lo: from, Hi: c.claim.Span.Hi, HiClosed: c.claim.Span.HiClosed}, keys)
}

// key reads one key under the batch's settings; nil where the query finds none.
func (c *carrier) key(ctx context.Context, sql statement.SQL) (key ranges.Key, err error) {
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	settings := c.settings(false)
	ctx, cancel := context.WithTimeout(ctx, settings.StatementTimeout+10*time.Second)
	defer cancel()
	err = postgres.InTx(ctx, c.conn, settings, func(tx pgx.Tx) (err error) {
		key, err = statement.OneKey(tx.Query(ctx, sql.Text, sql.Args...))
		return err
	})
	if err != nil && c.conn.Conn().IsClosed() {
		c.dropConn()
	}
	return key, err
}

// connectSQL readies a session. lock_timeout must stay below deadlock_timeout, so that it is the batch that yields.
const connectSQL = `select set_config('search_path', $1, false),
 extract(epoch from current_setting('deadlock_timeout')::interval)::float8 * 1000`

// connect takes a session for this range. The search path is set for the session as well as in each transaction: statements are
// prepared before the transaction begins.
func (c *carrier) connect(ctx context.Context) error {
	if c.conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	conn, err := c.desk.db.Pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.conn = conn
	var deadlockMillis float64
	err = conn.QueryRow(ctx, connectSQL, c.job.SearchPath).Scan(nil, &deadlockMillis)
	if err != nil {
		c.dropConn()
		return fmt.Errorf("connect: %w", err)
	}
	c.lockWait = min(lockWait, time.Duration(deadlockMillis*lockShare)*time.Millisecond)
	return nil
}

// settings are what each of this range's transactions states. The end of a range commits no weaker than local: what is done stays
// done.
func (c *carrier) settings(last bool) postgres.Settings {
	commit := c.limits.Batch.SynchronousCommit
	if last && commit == "off" {
		commit = "local"
	}
	return postgres.Settings{
		Application:       "backfleet " + c.claim.Ref.Name,
		Job:               c.claim.Ref.Name,
		SearchPath:        c.job.SearchPath,
		SynchronousCommit: commit,
		LockTimeout:       c.lockWait,
		StatementTimeout:  max(shortestStmt, stmtTargets*c.limits.Batch.Target.D()),
	}
}
