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
	r.add(at(6), 800)
	for _, c := range []struct {
		pos     int64
		seconds float64
		covered bool
	}{
		{900, 0, true},
		{800, 0, true},
		{799, 3, true}, // passed in a gap
		{600, 3, true},
		{500, 3.25, true},
		{200, 4, true}, // caught up until the primary moved on
		{150, 6.5, true},
		{100, 7, true},
		{99, 7, false},
	} {
		lag, covered := r.lag(at(7), c.pos)
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
		if at(to).Sub(at(from)) > ringGap {
			require.InDelta(t, now-from, lag.Seconds(), 1e-6, "after a gap it is the most that it can be")
		}
		require.LessOrEqual(t, lag.Seconds(), now-from+1e-6)
		require.GreaterOrEqual(t, lag.Seconds(), now-to-1e-6)
	})
}

func TestRingAt(t *testing.T) {
	var r ring
	require.Zero(t, r.at(at(0)))
	r.add(at(1), 100)
	r.add(at(2), 200)
	r.add(at(3), 600)
	for seconds, pos := range map[float64]int64{0: 100, 1: 100, 1.5: 150, 2: 200, 2.25: 300, 3: 600, 9: 600} {
		require.Equal(t, pos, r.at(at(seconds)), "at %v s", seconds)
	}
}

func TestBeatsUnseen(t *testing.T) {
	var b beats
	require.Zero(t, b.unseen(at(5), 7), "no beat, nothing to lack")
	for i := range 5 {
		b.add(int64(100+i), at(float64(i)))
	}
	for value, seconds := range map[int64]float64{
		104: 0,  // shows the last
		103: 6,  // lacks the one of second 4
		100: 9,  // lacks the one of second 1
		50:  10, // an older one, which another process wrote
		999: 0,  // a newer one of another process
	} {
		require.InDelta(t, seconds, b.unseen(at(10), value).Seconds(), 1e-6, "shows %d", value)
	}
	require.Zero(t, b.unseen(at(3.5), 103), "a beat of later lacks nowhere yet")

	for i := range 100_000 {
		b.add(int64(1000+i), at(100+float64(i)/10))
	}
	require.Less(t, len(b.sent), 2*6001+2, "it stays small")
	require.InDelta(t, 300, b.unseen(at(100+99_999.0/10), 1000+100_000-3001).Seconds(), 0.11)
}
