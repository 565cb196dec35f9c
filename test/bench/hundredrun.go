package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/backfleet/backfleet/test/harness"
)

// fleetCPU is the measure that is held to the growth's goal.
const fleetCPU = "CPU of coordinator, workers and NATS"

// alonePress is how long the application is measured before the fleet is there.
const alonePress = 10 * time.Second

// wholeBackfill plans the loaded table alone, and then takes it to verified complete beside an application.
func (t *trial) wholeBackfill(ctx context.Context, g *gauges) error {
	if err := t.fleetOf(hundredWorkers); err != nil {
		return err
	}
	vitals, err := t.follows()
	if err != nil {
		return err
	}
	defer vitals.stop()
	if err := t.planAlone(ctx, g); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	load := t.lightTraffic().Start(ctx)
	if err := sleep(ctx, alonePress); err != nil {
		load.Stop()
		return err
	}
	before := load.Stop()
	truth, err := watch(ctx, t.cluster)
	if err != nil {
		return err
	}
	defer func() { _ = truth.end() }()
	load = t.lightTraffic().Start(ctx)
	o, spent, err := t.backfillBeside(ctx, vitals)
	during := load.Stop()
	if err := errors.Join(err, truth.end()); err != nil {
		return err
	}
	lags := truth.between(lagStart, time.Hour*24)
	if err := t.gaugeRun(ctx, g, o, spent); err != nil {
		return err
	}
	g.note("lag, p99", "s", quantile(lags, 0.99).Seconds())
	g.note("lag, most", "s", quantile(lags, 1).Seconds())
	g.note("application's updates, p99, before", "ms", milliseconds(before.Ops["update"].P99))
	g.note("application's updates, p99", "ms", milliseconds(during.Ops["update"].P99))
	g.note("application's reads, p99", "ms", milliseconds(during.Ops["read"].P99))
	g.note("application's operations that failed", "", float64(during.All.Errors))
	vitals.stop()
	for _, name := range vitals.names {
		g.note("highest memory of "+name, "MB", vitals.highest(name))
	}
	g.note("stream at most", "messages", vitals.highest(streamMessages))
	g.note("stream at most, size", "kB", vitals.highest(streamKB))
	if t.out == "" {
		return nil
	}
	return vitals.keep(filepath.Join(t.out, "vitals-"+millions(t.table.rows)))
}

// planAlone plans under the brake, so that nothing but the plan works.
func (t *trial) planAlone(ctx context.Context, g *gauges) error {
	if _, err := t.pool.Exec(ctx, "SELECT backfleet.hold('1 hour')"); err != nil {
		return err
	}
	name := t.name + "-plan"
	if err := t.submitAs(name, "where: "+where+"\n"+t.moreSpec); err != nil {
		return err
	}
	if err := t.await(ctx, "the plan", `SELECT planned_at IS NOT NULL
		AND EXISTS (SELECT 1 FROM backfleet.ranges r WHERE r.job_id = j.id AND released_at IS NOT NULL) FROM backfleet.jobs j WHERE name = $1`, name); err != nil {
		return err
	}
	var first, all float64
	var n int
	err := t.pool.QueryRow(ctx, `SELECT extract(epoch FROM (SELECT min(released_at) FROM backfleet.ranges WHERE job_id = j.id) - submitted_at)::float8,
			extract(epoch FROM planned_at - submitted_at)::float8, (SELECT count(*) FROM backfleet.ranges WHERE job_id = j.id)
		FROM backfleet.jobs j WHERE name = $1`, name).Scan(&first, &all, &n)
	if err != nil {
		return err
	}
	g.note("plan alone: first range released", "s", first)
	g.hold("plan alone: first range released", atMost(2))
	g.note("plan alone: all ranges", "s", all)
	g.hold("plan alone: all ranges", atMost(30))
	g.note("ranges", "", float64(n))
	if err := t.command(t.dsn(), "cancel", name); err != nil {
		return err
	}
	_, err = t.pool.Exec(ctx, "SELECT backfleet.release()")
	return err
}

// lightTraffic is an application that does a little all the time.
func (t *trial) lightTraffic() harness.Writer {
	id := func(r *rand.Rand) []any { return []any{r.IntN(t.table.rows) + 1} }
	return harness.Writer{Pool: t.pool, Clients: hundredClients, Rate: hundredRate, Seed: uint64(t.trials), Ops: []harness.Op{
		harness.SQL("read", 1, "SELECT name, status FROM users WHERE id = $1", id),
		harness.SQL("update", 1, "UPDATE users SET visits = visits + 1 WHERE id = $1", id),
	}}
}

