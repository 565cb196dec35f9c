package main

import (
	"math"
	"slices"
	"time"

	"github.com/backfleet/backfleet/throttle"
)

// The defaults of Vitess's throttler by replication lag. It begins with 100 transactions a second; ten rows in each are assumed.
const (
	vitessTarget, vitessMax          = 2, 10 // seconds
	vitessInitial                    = 1000.0
	vitessIncrease, vitessEmergency  = 1.0, 0.5
	vitessMinIncrease                = 40 * time.Second
	vitessMaxIncrease                = 62 * time.Second
	vitessDecrease                   = 20 * time.Second
	vitessSpread                     = 20.0 // seconds
	vitessAge, vitessAging           = 180 * time.Second, 1.1
	vitessApproach, vitessImprobable = 0.9, 0.9
	vitessStep                       = 5.0
)

// lagState is how bad lag is, worse upward.
type lagState int

const (
	increasing lagState = iota
	guessing
	emergency
)

// maxLag is Vitess's: it tests a rate for most of a minute, remembers the highest good and the lowest bad one, and looks for
// the capacity between them.
type maxLag struct {
	rate      float64
	state     lagState
	changed   time.Time
	changedAt mark      // rows and lag when it changed, where pos holds the lag
	tested    time.Time // the rate stands until then
	testing   bool

	good []float64 // rising
	bad  float64   // 0: none
	ages time.Time // when the bad rate is doubted again
}

func newMaxLag() *maxLag { return &maxLag{rate: vitessInitial} }

func (c *maxLag) Step(s throttle.Sample) throttle.Decision {
	if c.changed.IsZero() {
		c.set(s, increasing, c.rate, vitessMaxIncrease)
	}
	if c.bad > 0 && !s.At.Before(c.ages) {
		c.bad, c.ages = c.bad*vitessAging, s.At.Add(vitessAge)
	}
	lag := whole(s)
	state := emergency
	switch {
	case lag <= vitessTarget:
		state = increasing
	case lag <= vitessMax:
		state = guessing
	}
	if s.At.After(c.tested.Add(vitessMaxIncrease)) {
		c.testing = false
	}
	if c.testing && state == c.state && s.At.Before(c.tested) {
		return throttle.Decision{RowsPerSec: c.rate}
	}
	span := s.At.Sub(c.changed).Seconds()
	actual := (s.Rows - c.changedAt.rows) / span
	switch {
	case span <= 0:
	case state == increasing:
		c.increase(s, actual)
	case state == guessing:
		c.guess(s, actual, span)
	default:
		c.judge(state, 0, actual, s.At)
		c.set(s, emergency, c.rate*(1-vitessEmergency), vitessDecrease)
	}
	return throttle.Decision{RowsPerSec: c.rate}
}

// whole is the lag in seconds, as MySQL tells it.
func whole(s throttle.Sample) float64 { return math.Floor(slowest(s).Lag) }

func (c *maxLag) set(s throttle.Sample, state lagState, rate float64, test time.Duration) {
	c.rate, c.state = max(1, rate), state
	c.changed, c.changedAt = s.At, mark{pos: whole(s), rows: s.Rows}
	c.tested, c.testing = s.At.Add(test), true
}

func (c *maxLag) increase(s throttle.Sample, actual float64) {
	c.judge(increasing, 0, actual, s.At)
	if actual < vitessApproach*c.rate {
		c.testing = false
		return
	}
	from := c.best()
	if from == 0 {
		from = actual
	}
	rate := from * (1 + vitessIncrease)
	if c.bad > 0 && rate > c.bad {
		rate = (from + c.bad) / 2
	}
	if rate <= c.rate {
		from, rate = c.rate, c.rate+vitessStep
	}
	seen := time.Duration((1/(rate/from-1) + 2) * float64(time.Second))
	c.set(s, increasing, rate, min(max(seen, vitessMinIncrease), vitessMaxIncrease))
}

// guess takes the replica's rate from how lag changed, less what works off the backlog.
func (c *maxLag) guess(s throttle.Sample, actual, span float64) {
	before, now := c.changedAt.pos, whole(s)
	grown := now - before
	if math.Abs(grown) <= 1 {
		c.testing = false
		return
	}
	c.judge(guessing, grown, actual, s.At)
	span = max(span, grown)
	replica := max(1, actual*(span-grown)/span)
	behind := max(0, actual-replica) * span
	if grown > 0 {
		behind += replica * before
	}
	c.set(s, guessing, replica-behind/vitessSpread, vitessDecrease)
}

// judge remembers the rate since the last change as good or bad.
func (c *maxLag) judge(state lagState, grown, actual float64, now time.Time) {
	switch {
	case c.state == emergency:
		if c.bad > 0 {
			c.ages = now.Add(vitessAge)
		}
	case state == increasing || state == guessing && c.state == guessing && grown < 0:
		if c.bad == 0 || actual <= c.bad {
			c.good = append(c.good, actual)
			slices.Sort(c.good)
		}
	case c.bad > 0 && actual >= c.bad, actual < vitessImprobable*c.best():
	default:
		c.bad, c.ages = actual, now.Add(vitessAge)
		c.good = slices.DeleteFunc(c.good, func(rate float64) bool { return rate >= actual })
	}
}

// best is the highest rate known to be good, 0 for none.
func (c *maxLag) best() float64 {
	if len(c.good) == 0 {
		return 0
	}
	return c.good[len(c.good)-1]
}
