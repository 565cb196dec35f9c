package coordinator

import (
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// Wanted returns how many slots a database could use now: what its fleet may be scaled to. It is 0 while the database is held, for
// what waits then is no reason to start a worker. Known is false where another coordinator leads, or none.
func (c *Coordinator) Wanted(database string) (slots int, known bool) {
	g := c.governor(database)
	if g == nil {
		return 0, false
	}
	return g.wants(time.Now())
}

// wants is Wanted of a governor; not known where its last decision is old.
func (g *governor) wants(now time.Time) (slots int, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.decided.IsZero() || now.Sub(g.decided) > decisionStale {
		return 0, false
	}
	if g.decision.Hold {
		return 0, true
	}
	return int(g.wanted.Load()), true
}

// want works out how many slots the jobs could use of a decision, whatever number is there: a window's part of the rate is
// taken of the fleet that a job may have, or each worker that leaves would make the part smaller.
func (g *governor) want(now time.Time, d throttle.Decision, active []job.Job, holding map[job.ID][]throttle.Slot, runnable map[job.ID]int, fleet supply) int {
	if d.Hold {
		return 0 // it has no rate
	}
	fleet.slots = mostWorkers(active)
	d.RowsPerSec = d.Whole.RowsPerSec
	var demands []throttle.Demand
	for _, j := range active {
		schedule, err := g.calendars.of(j)
		if t := termsOf(j, schedule, err, now, d, fleet); t.factor > 0 {
			demands = append(demands, throttle.Demand{
				Job: string(j.ID), Weight: j.Limits.Weight, MaxSlots: j.Limits.Workers.Max,
				Runnable: runnable[j.ID], MaxRate: t.most, Holding: holding[j.ID],
			})
		}
	}
	return d.Whole.Wanted(fleet.perSlot, demands)
}

// mostWorkers is the most slots that one of the jobs may have.
func mostWorkers(jobs []job.Job) int {
	most := 0
	for _, j := range jobs {
		most = max(most, j.Limits.Workers.Max)
	}
	return most
}
