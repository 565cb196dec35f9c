package throttle

import "slices"

// Wanted returns how many slots the demands could use of a supply if as many were there as they ask for: what a fleet may be scaled
// to. The supply's own slots do not count, so that a fleet of none is told how many it lacks.
//
// Until the speed of a slot is known, a job asks for one slot, or for those that hold ranges: who starts at the most cannot know
// whether the database can bear it.
func Wanted(s Supply, demands []Demand) int {
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
