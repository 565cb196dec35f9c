package throttle

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Rules is what a database's governor obeys.
type Rules struct {
	Lag           LagConfig
	MaxRowsPerSec float64 // of the database; 0: no cap
	MaxWALPerSec  float64 // bytes of WAL that the fleet may write; 0: no cap
	Signals       map[string]Rule
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

const freeFade = 30.0 // seconds in which the memory of the rate without pressure fades

// Governor is the controller of one database. It is made of
//   - [LagStop], the inner loop, which holds and releases with every sample,
//   - [WALBudget], the outer loop, which sets the rate every half second,
//   - [Pressure], what the other signals leave of that rate,
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
	press   Pressure
	replays replays

	stepped time.Time
	grant   grant
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
	factor, hard, scale, pressed := g.press.Step(s.At, g.rules.Signals, s.Signals)
	if dt := s.At.Sub(g.stepped).Seconds(); g.stepped.IsZero() || dt >= budgetEvery {
		g.outer(s, dt)
		g.remember(factor, dt)
		g.stepped = s.At
	}
	d.Hold, d.BatchScale = d.Hold || hard, scale
	g.limit(&d, s, factor, pressed)
	return d
}

// WALPerRow is what the fleet's rows cost lately, in bytes of WAL; an assumption before anything was seen.
func (g *Governor) WALPerRow() float64 { return g.flow.perRow }

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
	limit := None()
	if rule, on := g.rules.Signals[SignalProbe]; on {
		limit = rule.Soft
	}
	rate, _ := g.rate()
	g.guard.step(s, limit, rate, g.flow.rows)
}

// remember follows what the fleet writes where nothing presses: what a part is taken of where no rate is set.
func (g *Governor) remember(factor, dt float64) {
	g.free *= math.Exp(-max(0, dt) / freeFade)
	if factor >= 1 {
		g.free = max(g.free, g.flow.rows)
	}
}

// rate is the least of what replicas and caps allow, in rows per second, and why it is not more. It is infinite where nothing limits it.
func (g *Governor) rate() (rate float64, why Reason) {
	rate, why = g.grant.rate, g.grant.reason
	if most := g.rules.MaxRowsPerSec; most > 0 && most < rate {
		rate = most
		why = Reason{Signal: "database cap", Observed: g.flow.rows, Threshold: most, Text: fmt.Sprintf("max_rows_per_second of the database: %s/s", rowsText(most))}
	}
	if most := g.rules.MaxWALPerSec; most > 0 && most/g.flow.perRow < rate {
		rate = most / g.flow.perRow
		why = Reason{Signal: "database cap", Observed: g.flow.rows * g.flow.perRow, Threshold: most,
			Text: fmt.Sprintf("max_wal_bytes_per_second of the database: %s/s, which is %s/s", bytesText(most), rowsText(rate))}
	}
	return rate, why
}

// limit puts rate and slots into the decision, and why they are not more: what holds first, then what presses, then the rest.
func (g *Governor) limit(d *Decision, s Sample, factor float64, pressed []Reason) {
	d.Slots = g.guard.limit()
	if g.grant.slots > 0 && (d.Slots == 0 || g.grant.slots < d.Slots) {
		d.Slots = g.grant.slots
	}
	rate, why := g.rate()
	if factor < 1 && math.IsInf(rate, 1) {
		rate = max(trickleRows, g.free)
	}
	rate *= factor
	switch {
	case math.IsInf(rate, 1):
	case rate > 0:
		d.RowsPerSec = rate
	default:
		d.Hold = true
	}
	firm := slices.IndexFunc(pressed, idle)
	if firm < 0 {
		firm = len(pressed)
	}
	if slices.ContainsFunc(pressed, func(r Reason) bool { return r.Hard }) { // worse than a lag that passes
		d.Reasons = append(slices.Clone(pressed[:firm]), d.Reasons...)
	} else {
		d.Reasons = append(d.Reasons, pressed[:firm]...)
	}
	if why.Text != "" {
		d.Reasons = append(d.Reasons, why)
	}
	if d.Slots > 0 && d.Slots < s.Slots && g.grant.slots == 0 {
		d.Reasons = append(d.Reasons, Reason{Signal: "slots", Observed: float64(d.Slots), Threshold: float64(s.Slots),
			Text: fmt.Sprintf("%d of %d slots may work: as many as the foreground probe bears", d.Slots, s.Slots)})
	}
	d.Reasons = append(d.Reasons, pressed[firm:]...)
}
