package worker

import (
	"context"

	"github.com/backfleet/backfleet/ranges"
)

// In block order a batch is a stretch of blocks. Where it ends is arithmetic, so nothing is looked for beforehand; the sizer's rows are blocks
// by an average, and what that is wrong by it learns as it learns what a row costs. Only what is less than a block is looked for: the few
// rows of a slow rate, or of a batch that isolates a row.

// enterBlocks opens a chunk where the walk is to go in passes. Its marks are the blocks.
func (c *carrier) enterBlocks() {
	k := c.passes()
	if c.at.Strided() || k == 1 || c.poison.active {
		return
	}
	left := float64(c.claim.Span.Hi.Block()-c.at.Key.Block()) * c.density
	if c.auto() && left < chunkLeast {
		c.short = true
		return
	}
	end := c.claim.Span.Hi
	if left > chunkMost {
		end = c.at.Key.BlocksOn(ranges.BlocksOf(chunkKeys, c.density))
	}
	c.at = c.at.Open(end, k)
	c.heat, c.next = heat{}, boundary{}
}

// blockBound is where a batch of about so many rows ends that begins where the walk stands. While a row is isolated it is no later than the
// batch ended that failed.
func (c *carrier) blockBound(ctx context.Context, keys int) (b boundary, err error) {
	left := c.at.Left(c.claim.Span)
	if c.poison.active && c.poison.end != nil {
		left.Hi, left.HiClosed = c.poison.end, false
	}
	b = boundary{known: true, keys: keys}
	share := float64(max(c.at.K, 1)) / c.density // blocks that a row of this pass stands for
	n := int64(float64(keys) * share)
	if rows := int(float64(n) / share); n >= 1 && (rows >= 2 || !c.poison.active) { // whole blocks hold one row only by an average
		b.end, b.keys = c.at.Key.BlocksOn(n), max(1, rows)
	} else {
		part, next := left, c.at.Key.BlocksOn(1)
		if next.AddressBefore(left.Hi) {
			part.Hi, part.HiClosed = next, false
		}
		if b.end, err = c.key(ctx, c.target.Boundary(part, c.at.Turn(), keys)); err != nil {
			return boundary{}, err
		}
		if b.end == nil {
			b.end = next
		}
	}
	if !b.end.AddressBefore(left.Hi) {
		b.end = nil
		if c.poison.active {
			b.end = c.poison.end
		}
	}
	return b, nil
}
