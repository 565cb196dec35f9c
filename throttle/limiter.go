package throttle

import (
	"context"
	"math"
	"sync"
	"time"
)

const (
	limiterBurst = 500 * time.Millisecond // of the rate, saved while idle
	limiterCap   = 250 * time.Millisecond // of the rate, in one batch
	limiterWait  = time.Hour              // longest single debt; the rate changes long before
)

// Limiter holds one slot to its rate in rows written per second. A batch may start when no debt is left and is charged
// afterwards with what it really wrote, so batches keep their full size at any rate.
//
// Over any window of w seconds at a constant rate, at most rate × (w + 0.75) rows and one row more are charged, as long as
// no batch writes more than was reserved for it: half a second may be saved up and the last batch may be in debt by a
// quarter of one. It is safe for concurrent use, but reservations are not remembered: one slot owns one Limiter.
type Limiter struct {
	now     func() time.Time
	stagger float64

	mu      sync.Mutex
	rate    float64       // rows/s; 0 is without limit
	next    time.Time     // when the next batch may start; up to limiterBurst in the past
	changed chan struct{} // closed when the rate changes
}

// NewLimiter returns a limiter without limit. Stagger, in [0, 1), delays the first batch after a limit is set by that part of
// half a second; give each slot a random one, so that a fleet whose rates are set at once does not start in step.
func NewLimiter(now func() time.Time, stagger float64) *Limiter {
	return &Limiter{now: now, stagger: min(max(stagger, 0), 1), changed: make(chan struct{})}
}

// SetRate changes the rate in rows per second; 0 is without limit. A negative rate, or one that is not a number, lets nothing
// through: it can only come from a fault, and a fault must not free the fleet.
//
// What was saved or owed is kept in the stricter of the two ways: as time when the rate falls, as rows when it rises.
func (l *Limiter) SetRate(rate float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if math.IsInf(rate, 1) {
		rate = 0
	}
	if rate == l.rate {
		return
	}
	now := l.now()
	if l.rate > 0 && rate > 0 {
		l.settle(now)
		owed := float64(l.next.Sub(now)) * min(1, l.rate/rate)
		l.next = now.Add(time.Duration(owed))
	} else {
		l.next = now.Add(time.Duration(l.stagger * float64(limiterBurst)))
	}
	l.rate = rate
	close(l.changed)
	l.changed = make(chan struct{})
}

// Reserve says how many rows, up to maxRows, a batch may write if it starts now; or, with 0 rows, how long to wait before
// asking again. At most a quarter of a second of the rate is given, and never less than one row.
func (l *Limiter) Reserve(maxRows int) (rows int, wait time.Duration) {
	rows, wait, _ = l.reserve(maxRows)
	return rows, wait
}

// Charge takes the rows that a batch wrote. It may leave a debt that later batches wait for. Rows below 1 cost nothing.
func (l *Limiter) Charge(rows int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rows <= 0 || !(l.rate > 0) {
		return
	}
	l.settle(l.now())
	cost := math.Ceil(float64(rows) / l.rate * float64(time.Second))
	l.next = l.next.Add(time.Duration(min(cost, float64(limiterWait))))
}

// Wait blocks until a batch may start and returns its rows, as [Limiter.Reserve] does. It wakes when the rate changes. It
// fails only with ctx's error.
func (l *Limiter) Wait(ctx context.Context, maxRows int) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		rows, wait, changed := l.reserve(maxRows)
		if wait <= 0 {
			return rows, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (l *Limiter) reserve(maxRows int) (rows int, wait time.Duration, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case maxRows <= 0:
		return 0, 0, l.changed
	case l.rate == 0:
		return maxRows, 0, l.changed
	case !(l.rate > 0):
		return 0, limiterCap, l.changed
	}
	if wait := l.next.Sub(l.now()); wait > 0 {
		return 0, wait, l.changed
	}
	most := max(1, l.rate*limiterCap.Seconds())
	if most < float64(maxRows) {
		maxRows = int(most)
	}
	return maxRows, 0, l.changed
}

// Forfeit forgets what was saved. Call it when a hold ends: whoever was held was not idle, and a fleet that wrote at once what it could not
// write meanwhile would bring about the next hold.
func (l *Limiter) Forfeit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); l.next.Before(now) {
		l.next = now
	}
}

// settle forgets what was saved beyond the burst.
func (l *Limiter) settle(now time.Time) {
	if saved := now.Add(-limiterBurst); l.next.Before(saved) {
		l.next = saved
	}
}
