package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestGateIsClosedBeforeTheFirstBudget(t *testing.T) {
	g := NewGate(3 * time.Second)
	require.False(t, g.Fresh(time.Time{}))
	require.True(t, g.Hold())
	require.False(t, g.Open(newFakeClock().t))
}

func TestGateRefusesOldBudgets(t *testing.T) {
	clock := newFakeClock()
	g := NewGate(3 * time.Second)
	require.True(t, g.Accept(2, 10, false, clock.t))
	clock.advance(2 * time.Second)
	require.False(t, g.Accept(2, 10, true, clock.t), "the same")
	require.False(t, g.Accept(2, 9, true, clock.t), "a lower seq")
	require.False(t, g.Accept(1, 99, true, clock.t), "a lower epoch")
	require.True(t, g.Open(clock.t))

	clock.advance(time.Second)
	require.False(t, g.Fresh(clock.t), "refused budgets are no sign of life")
	require.False(t, g.Open(clock.t))
	require.False(t, g.Hold())

	require.True(t, g.Accept(3, 1, true, clock.t), "a higher epoch with a lower seq")
	require.True(t, g.Fresh(clock.t))
	require.True(t, g.Hold())
	require.False(t, g.Open(clock.t))
}

func TestGateFollowsTheHighestBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := newFakeClock()
		g := NewGate(3 * time.Second)
		var epoch, seq int64
		hold, at := true, time.Time{}
		for range rapid.IntRange(0, 50).Draw(t, "budgets") {
			clock.advance(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			e, s := rapid.Int64Range(1, 3).Draw(t, "epoch"), rapid.Int64Range(1, 20).Draw(t, "seq")
			h := rapid.Bool().Draw(t, "hold")
			newer := e > epoch || e == epoch && s > seq
			require.Equal(t, newer, g.Accept(e, s, h, clock.t))
			if newer {
				epoch, seq, hold, at = e, s, h, clock.t
			}
			require.Equal(t, hold, g.Hold())
			require.Equal(t, clock.t.Sub(at) < 3*time.Second, g.Fresh(clock.t))
		}
	})
}
