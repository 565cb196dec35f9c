package ddl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backfleet/backfleet/internal/postgres"
)

// Options say how patient Apply is. Zero values are the defaults.
type Options struct {
	// LockTimeout is the longest that a statement waits for a lock, and so about the longest that the application waits behind it. The
	// default is the server's deadlock_timeout + 0.2 s, 1.2 s mostly: only after deadlock_timeout does PostgreSQL cancel an autovacuum
	// that is in the way, so a shorter wait would never get past one.
	LockTimeout time.Duration
	// StatementTimeout bounds a statement as a whole where it may block the application, for it may wait for several locks, one after the
	// other, while it holds the first. The default is LockTimeout + 1 s. VALIDATE CONSTRAINT and what is CONCURRENTLY have none.
	StatementTimeout time.Duration
	// Patience is how long one statement is tried again; 0 means 10 minutes.
	Patience time.Duration
	// Application is the sessions' application_name; empty means "backfleet ddl".
	Application string
}

const (
	defaultPatience = 10 * time.Minute
	overDeadlock    = 200 * time.Millisecond
	overLock        = time.Second
	firstPause      = 500 * time.Millisecond // the application catches up between two attempts
	longestPause    = 15 * time.Second
	mostOvertimes   = 3 // statement timeouts in a row that tell of work, not of bad luck
)

// EventKind is what happened to a statement.
type EventKind string

// The kinds of event.
const (
	Already EventKind = "already" // its effect was there
	Applied EventKind = "applied"
	Blocked EventKind = "blocked" // an attempt failed for a lock; another follows
	Swept   EventKind = "swept"   // an invalid index of an earlier attempt was dropped
)

// Event is a step of Apply.
type Event struct {
	Kind      EventKind
	Statement Statement
	Attempt   int           // from 1; 0 where there was none
	Took      time.Duration // of the attempt
	Pause     time.Duration // until the next attempt
	Blockers  []Blocker     // who was in the way
	Err       error         // of the attempt
}

// PatienceError is a statement that found no moment without somebody in its way. Nothing of it was applied.
type PatienceError struct {
	Statement Statement
	Attempts  int
	Patience  time.Duration
	Blockers  []Blocker
	Err       error
}

// Error names the statement, how long it was tried and who was in the way.
func (e *PatienceError) Error() string {
	s := fmt.Sprintf("statement %d (line %d): gave up after %d attempts in %s", e.Statement.Number, e.Statement.Line, e.Attempts, e.Patience)
	if len(e.Blockers) > 0 {
		s += "; in the way: " + e.Blockers[0].String()
	}
	return s + "; end that session or wait for it, then run this again: what is applied is found as done"
}

// Unwrap returns the last attempt's error.
func (e *PatienceError) Unwrap() error { return e.Err }

