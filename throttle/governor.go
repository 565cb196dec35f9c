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
	MaxRowsPerSec float64         // of the database; 0: no cap
	MaxWALPerSec  float64         // bytes of WAL that the fleet may write, as far as a row's WAL is known; 0: no cap
	Signals       map[string]Rule // by the name of the signal; one without a rule is not looked at
	Loops         Loops
}

// Loops says which of the governor's loops work. All but [Both] are there to be compared with it.
type Loops int

// The loops.
const (
	Both Loops = iota
	InnerOnly
	OuterOnly
)

const (
	budgetEvery = 500 * time.Millisecond // between two steps of the outer loop
	usedRecent  = 5 * time.Second        // for which a rate that was used is said to be what limits
	waitsFor    = 5 * time.Second        // for which a slot counts as waiting for a lock after it did
)

// Governor is the controller of one database. It is made of
//   - [LagStop], the inner loop, which holds and releases with every sample,
//   - [WALBudget], the outer loop, which sets the rate every half second,
//   - [Pressure], which slows or stops for the other signals,
//   - a guard that limits the slots by the foreground probe, and
//   - the caps of the database.
//
// Feed it a sample every 50 to 100 ms while batches run. Sample.Rows should be a quarter to half a second old and at most one; in older
// counts its idea of a row's WAL, and with it the rate, swings. A sample whose ReadAt has not moved brings nothing new of the
// replicas, and after [LagConfig].Grace it holds.
type Governor struct {
	rules    Rules
	replays  replays
	stop     *LagStop
	budget   *WALBudget
	pressure Pressure
	guard    guard
	flow     *flow
	toll     toll

	measured float64   // bytes of WAL a row, as the last sample has it
	stepped  time.Time // when the outer loop last did
	grant    grant
	granted  float64   // rows per second of the last decision; +Inf: without limit
	used     time.Time // when the fleet last used most of that

	waiting int       // slots that wait for a lock, and have no part in what the fleet does,
	waited  time.Time // when so many did last
}

// NewGovernor returns a governor that has seen no sample.
func NewGovernor(r Rules) *Governor {
	g := &Governor{stop: NewLagStop(r.Lag), budget: newWALBudget(r.Lag), flow: newFlow(), granted: math.Inf(1)}
	g.grant.rate = math.Inf(1)
	g.SetRules(r)
	return g
}

// SetRules changes the rules from the next step on. What was learned stays.
func (g *Governor) SetRules(r Rules) {
	g.rules = r
	g.stop.SetConfig(r.Lag)
	g.budget.SetConfig(r.Lag)
}

// Step implements [Controller].
func (g *Governor) Step(s Sample) Decision {
	g.replays.step(s)
	g.flow.note(s)
	g.wait(s)
	if dt := s.At.Sub(g.stepped); dt >= budgetEvery || g.stepped.IsZero() {
		g.outer(s, dt)
	}
	var d Decision
	if g.rules.Loops != OuterOnly {
		d.Reasons = g.stop.judge(s, &g.replays)
	}
	factor, hard, scale, pressed := g.pressure.Step(s.At, g.rules.Signals, s.Signals)
	d.Hold = hard || len(d.Reasons) > 0
	d.BatchScale = scale

	rate, reason := g.rate()
	if factor < 1 {
		d.Whole.Part = factor
	}
	if !math.IsInf(rate, 1) {
		d.Whole.RowsPerSec = rate
	}
	beside := slices.ContainsFunc(pressed, func(r Reason) bool { return r.Signal == SignalForeground })
	rate = g.press(&d, s, rate, factor, beside)
	if half := halfOf(s.Cores); beside && s.Cores > 0 && d.Slots > 0 && d.Slots <= half+g.waiting && d.Slots < s.Slots {
		pressed = append(pressed, Reason{Signal: "slots", Observed: float64(half), Threshold: float64(s.Slots),
			Text: fmt.Sprintf("%d of %d slots may work: at most half of the server's %d cores beside an application", min(half, d.Slots), s.Slots, s.Cores)})
	} else if few := g.guard.limit(); few > 0 && few < s.Slots && d.Slots == few {
		pressed = append(pressed, Reason{Signal: "slots", Observed: float64(few), Threshold: float64(s.Slots),
			Text: fmt.Sprintf("%d of %d slots may work: as many as the foreground probe bears", few, s.Slots)})
	}
	d.Reasons = order(d.Reasons, pressed, reason, s.At.Sub(g.used) <= usedRecent || g.grant.slots > 0)
	switch {
	case math.IsInf(rate, 1):
	case rate > 0:
		d.RowsPerSec = rate
	default:
		d.Hold = true
	}
	g.granted = rate
	return d
}

// WALPerRow is what one row of the fleet's costs in bytes of WAL, rather too much than too little; an assumption at first.
func (g *Governor) WALPerRow() float64 {
	switch {
	case g.measured > 0 && !math.IsInf(g.measured, 1):
		return g.measured
	case g.toll.perRow > 0:
		return g.toll.perRow
	}
	return g.flow.careful()
}

