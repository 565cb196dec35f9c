package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// StateError says that a change does not fit the job's state; nothing was changed.
type StateError struct {
	Name  string
	Op    string
	State job.State
	Hint  string
}

func (e *StateError) Error() string {
	return fmt.Sprintf("%s: job %q is %s; %s", e.Op, e.Name, e.State, e.Hint)
}

// RevisionError says that something was changed since the caller read it; nothing was changed.
type RevisionError struct {
	What      string // such as `job "users-email-norm"`
	Have, Saw int64
}

func (e *RevisionError) Error() string {
	return fmt.Sprintf("%s was changed meanwhile (revision %d, you saw %d); read it again", e.What, e.Have, e.Saw)
}

// lastWord bounds how long a change that failed may take to say so in the audit log.
const lastWord = 5 * time.Second

// decision says what becomes of a job that its transaction has locked.
type decision func(pgx.Tx, job.Job) (job.Job, error)

// change locks a job, lets fn decide, and returns the job as it then stands.
func (s *Store) change(ctx context.Context, op string, id job.ID, fn decision) (job.Job, error) {
	return changeIn(ctx, s.tx, op, id, func(tx pgx.Tx, j job.Job) (job.Job, error) {
		if err := s.asked(j); err != nil {
			return j, err
		}
		return fn(tx, j)
	})
}

// asked refuses a change of a job that is not as the caller saw it.
func (s *Store) asked(j job.Job) error {
	if s.revision != 0 && s.revision != j.Revision {
		return &RevisionError{fmt.Sprintf("job %q", j.Name), j.Revision, s.revision}
	}
	return nil
}

// changeIn is change in a transaction of the store's, or of a leader's, which is refused once another leads.
func changeIn(ctx context.Context, in func(context.Context, string, func(pgx.Tx) error) error, op string, id job.ID, fn decision) (job.Job, error) {
	var out job.Job
	err := in(ctx, op, func(tx pgx.Tx) error {
		j, err := lockJob(ctx, tx, id)
		if err != nil {
			return err
		}
		out, err = fn(tx, j)
		return err
	})
	return out, err
}

// setState moves a job to a state and writes the audit log, with what else there is to say in detail.
func setState(ctx context.Context, tx pgx.Tx, j job.Job, to, resume job.State, by, action, reason string, detail map[string]any) (job.Job, error) {
	var back *string
	if resume != "" {
		back = (*string)(&resume)
	}
	next, err := oneJob(ctx, tx, "job_state", j.ID, to, back, reason, to.Ended())
	if err != nil {
		return j, err
	}
	if detail == nil {
		detail = map[string]any{}
	}
	detail["old"], detail["new"] = j.State, to
	if reason != "" {
		detail["reason"] = reason
	}
	return next, event(ctx, tx, j.ID, by, action, detail)
}

// Pause stops a job: workers finish their batch, checkpoint and hand their ranges back. Pausing a paused job changes nothing.
func (s *Store) Pause(ctx context.Context, id job.ID, by, reason string) (job.Job, error) {
	return s.change(ctx, "pause", id, pause(ctx, by, reason))
}

// Pause is the coordinator's own, refused once another leads: what it saw may be past.
func (l *Leader) Pause(ctx context.Context, id job.ID, by, reason string) (job.Job, error) {
	return changeIn(ctx, l.tx, "pause", id, pause(ctx, by, reason))
}

func pause(ctx context.Context, by, reason string) decision {
	return func(tx pgx.Tx, j job.Job) (job.Job, error) {
		switch {
		case j.State == job.Paused:
			return j, nil
		case j.State.Ended():
			return j, &StateError{j.Name, "pause", j.State, "there is nothing to pause"}
		}
		return setState(ctx, tx, j, job.Paused, j.State, by, "pause", reason, nil)
	}
}

// Resume lets a paused job go on from its checkpoints. Resuming a running job changes nothing.
func (s *Store) Resume(ctx context.Context, id job.ID, by string) (job.Job, error) {
	return s.change(ctx, "resume", id, func(tx pgx.Tx, j job.Job) (job.Job, error) {
		switch {
		case j.State.Ended():
			return j, &StateError{j.Name, "resume", j.State, "only a paused job can be resumed; `backfleet retry` revives a failed one"}
		case j.State != job.Paused:
			return j, nil
		}
		return setState(ctx, tx, j, resumeState(j), "", by, "resume", "", nil)
	})
}

func resumeState(j job.Job) job.State {
	if j.ResumeState == "" {
		return job.Planning
	}
	return j.ResumeState
}

