package coordinator

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	"github.com/backfleet/backfleet/throttle/signals"
)

const (
	lookTarget   = 200 * time.Millisecond // how long one statement of a last look should take
	lookLongest  = 30 * time.Second       // and may
	lookFirst    = 256                    // blocks of the first one
	lookMost     = 1 << 17
	lookLock     = time.Second     // the most that a look waits for a table's lock
	lookPatience = 5 * time.Second // of a look that is held: a snapshot keeps vacuum from its work
	lookPause    = 2 * time.Second // before one that was given up begins anew
	lookAsk      = 5 * time.Second // for one question to the ledger
	lookTold     = 2 * time.Second // from one word on its progress to the next
	lookNamed    = 10              // rows that a look names
)

// looks are the last looks of a leadership: one at a time, for each is a sequential read of a table under one snapshot.
type looks struct {
	*leadership
	term context.Context
	all  sync.WaitGroup

	mu    sync.Mutex
	under *job.Job             // way; nil: none
	rest  map[job.ID]time.Time // until when a job's next look waits
}

func newLooks(term context.Context, l *leadership) *looks {
	return &looks{leadership: l, term: term, rest: map[job.ID]time.Time{}}
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
		l.begin(ctx, j)
		return nil
	}
	return l.settle(ctx, j, store.RoundResult{Residual: look.Residual, CheckFails: look.CheckFails, Failing: look.Failing}, j.Round)
}

// begin takes a last look at a job's table, beside the loop, unless one is under way. What it finds stands in the ledger. One that could not
// come to its end has found nothing.
func (l *looks) begin(ctx context.Context, j job.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other := l.under; other != nil {
		if other.ID != j.ID {
			l.explain(ctx, j, fmt.Sprintf("waits for the last look at the table of job %s: one at a time", other.Name))
		}
		return
	}
	if time.Now().Before(l.rest[j.ID]) {
		return
	}
	delete(l.rest, j.ID)
	l.under = &j
	l.all.Go(func() {
		began := time.Now()
		found, moved, err := l.take(l.term, j)
		l.c.traced(l.term, "last look", began, j, err)
		err = l.conclude(l.term, j, found, moved, err)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.under = nil
		if err != nil {
			l.complain(l.term, "last look given up; it begins anew", err, zap.String("job", j.Name))
			l.rest[j.ID] = time.Now().Add(lookPause)
		}
	})
}

// conclude does what a look has led to: its result is kept, or a person is asked, or the error counts as what it found. It returns the error
// after which the look is to begin anew, and says so where people read why a job does not move.
func (l *looks) conclude(ctx context.Context, j job.Job, found job.LastLook, moved int64, err error) error {
	ctx, cancel := context.WithTimeout(ctx, lookAsk)
	defer cancel()
	switch {
	case err == nil:
		if err := l.ledger.NoteLastLook(ctx, j.ID, moved, found); err != nil {
			return err
		}
		l.log.Info("last look taken", zap.String("job", j.Name), zap.Int("round", found.Round), zap.Int64("rows", found.Rows),
			zap.Int64("residual", found.Residual), zap.Int64("check_failures", found.CheckFails), zap.Duration("took", found.Took.D()))
		defer l.ring()
		return l.ledger.Explain(ctx, j.ID, "")
	case errors.Is(err, errMoot):
		return err
	}
	var old tooOldError
	switch now, gone := l.ledger.Get(ctx, j.ID); {
	case gone != nil:
		return errors.Join(err, gone)
	case now.State != job.Verifying || now.Round != j.Round:
		return errMoot
	case errors.As(err, &old):
		_, err := l.ledger.Pause(ctx, j.ID, "backfleet", fmt.Sprintf("%s; `backfleet set %s verify.snapshot=%s` gives it longer, 0 as long as it takes, and `backfleet resume %s` has it "+
			"begin anew: a job in block order is complete with it only", old, j.Name, old.longer(), j.Name))
		return err
	case postgres.Classify(err) != postgres.Data:
	case j.Round < mostRounds:
		return l.startRound(ctx, now, j.Round+1)
	default:
		return l.end(ctx, now, job.Failed, fmt.Sprintf("the last look fails after %d rounds of verification: %s", j.Round, postgres.Describe(err)))
	}
	if told := l.ledger.Explain(ctx, j.ID, "the last look was given up, and begins anew: "+postgres.Describe(err)); told != nil {
		return errors.Join(err, told)
	}
	return err
}

