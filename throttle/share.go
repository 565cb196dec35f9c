package throttle

import (
	"cmp"
	"math"
	"slices"
)

// slotUse is the part of a slot's measured speed that a lease counts on; the rest is room for its pauses.
const slotUse = 0.6

// Slot is one place of one worker that can carry one range.
type Slot struct {
	Worker string
	Slot   int
}

// Supply is what one database has to give.
type Supply struct {
	Rate float64 // rows per second that cost 1 each; 0: no limit
	// Slots are those that could carry a range, in the order in which they are offered. One that stands twice counts once.
	Slots       []Slot
	Most        int     // leases at most; 0: no limit
	RowsPerSlot float64 // what one slot writes per second; 0: not known
}

// Demand is what one job could use of a database's budget.
type Demand struct {
	Job      string  // unique among the demands
	Weight   int     // its share beside other jobs; below 1 counts as 1
	MaxSlots int     // 0: no cap
	Runnable int     // ranges that a slot could take now, held ones not counted
	MaxRate  float64 // rows per second; 0: no cap
	Cost     float64 // what a row of it takes of the supply's rate, in rows of the average; 0 counts as 1
	// Holding lists the slots that hold a range of this job. They keep it as far as the job's share reaches, the first ones
	// first; so leases do not move without need.
	Holding []Slot
}

// Grant gives a slot to a job at a rate in rows per second; 0 is without limit.
type Grant struct {
	Slot
	Job  string
	Rate float64
}

// Allocate shares a database's rate and its slots among jobs: weighted max-min of slots and of rate, within each job's caps.
// A job whose rows cost twice as much gets half of the rows for the same share. When the speed of one slot is known, it uses
// as few slots as can carry the rate.
//
// The rates, each times its job's cost, add up to at most the supply's, no slot is given twice, and no job gets more slots
// than it holds or could take ranges for. With more jobs than slots the heavier jobs go first, then those that hold ranges,
// then by name, so some get nothing. Every job's slots get the same rate. Equal arguments give equal grants, sorted by worker
// and slot. A rate that is negative or not a number grants nothing.
func Allocate(s Supply, demands []Demand) []Grant {
	slots := distinct(s.Slots)
	return assign(slots, settle(s, slots, demands))
}

// settle works out how many of the slots each job gets, and at which rate.
func settle(s Supply, slots []Slot, demands []Demand) []*share {
	if !(s.Rate >= 0) {
		return nil
	}
	shares := newShares(slots, demands)
	rate := s.Rate
	if rate == 0 {
		rate = math.Inf(1)
	}
	most := len(slots)
	if s.Most > 0 {
		most = min(most, s.Most)
	}
	shareRate(rate, shares)
	shareSlots(carriers(most, shares, s.RowsPerSlot), shares)
	shares = slices.DeleteFunc(shares, func(s *share) bool { return s.slots == 0 })
	shareRate(rate, shares) // once more: what jobs without a slot leave belongs to the others
	return shares
}

// share is one job's part while it is worked out.
type share struct {
	job     string
	weight  float64
	cost    float64
	maxRate float64 // rows/s; +Inf: no cap
	most    int     // slots it can use
	held    []Slot  // of the slots that are there
	rate    float64 // rows/s; +Inf: without limit
	slots   int
}

// newShares returns a share for each job that can use a slot, in the order in which ties are decided.
func newShares(slots []Slot, demands []Demand) []*share {
	var shares []*share
	free := make(map[Slot]bool, len(slots)) // and there
	for _, slot := range slots {
		free[slot] = true
	}
	for _, d := range demands {
		s := &share{job: d.Job, weight: float64(max(1, d.Weight)), maxRate: d.MaxRate, cost: d.Cost}
		if d.MaxRate == 0 {
			s.maxRate = math.Inf(1)
		}
		if !(s.cost > 0) || math.IsInf(s.cost, 1) {
			s.cost = 1
		}
		for _, held := range d.Holding {
			if free[held] {
				free[held] = false
				s.held = append(s.held, held)
			}
		}
		s.most = min(len(s.held)+max(0, d.Runnable), len(slots))
		if d.MaxSlots > 0 {
			s.most = min(s.most, d.MaxSlots)
		}
		if s.most > 0 && s.maxRate > 0 {
			shares = append(shares, s)
		}
	}
	slices.SortFunc(shares, func(a, b *share) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(min(1, len(b.held)), min(1, len(a.held))),
			cmp.Compare(a.job, b.job))
	})
	return shares
}

