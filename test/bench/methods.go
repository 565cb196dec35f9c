package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/backfleet/backfleet/test/bench/compare"
	"github.com/backfleet/backfleet/test/harness"
)

const (
	appSettle = time.Second           // that the application runs before the update begins
	pollEnd   = 50 * time.Millisecond // seldom enough to cost a server nothing that counts
	pollShare = 4                     // of those looks, one that looks at the coordinator's sessions too
	pgrollMay = time.Minute           // for pgroll to create its state
)

// method is one way to fill a table in a trial.
type method struct {
	name string
	fill func(context.Context, *trial, scene, *compare.Trial) error
}

// column is where a trial's values are to be.
const column = "email_norm"

// try runs one method on a fresh copy of the scene's table. What it did is looked at before it counts: each row has its value and has been
// written once, by the ledger where there is one, else by the table's statistics where nobody else writes.
func (b *bench) try(ctx context.Context, s scene, m method) (r compare.Trial, err error) {
	r = compare.Trial{Scene: s.name, Table: s.table, Method: m.name, Rows: int64(s.of.rows)}
	cluster := b.cluster
	if s.standby {
		if cluster, err = b.pair(); err != nil {
			return r, err
		}
	}
	tr, err := b.freshOn(ctx, cluster, s.of)
	if err != nil {
		return r, err
	}
	defer tr.end(ctx)
	if r.Heap.Before, r.Indexes.Before, err = tr.sizes(ctx); err != nil {
		return r, err
	}
	if s.standby {
		if tr.truth, err = watch(ctx, cluster); err != nil {
			return r, err
		}
		defer func() { _ = tr.truth.end() }()
	}
	if err := m.fill(ctx, tr, s, &r); err != nil {
		return r, err
	}
	tr.stopFleet()
	if r.Heap.After, r.Indexes.After, err = tr.sizes(ctx); err != nil {
		return r, err
	}
	if _, err := tr.sessionTime(ctx); err != nil { // the sessions must have ended
		return r, err
	}
	return r, tr.inspect(ctx, s, &r)
}

// inspect holds what was done against what the method said.
func (t *trial) inspect(ctx context.Context, s scene, r *compare.Trial) error {
	filled := column
	if r.Method == compare.Pgroll {
		filled = "_pgroll_new_" + column
	}
	done, updates, hot, err := t.count(ctx, filled)
	r.Updates, r.HOT = updates, hot
	switch {
	case err != nil:
		return err
	case r.Done > done:
		return fmt.Errorf("it says that it wrote %d rows, and %d have a value", r.Done, done)
	case r.Batches > 0: // Backfleet's ledger has counted the rows; the table counts those too that a submit tries and rolls back
	case r.Done == r.Rows && !s.app && updates != r.Rows:
		return fmt.Errorf("%d rows were written %d times", r.Rows, updates)
	}
	return nil
}

// during measures what happens beside and within an update, which fn runs. The application is there before it and ends with it. It returns
// the meters as they stand at the end.
func (t *trial) during(ctx context.Context, s scene, r *compare.Trial, fn func() error) (after meters, err error) {
	var before meters
	load := t.traffic(s.app).Start(ctx)
	if s.app {
		err = sleep(ctx, appSettle)
	}
	load.Stop()
	if err == nil {
		before, err = t.read(ctx)
	}
	if err != nil {
		return after, err
	}
	began := time.Now()
	load = t.traffic(s.app).Start(ctx)
	err = fn()
	stats := load.Stop()
	ended := time.Now()
	if err == nil {
		after, err = t.read(ctx)
	}
	if err != nil {
		return after, err
	}
	if s.app {
		r.App = felt(stats)
	}
	if s.standby {
		seen := t.truth.between(began.Sub(t.truth.began), ended.Sub(t.truth.began))
		r.LagP99 = quantile(seen, 0.99).Seconds()
	}
	r.CPU, r.WAL = after.since(before)
	return after, nil
}

// felt is what the application had of it.
func felt(stats harness.Stats) *compare.App {
	latencies := func(op string) compare.Latencies {
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		o := stats.Ops[op]
		return compare.Latencies{P50: ms(o.P50), P95: ms(o.P95), P99: ms(o.P99)}
	}
	return &compare.App{
		Done: stats.All.Done, Failed: stats.All.Errors, PerSecond: float64(stats.All.Done) / stats.Took.Seconds(),
		Updates: latencies("update"), Reads: latencies("read"),
	}
}

// told is what a peer's program says at its end.
type told struct {
	Rows    int64   `json:"rows"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`
	Version string  `json:"version"`
}

