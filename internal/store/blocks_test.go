package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

func TestBlocksSumUpTheRangesInKeyOrder(t *testing.T) {
	sc := submitted(t, 1)
	none, err := sc.s.Blocks(t.Context(), sc.j.ID, 10)
	require.NoError(t, err)
	require.Empty(t, none.Cells, "nothing is planned yet")

	sc = begun(t, 100, 10) // ten ranges
	sc.exec("update backfleet.ranges set state = 'done' where index < 5")
	sc.exec("update backfleet.ranges set state = 'failed' where index = 9")
	sc.claim(sc.refs[5], "w1")
	for _, c := range []struct {
		cells int
		want  []job.RangeCounts
	}{
		{1, []job.RangeCounts{{Total: 10, Done: 5, Running: 1, Released: 3, Failed: 1}}},
		{3, []job.RangeCounts{{Total: 4, Done: 4}, {Total: 3, Done: 1, Running: 1, Released: 1}, {Total: 3, Released: 2, Failed: 1}}},
	} {
		got, err := sc.s.Blocks(t.Context(), sc.j.ID, c.cells)
		require.NoError(t, err)
		require.Equal(t, c.want, got.Cells)
	}
	all, err := sc.s.Blocks(t.Context(), sc.j.ID, 200)
	require.NoError(t, err)
	require.Len(t, all.Cells, 10, "no more cells than ranges")
}
