package worker

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// prove verifies one batch: counts what is still open in it, repairs that, and names one such row. The count stands in the ledger
// with the checkpoint; whether the repair held is for the next round to say. A repair that meets a lock, a hold or a lost session is
// the next step once more. The range's end is a step of its own, so that a repair always has a claim to stand on.
func (c *carrier) prove(ctx context.Context) (finished bool, err error) {
	s := c.move()
	end := s.Last
	s.Last = false
	var residual, failing int64
	took, ahead, err := c.transact(ctx, transaction{step: s, sql: c.target.Proof(s)}, &residual, &failing)
	if err != nil {
		return false, err
	}
	c.committed(s, took, 0)
	c.next = ahead
	if residual+failing > 0 {
		c.log.Warn("verification found rows", zap.Int64("residual", residual), zap.Int64("check_failures", failing), zap.Stringer("span", s.Span))
		c.found = &s
		if err := c.repair(ctx); err != nil {
			return false, err
		}
	}
	if !end {
		return false, nil
	}
	last := statement.Step{Claim: c.claim, Span: ranges.Span{Lo: s.To.Key, Hi: s.To.Key}, To: s.To, Last: true}
	if _, _, err := c.transact(ctx, transaction{step: last, sql: c.target.Proof(last)}, &residual, &failing); err != nil {
		return false, err
	}
	return true, nil
}

// repair names a row that is open and updates what may be updated again: the residual, and rows that fail their check where no
// expression reads what it sets.
func (c *carrier) repair(ctx context.Context) error {
	s := *c.found
	s.Claim, s.Exclude = c.claim, c.exclude
	key, err := c.key(ctx, c.target.Failing(s))
	if err != nil && postgres.Classify(err) != postgres.Data { // a row in quarantine may fail the predicate itself
		return fmt.Errorf("name a failing row: %w", err)
	}
	if key != nil {
		try, cancel := context.WithTimeout(ctx, claimTimeout)
		defer cancel()
		if err := c.desk.db.Ledger.NoteFailing(try, c.claim, key); err != nil {
			return err
		}
	}
	if err := c.repairSpan(ctx, s); err != nil {
		return err
	}
	c.found = nil
	return nil
}

// repairSpan repairs a span, halving it around rows that fail until each of those stands alone and is quarantined.
func (c *carrier) repairSpan(ctx context.Context, s statement.Step) error {
	if !c.open() { // each part is a batch, and there may be thousands
		return errHeld
	}
	var rows int64
	_, _, err := c.transact(ctx, transaction{step: s, sql: c.target.Repair(s, c.job.Idempotent)}, &rows)
	if err == nil {
		c.rows += rows
		c.slot.limiter.Charge(int(rows))
		return nil
	}
	if postgres.Classify(err) != postgres.Data {
		return err
	}
	half, findErr := c.middle(ctx, s.Span)
	if findErr != nil {
		return findErr
	}
	if half == nil {
		_, err := c.quarantine(ctx, s, err, false)
		return err
	}
	left, right := s, s
	left.Span.Hi, left.Span.HiClosed = half, false
	right.Span.Lo = half
	if err := c.repairSpan(ctx, left); err != nil {
		return err
	}
	return c.repairSpan(ctx, right)
}

// middle finds a key that halves a span of at most a batch; nil where it holds one key or none.
func (c *carrier) middle(ctx context.Context, span ranges.Span) (ranges.Key, error) {
	for n := max(1, c.limits.Batch.MaxRows/2); n >= 1; n /= 2 {
		half, err := c.key(ctx, c.target.Boundary(span, ranges.Pass{}, n))
		if err != nil || half != nil {
			return half, err
		}
	}
	return nil, nil
}
