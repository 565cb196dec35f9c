package signals_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

// Each way in which one of PostgreSQL's own figures misleads, on a real pair.

// ask reads one value over a connection of its own.
func ask[T any](t testing.TB, dsn, sql string) (v T) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(context.Background(), sql).Scan(&v))
	return v
}

// readUntil reads without a beat until the sample satisfies ok.
func readUntil(t *testing.T, l *signals.Lag, what string, ok func(throttle.Sample) bool) throttle.Sample {
	t.Helper()
	var s throttle.Sample
	patience := time.After(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if s = l.Read(t.Context()); s.Err == nil && ok(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("waited in vain for: %s; last sample %+v", what, s)
		}
	}
}

// freeze stops a process of a standby, by its backend_type, and returns what lets it go on. It goes on before the cluster is
// stopped in any case.
func freeze(t testing.TB, standby, backend string) (thaw func()) {
	t.Helper()
	pid := ask[int](t, standby, "SELECT pid FROM pg_stat_activity WHERE backend_type = '"+backend+"'")
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	thaw = func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("let the %s go on: %v", backend, err)
		}
	}
	t.Cleanup(thaw)
	return thaw
}

func pair(t *testing.T, opts ...harness.PostgresOption) *harness.Cluster {
	t.Helper()
	c := harness.Postgres(t, append(opts, harness.WithStandby(1))...)
	c.Exec(t, "postgres", heartbeatTable)
	require.NoError(t, c.WaitReplayed())
	return c
}

func TestIdlePairHasNoLagWhereReplayTimestampShowsSeconds(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	l := signals.NewLag(db.Pool, time.Now, 0)
	until(t, l, "the standby is caught up", caughtUp)
	standby, err := pgx.Connect(t.Context(), db.Cluster.ReplicaDSN(0, "postgres"))
	require.NoError(t, err)
	defer standby.Close(context.Background())
	readUntil(t, l, "the usual expression shows 2 s, and the reading 0", func(s throttle.Sample) bool {
		var usual float64
		require.NoError(t, standby.QueryRow(t.Context(),
			"SELECT coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)::float8").Scan(&usual))
		return usual > 2 && s.Members[0].Lag == 0 && s.Members[0].Bytes == 0
	})
}

func TestReplayLagThatIsNullIsNoHiddenMember(t *testing.T) {
	c := pair(t, harness.WithSetting("wal_receiver_status_interval", "1s"))
	l := signals.NewLag(c.Pool(t, "postgres"), time.Now, 0)
	until(t, l, "the standby is caught up", caughtUp)
	s := readUntil(t, l, "replay_lag is NULL", func(throttle.Sample) bool {
		return ask[bool](t, c.DSN("postgres"), "SELECT bool_and(replay_lag IS NULL) FROM pg_stat_replication")
	})
	require.Equal(t, "streaming", s.Members[0].State)
	require.False(t, throttle.NewLagStop(throttle.LagConfig{}).Step(s).Hold)
}

func TestLagGrowsWhereReplayLagStandsStill(t *testing.T) {
	c := pair(t)
	l := signals.NewLag(c.Pool(t, "postgres"), time.Now, 0)
	until(t, l, "the standby is caught up", caughtUp)
	thaw := freeze(t, c.ReplicaDSN(0, "postgres"), "startup")
	until(t, l, "some WAL is not replayed", func(s throttle.Sample) bool { return s.Members[0].Bytes > 0 && s.Members[0].Lag > 0.1 })

	// From now on nothing is written.
	const replayLag = "SELECT coalesce(extract(epoch FROM replay_lag), 0)::float8 FROM pg_stat_replication"
	began, before := time.Now(), ask[float64](t, c.DSN("postgres"), replayLag)
	s := readUntil(t, l, "the lag grows", func(s throttle.Sample) bool { return s.Members[0].Lag > 2.5 })
	require.Less(t, ask[float64](t, c.DSN("postgres"), replayLag)-before, 0.5*time.Since(began).Seconds(), "the view's own figure stands still")
	require.True(t, throttle.NewLagStop(throttle.LagConfig{}).Step(s).Hold)
	thaw()
	until(t, l, "it is caught up again", caughtUp)
}

