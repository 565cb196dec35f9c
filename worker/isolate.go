package worker

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// isolation finds the row that a batch fails on: from the checkpoint on, each batch walks half as many keys as the one before,
// whether it fails or passes, until one key alone fails. A batch of n keys is searched in about 2 log2(n) batches.
type isolation struct {
	active bool
	keys   int
	end    ranges.Key // of the batch that failed first; nil: the pass's end
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
// quarantine in the transaction that moves the checkpoint past it. finished: that row was the range's last. How many rows a batch of whole
// blocks holds is a guess, so in block order only a batch that was looked for, as those of an isolation are, is taken to hold one row.
func (c *carrier) isolate(ctx context.Context, cause error) (finished bool, err error) {
	s := c.move()
	keys, end := c.next.keys, c.next.end
	c.next = boundary{}
	if keys > 1 || c.target.Blocks && !c.poison.active {
		c.log.Info("isolating a row", zap.Int("keys", keys), zap.String("cause", postgres.Describe(cause)))
		c.poison.failed(keys, end)
		return false, nil
	}
	moved, err := c.quarantine(ctx, s, cause, true)
	if err != nil || !moved {
		return false, err
	}
	c.moved(s)
	c.poison = isolation{}
	c.beat()
	return s.Last, nil
}

// quarantine sets the only row of a step aside, or pauses the job where that would be one too many: the row then stays where it is,
// for whoever resumes the job. done is false where the span meanwhile holds no row, or another one: look again.
func (c *carrier) quarantine(ctx context.Context, s statement.Step, cause error, move bool) (done bool, err error) {
	key, err := c.key(ctx, c.target.FirstKey(s.Span, s.Pass))
	if err != nil || key == nil {
		return false, err
	}
	s.Keys = 1
	limit := c.limits.OnError.QuarantineRows
	why := postgres.Describe(cause)
	turn := statement.QuarantineTurn(c.claim.Ref.Job)
	put := transaction{step: s, first: &turn, sql: c.target.Quarantine(s, key, limit, postgres.SQLState(cause), why, move)}
	var others, locked, alone int64
	_, _, err = c.transact(ctx, put, &others, &locked, &alone)
	switch {
	case errors.Is(err, job.ErrFenced) && alone > 0:
		return false, c.pauseJob(ctx, fmt.Errorf("%d rows in quarantine, on_error.quarantine_rows is %d; next: row %s: %s", others, limit, key, why))
	case errors.Is(err, job.ErrFenced) && locked > 0:
		c.log.Info("row to quarantine is not alone; looked for anew", zap.Stringer("key", key), zap.String("cause", why))
		return false, nil
	case err != nil:
		return false, err
	}
	c.exclude = true
	c.log.Warn("row quarantined", zap.Stringer("key", key), zap.String("cause", why), zap.Int64("total", others+1))
	return true, nil
}
