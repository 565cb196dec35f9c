package signals_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

func TestMain(m *testing.M) { harness.Main(m, harness.WithStandby(1)) }

// heartbeatTable is the ledger's, which this package must not depend on.
const heartbeatTable = `CREATE SCHEMA backfleet;
	CREATE TABLE backfleet.heartbeat (id boolean PRIMARY KEY DEFAULT true CHECK (id), ts timestamptz NOT NULL);
	INSERT INTO backfleet.heartbeat (ts) VALUES (clock_timestamp())`

func exec(t testing.TB, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), sql)
	require.NoError(t, err)
}

// until beats and reads until the sample satisfies ok, and returns that sample.
func until(t *testing.T, l *signals.Lag, what string, ok func(throttle.Sample) bool) throttle.Sample {
	t.Helper()
	var s throttle.Sample
	patience := time.After(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		beat := l.Beat(t.Context())
		if s = l.Read(t.Context()); s.Err == nil && ok(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("waited in vain for: %s; last beat %v, last sample %+v", what, beat, s)
		}
	}
}

func caughtUp(s throttle.Sample) bool {
	return len(s.Members) == 1 && !s.Members[0].Missing && s.Members[0].State == "streaming" && s.Members[0].Lag < 0.5
}

func TestLagOfAnIdlePair(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	l := signals.NewLag(db.Pool, time.Now, 0)
	until(t, l, "the standby is caught up", caughtUp)

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	zero := 0
	for i := range 100 {
		<-tick.C
		if i%10 == 0 {
			require.NoError(t, l.Beat(t.Context()))
		}
		s := l.Read(t.Context())
		require.NoError(t, s.Err)
		require.Len(t, s.Members, 1)
		require.Equal(t, "standby1", s.Members[0].Name)
		require.Less(t, s.Members[0].Lag, 1.0, "reading %d", i)
		require.Positive(t, s.Members[0].Pos)
		require.Equal(t, s.Members[0].Bytes, max(0, s.WALPos-s.Members[0].Pos), "both are positions in the same WAL")
		if s.Members[0].Lag == 0 {
			zero++
		}
	}
	require.Greater(t, zero, 50, "an idle pair mostly reads exactly 0")
}

func TestLagGrowsWhileReplayIsPaused(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	l := signals.NewLag(db.Pool, time.Now, 0)
	stop := throttle.NewLagStop(throttle.LagConfig{})
	until(t, l, "the standby is caught up", caughtUp)

	standby := db.Cluster.ReplicaDSN(0, "postgres")
	exec(t, standby, "SELECT pg_wal_replay_pause()")
	t.Cleanup(func() { resume(t, standby) })
	paused := time.Now()
	var why throttle.Reason
	s := until(t, l, "the fleet is held", func(s throttle.Sample) bool {
		d := stop.Step(s)
		if d.Hold {
			why = d.Reasons[0]
		}
		return d.Hold
	})
	const threshold = 0.25 // a quarter of the target of 1 s
	if why.Signal == "lag of standby1" {
		require.Greater(t, s.Members[0].Lag, threshold)
	} else {
		require.Equal(t, "backlog of standby1", why.Signal)
		require.Greater(t, s.Members[0].Lag, threshold/2, "from there on the backlog counts")
		require.Greater(t, why.Observed, threshold)
	}
	require.LessOrEqual(t, s.Members[0].Lag, time.Since(paused).Seconds()+0.5, "lag is no longer than the pause")
	require.Positive(t, s.Members[0].Bytes)
	require.Regexp(t, `^lag of standby1 \d+\.\d+s over |^standby1 has [\d.]+ k?M?B to replay at `, why.Text)

	fresh := signals.NewLag(db.Pool, time.Now, 0)
	until(t, fresh, "a reader that begins now sees it too", func(s throttle.Sample) bool { return s.Members[0].Lag > 0.5 })

	resume(t, standby)
	s = until(t, l, "the fleet goes on", func(s throttle.Sample) bool { return !stop.Step(s).Hold })
	require.Less(t, s.Members[0].Lag, 0.8)
}

