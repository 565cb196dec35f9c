package main

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/throttle"
)

// seen is a sample t seconds after the start, of a replica with a lag and a fleet that has written so many rows of 100 bytes.
func seen(t, lag, rows float64) throttle.Sample {
	return throttle.Sample{At: at(t), ReadAt: at(t), WALPos: 100 * rows, Rows: rows, RowsPerSlot: 8000, Members: []throttle.Member{
		{Name: "near", Lag: 0, Pos: 100 * rows, State: "streaming"},
		{Name: "far", Lag: lag, Pos: 100 * rows, State: "streaming"},
	}}
}

func TestStopAndGo(t *testing.T) {
	c := stopAndGo{1.5}
	require.Equal(t, throttle.Decision{}, c.Step(seen(0, 1.5, 0)))
	require.True(t, c.Step(seen(1, 1.6, 0)).Hold)
	require.False(t, stopAndGo{math.Inf(1)}.Step(seen(2, 1e6, 0)).Hold)
}

func TestAIMDRisesSlowlyAndHalves(t *testing.T) {
	c := &aimd{limit: 2.5, rise: 8}
	require.InDelta(t, 1000, c.Step(seen(0, 0, 0)).RowsPerSec, 1e-9)
	require.InDelta(t, 3000, c.Step(seen(2, 2.5, 0)).RowsPerSec, 1e-9)
	require.InDelta(t, 1500, c.Step(seen(3, 2.6, 0)).RowsPerSec, 1e-9)
	require.InDelta(t, 1500, c.Step(seen(4, 9, 0)).RowsPerSec, 1e-9, "before the halving could be seen")
	require.InDelta(t, 750, c.Step(seen(5, 9, 0)).RowsPerSec, 1e-9)
}

func TestPIHoldsItsSetpoint(t *testing.T) {
	c := &pi{setpoint: 2.5}
	first := c.Step(seen(0, 0, 0)).RowsPerSec
	rows := first / 2
	second := c.Step(seen(0.5, 0, rows)).RowsPerSec
	require.Greater(t, second, first, "below the setpoint")
	require.Equal(t, second, c.Step(seen(1, 0, rows)).RowsPerSec, "a rate that is not used is not raised")
	for i := range 200 {
		c.Step(seen(1.5+0.5*float64(i), 30, rows))
	}
	require.Equal(t, 1.0, c.rate, "far above it")
	require.Zero(t, c.sum, "and the integral has not gone on meanwhile")
}

func TestFlowControl(t *testing.T) {
	c := &flowControl{target: 10}
	require.InDelta(t, 1000, c.Step(seen(0, 0, 0)).RowsPerSec, 1e-9)
	require.InDelta(t, 2100, c.Step(seen(1, 4.9, 1000)).RowsPerSec, 1e-9)
	require.InDelta(t, 0.95*3000, c.Step(seen(2, 5, 4000)).RowsPerSec, 1e-9, "what was applied, less five percent")
	require.InDelta(t, 0.95*2000/2, c.Step(seen(3, 10, 6000)).RowsPerSec, 1e-9, "half of it at twice the threshold")
	require.InDelta(t, 950, c.Step(seen(4, 11, 6000)).RowsPerSec, 1e-9, "a stalled replica changes nothing")
	require.InDelta(t, 100, c.Step(seen(5, 50, 6100)).RowsPerSec, 1e-9, "never less")
}

func TestMaxLagRemembers(t *testing.T) {
	c := newMaxLag()
	now, rows := 0.0, 0.0
	run := func(seconds int, lag, used float64) float64 {
		for range seconds {
			now, rows = now+1, rows+used*c.rate
			c.Step(seen(now, lag, rows))
		}
		return c.rate
	}
	c.Step(seen(0, 0, 0))
	require.InDelta(t, 1000, run(61, 0, 1), 1)
	require.InDelta(t, 2000, run(1, 0, 1), 1, "doubled after its first minute")
	require.InDelta(t, 4000, run(40, 0, 1), 1, "and after forty seconds")
	require.InDelta(t, 2000, run(1, 11, 0.9), 1, "halved over ten seconds of lag")
	require.InDelta(t, 3600, c.bad, 1)
	require.InDelta(t, 2000, c.best(), 1)
	require.InDelta(t, (2000+3600)/2, run(21, 0, 1), 1, "then half the way from good to bad")
	require.InDelta(t, 1400, run(1, 30, 1), 1)
	require.InDelta(t, 2800, c.bad, 1, "a lower bad rate counts")
	c.state = increasing
	c.judge(guessing, 2, 1000, at(now))
	require.InDelta(t, 2800, c.bad, 1, "unless it is far below what was good")
	c.judge(guessing, 2, 1900, at(now))
	require.InDelta(t, 1900, c.bad, 1)
	require.InDelta(t, 1000, c.best(), 1, "what was good above it no longer is")
}

func TestMaxLagGuessesWhatTheReplicaApplies(t *testing.T) {
	guess := func(before, now float64) float64 {
		c := &maxLag{rate: 1000, state: guessing, changed: at(0), changedAt: mark{pos: before}}
		return c.Step(seen(20, now, 20_000)).RowsPerSec
	}
	require.InDelta(t, 800-(200*20+800*3)/20.0, guess(3, 7), 1e-9, "less the backlog spread over 20 s")
	require.InDelta(t, 1200, guess(9, 5), 1e-9, "lag falls: more than was written")
	require.InDelta(t, 1000, guess(5, 6.9), 1e-9, "one second of whole seconds may be rounding")
}
