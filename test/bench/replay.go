package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/test/harness"
)

// pair returns the cluster that has a standby.
func (b *bench) pair() (_ *harness.Cluster, err error) {
	if b.paired == nil {
		b.paired, err = b.start(harness.WithStandby(1))
	}
	return b.paired, err
}

const (
	// quotaPeriod is one turn of running and standing still. Short beside every threshold of lag, long beside a timer's error.
	quotaPeriod = 40 * time.Millisecond
	quotaLook   = time.Millisecond // the least time between two looks at what was used
)

// replay slows a standby: it stops and continues its startup process, which replays the WAL, so that it gets a share of one core's
// time, as a quota of its control group would. It counts processor time and not the time of day: the fleet that runs on the same
// machine must not slow the replay further. The walreceiver goes on receiving, and readers go on reading, as on a replica whose
// replay is slow.
type replay struct {
	pid  int
	ends func()

	mu      sync.Mutex
	share   float64
	changed chan struct{}
}

// slowable finds the startup process of a standby and lets it run in full until set is called.
func slowable(ctx context.Context, standby *harness.Server) (*replay, error) {
	conn, err := pgx.Connect(ctx, standby.DSN("postgres"))
	if err != nil {
		return nil, err
	}
	r := &replay{share: 1, changed: make(chan struct{})}
	err = conn.QueryRow(ctx, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'").Scan(&r.pid)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return nil, fmt.Errorf("find the startup process of %s: %w", standby.Name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var loop sync.WaitGroup
	loop.Go(func() { r.run(ctx) })
	r.ends = func() { cancel(); loop.Wait() }
	return r, nil
}

// set changes the share of a core that replay gets at once; 1 is without limit.
func (r *replay) set(share float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.share = share
	close(r.changed)
	r.changed = make(chan struct{})
}

// end lets replay run in full and stays out of its way from then on.
func (r *replay) end() { r.ends() }

// run gives each period its quota. What was used beyond it is taken from the next; what was not used is lost.
func (r *replay) run(ctx context.Context) {
	defer r.signal(syscall.SIGCONT)
	for ctx.Err() == nil {
		r.mu.Lock()
		share, changed := r.share, r.changed
		r.mu.Unlock()
		r.signal(syscall.SIGCONT)
		if share >= 1 {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		var debt time.Duration
		for !isClosed(ctx, changed) {
			debt = r.period(ctx, time.Duration(share*float64(quotaPeriod))-debt)
		}
	}
}

// period lets replay run until it has used a quota and stops it for the rest of the period. It returns what was used too much.
func (r *replay) period(ctx context.Context, quota time.Duration) (debt time.Duration) {
	ends, used := time.Now().Add(quotaPeriod), processorTime(r.pid)
	left := quota
	if left > 0 {
		r.signal(syscall.SIGCONT)
		for left > 0 && time.Until(ends) > 0 {
			_ = sleep(ctx, min(max(left, quotaLook), time.Until(ends)))
			left = quota - (processorTime(r.pid) - used)
		}
	}
	if left <= 0 {
		r.signal(syscall.SIGSTOP)
		_ = sleep(ctx, time.Until(ends))
	}
	return max(0, -left)
}

// signal ignores that the process is gone: the trial sees it by other means.
func (r *replay) signal(s syscall.Signal) { _ = syscall.Kill(r.pid, s) }

func isClosed(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return true
	case <-c:
		return true
	default:
		return false
	}
}