func resume(t *testing.T, standby string) {
	conn, err := pgx.Connect(context.Background(), standby)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), "SELECT pg_wal_replay_resume()")
	require.NoError(t, err)
}

func TestLagRemembersAStoppedStandby(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(1))
	c.Exec(t, "postgres", heartbeatTable)
	l := signals.NewLag(c.Pool(t, "postgres"), time.Now, 0)
	until(t, l, "the standby is caught up", caughtUp)

	began := time.Now()
	require.NoError(t, c.Standbys[0].Stop())
	s := until(t, l, "the standby is missing", func(s throttle.Sample) bool { return s.Members[0].Missing })
	require.WithinRange(t, s.Members[0].Since, began, time.Now())
	d := throttle.NewLagStop(throttle.LagConfig{}).Step(s)
	require.True(t, d.Hold)
	require.Contains(t, d.Reasons[0].Text, "standby1 has been missing for")
	ignored := throttle.Sample{At: s.At, ReadAt: s.ReadAt, Members: slices.Clone(s.Members)}
	ignored.Members[0].Policy = throttle.PolicyIgnore
	require.False(t, throttle.NewLagStop(throttle.LagConfig{}).Step(ignored).Hold)
	again := l.Read(t.Context())
	require.Equal(t, s.Members[0].Since, again.Members[0].Since, "since when stays")

	require.NoError(t, c.Standbys[0].Start())
	s = until(t, l, "it is back", caughtUp)
	require.Zero(t, s.Members[0].Since)
}

func TestLagAfterAFailoverForgetsTheOldMembers(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(1))
	c.Exec(t, "postgres", heartbeatTable)
	db := &movable{Pool: c.Pool(t, "postgres")}
	l := signals.NewLag(db, time.Now, 0)
	until(t, l, "the standby is caught up", caughtUp)
	require.NoError(t, c.WaitReplayed())

	require.NoError(t, c.Primary.StopImmediate())
	s := l.Read(t.Context())
	require.Error(t, s.Err)
	require.Len(t, s.Members, 1, "a failed reading keeps what was known")
	require.Less(t, s.ReadAt, s.At)

	require.NoError(t, c.Promote(0))
	db.Pool = c.Pool(t, "postgres")
	until(t, l, "the new primary has no replica yet", func(s throttle.Sample) bool { return len(s.Members) == 0 })
}

// movable is a pool that a failover replaces.
type movable struct{ *pgxpool.Pool }

func TestLagOfAStandbyIsAnError(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	require.NoError(t, db.Cluster.WaitReplayed())
	conn, err := pgx.Connect(t.Context(), db.Cluster.ReplicaDSN(0, db.Name))
	require.NoError(t, err)
	defer conn.Close(context.Background())
	l := signals.NewLag(conn, time.Now, 0)
	s := l.Read(t.Context())
	require.ErrorContains(t, s.Err, "recovery is in progress")
	require.True(t, s.ReadAt.IsZero())
	require.True(t, throttle.NewLagStop(throttle.LagConfig{}).Step(s).Hold)
	require.ErrorContains(t, l.Beat(t.Context()), "read-only transaction")
}

func TestLagWithoutPrivilege(t *testing.T) {
	db := harness.Database(t)
	role := "blind_" + db.Name
	exec(t, db.DSN, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { db.Cluster.Exec(t, "postgres", "DROP ROLE "+role) })
	conn, err := pgx.Connect(t.Context(), db.Cluster.Primary.DSNAs(role, db.Name))
	require.NoError(t, err)
	defer conn.Close(context.Background())

	l := signals.NewLag(conn, time.Now, 0)
	s := l.Read(t.Context())
	require.NoError(t, s.Err)
	require.Len(t, s.Members, 1)
	require.Equal(t, "standby1", s.Members[0].Name)
	require.Empty(t, s.Members[0].State)
	d := throttle.NewLagStop(throttle.LagConfig{}).Step(s)
	require.True(t, d.Hold)
	require.Contains(t, d.Reasons[0].Text, "GRANT pg_monitor")

	exec(t, db.DSN, "GRANT pg_monitor TO "+role)
	s = l.Read(t.Context())
	require.NoError(t, s.Err)
	require.Equal(t, "streaming", s.Members[0].State)
}

