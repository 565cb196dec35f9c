package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// walk notes a phase that moves at a speed, in parts a second, for a time.
func walk(p *Pace, at time.Time, from, speed, allowed float64, d time.Duration) (time.Time, float64) {
	for end := at.Add(d); at.Before(end); {
		at = at.Add(time.Second)
		from += speed
		p.Note(at, from, allowed)
	}
	return at, from
}

func TestPaceSaysNothingBeforeItHasSeenAnything(t *testing.T) {
	p := NewPace(Interval{})
	_, ok := p.Left()
	require.False(t, ok)
	p.Note(noon, 0, 1)
	walk(p, noon, 0, 0.001, 1, 2*time.Second)
	_, ok = p.Left()
	require.False(t, ok)
}

func TestPaceBeginsWithTheForecastAndEndsWithWhatItSaw(t *testing.T) {
	p := NewPace(Interval{500, 4000})
	left, ok := p.Left()
	require.True(t, ok)
	require.Equal(t, Interval{500, 4000}, left)
	p.Note(noon, 0, 1)
	at, done := walk(p, noon, 0, 0.001, 1, 10*time.Second) // a phase of 1,000 s
	early, ok := p.Left()
	require.True(t, ok)
	require.Less(t, early.Low, 990.0)
	require.Greater(t, early.High, 990.0)
	at, done = walk(p, at, done, 0.001, 1, 590*time.Second)
	late, ok := p.Left()
	require.True(t, ok)
	require.Less(t, late.Low, 400.0)
	require.Greater(t, late.High, 400.0)
	require.Less(t, late.High/late.Low, early.High/early.Low, "it narrows as it runs")
	require.Less(t, late.High/late.Low, 1.35)
	walk(p, at, done, 0.001, 1, 400*time.Second)
	left, ok = p.Left()
	require.True(t, ok)
	require.InDelta(t, 0, left.High, 0.001)
}

func TestPaceIsWideWhereTheSpeedChanged(t *testing.T) {
	p := NewPace(Interval{})
	p.Note(noon, 0, 1)
	at, done := walk(p, noon, 0, 0.001, 1, 300*time.Second)
	walk(p, at, done, 0.0004, 1, 30*time.Second) // 0.688 left: 688 s at the usual speed, 1,720 s at the new one
	left, ok := p.Left()
	require.True(t, ok)
	require.Less(t, left.Low, 900.0)
	require.Greater(t, left.High, 1600.0)
}

func TestPaceIsSilentWhileItStands(t *testing.T) {
	p := NewPace(Interval{500, 4000})
	p.Note(noon, 0, 1)
	at, done := walk(p, noon, 0, 0.001, 1, 100*time.Second)
	at, done = walk(p, at, done, 0, 1, 30*time.Second)
	_, ok := p.Left()
	require.False(t, ok, "no end can be told of what does not move")
	walk(p, at, done, 0.001, 1, 20*time.Second)
	_, ok = p.Left()
	require.True(t, ok)
}

func TestPaceLearnsNothingOutsideOfWindows(t *testing.T) {
	p := NewPace(Interval{})
	p.Note(noon, 0, 1)
	at, done := walk(p, noon, 0, 0.001, 1, 100*time.Second)
	before, _ := p.Left()
	at, done = walk(p, at, done, 0, 0, time.Hour)
	shut, ok := p.Left()
	require.True(t, ok)
	require.Equal(t, before, shut)
	walk(p, at, done, 0.0005, 0.5, 60*time.Second) // half of the speed is allowed, and used
	half, _ := p.Left()
	require.InEpsilon(t, 870, half.Mid(), 0.02, "seconds of full speed")
}

func TestPaceTakesAPlanThatGrew(t *testing.T) {
	p := NewPace(Interval{})
	p.Note(noon, 0, 1)
	at, done := walk(p, noon, 0, 0.001, 1, 100*time.Second)
	p.Note(at.Add(time.Second), done/2, 1)
	left, ok := p.Left()
	require.True(t, ok)
	require.InEpsilon(t, 950, left.Mid(), 0.02)
}

func TestUntilDone(t *testing.T) {
	require.Equal(t, Interval{60, 120}, UntilDone(noon, Interval{60, 120}, nil))
	require.Equal(t, Interval{10*3600 + 60, 10*3600 + 120}, UntilDone(noon, Interval{60, 120}, nights{}), "from 22:00 on")
	require.Equal(t, Interval{120, 240}, UntilDone(noon, Interval{60, 120}, nights{outside: 0.5}))
	require.Zero(t, UntilDone(noon, Interval{60, 120}, never{}))
}

func TestPaceIsARangeWhateverComes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := NewPace(Interval{rapid.Float64Range(0, 10).Draw(t, "low"), rapid.Float64Range(10, 1e6).Draw(t, "high")})
		at := noon
		for range rapid.IntRange(0, 50).Draw(t, "readings") {
			at = at.Add(time.Duration(rapid.IntRange(-1, 20_000).Draw(t, "ms")) * time.Millisecond)
			p.Note(at, rapid.Float64Range(0, 1).Draw(t, "fraction"), rapid.Float64Range(0, 1).Draw(t, "allowed"))
			if left, ok := p.Left(); ok {
				require.GreaterOrEqual(t, left.Low, 0.0)
				require.GreaterOrEqual(t, left.High, left.Low)
			}
		}
	})
}

// A rate of next to nothing, such as 1e-310, is no speed that could be scaled up.
func TestPaceLearnsNothingFromAWindowThatIsAsGoodAsClosed(t *testing.T) {
	p := NewPace(Interval{10, 20})
	for i, fraction := range []float64{0, 0.5, 0.6, 0.7, 0.8} {
		p.Note(noon.Add(time.Duration(i)*2*time.Second), fraction, []float64{1, 1, 1, 1e-310, 1}[i])
	}
	left, ok := p.Left()
	require.True(t, ok)
	require.Greater(t, left.Low, 0.0)
	require.Less(t, left.High, 60.0)
}
