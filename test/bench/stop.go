package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/test/harness"
)

const (
	stopWorkers = 4
	stopSlots   = 4 // of each worker process
	stopHard    = 300 * time.Millisecond
	stopLeader  = 3 * time.Second
	stopWatch   = 2 * time.Second // beyond the deadline
)

// startsTable notes when each batch began, which is when its transaction did, in the batch's own transaction. A batch that was turned
// away, as by the brake that its statement reads, has not written.
const startsTable = `
	CREATE UNLOGGED TABLE starts (at timestamptz NOT NULL, wrote boolean NOT NULL);
	CREATE INDEX ON starts (at);
	CREATE FUNCTION note_start() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO starts VALUES (transaction_timestamp(), EXISTS (SELECT FROM written)); RETURN NULL; END $$;
	CREATE TRIGGER note_start AFTER UPDATE ON users REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION note_start()`

// stopJob makes many very short batches, so that a late start would be seen. Nothing but the replica limits it: a cap, or what an
// application feels, would leave slots without a lease.
const stopJob = `rows_per_range: 20000
workers: {max: 64}
batch: {max_rows: 20}
throttle:
  signals: {probe: off, active_backends: off}
  checks: [{name: other, http: "%s", every: 1s}]
`

// cause is one event after which no batch may start.
type cause struct {
	name  string
	after time.Duration // by when the last one must have started
	// strike makes it happen and says from when it could be read.
	strike func(context.Context, *trial) (time.Time, error)
	// undo lets the fleet go on; nil where the trial ends.
	undo func(context.Context, *trial) error
}

var causes = []cause{
	{"hold", stopHard, strikeHold, func(ctx context.Context, t *trial) error {
		_, err := t.pool.Exec(ctx, "SELECT backfleet.release()")
		return err
	}},
	{"check says stop", stopHard, func(ctx context.Context, t *trial) (time.Time, error) {
		t.check.refuse(true)
		select {
		case at := <-t.check.refused:
			return at, nil
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}, func(_ context.Context, t *trial) error {
		t.check.refuse(false)
		return nil
	}},
	{"standby killed", stopHard, strikeStandby, func(_ context.Context, t *trial) error {
		if err := t.cluster.Standbys[0].Start(); err != nil {
			return err
		}
		return t.cluster.WaitStreaming()
	}},
	{"leader killed", stopLeader, func(_ context.Context, t *trial) (time.Time, error) {
		at := time.Now()
		return at, t.fleet[0].Kill()
	}, nil},
}

// stop counts the batches that a fleet of 16 slots starts after it should have stopped.
func stop(ctx context.Context, b *bench) error {
	late, last := map[string]series{}, map[string]series{}
	for rep := range b.reps {
		if err := b.stopRound(ctx, rep, late, last); err != nil {
			return err
		}
	}
	for _, c := range causes {
		b.add("stop", fmt.Sprintf("%s: batches started later than %s", c.name, c.after), "batches", late[c.name], atMost(0))
		b.add("stop", c.name+": the last batch's start", "s", last[c.name], nil)
	}
	return nil
}

func (b *bench) stopRound(ctx context.Context, rep int, late, last map[string]series) error {
	cluster, err := b.pair()
	if err != nil {
		return err
	}
	tr, err := b.freshOn(ctx, cluster, b.plain())
	if err != nil {
		return err
	}
	defer tr.end(ctx)
	if _, err := tr.pool.Exec(ctx, startsTable); err != nil {
		return err
	}
	if _, err := tr.coordinate(); err != nil {
		return err
	}
	for n := range stopWorkers {
		if _, err := tr.work(fmt.Sprintf("worker%d", n+1), stopSlots); err != nil {
			return err
		}
	}
	if tr.check, err = startCheck(); err != nil {
		return err
	}
	defer func() { _ = tr.check.end() }()
	if err := tr.submit(fmt.Sprintf(stopJob, tr.check.url)); err != nil {
		return err
	}
	for _, c := range causes {
		slots, err := tr.awaitBatches(ctx)
		if err != nil {
			return err
		}
		readable, err := c.strike(ctx, tr)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := sleep(ctx, c.after+stopWatch); err != nil {
			return err
		}
		var before, after int
		var delay float64
		err = tr.pool.QueryRow(ctx, `
			SELECT count(*) FILTER (WHERE at <= $1 AND at > $1 - interval '1 s'), count(*) FILTER (WHERE at > $1 + $2::interval),
			       coalesce(greatest(0, extract(epoch FROM max(at) - $1)), 0)::float8
			  FROM starts WHERE wrote`, readable, c.after).Scan(&before, &after, &delay)
		if err != nil {
			return err
		}
		late[c.name], last[c.name] = append(late[c.name], float64(after)), append(last[c.name], delay)
		b.say("  round %d: %s: the last batch started %.3f s after it, %d later than %s; in the second before it there were %d in %d slots",
			rep+1, c.name, delay, after, c.after, before, slots)
		if c.undo != nil {
			if err := c.undo(ctx, tr); err != nil {
				return fmt.Errorf("undo %s: %w", c.name, err)
			}
		}
	}
	return nil
}

// awaitBatches waits until batches flow, and says in how many slots.
func (t *trial) awaitBatches(ctx context.Context) (slots int, err error) {
	err = t.await(ctx, "batches", "SELECT count(*) >= 500 FROM starts WHERE wrote AND at > $1", time.Now())
	if err == nil {
		err = t.pool.QueryRow(ctx, "SELECT count(*) FROM backfleet.ranges WHERE state = 'running'").Scan(&slots)
	}
	return slots, err
}

func strikeHold(ctx context.Context, t *trial) (time.Time, error) {
	at := time.Now() // before the commit, so that no delay is forgiven
	_, err := t.pool.Exec(ctx, "SELECT backfleet.hold('10 minutes')")
	return at, err
}

// strikeStandby kills the standby with SIGKILL; what can be read is that the primary shows it no more.
func strikeStandby(ctx context.Context, t *trial) (time.Time, error) {
	conn, err := pgx.Connect(ctx, t.cluster.DSN("postgres"))
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	killed := make(chan error, 1)
	go func(s *harness.Server) { killed <- s.Kill() }(t.cluster.Standbys[0])
	for there := true; there; {
		if err := conn.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_stat_replication").Scan(&there); err != nil {
			return time.Time{}, err
		}
	}
	at := time.Now()
	return at, <-killed
}
