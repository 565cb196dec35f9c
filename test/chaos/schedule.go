package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind is a kind of fault: how many of its cards are in the deck, what it hits, one thing of each target, and for how long.
type Kind struct {
	Name        string
	Cards       int
	Hits        []Target
	Least, Most time.Duration
}

// Target is a sort of thing that breaks, of which there are some. Two faults never hit the same one at a time.
type Target struct {
	Name string
	Some int
}

// Event is one fault of a schedule.
type Event struct {
	At, For time.Duration
	Kind    string
	Places  []Place
	// Dice decides what the kind leaves open, such as which way of a link breaks.
	Dice uint64
}

// Place is one thing that breaks.
type Place struct {
	Target string
	Number int
}

func (p Place) String() string { return fmt.Sprintf("%s %d", p.Target, p.Number+1) }

const (
	gapMean  = 2500 * time.Millisecond // between two faults, wherever they hit
	gapLeast = 200 * time.Millisecond
	gapMost  = 8 * time.Second
	breath   = 2 * time.Second // for a place, between two of its faults
)

// Schedule deals faults until the time is over; all have ended by then. The same seed, time and kinds give the same schedule. Kinds are
// dealt like cards, the whole deck before any comes again, so a short run has seen most. Faults of different places overlap as they come.
func Schedule(seed uint64, lasts time.Duration, kinds []Kind) []Event {
	random := rand.New(rand.NewPCG(seed, 0))
	free := map[Place]time.Duration{}
	var events []Event
	var deck []Kind
	for at := gap(random); at < lasts; at += gap(random) {
		if len(deck) == 0 {
			for _, k := range kinds {
				for range k.Cards {
					deck = append(deck, k)
				}
			}
			random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		n := 0
		for n < len(deck) && !vacant(free, deck[n].Hits, at) {
			n++
		}
		if n == len(deck) {
			continue // all that is left in the deck hits what is broken
		}
		kind := deck[n]
		deck = append(deck[:n:n], deck[n+1:]...)
		e := Event{At: at, For: kind.Least + time.Duration(random.Int64N(int64(kind.Most-kind.Least)+1)), Kind: kind.Name, Dice: random.Uint64()}
		e.For = min(e.For, lasts-at)
		for _, target := range kind.Hits {
			place := Place{target.Name, random.IntN(target.Some)}
			for free[place] > at {
				place.Number = (place.Number + 1) % target.Some
			}
			free[place] = at + e.For + breath
			e.Places = append(e.Places, place)
		}
		events = append(events, e)
	}
	return events
}

// vacant says whether of each target there is one that is whole.
func vacant(free map[Place]time.Duration, targets []Target, at time.Duration) bool {
	for _, t := range targets {
		some := false
		for n := range t.Some {
			some = some || free[Place{t.Name, n}] <= at
		}
		if !some {
			return false
		}
	}
	return true
}

func gap(random *rand.Rand) time.Duration {
	return min(max(time.Duration(random.ExpFloat64()*float64(gapMean)), gapLeast), gapMost)
}
