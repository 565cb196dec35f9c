package throttle

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// run feeds n batches of the sizer's own size, at a fixed cost a row plus one a batch, and returns the last size.
func run(s *Sizer, n int, perRow, perBatch time.Duration) int {
	for range n {
		rows := s.Next(math.MaxInt)
		s.Observe(rows, perBatch+time.Duration(rows)*perRow)
	}
	return s.Next(math.MaxInt)
}

func TestSizerConvergesOnTheTarget(t *testing.T) {
	for _, perRow := range []time.Duration{5 * time.Microsecond, 20 * time.Microsecond, 200 * time.Microsecond, time.Millisecond} {
		s := NewSizer(SizerConfig{Target: 25 * time.Millisecond})
		rows := run(s, 60, perRow, 300*time.Microsecond)
		require.InEpsilon(t, 25*time.Millisecond, time.Duration(rows)*perRow, 0.1, "at %v a row", perRow)
	}
}

func TestSizerGrowsAtMostByHalf(t *testing.T) {
	s := NewSizer(SizerConfig{Start: 200})
	for range 10 {
		before := s.Next(math.MaxInt)
		after := run(s, 1, time.Microsecond, 0)
		require.LessOrEqual(t, float64(after), 1.5*float64(before)+1)
	}
	require.Equal(t, DefaultBatchMax, s.Next(math.MaxInt))
}

func TestSizerShrinksWithinThreeBatches(t *testing.T) {
	s := NewSizer(SizerConfig{Target: 25 * time.Millisecond})
	before := run(s, 60, 5*time.Microsecond, 0)
	after := run(s, 3, 100*time.Microsecond, 0)
	require.Less(t, time.Duration(after)*100*time.Microsecond, 2*25*time.Millisecond, "from %d rows to %d", before, after)
}

func TestSizerDoesNotLearnOneOutlier(t *testing.T) {
	s := NewSizer(SizerConfig{Target: 25 * time.Millisecond})
	rows := run(s, 60, 10*time.Microsecond, 0)
	mean := s.mean

	s.Observe(rows, 60*time.Millisecond+time.Duration(rows)*40*time.Microsecond)
	require.Equal(t, mean, s.mean, "an outlier teaches no cost")
	require.Equal(t, rows/2, s.Next(math.MaxInt), "one beyond three times the target halves once")
	require.Equal(t, rows, run(s, 5, 10*time.Microsecond, 0), "and the size comes back")

	short := 10
	s.Observe(short, time.Duration(short)*100*time.Microsecond)
	require.Equal(t, rows, s.Next(math.MaxInt), "a short outlier changes nothing")
}

func TestSizerLearnsTheSecondOutlierInARow(t *testing.T) {
	s := NewSizer(SizerConfig{Target: 25 * time.Millisecond})
	rows := run(s, 60, 10*time.Microsecond, 0)
	mean := s.mean
	s.Observe(rows, time.Duration(rows)*100*time.Microsecond)
	s.Observe(rows, time.Duration(rows)*100*time.Microsecond)
	require.Greater(t, s.mean, 4*mean)
}

func TestSizerIgnoresEmptyBatchesAndCoarseClocks(t *testing.T) {
	s := NewSizer(SizerConfig{Start: 200})
	s.Observe(0, time.Hour)
	s.Observe(-1, time.Hour)
	require.Equal(t, 200, s.Next(math.MaxInt))

	s.Observe(200, 0)
	require.Equal(t, 300, s.Next(math.MaxInt), "a duration of zero is a short one")
	s.Observe(300, -time.Second)
	require.Equal(t, 450, s.Next(math.MaxInt), "and so is one of a clock that stepped back")
}

func TestSizerIsNotTaughtByBatchesCutShort(t *testing.T) {
	s := NewSizer(SizerConfig{Target: 25 * time.Millisecond})
	rows := run(s, 60, 10*time.Microsecond, 500*time.Microsecond)
	for range 10 { // slivers whose cost is mostly the statement's own
		s.Observe(20, 500*time.Microsecond+20*10*time.Microsecond)
	}
	require.InEpsilon(t, rows, s.Next(math.MaxInt), 0.25)
}

func TestSizerTrouble(t *testing.T) {
	s := NewSizer(SizerConfig{Start: 1000, Min: 10, Max: 5000})
	s.Trouble()
	require.Equal(t, 500, s.Next(math.MaxInt))
	require.Equal(t, 500, run(s, 3, time.Microsecond, 0), "no growth for three batches")
	require.Equal(t, 750, run(s, 1, time.Microsecond, 0))
	for range 20 {
		s.Trouble()
	}
	require.Equal(t, 1, s.Next(math.MaxInt))
}

func TestSizerSetLimits(t *testing.T) {
	s := NewSizer(SizerConfig{Target: 50 * time.Millisecond, Max: 20000})
	rows := run(s, 60, 10*time.Microsecond, 0)
	s.SetLimits(25*time.Millisecond, 20000)
	require.InEpsilon(t, rows/2, s.Next(math.MaxInt), 0.05, "a smaller target acts on the next batch")
	s.SetLimits(25*time.Millisecond, 100)
	require.Equal(t, 100, s.Next(math.MaxInt))
	s.SetLimits(25*time.Millisecond, 5)
	require.Equal(t, 5, s.Next(math.MaxInt), "the largest size wins over the smallest")
}

func TestSizerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.IntRange(1, 100).Draw(t, "min")
		high := rapid.IntRange(low, 20000).Draw(t, "max")
		s := NewSizer(SizerConfig{Min: low, Max: high, Start: rapid.IntRange(1, 30000).Draw(t, "start")})
		size, least := s.Next(math.MaxInt), low
		for range rapid.IntRange(1, 60).Draw(t, "batches") {
			limit := rapid.IntRange(0, 30000).Draw(t, "limit")
			rows := s.Next(limit)
			require.LessOrEqual(t, rows, limit)
			if rapid.IntRange(0, 9).Draw(t, "trouble") == 0 {
				s.Trouble()
				least = 1 // from then on the smallest size is no bound, until it is reached again
			} else {
				s.Observe(rows, time.Duration(rapid.Int64Range(-1, int64(time.Minute)).Draw(t, "d")))
			}
			next := s.Next(math.MaxInt)
			require.LessOrEqual(t, float64(next), 1.5*float64(size)+2)
			require.GreaterOrEqual(t, next, least)
			require.LessOrEqual(t, next, high)
			size = next
		}
	})
}

// Where Min rows never fit into statement_timeout, the size goes on halving, to one row, and is back at Min once rows are cheap again.
func TestTroubleGoesBelowTheLeastSize(t *testing.T) {
	s := NewSizer(SizerConfig{Min: 10, Max: 1000, Start: 40})
	for range 4 {
		s.Trouble()
	}
	if n := s.Next(1000); n != 2 {
		t.Fatalf("after four halvings of 40: %d rows", n)
	}
	for range 20 {
		s.Observe(2, 800*time.Millisecond)
		if n := s.Next(1000); n != 2 {
			t.Fatalf("it grew to %d rows of 0.4 s", n)
		}
	}
	for range 60 {
		s.Observe(s.Next(1000), 20*time.Microsecond)
	}
	if n := s.Next(1000); n < 10 {
		t.Fatalf("cheap rows, and still %d", n)
	}
	for range 20 {
		s.Trouble()
	}
	if n := s.Next(1000); n != 1 {
		t.Fatalf("never less than one row: %d", n)
	}
}
