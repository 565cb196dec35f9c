package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/test/harness"
)

// What breaks.
var (
	worker          = Target{"worker", workers}
	workerDB        = Target{"worker's link to PostgreSQL", workers}
	workerNATS      = Target{"worker's link to NATS", workers}
	coordinator     = Target{"coordinator", coordinators}
	coordinatorDB   = Target{"coordinator's link to PostgreSQL", coordinators}
	coordinatorNATS = Target{"coordinator's link to NATS", coordinators}
	scale           = Target{"scale", 1}
	natsServer      = Target{"NATS", 1}
	primary         = Target{"primary", 1}
	standby         = Target{"standby", 1}
	table           = Target{"table", 1}
	stream          = Target{"stream", 1}
	order           = Target{"order", 1} // what a person says
)

// fault is a kind of fault and how it is made. Strike returns what mends it; nil where there is nothing to mend.
type fault struct {
	Kind
	strike func(context.Context, *chaos, Event) (mend func(context.Context) error, err error)
}

const second = time.Second

var faults = []fault{
	{Kind{"worker killed", worker, 0, 4 * second}, killed},
	{Kind{"worker terminated", worker, 0, 4 * second}, terminated},
	{Kind{"worker frozen", worker, second, 14 * second}, frozen}, // beyond its lease: it comes back as a zombie
	{Kind{"coordinator killed", coordinator, 0, 6 * second}, killed},
	{Kind{"coordinator terminated", coordinator, 0, 4 * second}, terminated},
	{Kind{"coordinator frozen", coordinator, second, 12 * second}, frozen},
	{Kind{"fleet scaled up, then down by SIGTERM", scale, 3 * second, 10 * second}, scaled((*seat).terminate)},
	{Kind{"fleet scaled up, then down by SIGKILL", scale, 3 * second, 10 * second}, scaled((*seat).kill)},

	{Kind{"worker's link to PostgreSQL cut", workerDB, 0, 5 * second}, cut},
	{Kind{"worker's link to PostgreSQL silent", workerDB, second, 13 * second}, silent},
	{Kind{"worker's link to PostgreSQL half-open", workerDB, second, 13 * second}, halfOpen},
	{Kind{"worker's link to PostgreSQL slow", workerDB, second, 8 * second}, slow},
	{Kind{"worker's link to NATS cut", workerNATS, 0, 5 * second}, cut},
	{Kind{"worker's link to NATS silent", workerNATS, second, 13 * second}, silent},
	{Kind{"worker's link to NATS half-open", workerNATS, second, 13 * second}, halfOpen},
	{Kind{"worker's link to NATS slow", workerNATS, second, 8 * second}, slow},
	{Kind{"coordinator's link to PostgreSQL cut", coordinatorDB, 0, 8 * second}, cut},
	{Kind{"coordinator's link to PostgreSQL silent", coordinatorDB, second, 12 * second}, silent},
	{Kind{"coordinator's link to PostgreSQL half-open", coordinatorDB, second, 12 * second}, halfOpen},
	{Kind{"coordinator's link to NATS cut", coordinatorNATS, 0, 8 * second}, cut},
	{Kind{"coordinator's link to NATS silent", coordinatorNATS, second, 12 * second}, silent},
	{Kind{"coordinator's link to NATS half-open", coordinatorNATS, second, 12 * second}, halfOpen},

	{Kind{"NATS killed", natsServer, 0, 4 * second}, natsKilled(false)},
	{Kind{"NATS killed, its store deleted", natsServer, 0, 4 * second}, natsKilled(true)},
	{Kind{"NATS frozen", natsServer, second, 6 * second}, natsFrozen},
	{Kind{"messages copied, aged, lost and made up", stream, 0, 0}, mislead},

	{Kind{"PostgreSQL shut down at once", primary, 0, 2 * second}, primaryDown((*harness.Server).StopImmediate)},
	{Kind{"PostgreSQL killed", primary, 0, 2 * second}, primaryDown((*harness.Server).Kill)},
	{Kind{"half of the sessions terminated", primary, 0, 0}, sessionsTerminated},
	{Kind{"standby shut down", standby, 0, 4 * second}, standbyDown},
	{Kind{"replay paused", standby, second, 5 * second}, replayPaused},
	{Kind{"table locked by DDL", table, 0, 2 * second}, tableLocked},

	{Kind{"job paused", order, second, 3 * second}, paused},
	{Kind{"fleet held", order, second, 3 * second}, held},
}

// kinds are those of the faults, for the schedule.
func kinds() (all []Kind) {
	for _, f := range faults {
		all = append(all, f.Kind)
	}
	return all
}

