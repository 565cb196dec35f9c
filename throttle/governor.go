package throttle

import (
	"math"
	"time"
)

// Rules is what a database's governor obeys.
type Rules struct {
	Lag           LagConfig
	MaxRowsPerSec float64 // of the database; 0: no cap
	MaxWALPerSec  float64 // bytes of WAL that the fleet may write; 0: no cap
	Loops         Loops
}

// Loops says which of the governor's loops are at work; the others are there to be compared with.
type Loops int

// The loops.
const (
	Both Loops = iota
	InnerOnly
	OuterOnly
)

const (
	signalProbe = "probe"
	probeLimit  = 1.3
	freeFade    = 30.0 // seconds in which the memory of the rate without pressure fades
)

// Governor is the controller of one database. It is made of
//   - [LagStop], the inner loop, which holds and releases with every sample,
//   - [WALBudget], the outer loop, which sets the rate every half second,
//   - a guard of the slots by the foreground probe, and
//   - the caps of the database.
//
// Feed it a sample every 50 to 100 ms while batches run. Positions are only used as of ReadAt, so a sample with an old reading is
// harmless until [LagConfig].Grace ends its credit. Rows must count what was written up to a second ago at most.
type Governor struct {
	rules   Rules
	stop    *LagStop
	budget  *WALBudget
	guard   guard
	flow    *flow
	replays replays

	stepped time.Time
	grant   grant
	held    bool    // the last decision held the fleet
	free    float64 // rows per second without pressure, lately
}

// NewGovernor returns a governor that has seen no sample.
func NewGovernor(r Rules) *Governor {
	g := &Governor{stop: NewLagStop(r.Lag), budget: newWALBudget(r.Lag.withDefaults()), flow: newFlow()}
	g.grant.rate = math.Inf(1)
	g.SetRules(r)
	return g
}

// SetRules changes the rules from the next step on. What was learned stays.
func (g *Governor) SetRules(r Rules) {
	g.rules = r
	g.stop.SetConfig(r.Lag)
	g.budget.cfg = r.Lag.withDefaults()
}

// Step implements [Controller].
func (g *Governor) Step(s Sample) Decision {
	g.replays.step(s)
	g.flow.note(s)
	d := Decision{}
	if g.rules.Loops != OuterOnly {
		d.Reasons = g.stop.judge(s, &g.replays)
		d.Hold = len(d.Reasons) > 0
	}
	if dt := s.At.Sub(g.stepped).Seconds(); g.stepped.IsZero() || dt >= budgetEvery {
		g.outer(s, dt)
		g.stepped = s.At
	}
	g.limit(&d, s)
	g.held = d.Hold
	return d
}

// outer steps what acts every half second.
func (g *Governor) outer(s Sample, dt float64) {
	if g.stepped.IsZero() {
		dt = budgetEvery
	}
	g.flow.step(&g.replays.wal, s.WALPerRow, dt)
	if g.rules.Loops != InnerOnly {
		policies := map[string]Policy{}
		for _, m := range s.Members {
			policies[m.Name] = m.Policy
		}
		g.grant = g.budget.step(&g.replays, policies, g.flow, dt)
	}
	rate, _ := g.rate()
	g.guard.step(s, probeLimit, rate, g.flow.rows)
}

// rate is the least of what replicas and caps allow, and why it is not more.
func (g *Governor) rate() (float64, []Reason) {
	return g.grant.rate, nil
}

// limit puts rate and slots into the decision.
func (g *Governor) limit(d *Decision, s Sample) {
	rate, _ := g.rate()
	if g.grant.rate < math.Inf(1) && !d.Hold {
		d.Reasons = append(d.Reasons, g.grant.reason)
	}
	d.Slots = g.guard.limit()
	if g.grant.slots > 0 && (d.Slots == 0 || g.grant.slots < d.Slots) {
		d.Slots = g.grant.slots
	}
	switch {
	case math.IsInf(rate, 1):
	case rate > 0:
		d.RowsPerSec = rate
	default:
		d.Hold = true
	}
}