// take reads all of a job's relations under one snapshot, in a session of its own. It returns how far the job had moved by then, too.
func (l *looks) take(ctx context.Context, j job.Job) (found job.LastLook, moved int64, err error) {
	found.Round = j.Round
	targets, moved, err := l.targets(ctx, j)
	if err != nil || len(targets) == 0 {
		found.At = time.Now()
		return found, moved, err
	}
	try, cancel := context.WithTimeout(ctx, snapshotTry)
	conn, err := signals.Dial(l.gov.sense.pool)(try)
	cancel()
	if err != nil {
		return found, moved, fmt.Errorf("connect for a last look: %w", err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), snapshotTry)
		defer cancel()
		_ = conn.Close(end) // which ends the transaction: nothing was written
	}()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return found, moved, fmt.Errorf("begin: %w", err)
	}
	w := &look{looks: l, job: j, moved: moved, tx: tx, found: &found, step: lookFirst}
	if err := w.prepare(ctx, targets); err != nil {
		return found, moved, err
	}
	for _, t := range targets {
		if err := w.relation(ctx, t); err != nil {
			return found, moved, fmt.Errorf("look at %s: %w", t.target.Relation(), err)
		}
	}
	found.Took = job.Duration(time.Since(found.At).Round(time.Millisecond))
	return found, moved, nil
}

// namesSQL asks whether each name still means the relation that it is expected to.
const namesSQL = `SELECT coalesce(bool_and(to_regclass(x.name)::oid = x.relation), false) FROM unnest($1::text[], $2::oid[]) x(name, relation)`

// prepare locks the relations and takes the snapshot, in that order: one that is older than a rewrite would see the new file empty.
func (w *look) prepare(ctx context.Context, targets []lookedAt) error {
	ctx, cancel := context.WithTimeout(ctx, lookLongest)
	defer cancel()
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.target.Relation()
		w.oids = append(w.oids, t.relation)
	}
	lock := fmt.Sprintf("SET LOCAL lock_timeout = %d; LOCK TABLE ONLY %s IN ACCESS SHARE MODE", lookLock.Milliseconds(), strings.Join(names, ", ONLY "))
	if _, err := w.tx.Exec(ctx, lock, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("lock the table against a rewrite: %w", err)
	}
	w.found.At = time.Now()
	application := "backfleet proof of " + w.job.Name
	if _, err := w.tx.Exec(ctx, snapshotSettings, application); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	sql, args := postgres.Settings{Application: application, Job: w.job.Name, SearchPath: w.job.SearchPath,
		SynchronousCommit: "local", LockTimeout: lookLock, StatementTimeout: lookLongest}.Statement()
	if _, err := w.tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	var same bool
	if err := w.tx.QueryRow(ctx, namesSQL, names, w.oids).Scan(&same); err != nil {
		return fmt.Errorf("names of the relations: %w", err)
	}
	if !same {
		return errRenamed
	}
	if err := w.tx.QueryRow(ctx, "SELECT virtualtransaction FROM pg_locks WHERE pid = pg_backend_pid() LIMIT 1").Scan(&w.virtual); err != nil {
		return fmt.Errorf("id of the look's transaction: %w", err)
	}
	for i := range targets {
		if err := w.tx.QueryRow(ctx, statement.File, targets[i].relation).Scan(nil, &targets[i].blocks); err != nil {
			return fmt.Errorf("size of %s: %w", names[i], err)
		}
		w.all += targets[i].blocks
	}
	return nil
}

// lookedAt is one relation of a last look.
type lookedAt struct {
	relation uint32
	target   statement.Target
	blocks   int64
}

// targets lists what a look reads, and how far the job had moved before it was asked.
func (l *looks) targets(ctx context.Context, j job.Job) (all []lookedAt, moved int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookAsk)
	defer cancel()
	if moved, err = l.ledger.Moved(ctx, j.ID); err != nil {
		return nil, 0, err
	}
	rels, err := l.ledger.Relations(ctx, j.ID)
	if err != nil {
		return nil, 0, err
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
	return all, moved, err
}

// look is a last look under way.
type look struct {
	*looks
	job     job.Job
	moved   int64 // the job, by then
	tx      pgx.Tx
	virtual string // the id of its transaction, which others may wait for
	found   *job.LastLook
	oids    []uint32
	step    int64 // blocks of the next statement
	all     int64
	told    time.Time
}

