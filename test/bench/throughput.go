package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// muster is a fleet of so many worker processes of one slot.
type muster struct {
	name    string
	workers int
	more    string  // of its spec
	goal    float64 // the least ratio to the monolithic UPDATE; 0: none
}

func throughput(ctx context.Context, b *bench) error {
	return b.versusMonolithic(ctx, "throughput", b.plain(),
		muster{name: "1 worker process", workers: 1, goal: 0.8}, muster{name: "4 worker processes", workers: 4, goal: 1.25})
}

func indexed(ctx context.Context, b *bench) error {
	return b.versusMonolithic(ctx, "indexed", b.indexed(),
		muster{name: "4 worker processes", workers: 4, goal: 1.7},
		muster{name: "4 worker processes in plain order", workers: 4, more: "batch: {passes: 1}\n"},
		muster{name: "1 worker process", workers: 1})
}

// alone is the spec of a fleet that has the machine for itself, as the monolithic UPDATE has: the signals that spare an application do not
// look.
const alone = "throttle: {signals: {probe: off, active_backends: off}}\n"

// versusMonolithic compares fleets with one UPDATE of the same rows in one transaction.
func (b *bench) versusMonolithic(ctx context.Context, part string, t table, fleets ...muster) error {
	var mono measured
	each := make([]measured, len(fleets))
	// Whoever runs first creates the WAL files that the others reuse: that is nobody's merit.
	if _, _, err := b.monolithic(ctx, t); err != nil {
		return err
	}
	for rep := range b.reps {
		rate, toll, err := b.monolithic(ctx, t)
		if err != nil {
			return err
		}
		mono.rate, mono.toll = append(mono.rate, rate), append(mono.toll, toll)
		b.say("  round %d: monolithic %s rows/s, %s", rep+1, number(rate), toll)
		for i, c := range fleets {
			o, toll, err := b.backfill(ctx, t, c)
			if err != nil {
				return err
			}
			m := &each[i]
			m.rate, m.toll = append(m.rate, o.rate()), append(m.toll, toll)
			m.verified, m.batch = append(m.verified, o.verified.Seconds()), append(m.batch, float64(o.rows)/float64(o.batches))
			b.say("  round %d: %s %s rows/s, %s rows a batch, verified after %s, %s", rep+1, c.name, number(o.rate()),
				number(float64(o.rows)/float64(o.batches)), o.verified.Round(10*time.Millisecond), toll)
		}
	}
	b.add(part, "monolithic UPDATE", "rows/s", mono.rate, nil)
	b.addToll(part, "monolithic UPDATE", mono.toll)
	for i, c := range fleets {
		m := each[i]
		b.add(part, c.name, "rows/s", m.rate, nil)
		b.add(part, c.name+", mean batch", "rows", m.batch, nil)
		b.add(part, c.name+", submit to verified complete", "s", m.verified, nil)
		b.addToll(part, c.name, m.toll)
		var least *goal
		if c.goal > 0 {
			least = atLeast(c.goal)
		}
		b.add(part, c.name+" / monolithic", "x", m.rate.over(mono.rate), least)
	}
	return nil
}

// measured is what the rounds of one way to update the table gave.
type measured struct {
	rate, verified, batch series
	toll                  []toll
}

// toll is what an update cost: the heap's size to what it was, WAL bytes a row, the share of HOT updates, and the microseconds of
// processor time that the server's sessions used for a row, those of a fleet's verification among them.
type toll struct{ growth, wal, hot, cpu float64 }

func (t toll) String() string {
	return fmt.Sprintf("heap x%.2f, %.0f B of WAL a row, %.0f %% HOT, %.1f us of CPU a row", t.growth, t.wal, 100*t.hot, t.cpu)
}