func TestHungReceiverLagsAndThenIsMissing(t *testing.T) {
	c := pair(t, harness.WithSetting("wal_sender_timeout", "3s"))
	l := signals.NewLag(c.Pool(t, "postgres"), time.Now, 0)
	stop := throttle.NewLagStop(throttle.LagConfig{})
	until(t, l, "the standby is caught up", caughtUp)
	thaw := freeze(t, c.ReplicaDSN(0, "postgres"), "walreceiver")

	const replayLag = "SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::float8 FROM pg_stat_replication"
	s := until(t, l, "the lag grows", func(s throttle.Sample) bool { return s.Members[0].Lag > 1.5 && !s.Members[0].Missing })
	require.Less(t, ask[float64](t, c.DSN("postgres"), replayLag), 0.5, "the view's own figure shows nothing")
	require.True(t, stop.Step(s).Hold)
	s = until(t, l, "its row is gone", func(s throttle.Sample) bool { return s.Members[0].Missing })
	require.Contains(t, stop.Step(s).Reasons[0].Text, "standby1 has been missing for")
	thaw()
	until(t, l, "it is back", caughtUp)
}

func TestReplicaDelayedOnPurpose(t *testing.T) {
	c := pair(t)
	l := signals.NewLag(c.Pool(t, "postgres"), time.Now, 0)
	until(t, l, "the standby is caught up", caughtUp)
	delay(t, c, "1500ms")
	s := until(t, l, "the lag is the delay", func(s throttle.Sample) bool { return s.Members[0].Lag > 1.4 })
	require.Less(t, s.Members[0].Lag, 3.0)
	stop := throttle.NewLagStop(throttle.LagConfig{})
	require.True(t, stop.Step(s).Hold, "it holds the fleet")
	s.Members[0].Policy = throttle.PolicyIgnore
	require.False(t, stop.Step(s).Hold, "unless it is ignored by name")
}

// A far replica is always a little behind. The reading shows it; that it is normal the controller learns.
func TestFarReplicaShowsItsBaseDelay(t *testing.T) {
	c := pair(t)
	l := signals.NewLag(c.Pool(t, "postgres"), time.Now, 0)
	until(t, l, "the standby is caught up", caughtUp)
	delay(t, c, "300ms")
	least, readings := 0.0, 0
	until(t, l, "twenty readings in turn show the delay", func(s throttle.Sample) bool {
		if s.Members[0].Lag < 0.25 {
			readings = 0
			return false
		}
		if readings++; readings == 1 || s.Members[0].Lag < least {
			least = s.Members[0].Lag
		}
		return readings == 20
	})
	require.Less(t, least, 0.5)
}

// delay has the standby replay each commit so much later.
func delay(t testing.TB, c *harness.Cluster, by string) {
	t.Helper()
	standby := c.ReplicaDSN(0, "postgres")
	exec(t, standby, "ALTER SYSTEM SET recovery_min_apply_delay = '"+by+"'")
	exec(t, standby, "SELECT pg_reload_conf()")
}

// A leader that read nothing for a while does not know when the primary passed what, and takes the worst. Here replay stops at the
// very end of what was written at the beginning of the gap: to take the primary for one that writes evenly would read almost 0, and
// the view's own figure reads that, too.
func TestSamplingGapHidesNoLag(t *testing.T) {
	c := pair(t)
	l := signals.NewLag(c.Pool(t, "postgres"), time.Now, 0)
	other := signals.NewLag(c.Pool(t, "postgres"), time.Now, 0)
	until(t, l, "the standby is caught up", caughtUp)

	c.Exec(t, "postgres", "CREATE TABLE filler AS SELECT generate_series(1, 200000) AS n")
	require.NoError(t, c.WaitReplayed())
	freeze(t, c.ReplicaDSN(0, "postgres"), "startup")
	until(t, other, "a reader without the gap sees the lag", func(s throttle.Sample) bool { return s.Members[0].Lag > 2.5 })
	s := l.Read(t.Context())
	require.NoError(t, s.Err)
	require.Greater(t, s.Members[0].Lag, 2.5)
}
