package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/test/harness"
)

// behindMost is for how long a standby receives nothing before it is promoted. It loses all of that, at whatever level it was committed.
const behindMost = time.Second

// failedOver kills the primary and promotes the standby, half of the time one that had been cut off. The former primary comes back as
// the standby of the new one.
func failedOver(ctx context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	if err := c.cluster.WaitStreaming(); err != nil {
		return nil, err
	}
	if e.Dice%2 == 0 {
		var sender int
		if err := queryOn(ctx, c.cluster.DSN("postgres"), "SELECT pid FROM pg_stat_replication", &sender); err != nil {
			return nil, err
		}
		if err := syscall.Kill(sender, syscall.SIGSTOP); err != nil {
			return nil, err
		}
		if err := sleep(ctx, time.Duration(e.Dice>>1)%behindMost); err != nil {
			return nil, err
		}
	}
	if err := c.cluster.Kill(); err != nil {
		return nil, err
	}
	lost, err := c.app.failover(func() (int64, error) {
		if err := c.cluster.Promote(0); err != nil {
			return 0, err
		}
		return forked(ctx, c.cluster.DSN("postgres"))
	})
	if err == nil {
		c.say("the failover took %d commits of the application", lost)
	}
	return func(ctx context.Context) error {
		if len(c.cluster.Former) > 0 {
			if err := c.cluster.Rejoin(0); err != nil {
				return err
			}
		}
		return c.sayAgain(ctx)
	}, err
}

// forked is the position in the WAL at which a promoted server left the timeline of the primary before it.
func forked(ctx context.Context, dsn string) (int64, error) {
	var history string
	err := queryOn(ctx, dsn, `SELECT pg_read_file('pg_wal/' || name) FROM pg_ls_dir('pg_wal') name WHERE name ~ '^[0-9A-F]{8}\.history$'
		ORDER BY name DESC LIMIT 1`, &history)
	if err != nil {
		return 0, err
	}
	lines := strings.Split(strings.TrimSpace(history), "\n")
	fields := strings.Fields(lines[len(lines)-1])
	if len(fields) < 2 {
		return 0, fmt.Errorf("no position in the timeline's history %q", history)
	}
	high, low, _ := strings.Cut(fields[1], "/")
	h, herr := strconv.ParseInt(high, 16, 64)
	l, lerr := strconv.ParseInt(low, 16, 64)
	return h<<32 | l, errors.Join(herr, lerr)
}

func primaryDown(how func(*harness.Server) error) func(context.Context, *chaos, Event) (func(context.Context) error, error) {
	return func(_ context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
		s := c.cluster.Primary
		return mendOnce(s.Start), how(s)
	}
}

func standbyDown(_ context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
	s := c.cluster.Standbys[0]
	return mendOnce(s.Start), s.StopImmediate()
}

func bouncerDown(_ context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	b := c.bouncers[e.Places[0].Number]
	return mendOnce(b.Start), b.Stop()
}

// mendOnce mends by what must not be tried twice: an error stands.
func mendOnce(f func() error) func(context.Context) error {
	once := sync.OnceValue(f)
	return func(context.Context) error { return once() }
}

func replayPaused(ctx context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
	dsn := c.cluster.ReplicaDSN(0, databaseName)
	return func(ctx context.Context) error { return execOn(ctx, dsn, "SELECT pg_wal_replay_resume()") }, execOn(ctx, dsn, "SELECT pg_wal_replay_pause()")
}

// sessionsTerminated ends sessions of the fleet and of the application alike.
func sessionsTerminated(ctx context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	_, err := c.pool.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND hashint8(pid + $1) % 2 = 0`, int64(e.Dice%1_000_000))
	return nil, err
}

// crowded takes every connection that the server allows, and ends half of the sessions, which must then wait for a new one.
func crowded(ctx context.Context, c *chaos, e Event) (func(context.Context) error, error) {
	crowd, leave := context.WithCancel(context.WithoutCancel(ctx))
	full := make(chan struct{})
	var here sync.WaitGroup
	here.Go(func() { takeConnections(crowd, c.cluster.DSN("postgres"), sync.OnceFunc(func() { close(full) })) })
	mend := mender(func() {
		leave()
		here.Wait()
	})
	select {
	case <-full:
	case <-time.After(e.For):
	}
	_, err := sessionsTerminated(ctx, c, e)
	return mend, err
}

// takeConnections takes each connection that it can get and keeps them until ctx ends. It says when there is none left.
func takeConnections(ctx context.Context, dsn string, full func()) {
	var taken []*pgx.Conn
	defer func() {
		for _, conn := range taken {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	for ctx.Err() == nil {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			taken = append(taken, conn)
			continue
		}
		full()
		_ = sleep(ctx, time.Millisecond) // a server that refuses must not be hammered
	}
}

var errNoDisk = errors.New("this program may not mount a small disk")

// diskFull leaves no room for the table. The WAL has another disk.
func diskFull(_ context.Context, c *chaos, _ Event) (func(context.Context) error, error) {
	if c.cluster.Primary.Disk == "" {
		return nil, errNoDisk
	}
	free, err := c.cluster.Primary.FillDisk()
	if err != nil {
		return nil, err
	}
	return mendOnce(free), nil
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
