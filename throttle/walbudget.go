package throttle

import (
	"fmt"
	"math"
)

const (
	budgetEvery   = 0.5   // seconds between steps
	trickleRows   = 300.0 // rows per second: what keeps the estimates alive where the budget allows nothing
	budgetAim     = 0.75  // of the queue at which the inner loop stops: the queue that is kept
	budgetLearn   = 0.5   // of the gap to the replay rate seen, in a second
	budgetProbe   = 1.10  // growth of an untested capacity in a second
	budgetStart   = 1.30  // the same before the first queue
	stalledBelow  = 0.3   // of the capacity: a replay slower than that has stalled
	slowStartOver = 0.6   // seconds of queue that end the slow start
)

// WALBudget is the outer loop. It measures how fast each replica replays and grants the fleet what the slowest leaves beside the
// application, with a correction that keeps a short queue: with a queue that is never empty, the rate of replay is the capacity.
//
// The algorithm is the WAL budget of the research behind the project: feed-forward of the measured capacity, less the application's
// WAL, over the WAL of a row; multiplicative probing while there is no queue; and a memory of the capacity before a stall, so that
// what recovers is used at once.
type WALBudget struct {
	cfg      LagConfig
	replicas map[string]*capacity
	granted  float64 // rows per second at the last step
}

// capacity is what one replica is believed to replay.
type capacity struct {
	rate      float64 // bytes per second
	memory    float64 // the rate before a stall
	stalled   bool
	slowStart bool
	queued    bool // it had a queue at the last step
}

func newWALBudget(cfg LagConfig) *WALBudget {
	return &WALBudget{cfg: cfg, replicas: map[string]*capacity{}}
}

// aim is the queue that is kept, in seconds above the base delay: below the inner loop's threshold, so that this loop alone holds
// the lag while nothing changes.
func (c LagConfig) aim() float64 { return budgetAim * c.hold() }

// grant is what the replicas allow.
type grant struct {
	rate   float64 // rows per second; +Inf: there is no replica to spare
	slots  int     // 1 while only a trickle may run; 0: no limit
	reason Reason  // empty where rate is +Inf
}

// step moves the estimates by dt seconds and returns the budget.
func (b *WALBudget) step(seen *replays, policies map[string]Policy, f *flow, dt float64) grant {
	used := f.rows >= 0.7*b.granted
	g := grant{rate: math.Inf(1)}
	budget, behind := math.Inf(1), 0.0
	var slowest *replay
	learning := ""
	for _, t := range seen.sorted() {
		if policies[t.name] == PolicyIgnore {
			continue
		}
		c := b.replicas[t.name]
		if c == nil || t.fresh {
			c = &capacity{slowStart: true}
			b.replicas[t.name] = c
		}
		c.step(t, used, b.cfg.aim(), dt)
		if t.learning(seen.readAt) {
			learning = t.name
		}
		behind = max(behind, t.behind())
		if allowed := c.allowed(t.backlog, b.cfg.aim()); allowed < budget || slowest == nil {
			budget, slowest = allowed, t
		}
		t.restart()
	}
	for name := range b.replicas {
		if seen.members[name] == nil {
			delete(b.replicas, name)
		}
	}
	if slowest == nil {
		b.granted = 0
		return g
	}
	soft, hard := b.cfg.Soft.Seconds(), b.cfg.Hard.Seconds()
	part := min(1, max(0, (hard-behind)/(hard-soft)))
	g.rate = max(0, (budget-f.app)/f.perRow) * part
	g.reason = b.reason(slowest, b.replicas[slowest.name], f, g.rate)
	switch {
	case learning != "":
		g.rate, g.slots = trickleRows, 1
		g.reason = Reason{Signal: "base delay of " + learning, Text: fmt.Sprintf("the base delay of %s is learned for %s, at %s/s",
			learning, baseLearn, rowsText(trickleRows))}
	case g.rate < trickleRows && behind < b.cfg.hold():
		g.rate, g.slots = trickleRows, 1
	}
	b.granted = g.rate
	return g
}

// step learns from one replica. The queue that counts is the least since the last step: only one that never was empty proves that the
// replica worked all the time.
func (c *capacity) step(t *replay, used bool, aim, dt float64) {
	slope := t.slope
	least := min(0.25, aim/6) * max(slope, stalledBelow*c.rate)
	queued := t.least > least
	switch {
	case queued && c.queued:
		switch {
		case slope < stalledBelow*c.rate:
			if !c.stalled {
				c.memory = c.rate
			}
			c.stalled, c.rate = true, slope
		case c.stalled && slope > stalledBelow*c.memory:
			c.stalled, c.rate = false, slope
		default:
			c.rate += (1 - math.Pow(1-budgetLearn, dt)) * (slope - c.rate)
		}
		if t.backlog > slowStartOver*min(1, aim)*c.rate {
			c.slowStart = false
		}
	case !queued && (used || slope > c.rate):
		if c.stalled {
			c.stalled, c.rate = false, max(slope, c.memory/2)
		}
		growth := budgetProbe
		if c.slowStart {
			growth = budgetStart
		}
		c.rate = min(max(c.rate, slope)*math.Pow(growth, dt), max(2*slope, c.rate))
	}
	c.queued = queued
}

// allowed is the WAL, in bytes per second, that brings the queue to the aim.
func (c *capacity) allowed(backlog, aim float64) float64 {
	return max(0, c.rate+(aim*c.rate-backlog)/max(1, 2*aim))
}

func (b *WALBudget) reason(t *replay, c *capacity, f *flow, rate float64) Reason {
	r := Reason{Signal: "replay of " + t.name, Observed: f.wal, Threshold: c.rate}
	if c.stalled {
		r.Text = fmt.Sprintf("%s has all but stopped its replay", t.name)
		return r
	}
	r.Text = fmt.Sprintf("%s replays %s/s; less the application's %s/s of WAL that is %s/s", t.name, bytesText(c.rate), bytesText(f.app), rowsText(rate))
	if t.backlog > b.cfg.aim()*c.rate {
		r.Text += fmt.Sprintf(" while a queue of %s is replayed", bytesText(t.backlog))
	}
	return r
}
