package throttle

import (
	"testing"

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
		supply  Supply
		demands []Demand
		want    int
	}{
		"no job":                                 {Supply{RowsPerSlot: 1000}, nil, 0},
		"without a limit, the job's own":         {Supply{RowsPerSlot: 1000}, []Demand{{Job: "a", MaxSlots: 16, Runnable: 100}}, 16},
		"no more than ranges":                    {Supply{RowsPerSlot: 1000}, []Demand{{Job: "a", MaxSlots: 16, Runnable: 2, Holding: held(3)}}, 5},
		"as many as carry the rate, and one":     {Supply{Rate: 3000, RowsPerSlot: 1000}, []Demand{{Job: "a", MaxSlots: 64, Runnable: 100}}, 6},
		"the job's cap":                          {Supply{Rate: 30000, RowsPerSlot: 1000}, []Demand{{Job: "a", MaxSlots: 64, Runnable: 100, MaxRate: 600}}, 2},
		"what the guard leaves":                  {Supply{RowsPerSlot: 1000, Most: 3}, []Demand{{Job: "a", MaxSlots: 16, Runnable: 100}}, 3},
		"of two jobs, together":                  {Supply{Rate: 3000, RowsPerSlot: 1000}, []Demand{{Job: "a", Runnable: 9}, {Job: "b", Runnable: 9}}, 6},
		"an unknown speed asks for one a job":    {Supply{}, []Demand{{Job: "a", MaxSlots: 16, Runnable: 100}, {Job: "b", Runnable: 1}}, 2},
		"an unknown speed keeps who is at work":  {Supply{}, []Demand{{Job: "a", MaxSlots: 16, Runnable: 100, Holding: held(4)}}, 4},
		"nothing is left to take":                {Supply{}, []Demand{{Job: "a", MaxSlots: 16}}, 0},
		"a rate that is not a number is no rate": {Supply{Rate: -1, RowsPerSlot: 1}, []Demand{{Job: "a", Runnable: 100}}, 0},
		"slots that are there do not count":      {Supply{RowsPerSlot: 1000, Slots: held(2)}, []Demand{{Job: "a", MaxSlots: 8, Runnable: 100}}, 8},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, Wanted(c.supply, c.demands)) })
	}
}