// Cancel ends a job for good. Rows that are done stay done.
func (s *Store) Cancel(ctx context.Context, id job.ID, by, reason string) (job.Job, error) {
	return s.change(ctx, "cancel", id, func(tx pgx.Tx, j job.Job) (job.Job, error) {
		switch {
		case j.State == job.Cancelled:
			return j, nil
		case j.State.Ended():
			return j, &StateError{j.Name, "cancel", j.State, "it has ended already"}
		}
		return setState(ctx, tx, j, job.Cancelled, "", by, "cancel", reason, nil)
	})
}

// Fail ends a job that cannot go on, with one clear line; `retry` revives it where it stood. Failing an ended job changes nothing.
func (s *Store) Fail(ctx context.Context, id job.ID, by, reason string) (job.Job, error) {
	return s.change(ctx, "fail", id, fail(ctx, by, reason))
}

// Fail is the coordinator's own, refused once another leads.
func (l *Leader) Fail(ctx context.Context, id job.ID, by, reason string) (job.Job, error) {
	return changeIn(ctx, l.tx, "fail", id, fail(ctx, by, reason))
}

func fail(ctx context.Context, by, reason string) decision {
	return func(tx pgx.Tx, j job.Job) (job.Job, error) {
		if j.State.Ended() {
			return j, nil
		}
		back := j.State
		if back == job.Paused {
			back = resumeState(j)
		}
		return setState(ctx, tx, j, job.Failed, back, by, "fail", reason, nil)
	}
}

// SetLimits replaces a job's limits. ifRevision refuses a change that was made from an older view; 0 does not ask.
func (s *Store) SetLimits(ctx context.Context, id job.ID, by string, limits job.Limits, ifRevision int64) (job.Job, error) {
	return s.change(ctx, "set", id, func(tx pgx.Tx, j job.Job) (job.Job, error) {
		if j.State.Ended() {
			return j, &StateError{j.Name, "set", j.State, "its limits no longer matter"}
		}
		if awaits(j) {
			return j, &StateError{j.Name, "set", j.State, "what another person is asked to approve does not change; cancel it and submit it anew"}
		}
		if ifRevision != 0 && ifRevision != j.Revision {
			return j, &RevisionError{fmt.Sprintf("job %q", j.Name), j.Revision, ifRevision}
		}
		next, err := oneJob(ctx, tx, "job_limits", id, jsonb{limits})
		if err != nil {
			return j, err
		}
		return next, event(ctx, tx, id, by, "set", map[string]any{"old": j.Limits, "new": limits})
	})
}

// SkipRange takes a range out of the job: what is left of it will not be done, and the job can end only with errors. A worker that
// carries it is fenced off. A range of blocks is refused: rows move between blocks, and a proof takes all of them.
func (s *Store) SkipRange(ctx context.Context, id job.ID, by string, index int, reason string) (job.Job, error) {
	return s.change(ctx, "skip", id, func(tx pgx.Tx, j job.Job) (job.Job, error) {
		if j.State.Ended() {
			return j, &StateError{j.Name, "skip", j.State, "nothing is left to skip"}
		}
		var old job.RangeState
		var blocks bool
		err := tx.QueryRow(ctx, q("range_skip"), id, index, reason).Scan(&old, &blocks)
		if errors.Is(err, pgx.ErrNoRows) {
			return j, fmt.Errorf("skip: range %d of job %q is not open; `backfleet status %s` shows what is", index, j.Name, j.Name)
		}
		if err != nil {
			return j, err
		}
		if blocks {
			return j, fmt.Errorf("skip: range %d of job %q is of blocks, which rows leave and come to; pause the job and skip rows by key: `backfleet skip %s --key KEY`", index, j.Name, j.Name)
		}
		return j, event(ctx, tx, id, by, "skip", map[string]any{"range": index, "reason": reason, "old": old, "new": job.RangeExcluded})
	})
}

