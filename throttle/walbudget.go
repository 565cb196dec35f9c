package throttle

import (
	"fmt"
	"math"
	"slices"
)

const (
	budgetUsed    = 0.7   // of the rate: a fleet that writes more tests the budget
	trickleRows   = 500.0 // rows per second: what keeps the estimates alive where the budget allows next to nothing
	budgetAim     = 0.6   // of the queue at which the inner loop stops: the queue that is kept
	budgetEmpty   = 0.4   // of that, but at most 0.25 s: what is less is no queue
	budgetLearn   = 0.5   // of the gap to a faster replay that was seen, in a second
	budgetYield   = 0.9   // of the gap to a slower one: what is too much stands in the queue
	budgetSag     = 0.5   // of the gap to a slower one whose queue emptied in between
	budgetProbe   = 1.10  // growth of an untested capacity in a second
	budgetRegrow  = 2.0   // the same up to most of what it was a while ago
	regrowTo      = 0.8   // of that
	regrowFade    = 60.0  // seconds in which the memory of it fades
	usedWithin    = 1.5   // seconds that it takes until the rows of a grant are counted
	stalledBelow  = 0.3   // of the capacity: a replay slower than that has stalled
	budgetStart   = 4.0   // the same before the first queue: the rate doubles with every step
	budgetFirst   = 2e6   // bytes per second that any replica is believed to replay
	budgetSettle  = 1.5   // seconds in which the queue is brought to the aim, at least
	slowStartOver = 0.6   // seconds of queue that end the slow start
	trickleUnused = 3.0   // seconds in which a lone slot that works does not use up the trickle: it is not the one to test a replica
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
	granted  []float64 // rows per second, at the steps of the last usedWithin
	unused   float64   // seconds for which a trickle has not been used up, see [WALBudget.idle]
}

// capacity is what one replica is believed to replay.
type capacity struct {
	rate      float64 // bytes per second
	memory    float64 // the rate before a stall
	best      float64 // the highest rate lately, fading
	stalled   bool
	slowStart bool
	queued    bool // it had a queue at the last step
}

func newWALBudget(cfg LagConfig) *WALBudget {
	b := &WALBudget{replicas: map[string]*capacity{}}
	b.SetConfig(cfg)
	return b
}

// SetConfig changes the thresholds from the next step on.
func (b *WALBudget) SetConfig(cfg LagConfig) { b.cfg = cfg.withDefaults() }

// aim is the queue that is kept, in seconds above the base delay: below the inner loop's threshold, so that this loop alone holds
// the lag while nothing changes. It must be more than what a replica reports later under load than at rest. That would pass for
// a queue which no slowing down makes shorter, and the budget would follow its own flow down to the trickle.
func (c LagConfig) aim(base float64) float64 { return budgetAim * c.hold(base) }

// grant is what the replicas allow.
type grant struct {
	rate   float64 // rows per second; +Inf: there is no replica to spare
	slots  int     // 1 while only a trickle may run; 0: no limit
	reason Reason  // empty where rate is +Inf
}

// step moves the estimates by dt seconds and returns the budget. Where the WAL position is not known there is none.
func (b *WALBudget) step(s Sample, seen *replays, f *flow, dt float64) grant {
	used := len(b.granted) == 0 || f.rows >= budgetUsed*slices.Min(b.granted)
	dt = min(dt, 2)
	budget, behind := math.Inf(1), 0.0
	queued := false
	var slowest, learning *replay
	for _, m := range s.Members {
		t := seen.members[m.Name]
		if t == nil || m.Policy == PolicyIgnore || s.WALPos <= 0 {
			continue
		}
		c := b.replicas[t.name]
		if c == nil || t.fresh {
			c = &capacity{slowStart: true, rate: budgetFirst}
			b.replicas[t.name] = c
		}
		c.step(t, used, b.cfg.aim(t.base), dt)
		queued = queued || c.queued
		if t.learning(seen.readAt) {
			learning = t
		}
		behind = max(behind, t.behind())
		if allowed := c.allowed(t, b.cfg.aim(t.base)); slowest == nil || allowed < budget {
			budget, slowest = allowed, t
		}
		t.restart()
	}
	for name := range b.replicas {
		if seen.members[name] == nil {
			delete(b.replicas, name)
		}
	}
	b.idle(queued, f, dt)
	g := b.grant(budget, behind, f, slowest)
	if learning != nil {
		g.rate, g.slots = trickleRows, 1
		g.reason = Reason{Signal: "base delay of " + learning.name, Text: fmt.Sprintf("the base delay of %s is learned for %s, at %s/s",
			learning.name, baseLearn, rowsText(trickleRows))}
	}
	b.granted = append(b.granted, g.rate)
	if n := int(usedWithin / budgetEvery.Seconds()); len(b.granted) > n {
		b.granted = b.granted[1:]
	}
	return g
}

