package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/test/harness"
)

// The usual script: one session, 5,000 rows at a time, and a pause.
const (
	scriptRows  = 5_000
	scriptPause = 100 * time.Millisecond
	warmUp      = time.Second // of each trial, not measured
)

// contender is one way to backfill under test: start begins it and returns how to end it.
type contender struct {
	name  string
	start func(context.Context, *trial) (end func() error, err error)
}

// pressed is a contender's rate and what the application felt meanwhile.
type pressed struct {
	rate        float64
	p50, p99    float64 // of updates, ms
	readP99     float64
	done, wrong int64
}

func script(ctx context.Context, b *bench) error {
	gentle := fleetContender("backfleet, 1 worker, batches of 3 ms, at most 80,000 rows/s", 1,
		"workers: {max: 1}\nbatch: {target: 3ms, synchronous_commit: 'on'}\nthrottle: {max_rows_per_second: 80000}\n")
	free := fleetContender("backfleet, 4 workers", 4, "batch: {synchronous_commit: 'on'}\n")
	usual := contender{"the usual script", startScript}
	nothing := contender{"no backfill", func(context.Context, *trial) (func() error, error) { return func() error { return nil }, nil }}

	with, err := b.contend(ctx, true, nothing, usual, gentle)
	if err != nil {
		return err
	}
	const part = "script"
	pick := func(of []pressed, what func(pressed) float64) (s series) {
		for _, p := range of {
			s = append(s, what(p))
		}
		return s
	}
	rate := func(p pressed) float64 { return p.rate }
	p50, p99 := func(p pressed) float64 { return p.p50 }, func(p pressed) float64 { return p.p99 }
	read := func(p pressed) float64 { return p.readP99 }
	for _, c := range []contender{nothing, usual, gentle} {
		under := "under OLTP traffic: " + c.name
		if c.name != nothing.name {
			b.add(part, under, "rows/s", pick(with[c.name], rate), nil)
		}
		b.add(part, under+", update p50", "ms", pick(with[c.name], p50), nil)
		b.add(part, under+", update p99", "ms", pick(with[c.name], p99), nil)
		b.add(part, under+", read p99", "ms", pick(with[c.name], read), nil)
	}
	b.add(part, "under OLTP traffic: rate of backfleet / script", "x", pick(with[gentle.name], rate).over(pick(with[usual.name], rate)), atLeast(1.8))
	b.add(part, "under OLTP traffic: update p99 of backfleet / script", "x", pick(with[gentle.name], p99).over(pick(with[usual.name], p99)), atMost(1))

	without, err := b.contend(ctx, false, usual, free)
	if err != nil {
		return err
	}
	for _, c := range []contender{usual, free} {
		b.add(part, "without traffic: "+c.name, "rows/s", pick(without[c.name], rate), nil)
	}
	b.add(part, "without traffic: rate of backfleet / script", "x", pick(without[free.name], rate).over(pick(without[usual.name], rate)), atLeast(4))
	return nil
}

// contend measures each contender over the window, in turns, with or without OLTP traffic.
func (b *bench) contend(ctx context.Context, traffic bool, all ...contender) (map[string][]pressed, error) {
	results := map[string][]pressed{}
	for rep := range b.reps {
		for i := range all {
			c := all[(i+rep)%len(all)] // nobody is always first
			p, err := b.press(ctx, c, traffic)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			results[c.name] = append(results[c.name], p)
			b.say("  round %d: %s: %s rows/s, updates p50 %.1f p99 %.1f ms, reads p99 %.1f ms, %d operations, %d failed",
				rep+1, c.name, number(p.rate), p.p50, p.p99, p.readP99, p.done, p.wrong)
		}
	}
	return results, nil
}

// press runs one contender on a fresh copy.
func (b *bench) press(ctx context.Context, c contender, traffic bool) (p pressed, err error) {
	tr, err := b.fresh(ctx, b.plain())
	if err != nil {
		return p, err
	}
	defer tr.end(ctx)
	end, err := c.start(ctx, tr)
	if err != nil {
		return p, err
	}
	var load *harness.Load
	if err := sleep(ctx, warmUp); err != nil {
		return p, err
	}
	if traffic {
		load = tr.traffic().Start(ctx)
		defer load.Stop()
	}
	began := time.Now()
	before, err := tr.written(ctx)
	if err != nil {
		return p, err
	}
	window := b.window
	if !traffic {
		window = min(window, 2*time.Second) // before the rows run out
	}
	if err := sleep(ctx, window); err != nil {
		return p, err
	}
	after, err := tr.written(ctx)
	if err != nil {
		return p, err
	}
	took := time.Since(began)
	if load != nil {
		stats := load.Stop()
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		update, read := stats.Ops["update"], stats.Ops["read"]
		p.p50, p.p99, p.readP99 = ms(update.P50), ms(update.P99), ms(read.P99)
		p.done, p.wrong = stats.All.Done, stats.All.Errors
	}
	if err := end(); err != nil {
		return p, err
	}
	p.rate = float64(after-before) / took.Seconds()
	if int(after) >= tr.table.rows {
		return p, fmt.Errorf("all %d rows were written before the window was over: give it more -rows or a shorter -window", tr.table.rows)
	}
	return p, nil
}

// traffic is the application: 8 clients, 400 operations a second, half of them updates of one row.
func (t *trial) traffic() harness.Writer {
	id := func(r *rand.Rand) []any { return []any{r.IntN(t.table.rows) + 1} }
	return harness.Writer{Pool: t.pool, Clients: 8, Rate: 400, Seed: uint64(t.trials), Ops: []harness.Op{
		harness.SQL("read", 1, "SELECT name, status FROM users WHERE id = $1", id),
		harness.SQL("update", 1, "UPDATE users SET visits = visits + 1 WHERE id = $1", id),
	}}
}

// written is how many rows the contender has written so far: the fleet by its ledger, the script by its count beside.
func (t *trial) written(ctx context.Context) (n int64, err error) {
	if n = t.scripted.Load(); n > 0 {
		return n, nil
	}
	err = t.pool.QueryRow(ctx, "SELECT coalesce(sum(rows), 0)::bigint FROM backfleet.ranges WHERE kind = 'fill'").Scan(&n)
	return n, err
}

// fleetContender is a fleet of so many worker processes.
func fleetContender(name string, workers int, spec string) contender {
	return contender{name, func(ctx context.Context, t *trial) (func() error, error) {
		if err := t.fleetOf(workers); err != nil {
			return nil, err
		}
		if err := t.submit(spec); err != nil {
			return nil, err
		}
		err := t.awaitFirstBatch(ctx)
		return func() error { return nil }, err
	}}
}

// startScript runs the usual script in the kindest form that people write: by key, without a search for what is left.
func startScript(ctx context.Context, t *trial) (func() error, error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- t.runScript(ctx) }()
	return func() error {
		cancel()
		if err := <-ended; ctx.Err() == nil {
			return err
		}
		return nil
	}, nil
}

func (t *trial) runScript(ctx context.Context) error {
	return t.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		for at := 1; at <= t.table.rows; at += scriptRows {
			tag, err := conn.Exec(ctx, "UPDATE users SET email_norm = "+set+" WHERE id >= $1 AND id < $2 AND "+where, at, at+scriptRows)
			if err != nil {
				return err
			}
			t.scripted.Add(tag.RowsAffected())
			if err := sleep(ctx, scriptPause); err != nil {
				return err
			}
		}
		return nil
	})
}
