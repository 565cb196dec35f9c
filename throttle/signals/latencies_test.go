package signals

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// probeFor adds four samples a second for some seconds and returns the time after them.
func probeFor(l *latencies, from, seconds float64, quiet bool, took ...time.Duration) float64 {
	for i := range int(4 * seconds) {
		l.add(at(from+float64(i)/4), took[i%len(took)], quiet)
	}
	return from + seconds
}

func TestTheBaselineIsWhatNoBatchDisturbed(t *testing.T) {
	var l latencies
	_, _, _, ok := l.ratio(at(0), padStrict)
	require.False(t, ok)
	now := probeFor(&l, 0, 10, true, 2*ms, 3*ms)
	ratio, p95, _, ok := l.ratio(at(now), padStrict)
	require.True(t, ok)
	require.Equal(t, 3*ms, p95)
	require.InDelta(t, 1, ratio, 0.1)

	now = probeFor(&l, now, 600, false, 9*ms)
	ratio, p95, idle, _ := l.ratio(at(now), padStrict)
	require.Equal(t, 9*ms, p95)
	require.LessOrEqual(t, idle, 3*ms, "ten minutes of batches teach no other baseline")
	require.InDelta(t, 19.0/13, ratio, 0.1)
}

func TestWithoutAQuietTimeTheBestTimesAreTheBaseline(t *testing.T) {
	var l latencies
	now := probeFor(&l, 0, 60, false, 20*ms)
	ratio, _, _, _ := l.ratio(at(now), padStrict)
	require.InDelta(t, 1, ratio, 0, "nothing else is known")
	now = probeFor(&l, now, 30, false, 4*ms)
	now = probeFor(&l, now, 60, false, 20*ms)
	ratio, _, idle, _ := l.ratio(at(now), padStrict)
	require.Equal(t, 4*ms, idle)
	require.InDelta(t, 28.0/12, ratio, 1e-9)
}

func TestNoiseOfAMillisecondDoesNotFire(t *testing.T) {
	var l latencies
	now := probeFor(&l, 0, 20, true, ms/2)
	now = probeFor(&l, now, 20, false, ms/2, 3*ms)
	ratio, p95, _, _ := l.ratio(at(now), padStrict)
	require.Equal(t, 3*ms, p95)
	require.Less(t, ratio, 1.3, "six times as slow, and yet only noise")
}

func TestOneSlowRequestOfTwentyDoesNotFire(t *testing.T) {
	var l latencies
	now := probeFor(&l, 0, 10, true, ms)
	l.add(at(now), time.Second, false)
	ratio, p95, _, _ := l.ratio(at(now+0.1), padStrict)
	require.Equal(t, ms, p95)
	require.InDelta(t, 1, ratio, 1e-9)
	l.add(at(now+0.5), time.Second, false)
	ratio, _, _, _ = l.ratio(at(now+0.6), padStrict)
	require.Greater(t, ratio, 5.0)
}

func TestLatenciesForget(t *testing.T) {
	var l latencies
	now := probeFor(&l, 0, 3600, true, ms)
	require.LessOrEqual(t, len(l.samples), 21)
	require.LessOrEqual(t, len(l.past), 901)
	_, _, _, ok := l.ratio(at(now+11), padStrict)
	require.False(t, ok, "what is older than the window says nothing of now")
	now = probeFor(&l, now+3600, 10, false, 5*ms)
	_, _, idle, _ := l.ratio(at(now), padStrict)
	require.Equal(t, 5*ms, idle, "a baseline of an hour ago is forgotten")
}
