package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/backfleet/backfleet/test/harness"
)

// warmUp is the beginning of each trial, not measured: what a contender must learn of the application, it learns here.
const warmUp = 3 * time.Second

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
	limits      string
}

// of picks one quantity of each repetition.
func of[T any](all []T, what func(T) float64) (s series) {
	for _, one := range all {
		s = append(s, what(one))
	}
	return s
}

// contend measures each contender over the window, so many times, in an order that is drawn anew for each round; with or without
// OLTP traffic.
func (b *bench) contend(ctx context.Context, reps int, traffic bool, all ...contender) (map[string][]pressed, error) {
	results := map[string][]pressed{}
	order := rand.New(rand.NewPCG(uint64(len(all)), uint64(reps)))
	for rep := range reps {
		for _, i := range order.Perm(len(all)) {
			c := all[i]
			p, err := b.press(ctx, c, traffic)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			results[c.name] = append(results[c.name], p)
			b.say("  round %d: %s: %s rows/s, updates p50 %.1f p99 %.1f ms, reads p99 %.1f ms, %d operations, %d failed; %s",
				rep+1, c.name, number(p.rate), p.p50, p.p99, p.readP99, p.done, p.wrong, p.limits)
		}
	}
	return results, nil
}

// press runs one contender on a fresh copy. The application is there before it.
func (b *bench) press(ctx context.Context, c contender, traffic bool) (p pressed, err error) {
	tr, err := b.fresh(ctx, b.long())
	if err != nil {
		return p, err
	}
	defer tr.end(ctx)
	load := tr.traffic(traffic).Start(ctx)
	defer func() { load.Stop() }()
	end, err := c.start(ctx, tr)
	if err != nil {
		return p, err
	}
	if err := sleep(ctx, warmUp); err != nil {
		return p, err
	}
	load.Stop()
	load = tr.traffic(traffic).Start(ctx)
	began := time.Now()
	before, err := tr.written(ctx)
	if err != nil {
		return p, err
	}
	if err := sleep(ctx, b.window); err != nil {
		return p, err
	}
	after, err := tr.written(ctx)
	if err != nil {
		return p, err
	}
	took := time.Since(began)
	stats := load.Stop()
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	update, read := stats.Ops["update"], stats.Ops["read"]
	p.p50, p.p99, p.readP99 = ms(update.P50), ms(update.P99), ms(read.P99)
	p.done, p.wrong = stats.All.Done, stats.All.Errors
	p.limits, err = tr.limits(ctx)
	if err := errors.Join(err, end()); err != nil {
		return p, err
	}
	p.rate = float64(after-before) / took.Seconds()
	if int(after) >= tr.table.rows {
		return p, fmt.Errorf("all %d rows were written before the window was over: give it more -long-rows or a shorter -window", tr.table.rows)
	}
	return p, nil
}

// traffic is the application: 8 clients, 400 operations a second, half of them updates of one row; or nobody.
func (t *trial) traffic(on bool) harness.Writer {
	clients := 8
	if !on {
		clients = 0
	}
	id := func(r *rand.Rand) []any { return []any{r.IntN(t.table.rows) + 1} }
	return harness.Writer{Pool: t.pool, Clients: clients, Rate: 400, Seed: uint64(t.trials), Ops: []harness.Op{
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

// fleetContender is a fleet of so many worker processes of one slot.
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