// SkipRow puts one row into quarantine before its batch comes. The job must be paused, so that no worker has begun its range
// without knowing. A row that is done already is refused where nothing would keep a retry from doing it twice. Without a
// relation every leaf partition is searched.
func (s *Store) SkipRow(ctx context.Context, id job.ID, by string, relation string, key ranges.Key, reason string) (job.Job, error) {
	return s.change(ctx, "skip", id, func(tx pgx.Tx, j job.Job) (job.Job, error) {
		if j.State != job.Paused {
			return j, &StateError{j.Name, "skip", j.State, "pause it first, so that no worker is past the row"}
		}
		if len(key) != len(j.Key) {
			return j, fmt.Errorf("skip: key %s has %d parts, the key of job %q has %d", key, len(key), j.Name, len(j.Key))
		}
		var open int
		if err := tx.QueryRow(ctx, "select count(*) from backfleet.ranges where job_id = $1 and state = 'running'", id).Scan(&open); err != nil {
			return j, err
		}
		if open > 0 {
			return j, &StateError{j.Name, "skip", j.State, fmt.Sprintf("ranges that workers still hold: %d; try again in a moment, when they are handed back", open)}
		}
		rows, err := s.skipRow(ctx, tx, j, by, relation, key, reason)
		if err != nil {
			return j, err
		}
		return j, event(ctx, tx, id, by, "skip", map[string]any{"key": key, "reason": reason, "rows": rows, "old": "open", "new": "quarantined"})
	})
}

// skipRow finds the row of a key in the job's relations and sets it aside.
func (s *Store) skipRow(ctx context.Context, tx pgx.Tx, j job.Job, by, relation string, key ranges.Key, reason string) (skipped int, err error) {
	rels, err := relations(ctx, tx, j.ID)
	if err != nil {
		return 0, err
	}
	found := false
	for _, rel := range rels {
		if rel.Dropped || relation != "" && rel.Name != relation {
			continue
		}
		t, err := s.Target(ctx, tx, j, rel.OID)
		if err != nil {
			return 0, err
		}
		t.Blocks = rel.File != 0
		sql := t.Ahead(j.ID, rel.OID, key)
		var stored []string
		var ahead bool
		err = tx.QueryRow(ctx, sql.Text, sql.Args...).Scan(&stored, &ahead)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("find row %s in %s: %w", key, rel.Name, err)
		}
		found = true
		if !ahead && j.Spec.Where == "" {
			continue
		}
		if _, err := tx.Exec(ctx, q("quarantine_skip"), j.ID, stored, reason, by, rel.OID); err != nil {
			return 0, err
		}
		skipped++
	}
	switch {
	case skipped > 0:
		return skipped, nil
	case found:
		return 0, fmt.Errorf("skip: row %s of job %q is done already, or lies in no planned range; there is nothing to skip", key, j.Name)
	}
	return 0, fmt.Errorf("skip: no row of job %q has the key %s", j.Name, key)
}

// RetryResult says what a retry did.
type RetryResult struct {
	Ranges int64             `json:"ranges_queued"`
	Rows   int64             `json:"rows_done"`
	Left   []job.Quarantined `json:"still_failing"`
	State  job.State         `json:"state"`

	taken int64 // rows that left the quarantine, done now or by somebody else before
}

// Retry queues failed ranges again, tries every row in quarantine once more, each with its removal in one transaction, and revives a
// job that failed or ended with errors, to be verified anew. The audit log has a line before the first row and one of what came of it,
// also where the retry stops on the way.
func (s *Store) Retry(ctx context.Context, id job.ID, by string) (RetryResult, error) {
	var res RetryResult
	j, err := s.Get(ctx, id)
	if err != nil {
		return res, err
	}
	if j.State == job.Complete || j.State == job.Cancelled {
		return res, &StateError{j.Name, "retry", j.State, "there is nothing to retry"}
	}
	if err := s.asked(j); err != nil {
		return res, err
	}
	s = s.If(0) // the rows come first, and what they change is no reason to stop
	if err := s.retryRows(ctx, j, by, &res); err != nil {
		return res, errors.Join(err, s.retryStopped(ctx, id, by, res, err))
	}
	_, err = s.change(ctx, "retry", id, func(tx pgx.Tx, j job.Job) (job.Job, error) {
		tag, err := tx.Exec(ctx, q("retry_failed"), id)
		if err != nil {
			return j, err
		}
		res.Ranges = tag.RowsAffected()
		to, err := revive(ctx, tx, j, res)
		if err != nil {
			return j, err
		}
		res.State = to
		detail := map[string]any{"ranges": res.Ranges, "rows": res.Rows, "left": len(res.Left)}
		if to == j.State {
			return j, event(ctx, tx, id, by, "retry", detail)
		}
		return setState(ctx, tx, j, to, "", by, "retry", "", detail)
	})
	return res, err
}