// relation counts what is open in one relation, a stretch of blocks at a time.
func (w *look) relation(ctx context.Context, t lookedAt) error {
	for at := int64(0); at < t.blocks; {
		if err := w.may(ctx); err != nil {
			return err
		}
		end := min(at+w.step, t.blocks)
		if err := w.stretch(ctx, t, at, end); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// stretch counts what is open from one block to before another.
func (w *look) stretch(ctx context.Context, t lookedAt, from, to int64) error {
	ctx, cancel := context.WithTimeout(ctx, 2*lookLongest+lookAsk) // the server ends each statement before, unless the link hangs
	defer cancel()
	span := ranges.BlockSpan(from, to)
	sql := t.target.LastLook(w.job.ID, t.relation, span)
	var rows, residual, failing int64
	began := time.Now()
	if err := w.tx.QueryRow(ctx, sql.Text, sql.Unkept()...).Scan(&rows, &residual, &failing); err != nil {
		return err
	}
	w.pace(time.Since(began), to-from)
	f := w.found
	f.Blocks, f.Rows, f.Residual, f.CheckFails = f.Blocks+to-from, f.Rows+rows, f.Residual+residual, f.CheckFails+failing
	if residual+failing > 0 && len(f.Failing) < lookNamed {
		return w.name(ctx, t, span)
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
	key, err := statement.OneKey(w.tx.Query(ctx, sql.Text, sql.Unkept()...))
	if err == nil && key != nil {
		w.found.Failing = append(w.found.Failing, key)
	}
	return err
}

// Why a look is given up.
var (
	errMoot    = errors.New("the job is in this round no longer")
	errHeld    = errors.New("the database is held")
	errAwaited = errors.New("somebody waits for the lock of the table, or for the end of the look's transaction")
	errRenamed = errors.New("a table was renamed, or another has its name now")
)

// tooOldError says that a look's snapshot is older than it may be.
type tooOldError struct {
	most         time.Duration
	blocks, left int64
}

func (e tooOldError) Error() string {
	return fmt.Sprintf("the last look takes longer than verify.snapshot, %s: it had read %d of %d blocks", e.most, e.blocks, e.blocks+e.left)
}

// longer is twice what a look of all blocks would have taken at the pace of this one, in whole minutes, and no more than may be set.
func (e tooOldError) longer() time.Duration {
	need := 2 * e.most.Seconds() * float64(e.blocks+e.left) / float64(max(e.blocks, 1))
	return time.Duration(min(math.Ceil(need/60), 24*60)) * time.Minute
}

// mayNot reads what would end a look: the job was stopped, is elsewhere or has moved meanwhile, the database is held, somebody waits for a lock
// of a relation, and the whole application behind them, or as CREATE INDEX CONCURRENTLY does for the look's transaction.
const mayNotSQL = `SELECT NOT EXISTS (SELECT 1 FROM backfleet.jobs WHERE id = $1 AND state = 'verifying' AND verify_round = $2)
  OR EXISTS (SELECT 1 FROM backfleet.events WHERE job_id = $1 AND id > $4 AND action <> 'set'),
 EXISTS (SELECT 1 FROM backfleet.brake WHERE until > clock_timestamp()),
 EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND (locktype = 'virtualxid' AND virtualxid = $5
   OR locktype = 'relation' AND relation = ANY ($3::oid[]) AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))`

// may waits until the look may go on, a moment at most: its snapshot is a burden to others.
func (w *look) may(ctx context.Context) error {
	for since := time.Now(); ; {
		moot, held, awaited, err := w.mayNot(ctx)
		if err != nil {
			return err
		}
		if ok, _, known := w.gov.verdict(time.Now()); known && !ok {
			held = true
		}
		most := w.limits().Verify.Snapshot.D()
		switch {
		case moot:
			return errMoot
		case awaited:
			return errAwaited
		case most > 0 && time.Since(w.found.At) > most:
			return tooOldError{most: most, blocks: w.found.Blocks, left: w.all - w.found.Blocks}
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

func (w *look) mayNot(ctx context.Context) (moot, held, awaited bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookAsk)
	defer cancel()
	err = w.ledger.Pool().QueryRow(ctx, mayNotSQL, w.job.ID, w.job.Round, w.oids, w.moved, w.virtual).Scan(&moot, &held, &awaited)
	return moot, held, awaited, err
}

// limits are the job's as they were read last: they may be set while the look is under way.
func (w *look) limits() job.Limits {
	for _, j := range w.snapshot() {
		if j.ID == w.job.ID {
			return j.Limits
		}
	}
	return w.job.Limits
}

// tell says how far the look is, now and then.
func (w *look) tell(ctx context.Context) {
	if time.Since(w.told) < lookTold {
		return
	}
	w.told = time.Now()
	ctx, cancel := context.WithTimeout(ctx, lookAsk)
	defer cancel()
	w.explain(ctx, w.job, fmt.Sprintf("looks at the whole table in one snapshot, block %d of %d", w.found.Blocks, w.all))
}
