package throttle

import (
	"cmp"
	"slices"
	"time"
)

// Turn is how long a job keeps its slots while others wait for one.
const Turn = 10 * time.Second

// Turns takes jobs in turn when there are more of them than slots, each for a time that is as its weight. A job whose turn is over
// loses its slots, also one that is in the middle of a range: that is handed back at its checkpoint.
//
// It is not safe for concurrent use; its zero value is ready.
type Turns struct {
	served map[string]float64 // seconds of turn, by weight
	chosen map[string]bool
	last   time.Time
	until  time.Time
}

// Choose returns the demands whose turn it is: all of them while there are slots for all. Slots that come in the middle of a turn go
// to jobs that wait, and take none from those that have theirs.
func (t *Turns) Choose(now time.Time, slots int, demands []Demand) []Demand {
	waiting := slices.DeleteFunc(slices.Clone(demands), func(d Demand) bool { return d.Runnable == 0 && len(d.Holding) == 0 })
	if len(waiting) <= slots || slots == 0 {
		*t = Turns{}
		return demands
	}
	t.serve(now, waiting)
	if !now.Before(t.until) {
		t.until, t.chosen = now.Add(Turn), map[string]bool{}
	}
	chosen := map[string]bool{}
	for _, d := range t.pick(waiting) {
		chosen[d.Job] = true
	}
	slices.SortStableFunc(waiting, func(a, b Demand) int {
		return cmp.Or(cmp.Compare(t.served[a.Job], t.served[b.Job]), cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Job, b.Job))
	})
	for _, d := range waiting {
		if len(chosen) < slots {
			chosen[d.Job] = true
		}
	}
	t.chosen = chosen
	return t.pick(demands)
}

// serve counts the time since the last call for the jobs that had it. A job that is new begins where the least served one stands.
func (t *Turns) serve(now time.Time, waiting []Demand) {
	if t.served == nil {
		t.served, t.last = map[string]float64{}, now
	}
	passed := now.Sub(t.last).Seconds()
	t.last = now
	least, known := 0.0, false
	for _, d := range waiting {
		if s, ok := t.served[d.Job]; ok && (!known || s < least) {
			least, known = s, true
		}
	}
	for _, d := range waiting {
		if _, ok := t.served[d.Job]; !ok {
			t.served[d.Job] = least
		}
		if t.chosen[d.Job] {
			t.served[d.Job] += passed / float64(max(1, d.Weight))
		}
	}
}

func (t *Turns) pick(demands []Demand) []Demand {
	return slices.DeleteFunc(slices.Clone(demands), func(d Demand) bool { return !t.chosen[d.Job] })
}
