package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/ranges"
)

const (
	lookTarget   = 200 * time.Millisecond // how long one statement of a last look should take
	lookLongest  = 30 * time.Second       // and may
	lookFirst    = 256                    // blocks of the first one
	lookMost     = 1 << 17
	lookLock     = time.Second     // the most that a look waits for a table's lock
	lookPatience = 5 * time.Second // of a look that is held: a snapshot keeps vacuum from its work
	lookPause    = 2 * time.Second // before one that was given up begins anew
	lookTold     = 2 * time.Second // from one word on its progress to the next
	lookNamed    = 10              // rows that a look names
)

// looks are the last looks of a leadership that are under way, a job at most one.
type looks struct {
	*leadership
	term context.Context
	all  sync.WaitGroup

	mu    sync.Mutex
	under map[job.ID]bool
}

func newLooks(term context.Context, l *leadership) *looks {
	return &looks{leadership: l, term: term, under: map[job.ID]bool{}}
}

func (l *looks) wait() { l.all.Wait() }

// prove leads a job in block order to its proof: rounds over all blocks that there are, which repair what they find, and after each a last look,
// which alone counts.
func (l *looks) prove(ctx context.Context, j job.Job) error {
	if j.State == job.Running {
		return l.startRound(ctx, j, 1)
	}
	look := j.LastLook
	if look == nil || look.Round != j.Round {
		l.begin(j)
		return nil
	}
	return l.settle(ctx, j, store.RoundResult{Residual: look.Residual, CheckFails: look.CheckFails, Failing: look.Failing}, j.Round)
}

// begin takes a last look at a job's table, beside the loop, unless one is under way. What it finds stands in the ledger. One that could not
// come to its end has found nothing.
func (l *looks) begin(j job.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.under[j.ID] {
		return
	}
	l.under[j.ID] = true
	l.all.Go(func() {
		defer func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.under, j.ID)
		}()
		began := time.Now()
		found, err := l.take(l.term, j)
		l.c.traced(l.term, "last look", began, j, err)
		if err == nil {
			err = l.ledger.NoteLastLook(l.term, j.ID, found)
		}
		if err == nil {
			l.ring()
			l.log.Info("last look taken", zap.String("job", j.Name), zap.Int("round", found.Round), zap.Int64("rows", found.Rows),
				zap.Int64("residual", found.Residual), zap.Int64("check_failures", found.CheckFails), zap.Duration("took", found.Took.D()))
			return
		}
		l.complain(l.term, "last look given up; it begins anew", err, zap.String("job", j.Name))
		select {
		case <-l.term.Done():
		case <-time.After(lookPause):
		}
	})
}

// take reads all of a job's relations under one snapshot.
func (l *looks) take(ctx context.Context, j job.Job) (job.LastLook, error) {
	found := job.LastLook{Round: j.Round}
	targets, err := l.targets(ctx, j)
	if err != nil || len(targets) == 0 {
		found.At = time.Now()
		return found, err
	}
	tx, err := l.ledger.Pool().BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return found, fmt.Errorf("begin: %w", err)
	}
	defer func() {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookLock)
		defer cancel()
		_ = tx.Rollback(back) // nothing was written
	}()
	// The locks come before the snapshot: one that is older than a rewrite would see the new file empty.
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = "ONLY " + t.target.Relation()
	}
	lock := fmt.Sprintf("SET LOCAL lock_timeout = %d; LOCK TABLE %s IN ACCESS SHARE MODE", lookLock.Milliseconds(), strings.Join(names, ", "))
	if _, err := tx.Exec(ctx, lock, pgx.QueryExecModeSimpleProtocol); err != nil {
		return found, fmt.Errorf("lock the table against a rewrite: %w", err)
	}
	began := time.Now()
	sql, args := postgres.Settings{Application: "backfleet " + j.Name, Job: j.Name, SearchPath: j.SearchPath,
		SynchronousCommit: "local", LockTimeout: lookLock, StatementTimeout: lookLongest}.Statement()
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return found, fmt.Errorf("settings: %w", err)
	}
	found.At = began
	w := &look{looks: l, job: j, tx: tx, found: &found, step: lookFirst}
	for i := range targets {
		var blocks int64
		if err := tx.QueryRow(ctx, statement.File, targets[i].relation).Scan(nil, &blocks); err != nil {
			return found, fmt.Errorf("size of %s: %w", names[i], err)
		}
		targets[i].blocks = blocks
		w.all += blocks
		w.oids = append(w.oids, targets[i].relation)
	}
	for _, t := range targets {
		if err := w.relation(ctx, t); err != nil {
			return found, fmt.Errorf("look at %s: %w", t.target.Relation(), err)
		}
	}
	found.Took = job.Duration(time.Since(began).Round(time.Millisecond))
	return found, nil
}

