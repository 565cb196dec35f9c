package throttle

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// slotsOf returns n slots for each of w workers.
func slotsOf(w, n int) []Slot {
	var slots []Slot
	for i := range w {
		for j := range n {
			slots = append(slots, Slot{fmt.Sprintf("w%02d", i), j})
		}
	}
	return slots
}

func total(grants []Grant, job string) (n int, rate float64) {
	for _, g := range grants {
		if g.Job == job {
			n++
			rate += g.Rate
		}
	}
	return n, rate
}

func TestAllocateOneJobWithoutLimit(t *testing.T) {
	grants := Allocate(Supply{Slots: slotsOf(2, 2)}, []Demand{{Job: "a", Runnable: 100}})
	require.Len(t, grants, 4)
	for _, g := range grants {
		require.Zero(t, g.Rate)
	}
}

func TestAllocateNeverLeasesMoreThanRunnable(t *testing.T) {
	held := []Slot{{"w01", 1}}
	grants := Allocate(Supply{Slots: slotsOf(4, 4)}, []Demand{{Job: "a", Runnable: 2, Holding: held}})
	require.Len(t, grants, 3)
	require.Contains(t, grants, Grant{Slot: held[0], Job: "a"})
	require.Empty(t, Allocate(Supply{Slots: slotsOf(4, 4)}, []Demand{{Job: "a"}}))
}

func TestAllocateUsesAsFewSlotsAsCarryTheRate(t *testing.T) {
	grants := Allocate(Supply{Rate: 1000, Slots: slotsOf(8, 2), RowsPerSlot: 1000}, []Demand{{Job: "a", Runnable: 100}})
	require.Len(t, grants, 3, "ceil(1000 / (0.6 * 1000)) + 1")
	require.InDelta(t, 1000.0/3, grants[0].Rate, 1e-9)
	require.NotEqual(t, grants[0].Worker, grants[1].Worker, "spread over workers")

	grants = Allocate(Supply{Slots: slotsOf(8, 2), RowsPerSlot: 1000}, []Demand{{Job: "a", Runnable: 100, MaxRate: 1000}})
	require.Len(t, grants, 3, "a job's own cap counts alike")
}

func TestAllocateSharesByWeight(t *testing.T) {
	grants := Allocate(Supply{Rate: 900, Slots: slotsOf(6, 1)}, []Demand{
		{Job: "a", Weight: 2, Runnable: 100},
		{Job: "b", Weight: 1, Runnable: 100},
	})
	n, rate := total(grants, "a")
	require.Equal(t, 4, n)
	require.InDelta(t, 600, rate, 1e-9)
	n, rate = total(grants, "b")
	require.Equal(t, 2, n)
	require.InDelta(t, 300, rate, 1e-9)
}

func TestAllocateGivesTheRestOfACappedJobToOthers(t *testing.T) {
	grants := Allocate(Supply{Rate: 900, Slots: slotsOf(6, 1)}, []Demand{
		{Job: "a", Runnable: 100, MaxRate: 100, MaxSlots: 1},
		{Job: "b", Runnable: 100},
	})
	n, rate := total(grants, "a")
	require.Equal(t, 1, n)
	require.InDelta(t, 100, rate, 1e-9)
	n, rate = total(grants, "b")
	require.Equal(t, 5, n)
	require.InDelta(t, 800, rate, 1e-9)
}

func TestAllocateGivesTheRateOfAJobWithoutSlotToOthers(t *testing.T) {
	grants := Allocate(Supply{Rate: 100, Slots: slotsOf(1, 1)}, []Demand{{Job: "a", Runnable: 1}, {Job: "b", Runnable: 1, Holding: slotsOf(1, 1)}})
	require.Equal(t, []Grant{{Slot: Slot{"w00", 0}, Job: "b", Rate: 100}}, grants, "who holds a range goes first")
}

func TestAllocateWithdrawsForANewJob(t *testing.T) {
	slots := slotsOf(2, 1)
	grants := Allocate(Supply{Slots: slots}, []Demand{{Job: "a", Holding: slots}, {Job: "b", Runnable: 5}})
	require.Equal(t, []Grant{{Slot: slots[0], Job: "a"}, {Slot: slots[1], Job: "b"}}, grants)
}

