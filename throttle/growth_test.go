package throttle

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// heap is a table in simulated time: each row written takes new space unless a vacuum has freed some.
type heap struct {
	base, size, dead, free float64
	vacuumEnds             time.Time
	frozen                 float64 // of the dead, what the vacuum under way will free
	useless                bool    // vacuums free nothing
}

func (h *heap) write(bytes float64) {
	used := min(bytes, h.free)
	h.free -= used
	h.size += bytes - used
	h.dead += bytes
}

// run fills a table once over and returns its growth and how long it took, or false where it does not end.
func (h *heap) run(most, rate float64, vacuum time.Duration, frees func(time.Time) bool) (growth float64, took time.Duration, ends bool) {
	var g GrowthBound
	now, began := clockStart, clockStart
	const tick = 100 * time.Millisecond
	held := 0 // ticks until a hold or a release is in effect
	stopped := false
	for written := 0.0; written < h.base; {
		now = now.Add(tick)
		if now.Sub(began) > 24*time.Hour {
			return h.size / h.base, 0, false
		}
		vacuuming := now.Before(h.vacuumEnds)
		if !vacuuming && h.frozen > 0 {
			if !h.useless {
				h.free += h.frozen
				h.dead -= h.frozen
			}
			h.frozen = 0
			g.Vacuumed(now, h.size)
		}
		hold, due := g.Step(now, h.base, most, h.size, frees(now), vacuuming)
		if due {
			h.vacuumEnds, h.frozen = now.Add(vacuum), h.dead
		}
		if hold == stopped {
			held = 0
		} else if held++; held > 1 {
			stopped, held = hold, 0
		}
		if !stopped {
			bytes := min(rate*tick.Seconds(), h.base-written)
			h.write(bytes)
			written += bytes
		}
	}
	return h.size / h.base, now.Sub(began), true
}

var clockStart = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func always(time.Time) bool { return true }

// mostGrowth is how far a table may grow that takes so many seconds at full rate: its bound, twice a fiftieth of the room, and what is
// written until a hold is in effect: once for the bound, and once after each vacuum. A vacuum at size s frees at least what lies over the
// base, so the next comes after s - 1 has been written: ds/dw = overshoot / (s - 1), with w from 0 to 1.
func mostGrowth(most, seconds float64) float64 {
	overshoot := 0.4 / seconds // a tick until growth is noticed, two until the hold is in effect, and the one that a hold ends in
	room := most - 1 + 0.1*(most-1) + overshoot
	return 1 + math.Sqrt(room*room+2*overshoot)
}

func TestGrowthStaysWithinItsBound(t *testing.T) {
	check := func(t require.TestingT, most, seconds float64, vacuum time.Duration) {
		h := &heap{base: 1e9, size: 1e9}
		growth, _, ends := h.run(most, h.base/seconds, vacuum, always)
		require.True(t, ends)
		require.LessOrEqual(t, growth, mostGrowth(most, seconds))
	}
	// A small room, of which much is written until a hold is in effect, after each of many vacuums.
	check(t, 1.1, 20.5, 301*time.Millisecond)
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.Float64Range(1.1, 2).Draw(t, "bound")
		seconds := rapid.Float64Range(20, 2000).Draw(t, "seconds at full rate")
		check(t, most, seconds, time.Duration(rapid.IntRange(1, 60_000).Draw(t, "ms of a vacuum"))*time.Millisecond)
	})
}

// Where vacuums free nothing, and nobody knows why, each lets the job go on for a moment. They come ever more seldom.
func TestGrowthEndsWhereVacuumsFreeNothing(t *testing.T) {
	h := &heap{base: 1e9, size: 1e9, useless: true}
	growth, _, ends := h.run(1.3, 1e7, time.Second, always)
	require.False(t, ends)
	require.Less(t, growth, 1.3+0.3*1.1*0.1+0.003*(10+24*6), "ten vacuums until the pause is ten minutes, and six an hour")
}

func TestGrowthIsNotHeldWhereVacuumIsFast(t *testing.T) {
	h := &heap{base: 1e9, size: 1e9}
	growth, took, ends := h.run(1.3, 1e7, 2*time.Second, always)
	require.True(t, ends)
	require.Less(t, growth, 1.3)
	require.Less(t, took, 102*time.Second, "a hundred at full rate")
}

// While a snapshot keeps what is dead no vacuum is begun, the job waits at the bound, and goes on when the snapshot is gone.
func TestGrowthWaitsWhileNothingCanBeFreed(t *testing.T) {
	h := &heap{base: 1e9, size: 1e9}
	gone := clockStart.Add(time.Hour)
	growth, took, ends := h.run(1.3, 1e7, time.Second, func(now time.Time) bool { return now.After(gone) })
	require.True(t, ends)
	require.Greater(t, took, time.Hour)
	require.Less(t, growth, 1.34)

	_, _, ends = (&heap{base: 1e9, size: 1e9}).run(1.3, 1e7, time.Second, func(time.Time) bool { return false })
	require.False(t, ends)
}

func TestABoundThatIsRaisedLetsGo(t *testing.T) {
	var g GrowthBound
	hold, _ := g.Step(clockStart, 100, 1.3, 131, false, false)
	require.True(t, hold)
	hold, _ = g.Step(clockStart.Add(time.Second), 100, 1.5, 131, false, false)
	require.False(t, hold)
	hold, vacuum := g.Step(clockStart.Add(2*time.Second), 100, 0, 131, true, false)
	require.False(t, hold)
	require.False(t, vacuum)
}

func TestWhatASnapshotKeeps(t *testing.T) {
	require.Equal(t, 1.0, Frees(100, 200, 0))
	require.Equal(t, 1.0, Frees(100, 200, 200))
	require.Zero(t, Frees(100, 200, 90))
	require.Equal(t, 0.25, Frees(100, 200, 125))
	require.Equal(t, 1.0, Frees(100, 100, 0))
}
