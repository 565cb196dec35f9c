package throttle

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestLossesBelongToTheReasonThatStood(t *testing.T) {
	var l Losses
	at := noon
	add := func(d time.Duration, reason string, lost float64) {
		at = at.Add(d)
		l.Add(at, reason, lost)
	}
	add(0, "lag of standby1", 1)         // for 2 s
	add(2*time.Second, "window", 0.75)   // for 2 s
	add(2*time.Second, "slots", 0)       // for 1 s: nothing lost
	add(time.Second, "archive_queue", 1) // for 0.5 s
	add(500*time.Millisecond, "slots", 0)
	watched, lost := l.Take()
	require.InDelta(t, 5.5, watched, 1e-9)
	require.Equal(t, []Loss{{"lag of standby1", 2}, {"window", 1.5}, {"archive_queue", 0.5}}, lost)
	watched, lost = l.Take()
	require.Zero(t, watched)
	require.Empty(t, lost)
	add(time.Second, "slots", 0)
	watched, lost = l.Take()
	require.InDelta(t, 1, watched, 1e-9, "it goes on from the last decision")
	require.Empty(t, lost)
}

func TestLossesOfATimeThatNobodyWatched(t *testing.T) {
	var l Losses
	l.Add(noon, "brake", 1)
	l.Add(noon.Add(time.Hour), "brake", 1)
	watched, lost := l.Take()
	require.InDelta(t, 3, watched, 1e-9)
	require.Equal(t, []Loss{{"brake", 3}}, lost)
	l.Add(noon, "brake", 1) // a clock that went back
	watched, _ = l.Take()
	require.Zero(t, watched)
}

func TestLossesTellABoundedNumberOfReasonsApart(t *testing.T) {
	var l Losses
	for i := range 3 * lossReasons {
		l.Add(noon.Add(time.Duration(i)*time.Second), "slot "+strconv.Itoa(i), 1)
	}
	l.Add(noon.Add(3*lossReasons*time.Second), "slot 0", math.NaN())
	_, lost := l.Take()
	require.Len(t, lost, lossReasons+1)
	require.Equal(t, Loss{OtherReasons, 2 * lossReasons}, lost[0])
}

func TestLossesNeverExceedWhatWasWatched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l Losses
		at := noon
		for range rapid.IntRange(0, 100).Draw(t, "decisions") {
			at = at.Add(time.Duration(rapid.IntRange(-100, 5000).Draw(t, "ms")) * time.Millisecond)
			l.Add(at, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "reason"), rapid.Float64().Draw(t, "lost"))
		}
		watched, lost := l.Take()
		sum := 0.0
		for i, x := range lost {
			sum += x.Seconds
			require.Positive(t, x.Seconds)
			require.True(t, i == 0 || lost[i-1].Seconds >= x.Seconds)
		}
		require.LessOrEqual(t, sum, watched+1e-6)
	})
}

func TestLost(t *testing.T) {
	require.InDelta(t, 0.7, Lost(300, 1000), 1e-9)
	require.Zero(t, Lost(2000, 1000))
	require.Zero(t, Lost(0, 1000), "without limit")
	require.Zero(t, Lost(300, 0), "a capacity that is not known")
}