// peer is a method of test/bench/peers.
func peer(name string) func(context.Context, *trial, scene, *compare.Trial) error {
	return func(ctx context.Context, t *trial, s scene, r *compare.Trial) error {
		_, err := t.program(ctx, s, r, t.peersBin, "-method", name, "-key", strings.ReplaceAll(t.table.keyColumns(), " ", ""),
			"-set", column+" = "+set, "-where", where)
		return err
	}
}

// pgroll is pgroll's own backfill: its migration adds the column, so the trial's copy must not have it yet.
func pgroll(ctx context.Context, t *trial, s scene, r *compare.Trial) error {
	if _, err := t.pool.Exec(ctx, "ALTER TABLE users DROP COLUMN "+column); err != nil {
		return err
	}
	p, err := t.env.Start(harness.Command{Path: t.pgrollBin, Args: []string{"-dsn", t.dsn(), "-init"}})
	if err != nil {
		return err
	}
	if code, err := p.Wait(pgrollMay); err != nil || code != 0 {
		return fmt.Errorf("create pgroll's state: exit code %d: %s: %w", code, p.Output(), err)
	}
	it, err := t.program(ctx, s, r, t.pgrollBin, "-column", column, "-up", set)
	t.run.Pgroll = it.Version
	return err
}

// program runs a peer's program to its end.
func (t *trial) program(ctx context.Context, s scene, r *compare.Trial, bin string, args ...string) (it told, err error) {
	var client float64
	_, err = t.during(ctx, s, r, func() error {
		p, err := t.env.Start(harness.Command{Path: bin, Args: append(args, "-dsn", t.dsn(), "-table", "users", "-most", t.most.String())})
		if err != nil {
			return err
		}
		code, err := p.Wait(patience)
		if err == nil && code != 0 {
			err = fmt.Errorf("exit code %d: %s", code, p.Output())
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(p.Output()), &it); err != nil {
			return fmt.Errorf("read what it says, %q: %w", p.Output(), err)
		}
		client = it.CPU
		return nil
	})
	r.Done, r.Seconds, r.CPU.Client = min(it.Rows, r.Rows), it.Seconds, client
	return it, err
}

// fleetOf is a fleet of so many worker processes of one slot, with a job's defaults but for more.
func fleetOf(workers int, more string) func(context.Context, *trial, scene, *compare.Trial) error {
	return func(ctx context.Context, t *trial, s scene, r *compare.Trial) error {
		if err := t.fleetOf(workers); err != nil {
			return err
		}
		spec := more
		if !s.app {
			spec = alone + more
		}
		governor := sessionTimes{}
		filled, err := t.during(ctx, s, r, func() error {
			if err := governor.look(ctx, t, true); err != nil {
				return err
			}
			if err := t.submit(spec); err != nil {
				return err
			}
			return t.fills(ctx, s, governor, r)
		})
		if err != nil {
			return err
		}
		r.CPU.Governor = governor.total().Seconds()
		if r.Limits, err = t.limits(ctx); err != nil || r.Done < r.Rows {
			return err
		}
		o, err := t.complete(ctx)
		if err != nil {
			return err
		}
		verified, err := t.read(ctx)
		if err != nil {
			return err
		}
		proof, _ := verified.since(filled)
		r.Seconds, r.Verified, r.Batches, r.Proof = o.filled.Seconds(), o.verified.Seconds(), o.batches, proof.Server
		return nil
	}
}

// fills waits until the job's ranges have all ended, or the time is up, and then ends the job.
func (t *trial) fills(ctx context.Context, s scene, governor sessionTimes, r *compare.Trial) error {
	began := time.Now()
	for look := 0; ; look++ {
		var state string
		err := t.pool.QueryRow(ctx, `SELECT j.state, coalesce(sum(r.rows), 0)::bigint, coalesce(sum(r.batches), 0)::bigint,
			coalesce(extract(epoch FROM clock_timestamp() - min(r.started_at)), 0)::float8
			FROM backfleet.jobs j LEFT JOIN backfleet.ranges r ON r.job_id = j.id AND r.kind = 'fill' WHERE j.name = $1 GROUP BY 1`, t.name).
			Scan(&state, &r.Done, &r.Batches, &r.Seconds)
		if err == nil && (look%pollShare == 0 || r.Done == r.Rows) {
			err = governor.look(ctx, t, false)
		}
		if err != nil {
			return err
		}
		switch {
		case r.Done == r.Rows:
			return nil
		case state != "planning" && state != "running":
			return fmt.Errorf("the job is %s with %d rows of %d", state, r.Done, r.Rows)
		case time.Since(began) > patience, s.app && time.Since(began) > t.most:
			return t.command(t.dsn(), "cancel", t.name)
		}
		if err := sleep(ctx, pollEnd); err != nil {
			return err
		}
	}
}
