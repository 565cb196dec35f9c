package coordinator

import (
	"slices"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// shares turns decisions into leases. It remembers the last ones: a lease moves only for a reason.
type shares struct {
	turns    throttle.Turns
	rotation throttle.Rotation
	leases   []job.Lease

	slots  int // that are there
	active int // of them, those that hold a range
}

// allocate shares out a decision. Holding are the slots that say that they hold a range, runnable counts the ranges that could be
// taken.
func (s *shares) allocate(now time.Time, d throttle.Decision, of []terms, slots []throttle.Slot, holding map[job.ID][]throttle.Slot,
	runnable map[job.ID]int, perSlot float64) []job.Lease {
	var busy, leased []throttle.Slot
	for _, held := range holding {
		busy = append(busy, held...)
	}
	for _, l := range s.leases {
		leased = append(leased, throttle.Slot{Worker: l.Worker, Slot: l.Slot})
	}
	s.slots, s.active = len(slots), len(busy)
	offer := s.rotation.Next(now, slots, busy, leased)

	var demands []throttle.Demand
	for _, t := range of {
		if t.factor <= 0 {
			continue // outside of its windows: its ranges are handed back
		}
		keep := holding[t.job.ID]
		for _, l := range s.leases {
			if slot := (throttle.Slot{Worker: l.Worker, Slot: l.Slot}); l.Job == t.job.ID && slices.Contains(offer.Keep, slot) {
				keep = append(keep, slot)
			}
		}
		demands = append(demands, throttle.Demand{
			Job: string(t.job.ID), Weight: t.job.Limits.Weight, MaxSlots: t.job.Limits.Workers.Max,
			Runnable: runnable[t.job.ID], MaxRate: t.most, Holding: keep,
		})
	}
	places := len(slots)
	if d.Slots > 0 { // jobs take turns at what the governor leaves, too
		places = min(places, d.Slots)
	}
	grants := throttle.Allocate(
		throttle.Supply{Rate: d.RowsPerSec, Slots: offer.Order, Most: d.Slots, RowsPerSlot: perSlot},
		s.turns.Choose(now, places, demands))
	s.leases = s.leases[:0:0]
	for _, g := range grants {
		s.leases = append(s.leases, job.Lease{
			Worker: g.Worker, Slot: g.Slot.Slot, Job: job.ID(g.Job), Rate: g.Rate, Over: offer.Over[g.Slot],
		})
	}
	return s.leases
}