// idle notes for how long rows have been written below a trickle while no replica had a queue. Where rows are so slow that a lone slot
// does not come near the trickle, it could never show what a replica can do, and would stay alone for ever.
func (b *WALBudget) idle(queued bool, f *flow, dt float64) {
	if len(b.granted) > 0 && b.granted[len(b.granted)-1] == trickleRows && !queued && f.rows > 0 && f.rows < budgetUsed*trickleRows {
		b.unused += dt
		return
	}
	b.unused = 0
}

// grant turns WAL per second into rows. The slowest is nil where there is no replica.
func (b *WALBudget) grant(budget, behind float64, f *flow, slowest *replay) grant {
	if slowest == nil {
		return grant{rate: math.Inf(1)}
	}
	soft, hard := b.cfg.Soft.Seconds(), b.cfg.Hard.Seconds()
	part := 1.0
	if behind > soft {
		part = max(0, (hard-behind)/max(hard-soft, 1e-9))
	}
	g := grant{rate: max(0, (budget-f.app)/f.perRow) * part}
	if !(g.rate >= trickleRows) && behind < b.cfg.hold(0) { // never stall what measures
		g.rate = trickleRows
		if b.unused < trickleUnused {
			g.slots = 1
		}
	}
	g.reason = b.reason(slowest, f, g.rate)
	return g
}

// step learns from one replica. The queue that counts is the least since the last step: only one that never was empty proves that the
// replica worked all the time. Where the inner loop stops and starts the fleet the queue empties in between, so what was replayed between
// two readings with a queue counts as well: without it nothing would ever say that the replica had become slower.
func (c *capacity) step(t *replay, used bool, aim, dt float64) {
	slope := t.slope
	least := min(0.25, budgetEmpty*aim) * max(slope, stalledBelow*c.rate)
	queued := t.least > least
	worked, busy := t.busy.rate()
	if busy && !(queued && c.queued) {
		slope = worked
	}
	switch {
	case queued && c.queued || busy && slope < c.rate:
		switch {
		case slope < stalledBelow*c.rate:
			if !c.stalled {
				c.memory = c.rate
			}
			c.stalled, c.rate = true, slope
		case c.stalled && slope > stalledBelow*c.memory:
			c.stalled, c.rate = false, slope
		case slope < c.rate && !(queued && c.queued):
			c.rate += (1 - math.Pow(1-budgetSag, dt)) * (slope - c.rate)
		case slope < c.rate:
			c.rate += (1 - math.Pow(1-budgetYield, dt)) * (slope - c.rate)
		default:
			c.rate += (1 - math.Pow(1-budgetLearn, dt)) * (slope - c.rate)
		}
		c.slowStart = c.slowStart && t.backlog <= slowStartOver*min(1, aim)*c.rate
	case !queued && (used || slope > c.rate):
		if c.stalled {
			c.stalled, c.rate = false, max(slope, c.memory/2)
		}
		growth, most := budgetProbe, 2.0
		switch {
		case c.slowStart: // a grant shows in the replay half a step later, so a rate that doubles is far ahead of it
			growth, most = budgetStart, 4
		case c.rate < regrowTo*c.best:
			growth = budgetRegrow
		}
		c.rate = min(max(c.rate, slope)*math.Pow(growth, dt), max(most*slope, c.rate))
	}
	c.queued = queued
	c.best = max(c.rate, c.best*math.Exp(-dt/regrowFade))
}

// allowed is the WAL, in bytes per second, that brings the queue to the aim.
func (c *capacity) allowed(t *replay, aim float64) float64 {
	return max(0, c.rate+(aim*c.rate-t.coming(c.rate))/max(budgetSettle, 2*aim))
}

// reason says in a sentence what the slowest replica leaves.
func (b *WALBudget) reason(t *replay, f *flow, rate float64) Reason {
	c := b.replicas[t.name]
	r := Reason{Signal: "replay of " + t.name, Observed: f.wal, Threshold: c.rate}
	switch {
	case c.stalled:
		r.Text = fmt.Sprintf("%s replays next to nothing, with %s in its queue", t.name, bytesText(t.backlog))
	case f.app >= c.rate:
		r.Text = fmt.Sprintf("%s replays %s/s, and the application alone writes %s/s of WAL: %s/s", t.name, bytesText(c.rate),
			bytesText(f.app), rowsText(rate))
	default:
		r.Text = fmt.Sprintf("%s replays %s/s; less the application's %s/s of WAL that is %s/s", t.name, bytesText(c.rate),
			bytesText(f.app), rowsText(rate))
	}
	return r
}
