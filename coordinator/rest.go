package coordinator

import (
	"context"
	"slices"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

// restEvery is the pace of the loops while no job is at work. Waking up is nearly all that they then cost.
const restEvery = publishEvery

// stir tells loops at rest that there is work again.
type stir struct {
	working bool
	begins  chan struct{} // closed once there is work; nil while there is
}

func (s *stir) set(working bool) {
	switch {
	case working && s.begins != nil:
		close(s.begins)
		s.begins = nil
	case !working && s.begins == nil:
		s.begins = make(chan struct{})
	}
	s.working = working
}

// works reports whether any of the jobs has the loops do something more often than [restEvery].
func works(jobs []job.Job) bool {
	return slices.ContainsFunc(jobs, func(j job.Job) bool { return j.State == job.Planning || j.State.Active() })
}

// rest is how long a loop of an interval waits for its next turn, and what ends that wait early.
func (l *leadership) rest(interval time.Duration) (time.Duration, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stir.working {
		return interval, l.bell
	}
	return max(interval, restEvery), l.stir.begins
}

// ring has every loop take its turn at once: there is something to do that nobody waits for yet, as after the last range of a round.
func (l *leadership) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bell != nil {
		close(l.bell)
	}
	l.bell = make(chan struct{})
	l.rung++
}

// rings counts them.
func (l *leadership) rings() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rung
}

// turns calls fn at once and then after each interval, until ctx ends; while no job is at work less often, and at once when one is, or when
// somebody rings.
func (l *leadership) turns(ctx context.Context, interval time.Duration, fn func(context.Context)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		began := time.Now()
		fn(ctx)
		wait, begins := l.rest(interval)
		timer.Reset(max(wait-time.Since(began), 0))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-begins:
		}
		if ctx.Err() != nil {
			return
		}
	}
}
