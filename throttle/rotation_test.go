package throttle

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRotationKeepsALeaseThatIsNew(t *testing.T) {
	clock := newFakeClock()
	var r Rotation
	leased := slotsOf(4, 1)[:2]
	for range 3 {
		require.Equal(t, leased, r.Next(clock.t, slotsOf(4, 1), nil, leased).Keep)
		clock.advance(leaseIdle / 4)
	}
}

func TestRotationOffersWhoWaitedLongestFirst(t *testing.T) {
	clock := newFakeClock()
	var r Rotation
	slots := slotsOf(3, 1)
	r.Next(clock.t, slots, nil, []Slot{slots[0]})
	clock.advance(time.Second)
	r.Next(clock.t, slots, nil, []Slot{slots[1]})
	clock.advance(time.Second)
	require.Equal(t, []Slot{slots[2], slots[0], slots[1]}, r.Next(clock.t, slots, nil, nil).Order)
}

func TestRotationTakesALeaseThatLiesIdle(t *testing.T) {
	clock := newFakeClock()
	var r Rotation
	slots := slotsOf(4, 1)
	idle, busy := slots[0], slots[1]
	r.Next(clock.t, slots, []Slot{busy}, []Slot{idle, busy})
	clock.advance(leaseIdle)
	o := r.Next(clock.t, slots, []Slot{busy}, []Slot{idle, busy})
	require.Empty(t, o.Keep, "what holds a range needs no word of ours")
	require.Empty(t, o.Over)
	require.Equal(t, idle, o.Order[3], "and it is offered last")
	require.Equal(t, []Slot{slots[2], slots[3]}, o.Order[:2])

	r.Next(clock.t, slots, slots[2:], slots[2:])
	clock.advance(leaseCold)
	require.Equal(t, idle, r.Next(clock.t, slots, nil, nil).Order[0], "for a while only")
}

func TestRotationEndsAnOldLeaseWithItsRange(t *testing.T) {
	clock := newFakeClock()
	var r Rotation
	slots := slotsOf(2, 1)
	held := slots[:1]
	require.Empty(t, r.Next(clock.t, slots, held, held).Over)
	clock.advance(rotateEvery)
	require.True(t, r.Next(clock.t, slots, held, held).Over[slots[0]])
	require.Empty(t, r.Next(clock.t, held, held, held).Over, "unless nobody else is there")
	require.Empty(t, r.Next(clock.t, slots, nil, held).Keep, "its range is at its end: so is the lease")
}

// The only slot that takes ranges, beside others that let every lease lie: it must not be told for ever that its lease is over.
func TestRotationGivesANewLeaseToTheOnlySlotThatWorks(t *testing.T) {
	clock := newFakeClock()
	var r Rotation
	slots := slotsOf(12, 1)
	good := slots[0]
	var leased []Slot
	over := map[Slot]bool{}
	var busyUntil time.Time
	worked := 0
	const steps = 1200
	for range steps {
		if !clock.t.Before(busyUntil) && slices.Contains(leased, good) && !over[good] {
			busyUntil = clock.t.Add(4 * time.Second)
		}
		var holding []Slot
		if clock.t.Before(busyUntil) {
			holding = []Slot{good}
			worked++
		}
		o := r.Next(clock.t, slots, holding, leased)
		over, leased = o.Over, leased[:0]
		for _, g := range Allocate(Supply{Slots: o.Order, Most: 11}, []Demand{{Job: "a", Runnable: 100, Holding: slices.Concat(holding, o.Keep)}}) {
			leased = append(leased, g.Slot)
		}
		clock.advance(500 * time.Millisecond)
	}
	require.Greater(t, float64(worked)/steps, 0.9)
}

// With two leases for eight slots, whose ranges take four seconds, every slot works for a like time.
func TestRotationIsFair(t *testing.T) {
	clock := newFakeClock()
	var r Rotation
	slots := slotsOf(8, 1)
	worked, busyUntil := map[Slot]int{}, map[Slot]time.Time{}
	var leased []Slot
	over := map[Slot]bool{}
	const steps = 1200
	for range steps {
		var holding []Slot
		for _, s := range slots {
			if !clock.t.Before(busyUntil[s]) && slices.Contains(leased, s) && !over[s] {
				busyUntil[s] = clock.t.Add(4 * time.Second) // takes the next range at once
			}
			if clock.t.Before(busyUntil[s]) {
				holding = append(holding, s)
				worked[s]++
			}
		}
		require.LessOrEqual(t, len(holding), 2)
		o := r.Next(clock.t, slots, holding, leased)
		over, leased = o.Over, leased[:0]
		for _, g := range Allocate(Supply{Slots: o.Order, Most: 2}, []Demand{{Job: "a", Runnable: 100, Holding: slices.Concat(holding, o.Keep)}}) {
			leased = append(leased, g.Slot)
		}
		clock.advance(500 * time.Millisecond)
	}
	var sum, squares float64
	for _, s := range slots {
		sum += float64(worked[s])
		squares += float64(worked[s] * worked[s])
	}
	require.Greater(t, sum*sum/(8*squares), 0.8, "Jain's index over ten minutes")
	require.Greater(t, sum/(2*steps), 0.8, "and the leases are used")
}
