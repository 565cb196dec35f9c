package throttle

import (
	"math"
	"time"
)

const (
	tollWindow = 5 * time.Second // batches and what workers tell of them are coarse against a second, not against this
	tollMemory = 24              // windows that are compared
	tollSpread = 0.4             // by how much their rates must differ, in parts of the highest, to tell the application from the fleet
	tollFall   = 0.85            // of the last estimate, that the next one is at least: what it allows too much shows in a window
)

// toll is what a row of the fleet's costs in WAL, for a cap that shall hold. [flow] answers faster, but each of its counts is
// blurred, and a regression over blurred counts books more and more on the application; a cap divided by such an estimate runs away,
// for more rows make the blur worse. So toll compares long windows, believes in an application's part only where windows of
// different rates show it, and takes all WAL for the fleet's otherwise. That may be far too much: the rate then falls, which is
// the difference that tells the two apart.
type toll struct {
	perRow float64 // bytes; 0: not known yet
	from   tollMark
	seen   []tollPoint
}

type tollMark struct {
	at        time.Time
	rows, wal float64
}

// tollPoint is one window.
type tollPoint struct{ rows, wal float64 } // per second

// step takes counts of the same moment. A count that falls is of another history.
func (t *toll) step(at time.Time, rows, wal float64) {
	now := tollMark{at, rows, wal}
	if t.from.at.IsZero() || rows < t.from.rows || wal < t.from.wal || at.Before(t.from.at) {
		t.from = now
		return
	}
	span := at.Sub(t.from.at)
	if span < tollWindow {
		return
	}
	p := tollPoint{(rows - t.from.rows) / span.Seconds(), (wal - t.from.wal) / span.Seconds()}
	t.from = now
	if span > 2*tollWindow { // nobody looked for a while
		return
	}
	if t.seen = append(t.seen, p); len(t.seen) > tollMemory {
		t.seen = t.seen[1:]
	}
	if p.rows < 1 {
		return // it shows the application's part alone
	}
	next := max(flowMinimum, (p.wal-t.application())/p.rows)
	t.perRow = max(next, tollFall*t.perRow)
}

// application is the WAL per second that is not the fleet's: where the line through the windows meets no rows, less its standard
// error, and never more than the quietest window had. 0 where their rates are too much alike.
func (t *toll) application() float64 {
	n := float64(len(t.seen))
	lo, hi, least := math.Inf(1), 0.0, math.Inf(1)
	var rows, wal float64
	for _, p := range t.seen {
		lo, hi, least = min(lo, p.rows), max(hi, p.rows), min(least, p.wal)
		rows, wal = rows+p.rows/n, wal+p.wal/n
	}
	if n < 3 || hi-lo < tollSpread*hi {
		return 0
	}
	var xx, xy float64
	for _, p := range t.seen {
		xx += sq(p.rows - rows)
		xy += (p.rows - rows) * (p.wal - wal)
	}
	slope := max(0, xy/xx)
	at0 := wal - slope*rows
	var off float64
	for _, p := range t.seen {
		off += sq(p.wal - at0 - slope*p.rows)
	}
	deviation := math.Sqrt(off / (n - 2) * (1/n + sq(rows)/xx))
	return min(max(0, at0-deviation), least)
}
