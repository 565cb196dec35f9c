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

// dutyPeriod is one turn of running and standing still. Short beside every threshold of lag, long beside a timer's error.
const dutyPeriod = 40 * time.Millisecond

// replay slows a standby: it stops and continues its startup process, which replays the WAL, so that it runs for a share of the
// time. The walreceiver goes on receiving, and readers go on reading, as on a replica whose replay is slow.
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

// set changes the share of the time that replay runs, up to 1, at once.
func (r *replay) set(share float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.share = share
	close(r.changed)
	r.changed = make(chan struct{})
}

// end lets replay run in full and stays out of its way from then on.
func (r *replay) end() { r.ends() }

// run keeps account of the time that replay ran since the share was set: what a late timer gave, the next turn takes back.
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
		began, ran := time.Now(), time.Duration(0)
		for turn := 1; !isClosed(ctx, changed); turn++ {
			due := time.Duration(turn) * dutyPeriod
			if on := time.Duration(share*float64(due)) - ran; on > 0 {
				from := time.Now()
				r.signal(syscall.SIGCONT)
				_ = sleep(ctx, on)
				r.signal(syscall.SIGSTOP)
				ran += time.Since(from)
			}
			_ = sleep(ctx, due-time.Since(began))
		}
	}
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