// seat finds the process that an event hits, or whose link.
func (c *chaos) seat(e Event) *seat {
	switch e.Place.Target {
	case coordinator.Name, coordinatorDB.Name, coordinatorNATS.Name:
		return c.coordinators[e.Place.Number]
	default:
		return c.workers[e.Place.Number]
	}
}

func (c *chaos) link(e Event) *harness.Link {
	switch e.Place.Target {
	case workerDB.Name, coordinatorDB.Name:
		return c.seat(e).db
	default:
		return c.seat(e).nats
	}
}

func killed(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	s := c.seat(e)
	s.kill()
	return done(s.start), nil
}

func terminated(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	s := c.seat(e)
	s.terminate()
	return done(s.start), nil
}

func frozen(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	return done(c.seat(e).freeze()), nil
}

func scaled(down func(*seat)) func(context.Context, *chaos, Event) (func(context.Context) error, error) {
	return func(_ context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
		for _, s := range c.extras {
			s.start()
		}
		return func(context.Context) error {
			for _, s := range c.extras {
				down(s)
			}
			return nil
		}, nil
	}
}

func cut(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	c.link(e).Cut()
	return mended(c.link(e)), nil
}

func silent(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	c.link(e).Silence()
	return mended(c.link(e)), nil
}

func halfOpen(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	c.link(e).Silence(harness.Way(e.Dice % 2))
	return mended(c.link(e)), nil
}

func slow(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	c.link(e).Slow(time.Duration(20+e.Dice%200)*time.Millisecond, 1<<20)
	return mended(c.link(e)), nil
}

func mended(l *harness.Link) func(context.Context) error {
	return func(context.Context) error { return l.Mend() }
}

func natsKilled(lost bool) func(context.Context, *chaos, Event) (func(context.Context) error, error) {
	return func(_ context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
		err := c.nats.Kill()
		if lost {
			err = errors.Join(err, c.nats.DeleteStore())
		}
		return func(context.Context) error { return c.nats.Start() }, err
	}
}

func natsFrozen(_ context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
	p := c.nats.Process()
	return func(context.Context) error { return p.Cont() }, p.Stop()
}

func primaryDown(how func(*harness.Server) error) func(context.Context, *chaos, Event) (func(context.Context) error, error) {
	return func(_ context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
		err := how(c.cluster.Primary)
		return func(context.Context) error { return c.cluster.Primary.Start() }, err
	}
}

func standbyDown(_ context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
	s := c.cluster.Standbys[0]
	return func(context.Context) error { return s.Start() }, s.StopImmediate()
}

func replayPaused(ctx context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
	say := func(ctx context.Context, sql string) error {
		conn, err := pgx.Connect(ctx, c.cluster.ReplicaDSN(0, databaseName))
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		_, err = conn.Exec(ctx, sql)
		return err
	}
	return func(ctx context.Context) error { return say(ctx, "SELECT pg_wal_replay_resume()") }, say(ctx, "SELECT pg_wal_replay_pause()")
}

// sessionsTerminated ends sessions of the fleet and of the application alike.
func sessionsTerminated(ctx context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	_, err := c.pool.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND hashint8(pid + $1) % 2 = 0`, int64(e.Dice%1_000_000))
	return nil, err
}

// tableLocked makes a change of the table that stays open for as long as the fault lasts.
func tableLocked(ctx context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	tx, err := c.pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	change := "ADD COLUMN IF NOT EXISTS later text DEFAULT 'x'"
	if e.Dice%2 == 0 {
		change = "DROP COLUMN IF EXISTS later"
	}
	if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '5s'; ALTER TABLE public.accounts "+change); err != nil {
		return nil, errors.Join(err, tx.Rollback(ctx))
	}
	return func(ctx context.Context) error {
		if err := tx.Commit(ctx); err != nil { // the server was ended meanwhile, and the lock with it
			_ = tx.Rollback(ctx)
		}
		return nil
	}, nil
}

func paused(ctx context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
	name := c.work.now()
	_, err := c.cli(ctx, "pause", name)
	return func(ctx context.Context) error {
		var state string
		if err := c.pool.QueryRow(ctx, "SELECT state FROM backfleet.jobs WHERE name = $1", name).Scan(&state); err != nil || state != "paused" {
			return err
		}
		_, err := c.cli(ctx, "resume", name)
		return err
	}, err
}

func held(ctx context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	say := func(ctx context.Context, sql string) error {
		_, err := c.pool.Exec(ctx, sql)
		return err
	}
	return func(ctx context.Context) error { return say(ctx, "SELECT backfleet.release()") },
		say(ctx, fmt.Sprintf("SELECT backfleet.hold('%d ms', 'chaos')", max(1, (e.For+time.Minute).Milliseconds())))
}

func done(f func()) func(context.Context) error {
	return func(context.Context) error {
		f()
		return nil
	}
}
