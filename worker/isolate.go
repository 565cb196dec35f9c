package worker

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// isolation finds the row that a batch fails on: from the checkpoint on, each batch walks half as many keys as the one before,
// whether it fails or passes, until one key alone fails. A batch of n keys is searched in about 2 log2(n) batches.
type isolation struct {
	active bool
	keys   int
	end    ranges.Key // of the batch that failed first; nil: the range's end
}

// failed takes note of a batch of so many keys that failed, up to end.
func (i *isolation) failed(keys int, end ranges.Key) {
	if !i.active {
		*i = isolation{active: true, keys: keys, end: end}
	}
	i.keys = max(1, min(i.keys, keys)/2)
}

// passed takes note of a batch that was committed up to a key.
func (i *isolation) passed(to ranges.Key) {
	switch {
	case !i.active:
	case to.Equal(i.end):
		*i = isolation{}
	default:
		i.keys = max(1, i.keys/2)
	}
}

// isolate answers a data error of the batch from the checkpoint to c.next: a smaller batch, or, where it held one row alone, that row's
// quarantine in the transaction that moves the checkpoint past it.
func (c *carrier) isolate(ctx context.Context, cause error) error {
	s := c.move()
	keys := c.next.keys
	c.next = boundary{}
	if keys > 1 {
		c.log.Info("isolating a row", zap.Int("keys", keys), zap.String("cause", postgres.Describe(cause)))
		c.poison.failed(keys, s.Next)
		return nil
	}
	key, err := c.quarantine(ctx, s, cause, true)
	if err != nil || key == nil {
		return err
	}
	c.claim.Checkpoint = c.claim.Checkpoint.Advance(s.Next)
	c.poison = isolation{}
	c.beat()
	if s.Last {
		return errFinished
	}
	return nil
}

// quarantine sets the only row of a step aside. A nil key: the span held none, or more than one; look again.
func (c *carrier) quarantine(ctx context.Context, s statement.Step, cause error, move bool) (ranges.Key, error) {
	if err := c.connect(ctx); err != nil {
		return nil, nil // the next step meets the same trouble, and knows what to do
	}
	key, err := c.key(ctx, c.target.FirstKey(s.Span))
	if err != nil || key == nil {
		return nil, nil
	}
	s.Keys = 1
	var total int64
	_, _, err = c.transact(ctx, c.target.Quarantine(s, key, postgres.SQLState(cause), postgres.Describe(cause), move), s, &total)
	switch {
	case err == nil:
	case errors.Is(err, errHeld), postgres.SQLState(err) != "":
		return nil, nil // tried again with the batch
	default:
		return nil, err
	}
	c.exclude = true
	c.log.Warn("row quarantined", zap.Stringer("key", key), zap.String("cause", postgres.Describe(cause)), zap.Int64("total", total))
	if limit := c.limits.OnError.QuarantineRows; total > int64(limit) {
		return key, c.pauseJob(ctx, fmt.Errorf("%d rows in quarantine, on_error.quarantine_rows is %d; last: row %s: %s",
			total, limit, key, postgres.Describe(cause)))
	}
	return key, nil
}
