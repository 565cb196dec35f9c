package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

// Errors that say why a claim was refused. None of them is a fault: each tells what to do with the message.
var (
	// ErrStale: the range is done, dropped, failed, or was released anew since this message. Acknowledge it.
	ErrStale = errors.New("stale message")
	// ErrNotRunnable: the job may not run now. The range went back to the ledger; acknowledge the message.
	ErrNotRunnable = errors.New("job not runnable")
	// ErrFenced: another claim took the range over. Stop, and leave the message alone.
	ErrFenced = errors.New("fenced off: another claim took the range over")
	// ErrRelationGone: the leaf partition was dropped or detached; its ranges are dropped.
	ErrRelationGone = errors.New("relation gone")
)

// BusyError says that an unexpired lease stands on the range, and for how long still.
type BusyError struct{ Remaining time.Duration }

func (e *BusyError) Error() string {
	return fmt.Sprintf("another worker's lease on the range stands for %s", e.Remaining.Round(time.Millisecond))
}

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
		cp := &c.Checkpoint
		err := tx.QueryRow(ctx, q("claim"), ref.Job, ref.Index, ref.Generation, owner, replySubject, fence, token).Scan(
			&c.Kind, &c.Relation, (*[]string)(&c.Span.Lo), (*[]string)(&c.Span.Hi), &c.Span.HiClosed,
			(*[]string)(&cp.ChunkLo), (*[]string)(&cp.ChunkHi), &cp.K, &cp.Pass, (*[]string)(&cp.Key),
			&c.Fence, &c.Token, &c.Attempts, &c.Quarantine, &leaf)
		if errors.Is(err, pgx.ErrNoRows) {
			return s.whyNot(ctx, tx, ref, prior != nil)
		}
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, q("relation_name"), c.Relation).Scan(&c.Schema, &c.Table, &isPartition)
		if errors.Is(err, pgx.ErrNoRows) || (err == nil && leaf && !isPartition) {
			return ErrRelationGone
		}
		return err
	})
	return c, err
}

// whyNot reads why a claim found no row, and gives an unclaimed range of a stopped job back to the ledger.
func (s *Store) whyNot(ctx context.Context, tx pgx.Tx, ref job.Ref, again bool) error {
	var state job.RangeState
	var jobState job.State
	var generation int
	var remaining float64
	var kind job.Kind
	err := tx.QueryRow(ctx, q("claim_refused"), ref.Job, ref.Index).Scan(&state, &generation, &remaining, &jobState, &kind)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrStale
	case err != nil:
		return err
	case again:
		return ErrFenced
	case generation != ref.Generation:
		return ErrStale
	case state == job.RangeRunning && remaining > 0:
		return &BusyError{Remaining: time.Duration(remaining * float64(time.Second))}
	case state == job.Released && !jobState.Active():
		return &notRunnable{}
	}
	return ErrStale
}

// notRunnable carries ErrNotRunnable out of the read, so that GiveBack can commit what the failed claim's transaction must not.
type notRunnable struct{}

func (*notRunnable) Error() string        { return ErrNotRunnable.Error() }
func (*notRunnable) Is(target error) bool { return target == ErrNotRunnable }

// GiveBack returns a released range that nobody has claimed to `queued`; its message is then to be acknowledged.
func (s *Store) GiveBack(ctx context.Context, ref job.Ref) error {
	_, err := s.exec(ctx, "give back", "unclaimed_back", ref.Job, ref.Index, ref.Generation)
	return err
}

// claimed runs one statement that acts only under the claim's fence; ErrFenced where it no longer stands.
func (s *Store) claimed(ctx context.Context, op, name string, c job.Claim, args ...any) error {
	n, err := s.exec(ctx, op, name, append([]any{c.Ref.Job, c.Ref.Index, c.Fence, c.Token}, args...)...)
	if err == nil && n == 0 {
		return ErrFenced
	}
	return err
}

// Renew prolongs a claim's lease to ten seconds from now.
func (s *Store) Renew(ctx context.Context, c job.Claim) error {
	return s.claimed(ctx, "renew the lease", "renew", c)
}

// HandBack ends a claim before its range's end, at its checkpoint. Redeliver says that the message will be delivered again;
// otherwise the range goes back to the ledger and the message is to be acknowledged.
func (s *Store) HandBack(ctx context.Context, c job.Claim, redeliver bool) error {
	to := job.Queued
	if redeliver {
		to = job.Released
	}
	return s.claimed(ctx, "hand back", "hand_back", c, to)
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