// Apply runs statements in their order, each in a transaction of its own, CONCURRENTLY outside of one, so that the application never waits
// longer than the lock timeout behind one that waits itself. One that cannot get its lock is tried again with growing pauses.
// It looks first whether a statement's effect is there, or was and is no longer needed, so the same file can be repeated after any crash. It judges nothing: Check first.
//
// report is called for each step, one call at a time. A second connection, opened with conn's settings when a statement first waits, sees who
// is in the way. The connection must not go through a transaction pooler where a statement is CONCURRENTLY.
func Apply(ctx context.Context, conn *pgx.Conn, statements []Statement, o Options, report func(Event)) error {
	o, err := o.withDefaults(ctx, conn)
	if err != nil {
		return err
	}
	a := applier{conn: conn, o: o, report: report, watcher: &watcher{config: conn.Config()}}
	defer a.watcher.close()
	for i, s := range statements {
		over, err := overtaken(ctx, conn, statements, i)
		if err != nil {
			return err
		}
		if over {
			report(Event{Kind: Already, Statement: s})
			continue
		}
		if err := a.apply(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// LockTimeout is how long a statement must wait for a lock, so that PostgreSQL cancels an autovacuum that is in the way, and no longer: see
// [Options].
func LockTimeout(ctx context.Context, q Querier) (time.Duration, error) {
	rows, err := q.Query(ctx, `SELECT setting::bigint FROM pg_settings WHERE name = 'deadlock_timeout'`)
	if err == nil {
		var ms int64
		if ms, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64]); err == nil {
			return time.Duration(ms)*time.Millisecond + overDeadlock, nil
		}
	}
	return 0, fmt.Errorf("read deadlock_timeout: %w", err)
}

func (o Options) withDefaults(ctx context.Context, conn *pgx.Conn) (Options, error) {
	if o.LockTimeout <= 0 {
		var err error
		if o.LockTimeout, err = LockTimeout(ctx, conn); err != nil {
			return o, err
		}
	}
	o.StatementTimeout = cmp.Or(o.StatementTimeout, o.LockTimeout+overLock)
	o.Patience = cmp.Or(o.Patience, defaultPatience)
	o.Application = cmp.Or(o.Application, "backfleet ddl")
	return o, nil
}

type applier struct {
	conn    *pgx.Conn
	o       Options
	report  func(Event)
	watcher *watcher
}

func (a *applier) apply(ctx context.Context, s Statement) error {
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstPause), backoff.WithMaxInterval(longestPause),
		backoff.WithMaxElapsedTime(a.o.Patience))
	overtimes := 0
	for attempt := 1; ; attempt++ {
		done, err := Done(ctx, a.conn, s)
		if err != nil {
			return err
		}
		if done {
			a.report(Event{Kind: Already, Statement: s})
			return nil
		}
		begun := time.Now()
		blockers, err := a.watcher.during(ctx, a.conn.PgConn().PID(), func() error { return a.attempt(ctx, s) })
		took := time.Since(begun)
		if err == nil {
			a.report(Event{Kind: Applied, Statement: s, Attempt: attempt, Took: took, Blockers: blockers})
			return nil
		}
		var building *buildingError
		switch code := postgres.SQLState(err); {
		case ctx.Err() != nil:
			return fmt.Errorf("statement %d (line %d): %w", s.Number, s.Line, context.Cause(ctx))
		case code == "55P03" || code == "40P01": // lock_not_available, deadlock_detected
			overtimes = 0
		case errors.As(err, &building):
			blockers = []Blocker{building.by}
		case code == "57014" && took >= a.o.StatementTimeout: // query_canceled, by the timeout and by no person
			if overtimes++; overtimes >= mostOvertimes {
				return fmt.Errorf("statement %d (line %d): took longer than its statement timeout of %s, %d times in a row: its own work is too long, or it waits "+
					"for many locks one after the other; look at what Check says of it: %w", s.Number, s.Line, a.o.StatementTimeout, overtimes, err)
			}
		default:
			// The server may have gone on with the statement of a run that died, and have ended it while this one waited.
			if done, failed := Done(ctx, a.conn, s); failed == nil && done {
				a.report(Event{Kind: Already, Statement: s, Attempt: attempt, Took: took})
				return nil
			}
			return fmt.Errorf("statement %d (line %d): %w", s.Number, s.Line, err)
		}
		pause := pauses.NextBackOff()
		if pause == backoff.Stop {
			return &PatienceError{Statement: s, Attempts: attempt, Patience: a.o.Patience, Blockers: blockers, Err: err}
		}
		a.report(Event{Kind: Blocked, Statement: s, Attempt: attempt, Took: took, Pause: pause, Blockers: blockers, Err: err})
		select {
		case <-ctx.Done():
			return fmt.Errorf("statement %d (line %d): %w", s.Number, s.Line, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

func (a *applier) attempt(ctx context.Context, s Statement) error {
	if !s.Concurrent() {
		return a.inside(ctx, s.SQL, s.long())
	}
	if err := a.sweep(ctx, s); err != nil {
		return err
	}
	if parent, child, ok, err := a.pending(ctx, s); err != nil {
		return err
	} else if ok {
		return a.inside(ctx, "ALTER TABLE "+parent+" DETACH PARTITION "+child+" FINALIZE", false)
	}
	return a.outside(ctx, s)
}

// long tells whether a statement may take its time: all it does is validate, which blocks neither reads nor writes.
func (s Statement) long() bool {
	n, ok := s.node.(*alterTable)
	if !ok || n.Object != "OBJECT_TABLE" {
		return false
	}
	for _, c := range n.Commands {
		if c.Command.Type != "AT_ValidateConstraint" {
			return false
		}
	}
	return true
}

// settings are the statement's own. A commit waits for no standby, for it would wait with its locks held; strings mean what the parser read.
const settings = `SELECT set_config('lock_timeout', $1, $5), set_config('statement_timeout', $2, $5), set_config('application_name', $3, $5),
	set_config('synchronous_commit', 'local', $5), set_config('standard_conforming_strings', 'on', $5),
	set_config('idle_in_transaction_session_timeout', $4, $5)`

func (a *applier) settings(lock, statement time.Duration, local bool) [][]byte {
	ms := func(d time.Duration) []byte { return strconv.AppendInt(nil, d.Milliseconds(), 10) }
	return [][]byte{ms(lock), ms(statement), []byte(a.o.Application), ms(10 * time.Second), strconv.AppendBool(nil, local)}
}

// inside runs a statement in a transaction. All of it goes out at once, so that no lock is held for a round trip.
func (a *applier) inside(ctx context.Context, sql string, long bool) error {
	timeout := a.o.StatementTimeout
	if long {
		timeout = 0
	}
	pg := a.conn.PgConn()
	p := pg.StartPipeline(ctx)
	p.SendQueryParams(postgres.Begin, nil, nil, nil, nil)
	p.SendQueryParams(settings, a.settings(a.o.LockTimeout, timeout, true), nil, nil, nil)
	p.SendQueryParams(sql, nil, nil, nil, nil)
	p.SendQueryParams("commit", nil, nil, nil, nil)
	err := p.Sync()
	for err == nil {
		var result any
		if result, err = p.GetResults(); err != nil || result == nil {
			break
		}
		if r, ok := result.(*pgconn.ResultReader); ok {
			_, err = r.Close()
		}
	}
	if closed := p.Close(); err == nil {
		err = closed
	}
	if err != nil && !pg.IsClosed() && pg.TxStatus() != 'I' {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, failed := pg.Exec(back, "rollback").ReadAll(); failed != nil {
			_ = a.conn.Close(back)
		}
	}
	return err
}

// outside runs a statement without a transaction. What is CONCURRENTLY queues nobody behind it, so it may wait as long as patience lasts; but a
// partition is locked at the end of its detaching.
func (a *applier) outside(ctx context.Context, s Statement) error {
	lock := a.o.Patience
	if _, ok := s.node.(*alterTable); ok {
		lock = a.o.LockTimeout
	}
	pg := a.conn.PgConn()
	if err := exec(ctx, pg, settings, a.settings(lock, 0, false)...); err != nil {
		return err
	}
	defer func() {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		for _, name := range []string{"lock_timeout", "statement_timeout", "application_name", "synchronous_commit", "standard_conforming_strings",
			"idle_in_transaction_session_timeout"} {
			if err := exec(back, pg, "RESET "+name); err != nil {
				_ = a.conn.Close(back)
				return
			}
		}
	}()
	return exec(ctx, pg, s.SQL)
}

// exec runs exactly one statement; the extended protocol takes no second one.
func exec(ctx context.Context, pg *pgconn.PgConn, sql string, args ...[]byte) error {
	return pg.ExecParams(ctx, sql, args, nil, nil, nil).Read().Err
}
