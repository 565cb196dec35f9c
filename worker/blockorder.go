package worker

import (
	"context"
	"fmt"

	"github.com/backfleet/backfleet/ranges"
)

// In block order a batch is a stretch of blocks. Where it ends is arithmetic, so nothing is looked for beforehand; the sizer's rows are blocks
// by an average, and what that is wrong by it learns as it learns what a row costs. Only what is less than a block is looked for: the few
// rows of a slow rate, or of a batch that isolates a row.

// enterBlocks opens a chunk where the walk is to go in passes. Its marks are the blocks.
func (c *carrier) enterBlocks() error {
	k := c.passes()
	if c.at.Strided() || k == 1 || c.poison.active {
		return nil
	}
	at, end, err := addresses(c.at.Left(c.claim.Span))
	if err != nil {
		return err
	}
	left := float64(end.Block-at.Block) * c.density
	if c.auto() && left < chunkLeast {
		c.short = true
		return nil
	}
	hi := c.claim.Span.Hi
	if left > chunkMost {
		hi = at.On(ranges.BlocksFor(chunkKeys, c.density)).Key()
	}
	c.at = c.at.Open(hi, k)
	c.heat, c.next = heat{}, boundary{}
	return nil
}

// blockBound is where a batch of about so many rows ends that begins where the walk stands. While a row is isolated it is no later than the
// batch ended that failed.
func (c *carrier) blockBound(ctx context.Context, keys int) (b boundary, err error) {
	left := c.left()
	at, end, err := addresses(left)
	if err != nil {
		return boundary{}, err
	}
	b = boundary{known: true, keys: keys}
	share := float64(max(c.at.K, 1)) / c.density // blocks that a row of this pass stands for
	n := int64(float64(keys) * share)
	to := at.On(max(n, 1))
	if rows := int(float64(n) / share); n >= 1 && (rows >= 2 || !c.poison.active) { // whole blocks hold one row only by an average
		b.keys = max(1, rows)
	} else if to, err = c.blockPart(ctx, left, at.On(1), end, keys); err != nil {
		return boundary{}, err
	}
	if to.Before(end) {
		b.end = to.Key()
	} else if c.poison.active {
		b.end = c.poison.end
	}
	return b, nil
}

// blockPart looks for the end of a batch of so many rows within the block that what is left begins in; where it holds no more, that is the next block.
func (c *carrier) blockPart(ctx context.Context, left ranges.Span, next, end ranges.Address, keys int) (ranges.Address, error) {
	if next.Before(end) {
		left.Hi, left.HiClosed = next.Key(), false
	}
	found, err := c.key(ctx, c.target.Boundary(left, c.at.Turn(), keys))
	if err != nil || found == nil {
		return next, err
	}
	return ranges.AddressOf(found)
}

// addresses are the ends of a span of row addresses.
func addresses(s ranges.Span) (from, to ranges.Address, err error) {
	if from, to, err = ranges.Ends(s, ranges.AddressOf); err != nil {
		err = &rangeFailedError{fmt.Errorf("walk the blocks %s: %w", s, err)}
	}
	return from, to, err
}
