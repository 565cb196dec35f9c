package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// The tests of this file stop servers, so they have a cluster of their own, which they share one after the other.
func TestServers(t *testing.T) {
	t.Parallel()
	c := harness.Postgres(t, harness.WithStandby(1), harness.WithSetting("wal_writer_delay", "10s"), harness.WithSetting("wal_writer_flush_after", "1GB"))
	on := func(test func(*testing.T, *harness.Cluster, *fleet), blocks bool) func(*testing.T) {
		return func(t *testing.T) {
			name := "db" + fmt.Sprint(len(t.Name()))
			c.Exec(t, "postgres", "CREATE DATABASE "+name)
			f := fleetOn(t, c.DSN(name), c.Pool(t, name), shape{rows: 200_000, perRange: 50_000, rate: 15_000, blocks: blocks})
			test(t, c, f)
		}
	}
	t.Run("PostgresDies", on(postgresDies, false))
	t.Run("PostgresDiesInBlockOrder", on(postgresDies, true))
	t.Run("StandbyAway", on(standbyAway, false))
}

// Postgres may die and come back. Batches commit with synchronous_commit=off: the last ones are lost, rows and checkpoint together,
// and done again.
func postgresDies(t *testing.T, c *harness.Cluster, f *fleet) {
	f.exec("ALTER DATABASE " + f.database() + " SET synchronous_commit = off") // for the writers, whose commits would flush ours
	f.pool.Reset()
	coordinator, workers := f.begin(2)
	lost := int64(0)
	var gaps []time.Duration
	for n, stop := range []func() error{c.StopImmediate, c.Kill, c.StopImmediate, c.Kill, c.StopImmediate, c.Kill} {
		if n >= 2 && lost > 0 {
			break
		}
		f.awaitShare(0.1 + 0.1*float64(n))
		// Nothing flushes the last batches while the fleet is frozen: neither the coordinator's heartbeat nor the end of one of these
		// long ranges. And no batch comes between the counts and the stop.
		require.NoError(t, coordinator.Stop())
		f.awaitMore()
		f.awaitMore()
		for _, w := range workers {
			require.NoError(t, w.Stop())
		}
		before := f.rowsDone()
		require.NoError(t, stop())
		down := time.Now()
		require.NoError(t, c.Restart())
		up := time.Now()
		after := f.rowsDone()
		for _, p := range append(workers, coordinator) {
			require.NoError(t, p.Cont())
		}
		lost += max(0, before-after) // a batch under way may have come after the count
		t.Logf("stop %d: %d rows were done, %d after recovery; down for %s", n, before, after, short(up.Sub(down)))
		f.awaitMore()
		gaps = append(gaps, time.Since(up).Round(time.Millisecond))
	}
	require.Positive(t, lost, "no batch was lost: nothing was tested")
	require.Empty(t, logged(coordinator, "lease ran out"), "each worker kept its range over the restart")
	f.unleash()
	f.prove(fmt.Sprintf("%d rows of lost batches done again; batches after recovery in %v", lost, gaps))
}

func (f *fleet) database() (name string) {
	f.t.Helper()
	require.NoError(f.t, f.pool.QueryRow(f.t.Context(), "SELECT current_database()").Scan(&name))
	return name
}

// A standby that is away or behind holds the fleet, which says why and goes on by itself.
func standbyAway(t *testing.T, c *harness.Cluster, f *fleet) {
	f.begin(2)
	api := f.api()
	f.awaitShare(0.1)
	require.NoError(t, c.Standbys[0].Stop())
	stopped := time.Now()
	f.awaitReason("missing", api)
	held := time.Since(stopped)
	still := f.awaitStill()
	require.NoError(t, c.Standbys[0].Start())
	started := time.Now()
	f.awaitMore()
	released := time.Since(started)

	f.must("set", f.job, "throttle.lag.target=1s")
	f.awaitShare(0.4)
	replica, err := pgx.Connect(t.Context(), c.ReplicaDSN(0, "postgres"))
	require.NoError(t, err)
	defer replica.Close(context.WithoutCancel(t.Context()))
	_, err = replica.Exec(t.Context(), "SELECT pg_wal_replay_pause()")
	require.NoError(t, err)
	paused := time.Now()
	f.awaitReason("lag of standby1", api)
	lagHeld := time.Since(paused)
	f.awaitStill()
	_, err = replica.Exec(t.Context(), "SELECT pg_wal_replay_resume()")
	require.NoError(t, err)
	resumed := time.Now()
	f.awaitMore()
	f.unleash()
	f.prove(fmt.Sprintf("standby stopped: held in %s, last batch %s later, goes on %s after its return; replay paused: held in %s at a target of 1s, goes on %s after resume",
		short(held), short(still), short(released), short(lagHeld), short(time.Since(resumed))))
}

// awaitReason waits until the status names what holds the fleet.
func (f *fleet) awaitReason(words string, api []string) {
	f.t.Helper()
	f.await("the status says "+words, func(context.Context) (bool, error) {
		return strings.Contains(f.must(append([]string{"status", f.job}, api...)...), words), nil
	})
}
