package throttle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWanted(t *testing.T) {
	held := func(n int) (slots []Slot) {
		for i := range n {
			slots = append(slots, Slot{Worker: "w", Slot: i})
		}
		return slots
	}
	for name, c := range map[string]struct {
		whole   Whole
		perSlot float64
		demands []Demand
		want    int
	}{
		"no job":                                 {Whole{}, 1000, nil, 0},
		"without a limit, the job's own":         {Whole{}, 1000, []Demand{{Job: "a", MaxSlots: 16, Runnable: 100}}, 16},
		"no more than ranges":                    {Whole{}, 1000, []Demand{{Job: "a", MaxSlots: 16, Runnable: 2, Holding: held(3)}}, 5},
		"as many as carry the rate, and one":     {Whole{RowsPerSec: 3000}, 1000, []Demand{{Job: "a", MaxSlots: 64, Runnable: 100}}, 6},
		"the job's cap":                          {Whole{RowsPerSec: 30000}, 1000, []Demand{{Job: "a", MaxSlots: 64, Runnable: 100, MaxRate: 600}}, 2},
		"what the guard leaves":                  {Whole{Slots: 3}, 1000, []Demand{{Job: "a", MaxSlots: 16, Runnable: 100}}, 3},
		"a part of the job's own":                {Whole{Part: 0.5}, 1000, []Demand{{Job: "a", MaxSlots: 16, Runnable: 100}}, 8},
		"a part of what the guard leaves":        {Whole{Slots: 6, Part: 0.5}, 1000, []Demand{{Job: "a", MaxSlots: 16, Runnable: 100}}, 3},
		"a part of the rate":                     {Whole{RowsPerSec: 3000, Part: 0.5}, 1000, []Demand{{Job: "a", MaxSlots: 64, Runnable: 100}}, 4},
		"of two jobs, together":                  {Whole{RowsPerSec: 3000}, 1000, []Demand{{Job: "a", Runnable: 9}, {Job: "b", Runnable: 9}}, 6},
		"an unknown speed asks for one a job":    {Whole{}, 0, []Demand{{Job: "a", MaxSlots: 16, Runnable: 100}, {Job: "b", Runnable: 1}}, 2},
		"an unknown speed keeps who is at work":  {Whole{}, 0, []Demand{{Job: "a", MaxSlots: 16, Runnable: 100, Holding: held(4)}}, 4},
		"nothing is left to take":                {Whole{}, 0, []Demand{{Job: "a", MaxSlots: 16}}, 0},
		"a rate that is not a number is no rate": {Whole{RowsPerSec: -1}, 1, []Demand{{Job: "a", Runnable: 100}}, 0},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, c.whole.Wanted(c.perSlot, c.demands)) })
	}
}

// Who scales by what a soft signal leaves must not be led down step by step: it is a part of what may be, and not of what is.
func TestAFleetOfAnySizeIsToldTheSame(t *testing.T) {
	told := func(slots int) Whole {
		b := newBench(Rules{Signals: map[string]Rule{"archive_queue": Defaults()["archive_queue"]}})
		b.s.Members, b.s.Slots, b.s.Active = nil, slots, slots
		b.s.Signals = []Reading{{Signal: "archive_queue", Value: 25, At: b.s.At}}
		var d Decision
		for range 100 {
			b.s.Signals[0].At = b.s.At
			d = b.run(100 * time.Millisecond)
		}
		require.False(t, d.Hold)
		require.Positive(t, d.Slots)
		require.Less(t, d.Slots, max(2, slots), "of those that are there")
		return d.Whole
	}
	require.InDelta(t, 0.5, told(16).Part, 1e-9)
	require.Equal(t, told(2), told(16))
}
