package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// The peers' throttle, as gh-ost, pt-osc and freno have it: once a second somebody looks at the lag, and the workers stop or go.
const (
	stopGoWorkers = 4
	stopGoRows    = 1_000 // a batch
	stopGoRange   = 50    // batches that a worker does before it takes other rows
	stopGoPoll    = time.Second
)

// startStopGo runs the peer in its kindest form: by key, without a search, at Backfleet's own commit level, and with a lag that is
// the truth of the moment.
func startStopGo(ctx context.Context, t *trial) (func() error, error) {
	ctx, cancel := context.WithCancel(ctx)
	var crew sync.WaitGroup
	var stopped atomic.Bool
	var next atomic.Int64
	crew.Go(func() {
		_ = each(ctx, stopGoPoll, func() error {
			stopped.Store(t.truth.now() > lagGoal)
			return nil
		})
	})
	failed := make([]error, stopGoWorkers)
	for n := range failed {
		crew.Go(func() { failed[n] = t.stopAndGo(ctx, &stopped, &next) })
	}
	return func() error {
		cancel()
		crew.Wait()
		return firstOf(failed)
	}, nil
}

func (t *trial) stopAndGo(ctx context.Context, stopped *atomic.Bool, next *atomic.Int64) error {
	err := t.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		if _, err := conn.Exec(ctx, "SET synchronous_commit = off"); err != nil {
			return err
		}
		const span = stopGoRows * stopGoRange
		for lo := int(next.Add(span)) - span; lo < t.table.rows; lo = int(next.Add(span)) - span {
			for at := lo + 1; at <= lo+span; at += stopGoRows {
				for stopped.Load() {
					if err := sleep(ctx, 10*time.Millisecond); err != nil {
						return err
					}
				}
				tag, err := conn.Exec(ctx, "UPDATE users SET email_norm = "+set+" WHERE id >= $1 AND id < $2", at, at+stopGoRows)
				if err != nil {
					return err
				}
				t.scripted.Add(tag.RowsAffected())
			}
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end of the profile ends the peer, and that is no failure
	}
	return err
}

func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// lagFleet is one worker process with as many slots as the peer has sessions, under the product's defaults. loops chooses the
// governor's loops where the coordinator is told to run only one.
func lagFleet(name, loops string) contender {
	return contender{name, func(ctx context.Context, t *trial) (func() error, error) {
		if loops != "" {
			t.environ = []string{"BACKFLEET_GOVERNOR_LOOPS=" + loops}
		}
		if _, err := t.coordinate(); err != nil {
			return nil, err
		}
		if _, err := t.work("worker1", stopGoWorkers); err != nil {
			return nil, err
		}
		if err := t.submitAll("late_rows: ignore\n" + alone); err != nil {
			return nil, err
		}
		err := t.awaitFirstBatch(ctx)
		return func() error { return t.command(t.dsn(), "cancel", t.name) }, err
	}}
}
