package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/ranges"
)

// The ranges that the ledger's part plans are as many as it says, and tile the simulated keys.
func TestNumbersMakeAsManyRangesAsAsked(t *testing.T) {
	for _, n := range []int{1, 2, 3, 1000} {
		planner := ranges.NewPlanner(numbers{}, ledgerPerStep, time.Now)
		var all []ranges.Span
		var from ranges.Key
		for planned := false; !planned; {
			var found []ranges.Range
			var err error
			found, planned, err = planner.Next(t.Context(), 1, len(all), from, rowAt(n), 7)
			require.NoError(t, err)
			for _, r := range found {
				all, from = append(all, r.Span), r.Hi
			}
		}
		require.Len(t, all, n)
		require.Empty(t, ranges.Gaps(all, rowAt(n)))
	}
}

func TestADiskThatIsTooSmallIsRefused(t *testing.T) {
	b := &bench{began: time.Now()}
	require.ErrorContains(t, b.roomFor([]int{1000, 1_000_000_000_000}), "1000000000000 rows need")
}

func TestGrowthIsShownBesideTheSizes(t *testing.T) {
	small, large := newGauges(1_000_000), newGauges(2_500_000)
	small.each(fleetCPU, "us/row", 2)
	large.each(fleetCPU, "us/row", 3)
	require.Equal(t, "| what | 1M | 2.5M | unit | largest / smallest |\n|---|--:|--:|---|--:|\n| "+fleetCPU+" | 2 | 3 | us/row | 1.5 |\n",
		growthTable([]*gauges{small, large}))
	b := &bench{began: time.Now()}
	b.reportGrowth([]*gauges{small, large})
	last := b.findings[len(b.findings)-1]
	require.Equal(t, 1.5, last.Median)
	require.False(t, *last.Met, "a cost of a row that grows by half is too much")
}
