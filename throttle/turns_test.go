package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhileThereAreSlotsForAllNobodyWaits(t *testing.T) {
	var turns Turns
	demands := []Demand{{Job: "a", Runnable: 1}, {Job: "b", Runnable: 1}, {Job: "idle"}}
	require.Equal(t, demands, turns.Choose(time.Now(), 2, demands))
	require.Equal(t, demands, turns.Choose(time.Now(), 0, demands))
}

// No job starves, and over ten minutes each has its slot for a time that is as its weight.
func TestJobsTakeTurnsByWeight(t *testing.T) {
	for name, c := range map[string]struct {
		slots   int
		weights map[string]int
	}{
		"one slot, equal":      {1, map[string]int{"a": 1, "b": 1}},
		"one slot, two to one": {1, map[string]int{"a": 2, "b": 1}},
		"two slots, three":     {2, map[string]int{"a": 1, "b": 1, "c": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var turns Turns
			var demands []Demand
			total := 0
			for job, weight := range c.weights {
				demands = append(demands, Demand{Job: job, Weight: weight, Runnable: 5, Holding: []Slot{{Worker: job}}})
				total += weight
			}
			start := time.Now()
			had, longest, since := map[string]time.Duration{}, map[string]time.Duration{}, map[string]time.Time{}
			for now := start; now.Before(start.Add(10 * time.Minute)); now = now.Add(200 * time.Millisecond) {
				chosen := turns.Choose(now, c.slots, demands)
				require.Len(t, chosen, c.slots)
				for _, d := range chosen {
					had[d.Job] += 200 * time.Millisecond
					since[d.Job] = now
				}
				for job := range c.weights {
					if last, ok := since[job]; ok {
						longest[job] = max(longest[job], now.Sub(last))
					}
				}
			}
			for job, weight := range c.weights {
				fair := 600 * float64(c.slots) * float64(weight) / float64(total)
				require.InDelta(t, fair, had[job].Seconds(), 0.05*fair+Turn.Seconds(), job)
				require.LessOrEqual(t, longest[job], 4*Turn, job)
			}
		})
	}
}

func TestAJobThatEndsLeavesItsTurnAtOnce(t *testing.T) {
	var turns Turns
	now := time.Now()
	a, b, c := Demand{Job: "a", Runnable: 1}, Demand{Job: "b", Runnable: 1}, Demand{Job: "c", Runnable: 1}
	require.Equal(t, []Demand{a}, turns.Choose(now, 1, []Demand{a, b, c}))
	require.Equal(t, []Demand{b}, turns.Choose(now.Add(time.Second), 1, []Demand{b, c}))
}

func TestASlotThatComesTakesNoTurnAway(t *testing.T) {
	var turns Turns
	now := time.Now()
	demands := []Demand{{Job: "a", Runnable: 1}, {Job: "b", Runnable: 1}, {Job: "c", Runnable: 1}, {Job: "d", Runnable: 1}}
	require.Equal(t, demands[:1], turns.Choose(now, 1, demands))
	require.Equal(t, demands[:2], turns.Choose(now.Add(time.Second), 2, demands))
	require.Equal(t, demands[:3], turns.Choose(now.Add(2*time.Second), 3, demands))
}