// spent is what a backfill used.
type spent struct {
	fleet, server time.Duration // of processor time
	wal           int64
	heap          float64 // size after / before
}

// backfillBeside runs the job and says how it went and what it used, from the submit to verified complete.
func (t *trial) backfillBeside(ctx context.Context, v *vitals) (o outcome, s spent, err error) {
	position := func() (wal, heap int64, err error) {
		err = t.pool.QueryRow(ctx, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, pg_relation_size('users')").Scan(&wal, &heap)
		return wal, heap, err
	}
	wal, heap, err := position()
	if err != nil {
		return o, s, err
	}
	before, err := v.used()
	if err != nil {
		return o, s, err
	}
	if err := t.submit(t.moreSpec); err != nil {
		return o, s, err
	}
	if o, err = t.completeWithin(ctx, patienceFor(t.table.rows)); err != nil {
		return o, s, err
	}
	after, err := v.used()
	if err != nil {
		return o, s, err
	}
	walThen, heapThen, err := position()
	return o, spent{after.fleet - before.fleet, after.server - before.server, walThen - wal, float64(heapThen) / float64(heap)}, err
}

// gaugeRun notes what the ledger says of a run, and its costs.
func (t *trial) gaugeRun(ctx context.Context, g *gauges, o outcome, s spent) error {
	var first, batch, planned, imbalance, ledger, schema, hot float64
	var n int64
	err := t.pool.QueryRow(ctx, `
		WITH j AS (SELECT id, submitted_at, planned_at FROM backfleet.jobs WHERE name = $1),
		r AS (SELECT r.* FROM backfleet.ranges r JOIN j ON r.job_id = j.id WHERE kind = 'fill'),
		whole AS (SELECT rows FROM r WHERE NOT hi_inclusive)
		SELECT extract(epoch FROM (SELECT min(released_at) FROM r) - submitted_at)::float8,
		       extract(epoch FROM (SELECT min(started_at) FROM r) - submitted_at)::float8,
		       extract(epoch FROM planned_at - submitted_at)::float8,
		       coalesce((SELECT 100.0 * (max(rows) / nullif(avg(rows), 0) - 1) FROM whole), 0)::float8,
		       (SELECT count(*) FROM backfleet.ranges WHERE job_id = j.id), pg_total_relation_size('backfleet.ranges')::float8 / (SELECT count(*) FROM backfleet.ranges),
		       (SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE relnamespace = 'backfleet'::regnamespace AND relkind = 'r')::float8 / 1e3,
		       (SELECT 100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1) FROM pg_stat_user_tables WHERE relname = 'users')::float8
		  FROM j`, t.name).Scan(&first, &batch, &planned, &imbalance, &n, &ledger, &schema, &hot)
	if err != nil {
		return err
	}
	rows := float64(t.table.rows)
	g.note("submit to the first range released", "s", first)
	g.note("submit to the first claim", "s", batch)
	g.note("planned, beside the first batches", "s", planned)
	g.note("largest range over the mean", "%", imbalance)
	g.hold("largest range over the mean", atMost(10))
	g.note("update alone", "s", o.filled.Seconds())
	g.note("update alone, rate", "rows/s", o.rate())
	g.note("submit to verified complete", "s", o.verified.Seconds())
	g.note("verified complete / update alone", "x", o.verified.Seconds()/o.filled.Seconds())
	g.hold("verified complete / update alone", atMost(1.15))
	g.note("mean batch", "rows", rows/float64(o.batches))
	g.each(fleetCPU, "us/row", float64(s.fleet.Microseconds())/rows)
	g.each("CPU of the server", "us/row", float64(s.server.Microseconds())/rows)
	g.note("fleet's part of all CPU", "%", 100*s.fleet.Seconds()/(s.fleet+s.server).Seconds())
	g.each("WAL", "B/row", float64(s.wal)/rows)
	g.note("heap after / before", "x", s.heap)
	g.note("HOT updates", "%", hot)
	g.each("ledger, a range", "B", ledger)
	g.note("ledger, whole schema", "kB", schema)
	return nil
}
