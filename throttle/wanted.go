package throttle

import (
	"math"
	"slices"
)

// Whole is what a fleet of any size may use of a database. A [Decision]'s own rate and slots are for the fleet that is there: where
// soft signals leave a part of it, a fleet that follows them down would be told an ever smaller number.
type Whole struct {
	RowsPerSec float64 // before the part is taken; 0 is without limit
	Slots      int     // before the part is taken; 0 is without limit
	Part       float64 // that soft signals leave, in (0, 1]; 0 counts as 1
}

// Wanted returns how many slots the demands could use if as many were there as they ask for: what a fleet may be scaled to. Slots that
// are there do not count, so that a fleet of none is told how many it lacks. A slot writes so many rows per second.
//
// While that is not known, 0, a job asks for one slot, or for those that hold ranges: who starts at the most cannot know whether the
// database can bear it.
func (w Whole) Wanted(rowsPerSlot float64, demands []Demand) int {
	s := Supply{Rate: w.RowsPerSec, Most: w.Slots, RowsPerSlot: rowsPerSlot}
	if w.Part > 0 && w.Part < 1 {
		all := wanted(Supply{Most: w.Slots, RowsPerSlot: rowsPerSlot}, demands)
		s.Most = max(1, int(math.Ceil(w.Part*float64(all))))
		s.Rate *= w.Part
	}
	return wanted(s, demands)
}

func wanted(s Supply, demands []Demand) int {
	var slots []Slot
	asked := slices.Clone(demands)
	for i, d := range asked {
		slots = append(slots, d.Holding...)
		if !(s.RowsPerSlot > 0) {
			asked[i].Runnable = min(d.Runnable, max(0, 1-len(d.Holding)))
		}
		for range max(0, asked[i].Runnable) {
			slots = append(slots, Slot{Slot: -1 - len(slots)}) // nobody's
		}
	}
	n := 0
	for _, share := range settle(s, distinct(slots), asked) {
		n += share.slots
	}
	return n
}
