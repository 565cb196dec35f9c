package ranges

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRowAddressesAreOrdered(t *testing.T) {
	for _, v := range []struct {
		a, b   Key
		before bool
	}{
		{nil, nil, false}, {nil, Key{"(0,1)"}, true}, {Key{"(0,1)"}, nil, false}, {Key{"(2,9)"}, Key{"(10,1)"}, true},
		{Key{"(10,1)"}, Key{"(2,9)"}, false}, {Key{"(3,2)"}, Key{"(3,10)"}, true}, {Key{"(3,2)"}, Key{"(3,2)"}, false},
		{Key{"(4294967294,0)"}, Key{"(4294967295,0)"}, true},
	} {
		require.Equal(t, v.before, v.a.AddressBefore(v.b), "%s before %s", v.a, v.b)
	}
	require.Nil(t, BlockKey(0), "the first block has no bound below")
	require.Equal(t, Key{"(12,0)"}, Key{"(7,33)"}.BlocksOn(5))
	require.Equal(t, int64(7), Key{"(7,33)"}.Block())
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
		require.Empty(t, Gaps(all, bound))
		n := BlocksOf(rows, density)
		for i, s := range all {
			if i+1 < len(all) {
				require.Equal(t, n, s.Hi.Block()-s.Lo.Block(), fmt.Sprint(s))
			} else {
				require.LessOrEqual(t, s.Hi.Block()-s.Lo.Block(), n, fmt.Sprint(s))
				require.True(t, s.HiClosed)
			}
		}
	})
}
