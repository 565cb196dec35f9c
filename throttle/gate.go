package throttle

import (
	"sync"
	"time"
)

// Gate is a worker's view of one database's budgets: whether a batch may start at all. It is closed until the first budget.
//
// Freshness is counted from the receipt of a budget by the worker's own clock; a budget that was delayed on its way counts
// as new, and the next higher one replaces it. It is safe for concurrent use.
type Gate struct {
	stale time.Duration

	mu         sync.Mutex
	seen       bool
	epoch, seq int64
	hold       bool
	at         time.Time
}

// NewGate returns a closed gate. A budget is fresh for less than stale.
func NewGate(stale time.Duration) *Gate { return &Gate{stale: stale} }

// Accept takes a budget that was received at the given time, and reports whether it is newer than all before: a higher epoch,
// or the same epoch and a higher seq. One that is not newer changes nothing and does not count as a sign of life.
func (g *Gate) Accept(epoch, seq int64, hold bool, at time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen && (epoch < g.epoch || epoch == g.epoch && seq <= g.seq) {
		return false
	}
	g.seen, g.epoch, g.seq, g.hold, g.at = true, epoch, seq, hold, at
	return true
}

// Fresh reports whether the last accepted budget is young enough to act on.
func (g *Gate) Fresh(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fresh(now)
}

// Heard returns when the last budget was accepted; zero before the first.
func (g *Gate) Heard() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at
}

// Hold reports whether the last accepted budget stops every batch; true before the first.
func (g *Gate) Hold() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.seen || g.hold
}

// Open reports whether a batch may start: the last budget is fresh and does not hold.
func (g *Gate) Open(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fresh(now) && !g.hold
}

func (g *Gate) fresh(now time.Time) bool { return g.seen && now.Sub(g.at) < g.stale }