func TestAllocateGivesASmallJobNoMoreSlotsThanItsRateNeeds(t *testing.T) {
	grants := Allocate(Supply{Rate: 10000, Slots: slotsOf(30, 1), RowsPerSlot: 1000}, []Demand{
		{Job: "big", Runnable: 100},
		{Job: "small", Runnable: 100, MaxRate: 500},
	})
	n, _ := total(grants, "small")
	require.Equal(t, 2, n)
	n, rate := total(grants, "big")
	require.Equal(t, 16, n)
	require.InDelta(t, 9500, rate, 1e-9)
}

func TestAllocateBelievesOneHolderOfASlot(t *testing.T) {
	slots := slotsOf(2, 1)
	grants := Allocate(Supply{Slots: slots}, []Demand{{Job: "a", Holding: slots[:1]}, {Job: "b", Holding: slots[:1]}})
	require.Equal(t, []Grant{{Slot: slots[0], Job: "a"}}, grants, "the other has no range to take")
}

func TestAllocateRefusesSenselessRates(t *testing.T) {
	demand := []Demand{{Job: "a", Runnable: 5}}
	require.Empty(t, Allocate(Supply{Rate: -1, Slots: slotsOf(1, 1)}, demand))
	require.Empty(t, Allocate(Supply{Rate: math.NaN(), Slots: slotsOf(1, 1)}, demand))
	require.Empty(t, Allocate(Supply{Slots: slotsOf(1, 1)}, []Demand{{Job: "a", Runnable: 5, MaxRate: -1}}))
	require.Positive(t, Allocate(Supply{Rate: math.SmallestNonzeroFloat64, Slots: slotsOf(3, 1)}, demand)[0].Rate, "0 would be no limit")
}

func TestAllocateGivesAtMostSoManyLeases(t *testing.T) {
	held := []Slot{{"w03", 0}}
	grants := Allocate(Supply{Rate: 900, Slots: slotsOf(6, 1), Most: 2}, []Demand{{Job: "a", Runnable: 100, Holding: held}})
	require.Equal(t, []Grant{{Slot: Slot{"w00", 0}, Job: "a", Rate: 450}, {Slot: held[0], Job: "a", Rate: 450}}, grants)
}

func TestAllocateOffersSlotsInTheirOrder(t *testing.T) {
	slots := slotsOf(3, 1)
	slices.Reverse(slots)
	grants := Allocate(Supply{Slots: append(slots, slots...), Most: 1}, []Demand{{Job: "a", Runnable: 100}})
	require.Equal(t, []Grant{{Slot: Slot{"w02", 0}, Job: "a"}}, grants)
}

func TestAllocateGivesADearJobFewerRows(t *testing.T) {
	grants := Allocate(Supply{Rate: 900, Slots: slotsOf(4, 1)}, []Demand{
		{Job: "dear", Runnable: 100, Cost: 3},
		{Job: "plain", Runnable: 100, MaxRate: 300},
	})
	_, rate := total(grants, "plain")
	require.InDelta(t, 300, rate, 1e-9)
	_, rate = total(grants, "dear")
	require.InDelta(t, 200, rate, 1e-9, "600 are left, and each of its rows takes 3")
}

func drawDemands(t *rapid.T, slots []Slot) []Demand {
	free := rapid.Permutation(slots).Draw(t, "order")
	var demands []Demand
	for i := range rapid.IntRange(0, 6).Draw(t, "jobs") {
		d := Demand{
			Job:      fmt.Sprintf("j%d", i),
			Weight:   rapid.IntRange(0, 5).Draw(t, "weight"),
			MaxSlots: rapid.IntRange(0, 10).Draw(t, "max slots"),
			Runnable: rapid.IntRange(0, 20).Draw(t, "runnable"),
			MaxRate:  rapid.SampledFrom([]float64{0, 0, 10, 500, 1e5}).Draw(t, "max rate"),
			Cost:     rapid.SampledFrom([]float64{0, 1, 0.3, 7}).Draw(t, "cost"),
		}
		n := rapid.IntRange(0, len(free)).Draw(t, "held")
		d.Holding, free = free[:n], free[n:]
		if rapid.Bool().Draw(t, "gone") {
			d.Holding = append(slices.Clone(d.Holding), Slot{"gone", i})
		}
		demands = append(demands, d)
	}
	return demands
}

func TestAllocateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := slotsOf(rapid.IntRange(0, 6).Draw(t, "workers"), rapid.IntRange(1, 4).Draw(t, "slots"))
		demands := drawDemands(t, slots)
		rate := rapid.SampledFrom([]float64{0, 1, 100, 12345, 1e6}).Draw(t, "rate")
		perSlot := rapid.SampledFrom([]float64{0, 50, 1000, 1e5}).Draw(t, "per slot")

		grants := Allocate(Supply{Rate: rate, Slots: slots, RowsPerSlot: perSlot}, demands)
		require.Equal(t, grants, Allocate(Supply{Rate: rate, Slots: slices.Clone(slots), RowsPerSlot: perSlot}, slices.Clone(demands)), "deterministic")

		cost := map[string]float64{}
		for _, d := range demands {
			cost[d.Job] = cmp.Or(d.Cost, 1)
		}
		seen, sum := map[Slot]bool{}, 0.0
		for _, g := range grants {
			require.Contains(t, slots, g.Slot)
			require.False(t, seen[g.Slot], "slot given twice")
			seen[g.Slot] = true
			sum += g.Rate * cost[g.Job]
			if rate > 0 {
				require.Positive(t, g.Rate, "0 is without limit")
			}
		}
		if rate > 0 {
			require.LessOrEqual(t, sum, rate*(1+1e-9))
		}
		usable := 0
		for _, d := range demands {
			n, r := total(grants, d.Job)
			there := slices.DeleteFunc(slices.Clone(d.Holding), func(s Slot) bool { return !slices.Contains(slots, s) })
			most := d.Runnable + len(there)
			if d.MaxSlots > 0 {
				most = min(most, d.MaxSlots)
			}
			usable += most
			require.LessOrEqual(t, n, most)
			if d.MaxRate > 0 {
				require.LessOrEqual(t, r, d.MaxRate*(1+1e-9))
				if n > 0 {
					require.Positive(t, r)
				}
			}
			kept := 0
			for _, g := range grants {
				if g.Job == d.Job && slices.Contains(there, g.Slot) {
					kept++
				}
			}
			require.GreaterOrEqual(t, kept, min(n, len(there)), "a slot keeps its range while the job deserves one")
		}
		if perSlot == 0 {
			require.Len(t, grants, min(usable, len(slots)), "no slot idles while a job could use it")
		}
	})
}

func TestAllocateIsFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := slotsOf(rapid.IntRange(1, 8).Draw(t, "workers"), 4)
		demands := drawDemands(t, slots)
		grants := Allocate(Supply{Rate: 1000, Slots: slots}, demands)
		for _, a := range demands {
			na, ra := total(grants, a.Job)
			wa := float64(max(1, a.Weight))
			for _, b := range demands {
				nb, rb := total(grants, b.Job)
				wb := float64(max(1, b.Weight))
				most := b.Runnable + len(slices.DeleteFunc(slices.Clone(b.Holding), func(s Slot) bool { return s.Worker == "gone" }))
				if b.MaxSlots > 0 {
					most = min(most, b.MaxSlots)
				}
				if nb < most && na > 0 {
					require.LessOrEqual(t, float64(na-1)/wa, float64(nb)/wb, "%s has more than its weight of slots beside %s", a.Job, b.Job)
				}
				if nb > 0 && na > 0 && (b.MaxRate == 0 || rb < b.MaxRate*(1-1e-9)) {
					require.LessOrEqual(t, ra*cmp.Or(a.Cost, 1)/wa, rb*cmp.Or(b.Cost, 1)/wb*(1+1e-9), "%s has more than its weight of the rate beside %s", a.Job, b.Job)
				}
			}
		}
	})
}
