package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// heap is a table in simulated time: each row written takes new space unless a vacuum has freed some. A row is a byte.
type heap struct {
	base, size, dead, free, written float64
	vacuumEnds                      time.Time
	frozen                          float64         // of the dead, what the vacuum under way will free
	began                           float64         // rows written by its begin
	useless                         bool            // vacuums free nothing
	deaths                          []time.Duration // of the leader, from the begin
}

const (
	tick    = 100 * time.Millisecond
	outer   = 5                // ticks between two budgets
	orphans = 3 * time.Second  // that workers go on without a leader
	vacancy = 15 * time.Second // until there is another
	late    = 10               // ticks until the leader knows of a row that was written
)

func (h *heap) write(bytes float64) {
	used := min(bytes, h.free)
	h.free -= used
	h.size += bytes - used
	h.dead += bytes
	h.written += bytes
}

// endVacuum frees what was dead at its begin, and reports whether one has ended.
func (h *heap) endVacuum(now time.Time) bool {
	if h.frozen == 0 || now.Before(h.vacuumEnds) {
		return false
	}
	if !h.useless {
		h.free += h.frozen
		h.dead -= h.frozen
	}
	h.frozen = 0
	return true
}

// run fills a table once over and returns its growth and how long it took, or false where it does not end.
func (h *heap) run(most, rate float64, vacuum time.Duration, frees func(time.Time) bool) (growth float64, took time.Duration, ends bool) {
	var g GrowthBound
	now := clockStart
	held := 0 // ticks until a hold or a release is in effect
	stopped := false
	allowed := rate
	told := make([]float64, late) // rows written, as the leader learns of them
	for i := 0; h.written < h.base; i++ {
		now = now.Add(tick)
		if now.Sub(clockStart) > 24*time.Hour {
			return h.size / h.base, 0, false
		}
		if len(h.deaths) > 0 && now.Sub(clockStart) >= h.deaths[0] {
			h.deaths = h.deaths[1:]
			h.frozen, g, stopped, held = 0, GrowthBound{}, false, 0 // a vacuum dies with its leader; a hold of it had stopped the workers
			for range orphans / tick {
				h.write(min(allowed*tick.Seconds(), h.base-h.written))
			}
			now, allowed = now.Add(vacancy), 0
			continue
		}
		if h.endVacuum(now) {
			g.Vacuumed(now, h.size, 1, h.began)
		}
		seen := Heap{Base: h.base, Size: h.size, Rows: h.base, Written: told[i%late]}
		told[i%late] = h.written
		hold, due := g.Step(now, seen, most, frees(now), now.Before(h.vacuumEnds) && h.frozen > 0)
		if due {
			h.vacuumEnds, h.frozen, h.began = now.Add(vacuum), h.dead, seen.Written
		}
		if hold == stopped {
			held = 0
		} else if held++; held > 1 {
			stopped, held = hold, 0
		}
		if i%outer == 0 {
			allowed = min(rate, g.RowsPerSec(seen))
		}
		if !stopped {
			h.write(min(allowed*tick.Seconds(), h.base-h.written))
		}
	}
	return h.size / h.base, now.Sub(clockStart), true
}

var clockStart = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func always(time.Time) bool { return true }

// A table stays within its bound, and twice a fiftieth of its room for each leader, however fast the fleet and however slow a vacuum, also where leaders die at
// any moment and nobody watches what the workers do for three seconds.
func TestGrowthStaysWithinItsBound(t *testing.T) {
	check := func(t require.TestingT, most, seconds float64, vacuum time.Duration, deaths ...time.Duration) {
		h := &heap{base: 1e9, size: 1e9, deaths: deaths}
		growth, _, ends := h.run(most, h.base/seconds, vacuum, always)
		require.True(t, ends)
		require.LessOrEqual(t, growth, most+2*growthStep*(most-1)*float64(1+len(deaths)))
	}
	// A small room, of which much is written until a hold is in effect, after each of many vacuums.
	check(t, 1.1, 20.5, 301*time.Millisecond)
	check(t, 1.1, 1, time.Minute, 3*time.Second, time.Minute)
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.Float64Range(1.05, 2).Draw(t, "bound")
		seconds := rapid.Float64Range(1, 2000).Draw(t, "seconds at full rate")
		vacuum := time.Duration(rapid.IntRange(1, 60_000).Draw(t, "ms of a vacuum")) * time.Millisecond
		var deaths []time.Duration
		at := time.Duration(0)
		for _, after := range rapid.SliceOfN(rapid.IntRange(100, 120_000), 0, 5).Draw(t, "ms to a leader's death") {
			at += vacancy + time.Duration(after)*time.Millisecond
			deaths = append(deaths, at)
		}
		check(t, most, seconds, vacuum, deaths...)
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
	hold, _ := g.Step(clockStart, Heap{Base: 100, Size: 131}, 1.3, false, false)
	require.True(t, hold)
	hold, _ = g.Step(clockStart.Add(time.Second), Heap{Base: 100, Size: 131}, 1.5, false, false)
	require.False(t, hold)
	hold, vacuum := g.Step(clockStart.Add(2*time.Second), Heap{Base: 100, Size: 131}, 0, true, false)
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