func TestLagExpectsDeclaredMembers(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	l := signals.NewLag(db.Pool, time.Now, 0)
	l.Expect("standby1", "standby2")
	s := until(t, l, "the one that is there is read", func(s throttle.Sample) bool { return !s.Members[0].Missing })
	require.Len(t, s.Members, 2)
	require.True(t, s.Members[1].Missing)
	require.False(t, s.Members[1].Since.IsZero())
}

func TestHeartbeatDoesNotWaitForADeadSynchronousStandby(t *testing.T) {
	c := harness.Postgres(t, harness.WithSetting("synchronous_standby_names", "gone"))
	pool := c.Pool(t, "postgres")
	_, err := pool.Exec(t.Context(), "SET synchronous_commit = local; "+heartbeatTable)
	require.NoError(t, err)
	pool.Reset()
	require.NoError(t, signals.NewLag(pool, time.Now, 0).Beat(t.Context()))
	var level string
	require.NoError(t, pool.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&level))
	require.Equal(t, "on", level, "the commit level is the heartbeat's own")
}

func TestHeartbeatIsBounded(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	tx, err := db.Pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.Background())
	_, err = tx.Exec(t.Context(), "LOCK TABLE backfleet.heartbeat")
	require.NoError(t, err)
	l := signals.NewLag(db.Pool, time.Now, 100*time.Millisecond)
	require.ErrorIs(t, l.Beat(t.Context()), context.DeadlineExceeded)
}

func TestLagLeavesOutWhatIsNoReplica(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	bin, err := harness.PostgresBin()
	require.NoError(t, err)
	dir := t.TempDir()
	harness.Start(t, filepath.Join(bin, "pg_receivewal"), []string{"--directory=" + dir, "--dbname=" + db.DSN, "--no-sync"}, nil)
	slot := "logical_" + db.Name
	exec(t, db.DSN, "SELECT pg_create_logical_replication_slot('"+slot+"', 'test_decoding')")
	t.Cleanup(func() {
		db.Cluster.Exec(t, "postgres", "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE active AND slot_name = '"+slot+"'",
			"SELECT pg_drop_replication_slot('"+slot+"')")
	})
	harness.Start(t, filepath.Join(bin, "pg_recvlogical"),
		[]string{"--dbname=" + db.DSN, "--slot=" + slot, "--start", "--file=" + filepath.Join(dir, "changes")}, nil)

	l := signals.NewLag(db.Pool, time.Now, 0)
	until(t, l, "three walsenders stream", func(s throttle.Sample) bool {
		require.Len(t, s.Members, 1, "only the standby is a replica")
		var n int
		require.NoError(t, db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").Scan(&n))
		return n == 3
	})
	s := l.Read(t.Context())
	require.NoError(t, s.Err)
	require.Len(t, s.Members, 1)
	require.Equal(t, "standby1", s.Members[0].Name)
}

func TestLagNamesAReplicaWithoutApplicationName(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(1))
	c.Exec(t, "postgres", heartbeatTable)
	l := signals.NewLag(c.Pool(t, "postgres"), time.Now, 0)
	present := func(name string) func(throttle.Sample) bool {
		return func(s throttle.Sample) bool {
			return slices.ContainsFunc(s.Members, func(m throttle.Member) bool { return m.Name == name && !m.Missing && m.Lag < 0.5 })
		}
	}
	until(t, l, "its application_name", present("standby1"))

	standby := c.ReplicaDSN(0, "postgres")
	exec(t, standby, fmt.Sprintf(
		"ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=%d user=postgres application_name=walreceiver'", c.Primary.Port))
	c.Exec(t, "postgres", "SELECT pg_copy_physical_replication_slot('standby1', 'by_slot')")
	exec(t, standby, "ALTER SYSTEM SET primary_slot_name = 'by_slot'")
	exec(t, standby, "SELECT pg_reload_conf()")
	until(t, l, "its slot", present("by_slot"))

	exec(t, standby, "ALTER SYSTEM SET primary_slot_name = ''")
	exec(t, standby, "SELECT pg_reload_conf()")
	until(t, l, "its address", present("walreceiver@127.0.0.1"))
}
