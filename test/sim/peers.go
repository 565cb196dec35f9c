package main

import (
	"math"
	"time"

	"github.com/backfleet/backfleet/throttle"
)

// Peers are the ways in which other tools throttle, each with the sampling that it has by default. Those made for one process
// are extended to a fleet: every worker obeys the same decision and takes an even share of a rate.
//
// MongoDB and Vitess are simplified ports of flow_control.cpp and of max_replication_lag_module.go with memory.go: both look at
// the slowest replica only, and MongoDB's tickets are for the fleet's rows alone, which is in its favour.
func Peers() []Policy {
	const half = 500 * time.Millisecond
	peer := func(name string, every, dead time.Duration, controller func() throttle.Controller) Policy {
		return Policy{Name: name, Every: every, Dead: dead, New: controller, Share: Even}
	}
	stopGo := func(limit float64) func() throttle.Controller {
		return func() throttle.Controller { return stopAndGo{limit} }
	}
	return []Policy{
		peer("unthrottled", half, half, stopGo(math.Inf(1))),
		peer("stopgo-5s", half, half, stopGo(5)),
		peer("stopgo-1.5s", half, half, stopGo(1.5)), // gh-ost
		peer("spirit", 5*time.Second, time.Second/5, stopGo(5)),
		peer("pt-osc", time.Second, time.Second/10, stopGo(1)),
		peer("aimd", half, half, func() throttle.Controller { return &aimd{limit: 2.5, rise: 8} }),
		peer("pi-2.5s", half, half, func() throttle.Controller { return &pi{setpoint: 2.5} }),
		peer("pi-1.5s", half, half, func() throttle.Controller { return &pi{setpoint: 1.5} }),
		peer("mongodb-10s", time.Second, half, func() throttle.Controller { return &flowControl{target: 10} }),
		peer("mongodb-5s", time.Second, half, func() throttle.Controller { return &flowControl{target: 5} }),
		peer("vitess", time.Second, half, func() throttle.Controller { return newMaxLag() }),
	}
}

// slowest is the member that is furthest behind.
func slowest(s throttle.Sample) (worst throttle.Member) {
	for i, m := range s.Members {
		if i == 0 || m.Lag > worst.Lag || m.Lag == worst.Lag && m.Pos < worst.Pos {
			worst = m
		}
	}
	return worst
}

// stopAndGo stops every worker while a replica is over the limit.
type stopAndGo struct{ limit float64 }

func (c stopAndGo) Step(s throttle.Sample) throttle.Decision {
	return throttle.Decision{Hold: slowest(s).Lag > c.limit}
}

// aimd adds to the rate for as long as lag is below its limit, and halves it when it is over.
type aimd struct {
	limit, rise, rate float64
	last, halved      time.Time
}

const (
	aimdRest = 2 * time.Second // from one halving to the next, so that its effect is seen

)

func (c *aimd) Step(s throttle.Sample) throttle.Decision {
	perSlot := max(s.RowsPerSlot, 1000)
	switch dt := s.At.Sub(c.last).Seconds(); {
	case c.last.IsZero():
		c.rate = perSlot / c.rise
	case slowest(s).Lag <= c.limit:
		c.rate += dt * perSlot / c.rise
	case s.At.Sub(c.halved) >= aimdRest:
		c.rate, c.halved = max(1, c.rate/2), s.At
	}
	c.last = s.At
	return throttle.Decision{RowsPerSec: c.rate}
}

// pi is a proportional-integral controller of lag. Near its setpoint lag is the integral of the rate relative to what the
// slowest replica replays, after a dead time of about a second: the gains are those of Skogestad's rule for that (Simple
// analytic rules for model reduction and PID controller tuning, 2003), in units of the replay that it measures.
type pi struct {
	setpoint float64
	rate     float64
	sum      float64 // the integral part, rows per second
	before   throttle.Sample

	replayed, seconds, rows, written float64 // of late, while the slowest replica had something to replay
}

const (
	piDead   = 1.0 // seconds
	piGain   = 1 / (2 * piDead)
	piTime   = 8 * piDead
	piForget = 30.0 // seconds
)

func (c *pi) Step(s throttle.Sample) throttle.Decision {
	e := c.setpoint - slowest(s).Lag
	if !c.before.At.IsZero() {
		dt, rows := s.At.Sub(c.before.At).Seconds(), s.Rows-c.before.Rows
		c.learn(s, dt, rows)
		// Without this the integral would go on while the rate cannot follow it.
		if e < 0 && c.rate > 1 || e > 0 && rows >= 0.7*c.rate*dt {
			c.sum = max(0, c.sum+c.capacity(s)*piGain*e*dt/piTime)
		}
	}
	c.rate = max(1, c.capacity(s)*piGain*e+c.sum)
	c.before = s
	return throttle.Decision{RowsPerSec: c.rate}
}

func (c *pi) learn(s throttle.Sample, dt, rows float64) {
	now, was := slowest(s), slowest(c.before)
	if now.Lag < 0.3 || now.Name != was.Name || now.Pos <= was.Pos {
		return
	}
	keep := math.Exp(-dt / piForget)
	c.replayed = keep*c.replayed + now.Pos - was.Pos
	c.seconds = keep*c.seconds + dt
	c.rows = keep*c.rows + rows
	c.written = keep*c.written + s.WALPos - c.before.WALPos
}

// capacity is how many rows per second the slowest replica replays beside the application's; until it is known, those of one slot.
func (c *pi) capacity(s throttle.Sample) float64 {
	if c.rows <= 0 || c.seconds < 1 {
		return max(s.RowsPerSlot, 1000)
	}
	return c.replayed / c.seconds * c.rows / c.written
}

// flowControl is MongoDB's: below half of the target lag it grants ever more tickets; above, what the slowest replica applied in
// the last second, less five percent, and half of that for each further half of the target.
type flowControl struct {
	target, rate float64
	trail        []mark // what the primary has passed
	applied      float64
	last         time.Time
}

type mark struct{ pos, rows float64 }

func (c *flowControl) Step(s throttle.Sample) throttle.Decision {
	const threshold, decay, fudge, add, multiply, least = 0.5, 0.5, 0.95, 1000, 1.05, 100
	worst := slowest(s)
	c.trail = append(c.trail, mark{s.WALPos, s.Rows})
	applied := c.rowsAt(worst.Pos)
	limit := threshold * c.target
	switch dt := s.At.Sub(c.last).Seconds(); {
	case c.last.IsZero():
		c.rate = add
	case worst.Lag < limit:
		c.rate = (c.rate + add) * multiply
	case applied > c.applied:
		c.rate = fudge * (applied - c.applied) / dt * math.Pow(decay, (worst.Lag-limit)/limit)
	} // a replica that applies nothing changes nothing
	c.rate = min(max(c.rate, least), 1e9)
	c.applied, c.last = applied, s.At
	return throttle.Decision{RowsPerSec: c.rate}
}

// rowsAt is how many rows the fleet had written when the primary was at pos. It forgets what came before.
func (c *flowControl) rowsAt(pos float64) float64 {
	for len(c.trail) > 2 && c.trail[1].pos <= pos {
		c.trail = c.trail[1:]
	}
	a := c.trail[0]
	if len(c.trail) == 1 || c.trail[1].pos <= a.pos {
		return a.rows
	}
	b := c.trail[1]
	return a.rows + (b.rows-a.rows)*min(1, max(0, (pos-a.pos)/(b.pos-a.pos)))
}
