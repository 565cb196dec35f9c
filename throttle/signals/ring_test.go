package signals

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var origin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return origin.Add(time.Duration(seconds * float64(time.Second)))
}

func TestRingLag(t *testing.T) {
	var r ring
	lag, covered := r.lag(at(0), 100)
	require.Zero(t, lag)
	require.False(t, covered, "an empty ring knows nothing")

	r.add(at(0), 100)
	r.add(at(1), 200)
	r.add(at(2), 200)
	r.add(at(3), 200)
	r.add(at(4), 600)
	for _, c := range []struct {
		pos     int64
		seconds float64
		covered bool
	}{
		{700, 0, true},
		{600, 0, true},
		{500, 1.25, true},
		{200, 2, true}, // caught up until the primary moved on
		{150, 4.5, true},
		{100, 5, true},
		{99, 5, false},
	} {
		lag, covered := r.lag(at(5), c.pos)
		require.Equal(t, c.covered, covered, "%d", c.pos)
		require.InDelta(t, c.seconds, lag.Seconds(), 1e-6, "%d", c.pos)
	}
}

func TestRingStartsAnewWhenThePositionFallsBack(t *testing.T) {
	var r ring
	r.add(at(0), 100)
	r.add(at(1), 200)
	r.add(at(2), 150)
	_, covered := r.lag(at(3), 120)
	require.False(t, covered)
	lag, covered := r.lag(at(3), 150)
	require.Zero(t, lag)
	require.True(t, covered)
}

func TestRingForgetsAndStaysSmall(t *testing.T) {
	var r ring
	for i := range 100_000 {
		r.add(at(float64(i)/10), int64(i))
	}
	require.Less(t, len(r.points), 2*6001+2)
	_, covered := r.lag(at(10_000), 100_000-6000)
	require.True(t, covered, "ten minutes back")

	var idle ring
	for i := range 1000 {
		idle.add(at(float64(i)), 7)
	}
	require.Len(t, idle.points, 2)
}

func TestRingAgainstTheWholeHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring
		var times []float64
		var positions []int64
		now, pos := 0.0, int64(1000)
		for range rapid.IntRange(1, 60).Draw(t, "points") {
			now += float64(rapid.IntRange(1, 20).Draw(t, "ds")) / 10
			pos += rapid.Int64Range(0, 3).Draw(t, "bytes") * 100
			r.add(at(now), pos)
			times, positions = append(times, now), append(positions, pos)
		}
		replay := rapid.Int64Range(positions[0], pos).Draw(t, "replay")
		lag, covered := r.lag(at(now), replay)
		require.True(t, covered)
		if replay == pos {
			require.Zero(t, lag)
			return
		}
		// The primary passed replay after the last point at or below it, and by the first point beyond.
		var from, to float64
		for i, p := range positions {
			if p <= replay {
				from = times[i]
			} else {
				to = times[i]
				break
			}
		}
		require.LessOrEqual(t, lag.Seconds(), now-from+1e-6)
		require.GreaterOrEqual(t, lag.Seconds(), now-to-1e-6)
	})
}
