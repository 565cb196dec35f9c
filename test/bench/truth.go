package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/test/harness"
)

const (
	beatEvery = 20 * time.Millisecond
	beatTable = `CREATE TABLE IF NOT EXISTS beat (id int PRIMARY KEY, at bigint NOT NULL) WITH (fillfactor = 10);
		INSERT INTO beat VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET at = 0`
)

// truth measures a standby's lag without Backfleet: a heartbeat that commits synchronously on the primary every 20 ms, and its
// value as a reader of the standby sees it, every 20 ms. Both times are of this process, so there is one clock. On an idle pair it
// reads up to two beats too high, for every contender alike.
type truth struct {
	began   time.Time
	ends    func() error
	written atomic.Int64 // the primary's WAL position with the last beat

	mu   sync.Mutex
	seen []reading
}

// reading is what one look at the standby showed.
type reading struct {
	at     time.Duration // since the truth began
	lag    time.Duration
	behind int64 // bytes of WAL written and not replayed
}

// watch begins to measure.
func watch(ctx context.Context, c *harness.Cluster) (_ *truth, err error) {
	primary, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return nil, err
	}
	standby, err := pgx.Connect(ctx, c.ReplicaDSN(0, "postgres"))
	if err != nil {
		return nil, errors.Join(err, primary.Close(ctx))
	}
	if _, err = primary.Exec(ctx, beatTable); err == nil {
		err = c.WaitReplayed()
	}
	if err != nil {
		return nil, errors.Join(err, primary.Close(ctx), standby.Close(ctx))
	}
	t := &truth{began: time.Now()}
	ctx, cancel := context.WithCancel(ctx)
	var loops sync.WaitGroup
	var failed [2]error
	loops.Go(func() { failed[0] = each(ctx, beatEvery, func() error { return t.beat(ctx, primary) }) })
	loops.Go(func() { failed[1] = each(ctx, beatEvery, func() error { return t.look(ctx, standby) }) })
	t.ends = sync.OnceValue(func() error {
		cancel()
		loops.Wait()
		ctx := context.WithoutCancel(ctx)
		return errors.Join(failed[0], failed[1], primary.Close(ctx), standby.Close(ctx))
	})
	return t, nil
}

// end stops measuring and says what went wrong meanwhile.
func (t *truth) end() error { return t.ends() }

func (t *truth) beat(ctx context.Context, primary *pgx.Conn) error {
	var pos int64
	err := primary.QueryRow(ctx, "UPDATE beat SET at = $1 WHERE id = 1 RETURNING pg_current_wal_lsn() - '0/0'::pg_lsn",
		int64(time.Since(t.began))).Scan(&pos)
	t.written.Store(pos)
	return err
}

func (t *truth) look(ctx context.Context, standby *pgx.Conn) error {
	var beat, pos int64
	err := standby.QueryRow(ctx, "SELECT at, pg_last_wal_replay_lsn() - '0/0'::pg_lsn FROM beat WHERE id = 1").Scan(&beat, &pos)
	now := time.Since(t.began)
	if err != nil || beat == 0 {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, reading{now, now - time.Duration(beat), max(0, t.written.Load()-pos)})
	return nil
}

// now is the last reading's lag, with what has passed since.
func (t *truth) now() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.seen) == 0 {
		return 0
	}
	last := t.seen[len(t.seen)-1]
	return last.lag + time.Since(t.began) - last.at
}

// between returns the readings of a part of the time.
func (t *truth) between(from, to time.Duration) []reading {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(t.seen), func(r reading) bool { return r.at < from || r.at >= to })
}

// within is the share of the time, in percent, that the lag was at most so long. A reading stands for the time since the one before.
func within(seen []reading, most time.Duration) float64 {
	var in, all time.Duration
	for i := 1; i < len(seen); i++ {
		passed := seen[i].at - seen[i-1].at
		all += passed
		if seen[i].lag <= most {
			in += passed
		}
	}
	return 100 * in.Seconds() / max(all.Seconds(), 1e-9)
}

// quantile is the lag that the share q of the time did not exceed.
func quantile(seen []reading, q float64) time.Duration {
	type part struct{ lag, long time.Duration }
	var parts []part
	var all, sum time.Duration
	for i := 1; i < len(seen); i++ {
		p := part{seen[i].lag, seen[i].at - seen[i-1].at}
		parts, all = append(parts, p), all+p.long
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.lag, b.lag) })
	for _, p := range parts {
		if sum += p.long; sum.Seconds() >= q*all.Seconds() {
			return p.lag
		}
	}
	return 0
}

// each calls fn at each interval until ctx ends or fn fails. A call that takes longer delays the next and no more.
func each(ctx context.Context, interval time.Duration, fn func() error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := fn(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("measure the lag: %w", err)
		}
	}
}
