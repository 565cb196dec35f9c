package ranges

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// blocksIn are how many blocks a span between blocks holds.
func blocksIn(t require.TestingT, s Span) int64 {
	lo, hi, err := Ends(s, BlockOf)
	require.NoError(t, err)
	return hi - lo
}

// tiles fails unless the spans tile a file of so many blocks, and each but the last holds as many.
func tiles(t require.TestingT, spans []Span, blocks, each int64) {
	require.Empty(t, Gaps(spans, BlockKey(blocks)))
	var sum int64
	for i, s := range spans {
		n := blocksIn(t, s)
		sum += n
		if i+1 < len(spans) {
			require.Equal(t, each, n, fmt.Sprint(s))
			continue
		}
		require.Positive(t, n)
		require.LessOrEqual(t, n, each, fmt.Sprint(s))
		require.True(t, s.HiClosed)
	}
	require.Equal(t, blocks, sum)
}

func TestBlocksAreTiled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks, each := rapid.Int64Range(0, 10_000).Draw(t, "blocks"), rapid.Int64Range(1, 3_000).Draw(t, "each")
		tiles(t, slices.Collect(CutBlocks(blocks, each)), blocks, each)
	})
}

// Whoever stops early has the first spans.
func TestACutOfBlocksEndsEarly(t *testing.T) {
	for s := range CutBlocks(10, 3) {
		require.Equal(t, BlockSpan(0, 3), s)
		break
	}
}

// Whatever the size of a table and of its rows, ranges between blocks tile it, and each but the last holds as many blocks.
func TestRangesBetweenBlocksTileATable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := rapid.Int64Range(0, 5000).Draw(t, "blocks")
		rows := rapid.IntRange(1, 5000).Draw(t, "rows a range")
		density := rapid.Float64Range(0, 300).Draw(t, "rows a block")
		p := NewPlanner(BlockStepper{density}, rows, func() time.Time { return time.Time{} })
		bound := BlockKey(blocks)
		var all []Span
		var from Key
		for planned := false; !planned; {
			var found []Range
			var err error
			found, planned, err = p.Next(t.Context(), 1, len(all), from, bound, rapid.IntRange(1, 50).Draw(t, "count"))
			require.NoError(t, err)
			for _, r := range found {
				all = append(all, r.Span)
				from = r.Hi
			}
		}
		tiles(t, all, blocks, BlocksFor(rows, density))
	})
}