// outer steps what acts every half second.
func (g *Governor) outer(s Sample, dt time.Duration) {
	if g.stepped.IsZero() {
		dt = budgetEvery
	}
	g.stepped, g.measured = s.At, s.WALPerRow
	g.flow.expect(s.WALForecast)
	g.flow.step(&g.replays.wal, s.WALPerRow, dt.Seconds())
	if len(g.replays.wal.points) > 0 {
		g.toll.step(s.At, s.Rows, g.replays.wal.at(g.replays.wal.last().Add(-flowAge)))
	}
	if g.flow.rows >= budgetUsed*g.granted {
		g.used = s.At
	}
	if g.rules.Loops != InnerOnly {
		g.grant = g.budget.step(s, &g.replays, g.flow, dt.Seconds())
	}
	rate, _ := g.rate()
	limit := math.NaN()
	if rule, ok := g.rules.Signals[SignalProbe]; ok {
		limit = rule.Soft
	}
	g.guard.step(s, limit, rate, g.flow.rows)
}

// rate is the least of what the replicas and the caps allow, and what it is that allows no more.
func (g *Governor) rate() (float64, Reason) {
	rate, reason := g.grant.rate, g.grant.reason
	perRow := g.WALPerRow()
	if most := g.rules.MaxWALPerSec / perRow; g.rules.MaxWALPerSec > 0 && most < rate {
		rate = most
		reason = Reason{
			Signal: "WAL cap", Observed: g.flow.rows * perRow, Threshold: g.rules.MaxWALPerSec,
			Text: fmt.Sprintf("capped at %s/s of WAL, as max_wal_bytes_per_second of the database, which is %s/s at %s a row",
				bytesText(g.rules.MaxWALPerSec), rowsText(most), bytesText(perRow)),
		}
	}
	if most := g.rules.MaxRowsPerSec; most > 0 && most < rate {
		rate = most
		reason = Reason{Signal: "row cap", Observed: g.flow.rows, Threshold: most,
			Text: fmt.Sprintf("capped at %s/s, as max_rows_per_second of the database", rowsText(most))}
	}
	return rate, reason
}

// halfOf is how many slots may work beside an application.
func halfOf(cores int) int { return max(1, cores/2) }

// wait follows how many slots wait for a lock. A slot comes and goes between two tries, so the most of a while counts.
func (g *Governor) wait(s Sample) {
	if s.Waiting >= g.waiting || s.At.Sub(g.waited) > waitsFor {
		g.waiting, g.waited = s.Waiting, s.At
	}
}

// press takes the guard, half of the cores beside an application, and the pressure's factor into account. A factor counts for the
// slots too, and for what they could write at most: a part of a rate that nobody reaches would slow nobody. Slots that wait for a lock
// use nothing, so as many others may work: one row that somebody has locked must not stop a job.
func (g *Governor) press(d *Decision, s Sample, rate, factor float64, beside bool) float64 {
	d.Slots = g.guard.limit()
	if half := halfOf(s.Cores); beside && s.Cores > 0 && (d.Slots == 0 || half < d.Slots) {
		d.Slots = half
	}
	d.Whole.Slots = d.Slots
	if g.grant.slots > 0 && (d.Slots == 0 || g.grant.slots < d.Slots) {
		d.Whole.Slots = g.grant.slots
	}
	if factor < 1 {
		slots := s.Slots
		if d.Slots > 0 {
			slots = min(slots, d.Slots)
		}
		if slots > 0 {
			d.Slots = max(1, int(math.Ceil(factor*float64(slots))))
			if s.RowsPerSlot > 0 { // the rate is shared by those that wait as well
				rate = min(rate, float64(slots)*s.RowsPerSlot*float64(d.Slots+g.waiting)/float64(d.Slots))
			}
		}
		rate *= max(factor, math.SmallestNonzeroFloat64) // 0 comes with a hold
	}
	if g.grant.slots > 0 && (d.Slots == 0 || g.grant.slots < d.Slots) {
		d.Slots = g.grant.slots
	}
	if d.Slots > 0 {
		d.Slots = max(d.Slots, min(d.Slots+g.waiting, s.Slots))
	}
	return rate
}

// order puts the reasons in the order in which they bind: what holds, what presses, what limits the rate if it is used, and last
// those without effect.
func order(holds, pressed []Reason, rate Reason, used bool) []Reason {
	var stops, slows, idles []Reason
	for _, r := range pressed {
		switch {
		case r.Hard:
			stops = append(stops, r)
		case r.Blind:
			idles = append(idles, r)
		default:
			slows = append(slows, r)
		}
	}
	all := slices.Concat(holds, stops, slows)
	if used && rate.Text != "" {
		all = append(all, rate)
	}
	return append(all, idles...)
}
