package throttle

import (
	"slices"
	"time"
)

const (
	rotateEvery = 10 * time.Second // a lease is as old as this before another slot gets it
	leaseIdle   = 2 * time.Second  // of a lease without a range, before another slot gets it
	leaseCold   = 10 * time.Second // for which a slot that let a lease lie is offered one last
)

// Rotation decides which slots are offered leases first, where there are fewer leases than slots. Leases go round, so that no
// worker works alone while others watch: one that is old ends with its range. A slot that holds a range keeps its lease until
// then, and one that lets its lease lie loses it.
//
// It is not safe for concurrent use; its zero value is ready.
type Rotation struct {
	leases map[Slot]leaseAge
	cold   map[Slot]time.Time // until when
	last   map[Slot]time.Time // when it last had a lease
}

type leaseAge struct {
	granted time.Time
	idle    time.Time // since when it holds no range; zero while it does
}

// Offer is what a [Rotation] says of a database's slots.
type Offer struct {
	Order []Slot        // all slots, the next ones first
	Keep  []Slot        // leases that should stay although they hold no range yet
	Over  map[Slot]bool // leases that end with the range that they hold
}

// Next says how slots should be offered. Holding are slots with a range, leased those that had a lease in the last budget.
func (r *Rotation) Next(now time.Time, slots, holding, leased []Slot) Offer {
	if r.leases == nil {
		*r = Rotation{leases: map[Slot]leaseAge{}, cold: map[Slot]time.Time{}, last: map[Slot]time.Time{}}
	}
	holds := map[Slot]bool{}
	for _, s := range holding {
		holds[s] = true
	}
	r.age(now, leased, holds)
	o := Offer{Over: map[Slot]bool{}}
	others := len(slots) > len(leased)
	for _, s := range leased {
		switch old := others && now.Sub(r.leases[s].granted) >= rotateEvery; {
		case old && holds[s]:
			o.Over[s] = true
		case old: // it has ended; where nobody better is there, the slot gets a new one
			r.leases[s] = leaseAge{granted: now, idle: r.leases[s].idle}
		case !holds[s] && !r.isCold(s, now):
			o.Keep = append(o.Keep, s)
		}
	}
	o.Order = slices.Clone(slots)
	slices.SortFunc(o.Order, func(a, b Slot) int {
		if c := compareBool(r.isCold(a, now), r.isCold(b, now)); c != 0 {
			return c
		}
		if c := r.last[a].Compare(r.last[b]); c != 0 {
			return c
		}
		return compareSlots(a, b)
	})
	return o
}

// age brings what is known of the leases up to date.
func (r *Rotation) age(now time.Time, leased []Slot, holds map[Slot]bool) {
	next := map[Slot]leaseAge{}
	for _, s := range leased {
		l, known := r.leases[s]
		if !known {
			l.granted = now
		}
		switch {
		case holds[s]:
			l.idle = time.Time{}
			delete(r.cold, s)
		case l.idle.IsZero():
			l.idle = now
		case now.Sub(l.idle) >= leaseIdle:
			r.cold[s] = now.Add(leaseCold)
			l.idle = now
		}
		next[s] = l
		r.last[s] = now
	}
	r.leases = next
	for s, until := range r.cold {
		if !now.Before(until) {
			delete(r.cold, s)
		}
	}
	for s, at := range r.last {
		if now.Sub(at) > time.Hour { // workers come and go
			delete(r.last, s)
		}
	}
}

func (r *Rotation) isCold(s Slot, now time.Time) bool { return now.Before(r.cold[s]) }
