package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// What an administrator, a full disk or too many clients do to a server that stays up. These tests have a cluster of their own, one
// after the other.
func TestTroubledServer(t *testing.T) {
	t.Parallel()
	c := harness.Postgres(t, harness.WithSetting("max_connections", "50"))
	on := func(name, options string, test func(*testing.T, *harness.Cluster, *fleet)) {
		t.Run(name, func(t *testing.T) {
			database := "db" + fmt.Sprint(len(t.Name()))
			c.Exec(t, "postgres", "CREATE DATABASE "+database+options)
			f := fleetOn(t, c.DSN(database), c.Pool(t, database), shape{rows: 150_000, perRange: perRange, rate: 12_000, passes: 1})
			test(t, c, f)
		})
	}
	on("SessionsTerminated", "", sessionsTerminated)
	on("NoConnectionLeft", "", noConnectionLeft)
	disk := harness.Tmpfs(t, 96<<20)
	c.Exec(t, "postgres", "CREATE TABLESPACE small LOCATION '"+disk+"'")
	on("DiskFull", " TABLESPACE small", func(t *testing.T, _ *harness.Cluster, f *fleet) { diskFull(t, disk, f) })
}

// terminate ends every session of the fleet, as an administrator would, and returns how many there were.
func (f *fleet) terminate() (n int) {
	f.t.Helper()
	err := f.pool.QueryRow(f.t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name LIKE 'backfleet%'`).Scan(&n)
	require.NoError(f.t, err)
	return n
}

// Each time that an administrator ends all sessions, in the middle of whatever they do, the fleet is back with new ones.
func sessionsTerminated(t *testing.T, _ *harness.Cluster, f *fleet) {
	_, workers := f.begin(2)
	var ended int
	var longest time.Duration
	for n := range 8 {
		f.awaitShare(0.1 + 0.05*float64(n))
		ended += f.terminate()
		longest = max(longest, f.awaitMore())
	}
	require.LessOrEqual(t, longest, 5*time.Second)
	hit := 0 // of either: which of them may work is the governor's to say
	for _, w := range workers {
		hit += len(logged(w, "claiming anew", "57P01"))
	}
	require.Positive(t, hit, "no batch was hit")
	f.unleash()
	f.prove(fmt.Sprintf("%d sessions ended in 8 rounds; batches again within %s", ended, short(longest)))
}

// When every connection that the server allows is somebody else's, the fleet waits, and goes on once there is room.
func noConnectionLeft(t *testing.T, c *harness.Cluster, f *fleet) {
	coordinator, workers := f.begin(2)
	f.awaitShare(0.1)
	ctx, release := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	defer crowd.Wait()
	defer release()
	for range 4 {
		crowd.Go(func() { takeConnections(ctx, c.DSN("postgres")) })
	}
	f.await("the fleet has no session left", func(context.Context) (bool, error) {
		return f.terminate() == 0 && len(logged(coordinator, "too many clients")) > 0, nil
	})
	f.awaitStill()
	require.True(t, workers[0].Running() && workers[1].Running() && coordinator.Running())
	release()
	crowd.Wait()
	back := f.awaitMore()
	require.LessOrEqual(t, back, 10*time.Second)
	f.unleash()
	f.prove(fmt.Sprintf("batches %s after there was room for connections again", short(back)))
}

// takeConnections takes each connection that it can get and keeps them until ctx ends.
func takeConnections(ctx context.Context, dsn string) {
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
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond): // a server that refuses must not be hammered
		}
	}
}

// On a full disk neither rows nor checkpoints can be written. The fleet waits and says why, and goes on once there is room.
func diskFull(t *testing.T, disk string, f *fleet) {
	_, workers := f.begin(2)
	f.awaitShare(0.1)
	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	full := func() int {
		return len(logged(workers[0], "No space left on device")) + len(logged(workers[1], "No space left on device"))
	}
	f.await("a batch finds the disk full", func(context.Context) (bool, error) { return full() > 0, nil })
	fill(t, filler) // and what was left in pages is gone too
	f.awaitStill()
	tries := full()
	require.Contains(t, f.must("status", f.job), "No space left on device")
	require.NoError(t, os.Remove(filler))
	back := f.awaitMore()
	require.LessOrEqual(t, back, 5*time.Second)
	f.unleash()
	f.prove(fmt.Sprintf("%d tries met the full disk; batches %s after there was room again", tries, short(back)))
}

// fill writes to a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = file.Write(block)
	}
	require.ErrorContains(t, err, "no space left on device")
}
