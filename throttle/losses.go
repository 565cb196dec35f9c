package throttle

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

const (
	// lossGap is the longest time that one reading speaks for: what nobody watched is not counted.
	lossGap = 3 * time.Second
	// lossReasons bounds how many reasons are told apart; further ones count as [OtherReasons].
	lossReasons = 32
)

// OtherReasons stands for the reasons beyond those that [Losses] tells apart.
const OtherReasons = "other"

// Loss is what was lost to one reason.
type Loss struct {
	Signal  string
	Seconds float64 // of full speed
}

// Losses sums up what a job lost to each reason: a second in which it might do nothing is a second lost, one in which it had 0.3 of
// what it could do is 0.7. It is not safe for concurrent use.
type Losses struct {
	at      time.Time
	reason  string
	lost    float64
	watched float64
	seconds map[string]float64
	names   map[string]bool // ever given
}

// Add says that from at on, until the next Add, the reason costs that part of what the fleet could do, from 0 to 1. Call it at each
// decision of the governor.
func (l *Losses) Add(at time.Time, reason string, lost float64) {
	if l.seconds == nil {
		l.seconds, l.names = map[string]float64{}, map[string]bool{}
	}
	if dt := at.Sub(l.at); !l.at.IsZero() && dt > 0 {
		covered := min(dt, lossGap).Seconds()
		l.watched += covered
		if l.lost > 0 {
			l.seconds[l.reason] += covered * l.lost
		}
	}
	if math.IsNaN(lost) {
		lost = 1 // a fault must not hide a loss
	}
	if lost = min(max(lost, 0), 1); lost > 0 && !l.names[reason] {
		if len(l.names) >= lossReasons {
			reason = OtherReasons
		}
		l.names[reason] = true
	}
	l.at, l.reason, l.lost = at, reason, lost
}

// Take returns the seconds that were watched and what was lost in them since the last Take, the most first, and begins anew.
func (l *Losses) Take() (watched float64, lost []Loss) {
	for _, signal := range slices.Sorted(maps.Keys(l.seconds)) {
		lost = append(lost, Loss{signal, l.seconds[signal]})
	}
	slices.SortStableFunc(lost, func(a, b Loss) int { return cmp.Compare(b.Seconds, a.Seconds) })
	watched = l.watched
	l.watched = 0
	clear(l.seconds)
	return watched, lost
}

// Lost is the part of a capacity that a rate does without, from 0 to 1; both in rows a second. A rate of 0 is without limit, and a
// capacity of 0 is not known: then nothing is lost that could be told.
func Lost(rate, capacity float64) float64 {
	if rate <= 0 || capacity <= 0 {
		return 0
	}
	return max(0, 1-rate/capacity)
}