// lookedAt is one relation of a last look.
type lookedAt struct {
	relation uint32
	target   statement.Target
	blocks   int64
}

func (l *looks) targets(ctx context.Context, j job.Job) (all []lookedAt, err error) {
	rels, err := l.ledger.Relations(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	err = l.ledger.Read(ctx, j, func(tx pgx.Tx) error {
		for _, rel := range rels {
			if rel.Dropped {
				continue
			}
			t, err := l.ledger.Target(ctx, tx, j, rel.OID)
			if err != nil {
				return err
			}
			t.Blocks = true
			all = append(all, lookedAt{relation: rel.OID, target: t})
		}
		return nil
	})
	return all, err
}

// look is a last look under way.
type look struct {
	*looks
	job   job.Job
	tx    pgx.Tx
	found *job.LastLook
	oids  []uint32
	step  int64 // blocks of the next statement
	all   int64
	told  time.Time
}

// relation counts what is open in one relation, a stretch of blocks at a time.
func (w *look) relation(ctx context.Context, t lookedAt) error {
	for at := int64(0); at < t.blocks; {
		if err := w.may(ctx); err != nil {
			return err
		}
		end := min(at+w.step, t.blocks)
		span := ranges.Span{Lo: ranges.BlockKey(at), Hi: ranges.BlockKey(end)}
		sql := t.target.LastLook(w.job.ID, t.relation, span)
		var rows, residual, failing int64
		began := time.Now()
		if err := w.tx.QueryRow(ctx, sql.Text, append([]any{pgx.QueryExecModeDescribeExec}, sql.Args...)...).Scan(&rows, &residual, &failing); err != nil {
			return err
		}
		w.pace(time.Since(began), end-at)
		f := w.found
		f.Blocks, f.Rows, f.Residual, f.CheckFails = f.Blocks+end-at, f.Rows+rows, f.Residual+residual, f.CheckFails+failing
		if residual+failing > 0 && len(f.Failing) < lookNamed {
			if err := w.name(ctx, t, span); err != nil {
				return err
			}
		}
		at = end
	}
	return nil
}

// pace fits the next statement to the target, from how long one of so many blocks took.
func (w *look) pace(took time.Duration, blocks int64) {
	want := float64(blocks) * lookTarget.Seconds() / max(took.Seconds(), 1e-4)
	w.step = int64(min(max(want, 1), float64(4*blocks), lookMost))
}

// name keeps the key of one open row of a span.
func (w *look) name(ctx context.Context, t lookedAt, span ranges.Span) error {
	sql := t.target.Failing(statement.Step{Claim: job.Claim{Ref: job.Ref{Job: w.job.ID}, Relation: t.relation}, Span: span, Exclude: true})
	key, err := statement.OneKey(w.tx.Query(ctx, sql.Text, append([]any{pgx.QueryExecModeDescribeExec}, sql.Args...)...))
	if err == nil && key != nil {
		w.found.Failing = append(w.found.Failing, key)
	}
	return err
}

// Why a look is given up.
var (
	errMoot    = errors.New("the job is in this round no longer")
	errHeld    = errors.New("the database is held")
	errAwaited = errors.New("somebody waits for the lock of the table")
)

// mayNot reads what would end a look: the job was stopped or is elsewhere, the database is held, somebody waits for a lock of a relation,
// and the whole application behind them.
const mayNotSQL = `SELECT NOT EXISTS (SELECT 1 FROM backfleet.jobs WHERE id = $1 AND state = 'verifying' AND verify_round = $2),
 EXISTS (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
 EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'relation' AND relation = ANY ($3::oid[]) AND NOT granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`

// may waits until the look may go on, a moment at most: its snapshot is a burden to others.
func (w *look) may(ctx context.Context) error {
	for since := time.Now(); ; {
		var moot, held, awaited bool
		if err := w.ledger.Pool().QueryRow(ctx, mayNotSQL, w.job.ID, w.job.Round, w.oids).Scan(&moot, &held, &awaited); err != nil {
			return err
		}
		if ok, _, known := w.gov.verdict(time.Now()); known && !ok {
			held = true
		}
		switch {
		case moot:
			return errMoot
		case awaited:
			return errAwaited
		case !held:
			w.tell(ctx)
			return nil
		case time.Since(since) > lookPatience:
			return errHeld
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(planEvery):
		}
	}
}

// tell says how far the look is, now and then.
func (w *look) tell(ctx context.Context) {
	if time.Since(w.told) < lookTold {
		return
	}
	w.told = time.Now()
	w.explain(ctx, w.job, fmt.Sprintf("looks at the whole table in one snapshot, block %d of %d", w.found.Blocks, w.all))
}
