package main

import "math"

// reference is what a scenario is measured against.
type reference struct {
	idle   []float64 // lag in each tick without any backfill
	oracle []float64 // rows in each tick of an oracle
	lag    []float64 // lag under the oracle
}

// refer runs the scenario twice: without backfill, and under an oracle that knows every course, acts without delay, and keeps a
// queue of aim seconds on the replica that is furthest behind. Its batches cost what those of the fleet do.
func refer(s Scenario, o Options) reference {
	aim, batch := o.Aim, o.Batch.Seconds()
	var r reference
	idle, best := newPlant(s), newPlant(s)
	for range s.ticks() {
		t := idle.Now()
		fg := s.Foreground(t) * tickSeconds
		idle.Step(fg)
		r.idle = append(r.idle, idle.Lag())

		perRow := s.WALPerRow(t)
		room := math.Inf(1)
		for _, b := range best.replicas {
			replayed := b.pos[len(b.pos)-1] + b.Capacity(t)*tickSeconds
			room = min(room, replayed+(b.Delay+aim)*b.Capacity(t)-best.wal[len(best.wal)-1]-fg)
		}
		able := min(s.Primary, float64(s.present(t))*s.PerWorker) / s.RowCost(t) * tickSeconds * batch / (batch + batchOverhead)
		rows := max(0, min(able, room/perRow))
		best.Step(fg + rows*perRow)
		r.oracle = append(r.oracle, rows)
		r.lag = append(r.lag, best.Lag())
	}
	return r
}
