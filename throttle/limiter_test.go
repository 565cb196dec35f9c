package throttle

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLimiterWithoutLimit(t *testing.T) {
	l := NewLimiter(newFakeClock().now, 0.5)
	for range 3 {
		rows, wait := l.Reserve(10000)
		require.Equal(t, 10000, rows)
		require.Zero(t, wait)
		l.Charge(10000)
	}
	rows, wait := l.Reserve(0)
	require.Zero(t, rows)
	require.Zero(t, wait)
}

func TestLimiterStaggersTheFirstBatch(t *testing.T) {
	clock := newFakeClock()
	l := NewLimiter(clock.now, 0.4)
	l.SetRate(1000)
	rows, wait := l.Reserve(100)
	require.Zero(t, rows)
	require.Equal(t, 200*time.Millisecond, wait)
	clock.advance(wait)
	rows, wait = l.Reserve(100)
	require.Equal(t, 100, rows)
	require.Zero(t, wait)
}

func TestLimiterChargesWhatWasWritten(t *testing.T) {
	clock := newFakeClock()
	l := NewLimiter(clock.now, 0)
	l.SetRate(1000)
	rows, _ := l.Reserve(5000)
	require.Equal(t, 250, rows, "a quarter of a second of the rate")
	l.Charge(100)
	_, wait := l.Reserve(5000)
	require.Equal(t, 100*time.Millisecond, wait)
	l.Charge(0)
	_, wait = l.Reserve(5000)
	require.Equal(t, 100*time.Millisecond, wait, "a batch that wrote nothing is free")
}

func TestLimiterSavesHalfASecond(t *testing.T) {
	clock := newFakeClock()
	l := NewLimiter(clock.now, 0)
	l.SetRate(1000)
	clock.advance(time.Hour)
	l.Charge(500)
	_, wait := l.Reserve(1)
	require.Zero(t, wait)
	l.Charge(1)
	_, wait = l.Reserve(1)
	require.Equal(t, time.Millisecond, wait)
}

// A hold is no idleness: what could not be written meanwhile is not written at once when it ends.
func TestLimiterForfeitsWhatAHoldSaved(t *testing.T) {
	c := newFakeClock()
	for _, forfeit := range []bool{false, true} {
		l := NewLimiter(c.now, 0)
		l.SetRate(1000)
		c.advance(time.Minute) // held
		if forfeit {
			l.Forfeit()
		}
		atOnce := 0
		for {
			rows, wait := l.Reserve(10_000)
			if wait > 0 {
				break
			}
			l.Charge(rows)
			atOnce += rows
		}
		want := map[bool]int{false: 750, true: 250}[forfeit]
		require.InDelta(t, want, atOnce, 1)
	}
	l := NewLimiter(c.now, 0)
	l.SetRate(1000)
	l.Charge(500)
	l.Forfeit()
	_, wait := l.Reserve(1)
	require.Equal(t, 500*time.Millisecond, wait, "a debt stays")
}

func TestLimiterGivesOneRowAtALowRate(t *testing.T) {
	clock := newFakeClock()
	l := NewLimiter(clock.now, 0)
	l.SetRate(0.1)
	rows, wait := l.Reserve(10)
	require.Equal(t, 1, rows)
	require.Zero(t, wait)
	l.Charge(1)
	_, wait = l.Reserve(10)
	require.Equal(t, 10*time.Second, wait)

	l.SetRate(1000)
	_, wait = l.Reserve(10)
	require.Equal(t, time.Millisecond, wait, "a risen rate keeps the debt in rows")
	l.SetRate(1)
	_, wait = l.Reserve(10)
	require.Equal(t, time.Millisecond, wait, "a fallen rate keeps the debt in time")
	l.SetRate(0)
	rows, _ = l.Reserve(10)
	require.Equal(t, 10, rows)
}

func TestLimiterRefusesSenselessRates(t *testing.T) {
	for _, rate := range []float64{-1, math.NaN(), math.Inf(-1)} {
		l := NewLimiter(newFakeClock().now, 0)
		l.SetRate(rate)
		rows, wait := l.Reserve(10)
		require.Zero(t, rows)
		require.Positive(t, wait)
		l.Charge(10)
		l.SetRate(math.Inf(1))
		rows, _ = l.Reserve(10)
		require.Equal(t, 10, rows, "an infinite rate is no limit")
	}
}

func TestLimiterNeverExceedsItsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := newFakeClock()
		rate := rapid.Float64Range(0.5, 100000).Draw(t, "rate")
		l := NewLimiter(clock.now, rapid.Float64Range(0, 0.99).Draw(t, "stagger"))
		l.SetRate(rate)
		type charge struct {
			at   time.Time
			rows int
		}
		var charges []charge
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			rows, wait := l.Reserve(rapid.IntRange(1, 20000).Draw(t, "max"))
			if rows == 0 {
				require.Positive(t, wait)
				clock.advance(time.Duration(rapid.Float64Range(0, 3).Draw(t, "sleep") * float64(wait)))
				continue
			}
			clock.advance(time.Duration(rapid.IntRange(0, 200).Draw(t, "batch ms")) * time.Millisecond)
			written := rapid.IntRange(0, rows).Draw(t, "written")
			l.Charge(written)
			charges = append(charges, charge{clock.t, written})
		}
		for i, from := range charges {
			sum := 0
			for _, to := range charges[i:] {
				sum += to.rows
				window := to.at.Sub(from.at).Seconds()
				require.LessOrEqual(t, float64(sum), rate*(window+(limiterBurst+limiterCap).Seconds())*(1+1e-9)+1)
			}
		}
	})
}

func TestLimiterReachesItsRate(t *testing.T) {
	clock := newFakeClock()
	l := NewLimiter(clock.now, 0.9)
	l.SetRate(12345)
	start, sum := clock.t, 0
	for clock.t.Sub(start) < time.Minute {
		rows, wait := l.Reserve(700)
		l.Charge(rows)
		sum += rows
		clock.advance(max(wait, 10*time.Millisecond))
	}
	require.InEpsilon(t, 12345*60, sum, 0.02)
}

func TestLimiterWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(time.Now, 0)
		l.SetRate(20)
		l.Charge(200) // ten seconds of debt
		start := time.Now()
		rows, err := l.Wait(t.Context(), 5)
		require.NoError(t, err)
		require.Equal(t, 5, rows)
		require.Equal(t, 10*time.Second, time.Since(start))

		l.Charge(100)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = l.Wait(ctx, 5)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestLimiterWaitWakesWhenTheRateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(time.Now, 0)
		l.SetRate(1)
		l.Charge(3600)
		start := time.Now()
		go func() {
			time.Sleep(time.Second)
			l.SetRate(0)
		}()
		rows, err := l.Wait(t.Context(), 5)
		require.NoError(t, err)
		require.Equal(t, 5, rows)
		require.Equal(t, time.Second, time.Since(start))
	})
}
