package signals

import (
	"math"
	"slices"
	"time"
)

const (
	probeSpan     = 5 * time.Second  // what one p95 is taken over
	probeMemory   = 15 * time.Minute // what the baseline is taken over
	probeFewest   = 5                // samples for a p95, and quiet p95s for a baseline of their own
	probeQuantile = 0.95
	idleQuantile  = 0.1
	// A pad is added to both sides of the ratio. Where a request takes a millisecond, a ratio alone would fire on the noise of the
	// clock: beside an application, 1.3 needs 2.5 ms more than idle, and 5 needs 32 ms; alone on the server, 30 ms and 400 ms.
	padStrict = 8 * time.Millisecond
	padAlone  = 100 * time.Millisecond
)

// latencies is the memory of the foreground probe: what requests took lately, and what they take while no batch runs.
//
// The value is p95 of the last 5 s over a baseline, which is the lowest decile of such p95s in the last 15 minutes: of those that
// saw no batch run or, while there are too few of them, of all.
type latencies struct {
	samples []latency // the last 5 s
	past    []latency // p95s of the last 15 minutes, one a second at most
}

// latency is one request or one p95. Quiet says that no batch ran.
type latency struct {
	at    time.Time
	took  time.Duration
	quiet bool
}

func (l *latencies) add(at time.Time, took time.Duration, quiet bool) {
	l.samples = append(recent(l.samples, at, probeSpan), latency{at, took, quiet})
	if len(l.samples) < probeFewest || len(l.past) > 0 && at.Sub(l.past[len(l.past)-1].at) < time.Second {
		return
	}
	busy := slices.ContainsFunc(l.samples, func(s latency) bool { return !s.quiet })
	l.past = append(recent(l.past, at, probeMemory), latency{at, quantile(l.samples, probeQuantile), !busy})
}

// settle takes what requests took, one after the other, before the first batch: it counts as a baseline by itself.
func (l *latencies) settle(at time.Time, took []time.Duration) {
	all := make([]latency, len(took))
	for i, t := range took {
		all[i] = latency{at, t, true}
	}
	for range probeFewest {
		l.past = append(l.past, latency{at, quantile(all, probeQuantile), true})
	}
}

// ratio is the value of the signal; ok is false while there are too few samples.
func (l *latencies) ratio(at time.Time, pad time.Duration) (ratio float64, p95, idle time.Duration, ok bool) {
	l.samples = recent(l.samples, at, probeSpan)
	if len(l.samples) < probeFewest || len(l.past) == 0 {
		return 0, 0, 0, false
	}
	p95 = quantile(l.samples, probeQuantile)
	calm := slices.DeleteFunc(slices.Clone(l.past), func(p latency) bool { return !p.quiet })
	if len(calm) < probeFewest {
		calm = l.past
	}
	idle = quantile(calm, idleQuantile)
	return float64(p95+pad) / float64(idle+pad), p95, idle, true
}

func recent(all []latency, at time.Time, span time.Duration) []latency {
	first := slices.IndexFunc(all, func(l latency) bool { return at.Sub(l.at) <= span })
	if first < 0 {
		return nil
	}
	return all[first:]
}

// quantile is the smallest latency that a share q of all do not exceed.
func quantile(all []latency, q float64) time.Duration {
	took := make([]time.Duration, len(all))
	for i, l := range all {
		took[i] = l.took
	}
	slices.Sort(took)
	return took[max(0, int(math.Ceil(q*float64(len(took))))-1)]
}
