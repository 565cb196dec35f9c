package preflight

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/statement"
	"github.com/backfleet/backfleet/ranges"
)

// blocks reports whether the job walks by block.
func (p *Plan) blocks() bool { return p.Walk.Order == job.OrderBlock }

// stretch is a sample batch in block order, from a block on.
func (s *sampler) stretch(at spot) ranges.Span {
	return ranges.BlockSpan(at.block, at.block+ranges.BlocksFor(s.keys, s.density))
}

// before counts the rows of a stretch before they are written: those that outgrow their pages are elsewhere then.
func (b *sampled) before(ctx context.Context, tx pgx.Tx, t statement.Target, span ranges.Span) (err error) {
	began := time.Now()
	b.keys, _, err = look(ctx, tx, t, span)
	b.proof = time.Since(began).Seconds()
	return err
}

// tried writes a stretch once more, and asks of each row that is written whether it matches `where` still, and how wide it is.
func (b *sampled) tried(ctx context.Context, tx pgx.Tx, t statement.Target, span ranges.Span) error {
	var old, after, rows float64
	was, try := t.Open(span), t.Tried(span)
	if err := queryRow(ctx, tx, was.Text, was.Args...).Scan(&old); err != nil {
		return err
	}
	if err := queryRow(ctx, tx, try.Text, try.Args...).Scan(&rows, &b.open, &after); err != nil {
		return err
	}
	b.wider = after - old
	return nil
}
