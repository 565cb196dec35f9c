package coordinator

import (
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// note keeps a decision, and what it was made from, for those who ask.
func (g *governor) note(now time.Time, sample throttle.Sample, decision throttle.Decision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sample, g.decision, g.decided = sample, decision, now
	switch {
	case !decision.Hold:
		g.heldSince = time.Time{}
	case g.heldSince.IsZero():
		g.heldSince = now
	}
}

// fleet is what is known of the database's fleet, but for the workers.
func (g *governor) fleet() job.Fleet {
	g.mu.Lock()
	defer g.mu.Unlock()
	return job.Fleet{Epoch: g.ledger.Epoch, HeldSince: g.heldSince, Read: later(g.sample.ReadAt, g.began), Stream: g.care.view()}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