func (b *bench) addToll(part, who string, tolls []toll) {
	var growth, wal, hot, cpu series
	for _, t := range tolls {
		growth, wal, hot, cpu = append(growth, t.growth), append(wal, t.wal), append(hot, 100*t.hot), append(cpu, t.cpu)
	}
	b.add(part, who+", heap after / before", "x", growth, nil)
	b.add(part, who+", WAL", "B/row", wal, nil)
	b.add(part, who+", HOT updates", "%", hot, nil)
	b.add(part, who+", the server's CPU", "us/row", cpu, nil)
}

// toll reads what the trial cost since it was fresh. The sessions that worked must have ended, or their counts are not all there.
func (t *trial) toll(ctx context.Context) (c toll, err error) {
	err = t.pool.QueryRow(ctx, `
		SELECT pg_relation_size('users')::float8 / $1, (pg_current_wal_insert_lsn() - $2::pg_lsn)::float8 / $3,
		       (SELECT n_tup_hot_upd::float8 / greatest(n_tup_upd, 1) FROM pg_stat_user_tables WHERE relname = 'users')`,
		t.heap, t.lsn, t.table.rows).Scan(&c.growth, &c.wal, &c.hot)
	if err != nil {
		return c, err
	}
	used, err := t.sessionTime(ctx)
	c.cpu = float64((used - t.cpu).Microseconds()) / float64(t.table.rows)
	return c, err
}

// sessionTime is the processor time of all the server's sessions that have ended: those of the trial, its own last, end first.
func (t *trial) sessionTime(ctx context.Context) (time.Duration, error) {
	t.pool.Reset()
	err := t.await(ctx, "the trial's sessions to end", `SELECT NOT EXISTS (SELECT 1 FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend')`)
	if err != nil {
		return 0, err
	}
	t.pool.Reset()
	if err := sleep(ctx, reaped); err != nil {
		return 0, err
	}
	return t.childTime()
}

// reaped is how long the server may take to notice that a session's process has ended.
const reaped = 200 * time.Millisecond

// childTime is the processor time of the server's processes that have ended.
func (t *trial) childTime() (time.Duration, error) {
	pid, err := postmaster(t.cluster.Primary)
	if err != nil {
		return 0, err
	}
	return endedChildren(pid)
}

// monolithic updates all rows in one statement and returns the rate and the cost.
func (b *bench) monolithic(ctx context.Context, t table) (rate float64, cost toll, err error) {
	tr, err := b.fresh(ctx, t)
	if err != nil {
		return 0, toll{}, err
	}
	defer tr.end(ctx)
	conn, err := tr.pool.Acquire(ctx)
	if err != nil {
		return 0, toll{}, err
	}
	began := time.Now()
	tag, err := conn.Exec(ctx, "UPDATE users SET email_norm = "+set+" WHERE "+where)
	took := time.Since(began)
	if err == nil && tag.RowsAffected() != int64(t.rows) {
		err = fmt.Errorf("the UPDATE wrote %d rows of %d", tag.RowsAffected(), t.rows)
	}
	closeErr := conn.Conn().Close(ctx) // it says what it has counted when it ends
	conn.Release()
	if err := errors.Join(err, closeErr); err != nil {
		return 0, toll{}, err
	}
	cost, err = tr.toll(ctx)
	return float64(t.rows) / took.Seconds(), cost, err
}

// backfill does the same by a fleet.
func (b *bench) backfill(ctx context.Context, t table, c muster) (outcome, toll, error) {
	tr, err := b.fresh(ctx, t)
	if err != nil {
		return outcome{}, toll{}, err
	}
	defer tr.end(ctx)
	if err := tr.fleetOf(c.workers); err != nil {
		return outcome{}, toll{}, err
	}
	if err := tr.submit(alone + c.more); err != nil {
		return outcome{}, toll{}, err
	}
	o, err := tr.complete(ctx)
	if err != nil {
		return o, toll{}, err
	}
	tr.stopFleet()
	cost, err := tr.toll(ctx)
	return o, cost, err
}
