package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// Claim takes a range for owner: fence + 1, a new random token, a lease of ten seconds by the database's clock. It succeeds only
// where no unexpired lease stands, or where prior is the caller's own claim of this range: that is how an unknown commit is
// settled, for the claim waits for whatever is still in flight and then sees the true checkpoint.
func (s *Store) Claim(ctx context.Context, ref job.Ref, owner, replySubject string, prior *job.Claim) (job.Claim, error) {
	c := job.Claim{Ref: ref, Owner: owner}
	fence, token := int64(-1), "00000000-0000-0000-0000-000000000000"
	if prior != nil {
		fence, token = prior.Fence, prior.Token
	}
	err := s.tx(ctx, "claim", func(tx pgx.Tx) error {
		var leaf, isPartition bool
		var file uint32
		cp := &c.Checkpoint
		err := tx.QueryRow(ctx, q("claim"), ref.Job, ref.Index, ref.Generation, owner, replySubject, fence, token).Scan(
			&c.Kind, &c.Relation, (*[]string)(&c.Span.Lo), (*[]string)(&c.Span.Hi), &c.Span.HiClosed,
			(*[]string)(&cp.ChunkLo), (*[]string)(&cp.ChunkHi), &cp.K, &cp.Pass, (*[]string)(&cp.Key),
			&c.Fence, &c.Token, &c.Attempts, &c.Quarantine, &leaf, &c.File, (*[]string)(&c.Bound))
		if errors.Is(err, pgx.ErrNoRows) {
			return s.whyNot(ctx, tx, ref, prior)
		}
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, q("relation_name"), c.Relation).Scan(&c.Schema, &c.Table, &isPartition, &file)
		if errors.Is(err, pgx.ErrNoRows) || (err == nil && leaf && !isPartition) {
			return job.ErrRelationGone
		}
		if err == nil && c.Kind == job.Fill && c.File != 0 && c.File != file {
			return job.ErrRewritten // as far as can be seen without a lock: each batch looks again
		}
		return err
	})
	return c, err
}

// whyNot reads why a claim found no row.
func (s *Store) whyNot(ctx context.Context, tx pgx.Tx, ref job.Ref, prior *job.Claim) error {
	var state job.RangeState
	var jobState job.State
	var generation int
	var remaining float64
	var token string
	err := tx.QueryRow(ctx, q("claim_refused"), ref.Job, ref.Index).Scan(&state, &generation, &remaining, &jobState, &token)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return job.ErrStale
	case err != nil:
		return err
	case prior != nil && token == prior.Token && state == job.Done:
		return job.ErrStale // the unknown commit was the range's last
	case prior != nil && token == prior.Token && state == job.RangeRunning:
		return job.ErrNotRunnable // still mine, but the job was stopped
	case prior != nil:
		return job.ErrFenced
	case generation != ref.Generation:
		return job.ErrStale
	case state == job.RangeRunning && remaining > 0:
		return &job.BusyError{Remaining: time.Duration(remaining * float64(time.Second))}
	case state == job.Released && !jobState.Active():
		return job.ErrNotRunnable
	}
	return job.ErrStale
}

// GiveBack returns a released range that nobody has claimed to `queued`; its message is then to be acknowledged.
func (s *Store) GiveBack(ctx context.Context, ref job.Ref) error {
	_, err := s.exec(ctx, "give back", "unclaimed_back", ref.Job, ref.Index, ref.Generation)
	return err
}

// claimed runs one statement that acts only under the claim's fence; job.ErrFenced where it no longer stands.
func (s *Store) claimed(ctx context.Context, op, name string, c job.Claim, args ...any) error {
	n, err := s.exec(ctx, op, name, append([]any{c.Ref.Job, c.Ref.Index, c.Fence, c.Token}, args...)...)
	if err == nil && n == 0 {
		return job.ErrFenced
	}
	return err
}

// Renew prolongs a claim's lease to ten seconds from now.
func (s *Store) Renew(ctx context.Context, c job.Claim) error {
	return s.claimed(ctx, "renew the lease", "renew", c)
}

// HandBack ends a claim before its range's end, at its checkpoint. redeliver asks that the message be delivered again; it is answered
// with false where the job may not run now: the range is then back in the ledger, and the message is to be acknowledged.
func (s *Store) HandBack(ctx context.Context, c job.Claim, redeliver bool) (again bool, err error) {
	var state job.RangeState
	err = s.tx(ctx, "hand back", func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, q("hand_back"), c.Ref.Job, c.Ref.Index, c.Fence, c.Token, redeliver).Scan(&state)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, job.ErrFenced
	}
	return state == job.Released, err
}

// FailRange gives a range up until a person retries it.
func (s *Store) FailRange(ctx context.Context, c job.Claim, reason string) error {
	return s.claimed(ctx, "fail the range", "range_failed", c, reason)
}

// NoteError counts a retry of a range and keeps its last error.
func (s *Store) NoteError(ctx context.Context, c job.Claim, reason string) error {
	return s.claimed(ctx, "note an error", "range_error", c, reason)
}

// NoteFailing keeps one key that a verification found open or failing.
func (s *Store) NoteFailing(ctx context.Context, c job.Claim, key ranges.Key) error {
	return s.claimed(ctx, "note a failing row", "range_failing_key", c, []string(key))
}
