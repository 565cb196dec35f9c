package throttle

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSizerOnACostlyRegion runs the sizer over a table whose rows become twenty times dearer for a while and then four times,
// with noise, lock waits and statement timeouts, and compares it with a sizer that knows every cost.
func TestSizerOnACostlyRegion(t *testing.T) {
	const (
		target  = 500 * time.Millisecond
		timeout = 5 * time.Second
		perRow  = 100e-6 // seconds
		fixed   = 2e-3   // seconds a batch
		length  = 1000.0 // seconds
	)
	factor := func(at float64) float64 {
		switch {
		case at >= 200 && at < 500:
			return 20
		case at >= 600 && at < 800:
			return 4
		}
		return 1
	}
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := NewSizer(SizerConfig{Target: target, Max: 20000})
		var now, long, ideal, rows float64
		timeouts := 0
		for now < length {
			n := s.Next(math.MaxInt)
			cost := perRow * factor(now)
			d := fixed + float64(n)*cost*math.Exp(0.35*random.NormFloat64())
			if random.Float64() < 0.01 {
				d += 3 * random.Float64() // a lock wait
			}
			d = min(d, timeout.Seconds())
			ideal += d / cost
			if d > 2*target.Seconds() {
				long += d
			}
			now += d
			if d >= timeout.Seconds() {
				timeouts++
				s.Trouble()
				continue
			}
			rows += float64(n)
			s.Observe(n, time.Duration(d*float64(time.Second)))
		}
		t.Logf("seed %d: %.2f of the ideal rows, %.1f %% of the time in batches over twice the target, %d timeouts",
			seed, rows/ideal, 100*long/now, timeouts)
		require.Greater(t, rows/ideal, 0.85)
		require.Less(t, long/now, 0.09)
		require.LessOrEqual(t, timeouts, 6)
	}
}
