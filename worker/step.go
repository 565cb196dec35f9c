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
	if c.counts() {
		return c.count(ctx, stop)
	}
	want := c.size()
	keys, err := c.slot.limiter.Wait(stop, want)
	if err != nil {
		return false, why(stop)
	}
	if !c.open() { // a hold may have come while the limiter waited
		return false, c.permit(stop)
	}
	if c.found == nil {
		if err := c.enter(ctx); err != nil {
			return false, err
		}
		if !c.next.known || c.next.keys > keys+keys/2 {
			if c.next, err = c.bound(ctx, keys); err != nil {
				return false, err
			}
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

// move is the step from where the walk stands to the boundary found for it.
func (c *carrier) move() statement.Step {
	s := statement.Step{
		Claim: c.claim, Keys: c.next.keys, Exclude: c.exclude, Pass: c.at.Turn(),
		Span: c.at.Left(c.claim.Span),
	}
	if c.next.end == nil {
		s.To, s.Last = c.at.EndPass(c.claim.Span)
		s.Keys = 0 // how many are left is not known
		return s
	}
	s.Span.Hi, s.Span.HiClosed = c.next.end, false
	s.To = c.at.Advance(c.next.end)
	return s
}

// fill updates one batch.
func (c *carrier) fill(ctx context.Context) (finished bool, err error) {
	s := c.move()
	t := transaction{step: s, sql: c.target.Fill(s)}
	if c.next.end == nil && !s.Pass.Whole() && s.Pass.N > firstPass {
		t.heat = &heat{} // at the end of a pass: the server's count is of the last second or so
	}
	var rows int64
	took, ahead, err := c.transact(ctx, t, &rows)
	if err != nil {
		return false, err
	}
	c.slot.limiter.Charge(int(rows))
	c.slot.w.tally.add(c.claim.Ref, rows, took)
	if tell := c.slot.w.cfg.Batches; tell != nil {
		tell(c.claim.Ref, took)
	}
	c.committed(s, took, rows)
	c.next = ahead
	if t.heat != nil {
		c.heat.updated += t.heat.updated
		c.heat.hot += t.heat.hot
		if !s.To.Strided() {
			c.judge()
		}
	}
	return s.Last, nil
}

// committed takes over what a transaction has made true.
func (c *carrier) committed(s statement.Step, took time.Duration, rows int64) {
	c.moved(s)
	c.journey.batch(s.Keys, rows, took)
	c.rows += rows
	c.batches++
	c.sizer.Observe(s.Keys, c.desk.trips.without(took)) // rows are locked for as long as the server works, not while the answer is on its way
	c.poison.passed(c.next.end)
}

// moved takes over the checkpoint that a step has committed.
func (c *carrier) moved(s statement.Step) {
	c.claim.Checkpoint, c.at = s.To, s.To
	if !c.at.Strided() {
		c.marks = marks{}
	}
	c.beat()
}

// transaction is one fenced statement with what goes before and after it.
type transaction struct {
	step  statement.Step
	first *statement.SQL // nil: nothing
	sql   statement.SQL
	heat  *heat // where to count the updates; nil: they are not counted
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
	look := !s.Last && c.claim.File == 0 && !c.poison.active && !s.To.Strided() && c.passes() == 1
	if look {
		ahead.keys = c.sizer.Next(c.limits.Batch.MaxRows)
		find := c.target.Boundary(s.To.Left(c.claim.Span), s.To.Turn(), ahead.keys)
		b.Queue(find.Text, find.Args...)
	}
	if t.first != nil {
		b.Queue(t.first.Text, t.first.Args...)
	}
	b.Queue(t.sql.Text, t.sql.Args...)
	if t.heat != nil {
		count := statement.Heat(c.claim.Relation)
		b.Queue(count.Text, count.Args...)
	}
	b.Queue("commit")

	began := time.Now()
	var held bool
	var moved int64
	err = c.roundTrip(ctx, &b, func(results pgx.BatchResults) error {
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
		if t.heat != nil {
			if err := results.QueryRow().Scan(&t.heat.updated, &t.heat.hot); err != nil {
				return err
			}
		}
		_, err := results.Exec()
		return err
	})
	took = time.Since(began)
	if err != nil {
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

// roundTrip sends a whole transaction at once and has its answers read. One that fails is rolled back.
func (c *carrier) roundTrip(ctx context.Context, b *pgx.Batch, read func(pgx.BatchResults) error) error {
	results := c.conn.SendBatch(ctx, b)
	err := read(results)
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		c.rollback(ctx)
	}
	return err
}

// rollback ends a failed transaction; a session that cannot is given up.
func (c *carrier) rollback(ctx context.Context) {
	if _, err := c.conn.Exec(ctx, "rollback"); err != nil {
		c.dropConn()
	}
}

// left is what is left of the pass; while a row is isolated, of the batch that failed.
func (c *carrier) left() ranges.Span {
	left := c.at.Left(c.claim.Span)
	if c.poison.active && c.poison.end != nil {
		left.Hi, left.HiClosed = c.poison.end, false
	}
	return left
}

// find searches the boundary of a batch that begins where the walk stands, in a transaction of its own. While a row is isolated it
// looks no further than the batch did that failed.
func (c *carrier) find(ctx context.Context, keys int) (boundary, error) {
	end, err := c.key(ctx, c.target.Boundary(c.left(), c.at.Turn(), keys))
	if end == nil && c.poison.active {
		end = c.poison.end
	}
	return boundary{known: err == nil, keys: keys, end: end}, err
}

// key reads one key under the batch's settings; nil where the query finds none.
func (c *carrier) key(ctx context.Context, sql statement.SQL) (key ranges.Key, err error) {
	err = c.read(ctx, sql, func(rows pgx.Rows, err error) error {
		key, err = statement.OneKey(rows, err)
		return err
	})
	return key, err
}

// read runs one query under the batch's settings.
func (c *carrier) read(ctx context.Context, sql statement.SQL, collect func(pgx.Rows, error) error) error {
	if err := c.connect(ctx); err != nil {
		return err
	}
	settings := c.settings(false)
	ctx, cancel := context.WithTimeout(ctx, settings.StatementTimeout+10*time.Second)
	defer cancel()
	err := postgres.InTx(ctx, c.conn, settings, func(tx pgx.Tx) error {
		return collect(tx.Query(ctx, sql.Text, sql.Args...))
	})
	if err != nil && c.conn.Conn().IsClosed() {
		c.dropConn()
	}
	return err
}

// connectSQL readies a session; $2 makes the setting one of this statement only. lock_timeout must stay below deadlock_timeout, so that
// it is the batch that yields.
const connectSQL = `select set_config('search_path', $1, $2),
 extract(epoch from current_setting('deadlock_timeout')::interval)::float8 * 1000`

// connect takes a session for this range. The search path is set for the session as well as in each transaction, for statements are
// prepared before the transaction begins; but not behind a pooler, where none is prepared, and where the application would find it in
// the session next.
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
	err = conn.QueryRow(ctx, connectSQL, c.job.SearchPath, !postgres.KeepsSession(conn.Conn())).Scan(nil, &deadlockMillis)
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
