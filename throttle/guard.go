package throttle

import (
	"math"
	"time"
)

const (
	guardStart = 4
	guardCut   = 0.85
	guardGrow  = 0.10
	guardUsed  = 0.8 // of the slots, or of the rate
	guardKeep  = 10 * time.Second
	guardPause = 2 * time.Second  // between two growths: the probe tells of one with the next few samples
	guardScar  = 30 * time.Second // for which the slots stay below what was too many
)

// guard limits how many slots work at once by what the application feels: additive growth and multiplicative cuts on the foreground
// probe. Without a probe it sets no limit. The rate cannot do this: where the primary is the bottleneck, more slots bring no more
// rows but only longer waits for everybody.
type guard struct {
	slots float64 // 0: no probe was ever read
	probe float64 // times idle, smoothed
	at    time.Time

	grown  time.Time // when slots were last added
	scar   float64   // slots that were too many,
	scared time.Time // when they were
}

// step takes the last reading of the probe, the limit over which slots are taken away, and the rate, in rows per second, that the
// fleet may have; +Inf is without limit. A limit of NaN turns the guard off.
func (g *guard) step(s Sample, limit, rate, rows float64) {
	probe, ok := probeOf(s)
	if !ok || math.IsNaN(limit) {
		if math.IsNaN(limit) || s.At.Sub(g.at) > guardKeep {
			g.slots = 0
		}
		return
	}
	if g.slots == 0 {
		g.slots, g.probe = guardStart, probe
	}
	g.at = s.At
	g.probe += 0.5 * (probe - g.probe)
	switch {
	case g.probe > limit:
		if s.At.Sub(g.scared) > guardKeep { // one overload takes several cuts
			g.scar = g.slots
		}
		g.scared = s.At
		g.slots *= guardCut
	case g.probe > (1+limit)/2: // the primary has no more to give
	case float64(s.Active) >= guardUsed*g.slots || rows < guardUsed*rate && !math.IsInf(rate, 1):
		g.grow(s.At)
	}
	if s.RowsPerSlot > 0 && !math.IsInf(rate, 1) {
		g.slots = min(g.slots, 2*(math.Ceil(rate/(slotUse*s.RowsPerSlot))+2))
	}
	if s.Slots > 0 {
		g.slots = min(g.slots, float64(2*s.Slots)) // no more than could ever be used, so that a cut is felt at once
	}
	g.slots = max(1, g.slots)
}

// grow adds slots, but not up to the number that was too many a short while ago.
func (g *guard) grow(now time.Time) {
	if now.Sub(g.grown) < guardPause {
		return
	}
	g.grown = now
	more := g.slots + max(1, guardGrow*g.slots)
	if now.Sub(g.scared) < guardScar {
		more = min(more, max(1, guardCut*g.scar))
	}
	g.slots = max(g.slots, more)
}

func probeOf(s Sample) (float64, bool) {
	for _, r := range s.Signals {
		if r.Signal == SignalProbe && r.Err == nil && !r.At.IsZero() && !math.IsNaN(r.Value) {
			return r.Value, true
		}
	}
	return 0, false
}

// limit is the most slots that may have a lease; 0 is without limit.
func (g *guard) limit() int { return int(g.slots) }
