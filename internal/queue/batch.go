package queue

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"go.uber.org/zap"
)

const (
	batchMost  = 1000 // the server's limit
	batchLeast = 16   // below it two round trips cost more than they save
)

// release publishes results[i] for each i in todo. Where the stream takes atomic batches, which is where each write is
// synced to disk by itself otherwise, it tries them first: a batch is all or nothing, so one occupied range or duplicate
// sends its whole batch the slow way, which can tell which one it was.
func (c *Conn) release(ctx context.Context, results []PublishResult, todo []int) {
	for c.batches && len(todo) >= batchLeast && ctx.Err() == nil {
		part := todo[:min(batchMost, len(todo))]
		if !c.publishBatch(ctx, results, part) {
			c.publishEach(ctx, results, part)
		}
		todo = todo[len(part):]
	}
	c.publishEach(ctx, results, todo)
}

// publishBatch reports whether all of part was published. When no answer came it may have been all the same; then the
// slow way finds duplicates.
func (c *Conn) publishBatch(ctx context.Context, results []PublishResult, part []int) bool {
	batch := make([]*nats.Msg, len(part))
	for n, i := range part {
		m, err := c.message(results[i].Ref)
		if err != nil {
			return false
		}
		batch[n] = m
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if _, err := jetstreamext.PublishMsgBatch(ctx, c.js, batch); err != nil {
		var api *jetstream.APIError
		if !errors.As(err, &api) {
			c.log.Warn("a batch of ranges got no answer; publishing them one by one", zap.Int("ranges", len(part)), zap.Error(err))
		}
		return false
	}
	for _, i := range part {
		results[i].Outcome, results[i].Err = Published, nil
	}
	return true
}