// shareRate fills the shares' rates by weighted max-min: in rounds, jobs whose cap is below their share take the cap, and the
// others divide what is left.
func shareRate(rate float64, shares []*share) {
	open := slices.Clone(shares)
	for len(open) > 0 {
		var weights float64
		for _, s := range open {
			weights += s.weight
		}
		left, still := rate, open[:0:0]
		for _, s := range open {
			if fair := rate * (s.weight / weights) / s.cost; s.maxRate <= fair {
				s.rate = s.maxRate
				left -= s.rate * s.cost
			} else {
				s.rate = fair
				still = append(still, s)
			}
		}
		if len(still) == len(open) {
			return
		}
		rate, open = max(0, left), still
	}
}

// carriers returns how many of at most so many slots can carry the shares' rates, and bounds each job's slots by what its own rate
// needs. One slot more than needed covers for one that waits between ranges.
func carriers(most int, shares []*share, rowsPerSlot float64) int {
	if !(rowsPerSlot > 0) {
		return most
	}
	needed := func(rate float64) int {
		if n := math.Ceil(rate / (slotUse * rowsPerSlot)); n < float64(most) {
			return int(n) + 1
		}
		return most
	}
	var used float64
	for _, s := range shares {
		s.most = min(s.most, needed(s.rate))
		used += s.rate
	}
	return min(most, max(needed(used), len(shares)))
}

// shareSlots gives out n slots one by one, each to the job with the least for its weight. So every job has one before any
// has two, and no job is more than one slot ahead of its weight beside another that could use more.
func shareSlots(n int, shares []*share) {
	for range n {
		var least *share
		for _, s := range shares {
			if s.slots < s.most && (least == nil || float64(s.slots)*least.weight < float64(least.slots)*s.weight) {
				least = s
			}
		}
		if least == nil {
			return
		}
		least.slots++
	}
}

// assign names the slots: first those that hold a range of the job, then idle ones, then those that lose their range to
// another job; each time from the worker with the fewest grants, so that the load spreads.
func assign(slots []Slot, shares []*share) []Grant {
	places, load := placesOf(slots)
	at := make(map[Slot]int, len(slots))
	for i, slot := range slots {
		at[slot] = i
	}
	grants := make([]Grant, 0, len(slots))
	give := func(i int, s *share) {
		places[i].used = true
		load[places[i].worker]++
		rate := max(s.rate/float64(s.slots), math.SmallestNonzeroFloat64) // 0 would free it
		if math.IsInf(rate, 1) {
			rate = 0
		}
		grants = append(grants, Grant{Slot: slots[i], Job: s.job, Rate: rate})
	}
	missing := make([]int, len(shares))
	for i, s := range shares {
		keep := min(s.slots, len(s.held))
		for _, slot := range s.held[:keep] {
			give(at[slot], s)
		}
		for _, slot := range s.held[keep:] {
			places[at[slot]].held = true
		}
		missing[i] = s.slots - keep
	}
	for i, s := range shares {
		for range missing[i] {
			best := -1
			for j := range places {
				if !places[j].used && (best < 0 || better(places[j], places[best], load)) {
					best = j
				}
			}
			give(best, s) // never -1: the shares add up to at most len(slots)
		}
	}
	slices.SortFunc(grants, func(a, b Grant) int { return compareSlots(a.Slot, b.Slot) })
	return grants
}

// place is what assign must know of a slot.
type place struct {
	worker int // among those of load
	held   bool
	used   bool
}

// placesOf numbers the workers of the slots; load counts the grants of each.
func placesOf(slots []Slot) (places []place, load []int) {
	workers := map[string]int{}
	places = make([]place, len(slots))
	for i, slot := range slots {
		n, known := workers[slot.Worker]
		if !known {
			n = len(workers)
			workers[slot.Worker] = n
		}
		places[i].worker = n
	}
	return places, make([]int, len(workers))
}

// better reports whether place a suits a new lease more than b, which is offered before it.
func better(a, b place, load []int) bool {
	if a.held != b.held {
		return b.held
	}
	return load[a.worker] < load[b.worker]
}

// distinct keeps the order.
func distinct(slots []Slot) []Slot {
	seen := make(map[Slot]bool, len(slots))
	return slices.DeleteFunc(slices.Clone(slots), func(s Slot) bool {
		twice := seen[s]
		seen[s] = true
		return twice
	})
}

func compareSlots(a, b Slot) int {
	return cmp.Or(cmp.Compare(a.Worker, b.Worker), cmp.Compare(a.Slot, b.Slot))
}
