package ranges

import (
	"context"
	"iter"
)

// leastPerBlock is the fewest rows of a block that an average is taken for: of blocks that are all but empty there may be any number.
const leastPerBlock = 0.1

// BlocksFor is how many blocks hold about so many rows: one at least.
func BlocksFor(rows int, perBlock float64) int64 {
	return max(1, int64(float64(rows)/max(perBlock, leastPerBlock)))
}

// cuts are the blocks between from and to at which ranges of so many blocks each begin, from's own apart.
func cuts(from, to, each int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for at := from + each; at < to && yield(at); at += each {
		}
	}
}

// CutBlocks tiles a file of so many blocks with spans of at most each of them; none where there are none.
func CutBlocks(blocks, each int64) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		var from int64
		for at := range cuts(0, blocks, each) {
			if !yield(BlockSpan(from, at)) {
				return
			}
			from = at
		}
		if blocks > 0 {
			last := BlockSpan(from, blocks)
			last.HiClosed = true
			yield(last)
		}
	}
}

// BlockStepper finds boundaries between blocks, without I/O. RowsPerBlock is an average: ranges hold about as many rows as they should.
type BlockStepper struct{ RowsPerBlock float64 }

// Step implements [Stepper].
func (s BlockStepper) Step(_ context.Context, _ uint32, from, to Key, rows, count int) (bounds []Key, err error) {
	begin, end, err := Ends(Span{Lo: from, Hi: to}, BlockOf)
	if err != nil {
		return nil, err
	}
	for at := range cuts(begin, end, BlocksFor(rows, s.RowsPerBlock)) {
		if len(bounds) == count {
			break
		}
		bounds = append(bounds, BlockKey(at))
	}
	return bounds, nil
}