// revive says where a retry takes a job. One whose verification is over, well or not, is proved again from the first round.
func revive(ctx context.Context, tx pgx.Tx, j job.Job, res RetryResult) (job.State, error) {
	proved := j.State == job.CompleteWithErrors && res.taken+res.Ranges > 0 || j.State == job.Failed && j.Round > 0
	switch {
	case proved:
		return job.Running, forgetProof(ctx, tx, j.ID)
	case j.State == job.Failed, j.State == job.Paused:
		return resumeState(j), nil
	}
	return j.State, nil
}

// retryStopped writes down what a retry did that did not come to its end, also where its caller has gone.
func (s *Store) retryStopped(ctx context.Context, id job.ID, by string, res RetryResult, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	return s.tx(ctx, "retry", func(tx pgx.Tx) error {
		return event(ctx, tx, id, by, "retry_stopped", map[string]any{"rows": res.Rows, "left": len(res.Left), "error": postgres.Describe(cause)})
	})
}

// retryRows does the quarantined rows again, one transaction each.
func (s *Store) retryRows(ctx context.Context, j job.Job, by string, res *RetryResult) error {
	rows, err := s.pool.Query(ctx, q("quarantine_keys"), j.ID)
	if err != nil {
		return s.explain("list the quarantine", err)
	}
	type put struct {
		relation     uint32
		schema, name string
		key          []string
	}
	var puts []put
	var p put
	_, err = pgx.ForEachRow(rows, []any{&p.relation, &p.schema, &p.name, &p.key}, func() error {
		puts = append(puts, p)
		p.key = nil
		return nil
	})
	if err != nil {
		return s.explain("list the quarantine", err)
	}
	_, alias, err := job.SplitTable(j.Spec.Table)
	if err != nil {
		return err
	}
	if len(puts) > 0 {
		err := s.tx(ctx, "retry", func(tx pgx.Tx) error {
			return event(ctx, tx, j.ID, by, "retry_begun", map[string]any{"rows": len(puts)})
		})
		if err != nil {
			return err
		}
	}
	settings := s.settings
	settings.Job, settings.SearchPath = j.Name, j.SearchPath
	for _, p := range puts {
		t := statement.For(p.schema, p.name, j.Key, j.Spec, alias)
		var taken, done int64
		err := postgres.InTx(ctx, s.pool, settings, func(tx pgx.Tx) (err error) {
			taken, done, err = doAgain(ctx, tx, t.Again(j.ID, p.relation, p.key))
			return err
		})
		if err == nil {
			res.Rows += done
			res.taken += taken
			continue
		}
		if postgres.Classify(err) != postgres.Data {
			return s.explain(fmt.Sprintf("retry row %s", ranges.Key(p.key)), err)
		}
		text := postgres.Describe(err)
		if _, err := s.exec(ctx, "retry", "quarantine_failed_again", j.ID, p.relation, p.key, postgres.SQLState(err), text); err != nil {
			return err
		}
		res.Left = append(res.Left, job.Quarantined{Relation: p.schema + "." + p.name, Key: p.key, Error: text, SQLState: postgres.SQLState(err)})
	}
	return nil
}

// doAgain does one quarantined row again. taken is 0 where somebody else did.
func doAgain(ctx context.Context, tx pgx.Tx, a statement.Again) (taken, rows int64, err error) {
	var index *int // of a row that a person skipped there is none
	err = tx.QueryRow(ctx, a.Take.Text, a.Take.Args...).Scan(&index)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	done, err := tx.Exec(ctx, a.Work.Text, a.Work.Args...)
	if err != nil || index == nil {
		return 1, done.RowsAffected(), err
	}
	count := a.Count(*index, done.RowsAffected())
	_, err = tx.Exec(ctx, count.Text, count.Args...)
	return 1, done.RowsAffected(), err
}

// RequestVerify proves a job again: coverage, residual and check, through the fleet.
func (s *Store) RequestVerify(ctx context.Context, id job.ID, by string) (job.Job, error) {
	return s.change(ctx, "verify", id, func(tx pgx.Tx, j job.Job) (job.Job, error) {
		switch j.State {
		case job.Complete, job.CompleteWithErrors:
		case job.Verifying:
			return j, nil
		case job.Failed, job.Cancelled:
			return j, &StateError{j.Name, "verify", j.State, "only a job that ended complete or complete_with_errors is verified again"}
		default:
			return j, &StateError{j.Name, "verify", j.State, "a job is verified once its ranges are done; this one will be by itself"}
		}
		if err := forgetProof(ctx, tx, id); err != nil {
			return j, err
		}
		return setState(ctx, tx, j, job.Running, "", by, "verify", "", nil)
	})
}
