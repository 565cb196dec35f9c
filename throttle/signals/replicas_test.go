package signals_test

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

// replicaAt is a replica by a DSN that may change.
func replicaAt(name string, dsn func() string) signals.Replica {
	return signals.Replica{Name: name, Variable: "BACKFLEET_REPLICA_MAIN__X", Connect: func(ctx context.Context) (*pgx.Conn, error) {
		return pgx.Connect(ctx, dsn())
	}}
}

func fixed(dsn string) func() string { return func() string { return dsn } }

// asking returns a reader that asks the given replicas as well, until the test ends.
func asking(t testing.TB, primary signals.Querier, of ...signals.Replica) *signals.Lag {
	t.Helper()
	r := signals.NewReplicas(time.Now, 0, of...)
	require.NoError(t, r.Check(context.Background(), primary))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	l := signals.NewLag(primary, time.Now, 0)
	l.Ask(r)
	return l
}

func unreachable(t *testing.T, s throttle.Sample) throttle.Reading {
	t.Helper()
	require.Len(t, s.Signals, 1)
	require.Equal(t, signals.ReplicaUnreachable, s.Signals[0].Signal)
	return s.Signals[0]
}

// Without new WAL a replica that has yet to replay some reports nothing until it has replayed it all. One that is asked says how
// far it is.
func TestReplicaThatIsAskedIsSeenAtOnce(t *testing.T) {
	c := pair(t)
	pool, standby := c.Pool(t, "postgres"), c.ReplicaDSN(0, "postgres")
	alone, asked := signals.NewLag(pool, time.Now, 0), asking(t, pool, replicaAt("standby1", fixed(standby)))
	until(t, alone, "the standby is caught up", caughtUp)
	until(t, asked, "the standby is caught up", caughtUp)

	delay(t, c, "1500ms")
	until(t, asked, "it replays late", func(s throttle.Sample) bool {
		alone.Read(t.Context())
		return s.Members[0].Lag > 1.4
	})
	s := readUntil(t, asked, "it is seen to replay when nothing is written", func(s throttle.Sample) bool {
		later := alone.Read(t.Context())
		return later.Members[0].Lag > s.Members[0].Lag+0.5 && later.Members[0].Pos < s.Members[0].Pos
	})
	require.InDelta(t, 1.5, s.Members[0].Lag, 0.5, "the truth")
	require.Zero(t, unreachable(t, s).Value)
	readUntil(t, asked, "it has replayed all", caughtUp)
}

func TestPausedReplayIsSeenOnTheReplica(t *testing.T) {
	c := pair(t)
	pool, standby := c.Pool(t, "postgres"), c.ReplicaDSN(0, "postgres")
	alone, asked := signals.NewLag(pool, time.Now, 0), asking(t, pool, replicaAt("standby1", fixed(standby)))
	until(t, asked, "the standby is caught up", caughtUp)
	exec(t, standby, "SELECT pg_wal_replay_pause()")
	s := until(t, asked, "it says that a person paused it", func(s throttle.Sample) bool { return s.Members[0].Paused })
	require.Equal(t, "streaming", s.Members[0].State)
	until(t, asked, "it lags", func(s throttle.Sample) bool { return s.Members[0].Lag > 0.5 && s.Members[0].Paused })
	s = until(t, alone, "the primary sees only the lag", func(s throttle.Sample) bool { return s.Members[0].Lag > 0.2 })
	require.False(t, s.Members[0].Paused)
	resume(t, standby)
	until(t, asked, "it goes on", func(s throttle.Sample) bool { return caughtUp(s) && !s.Members[0].Paused })
}

func TestReplicaThatDoesNotAnswerHoldsUpNothing(t *testing.T) {
	c := pair(t)
	pool, standby := c.Pool(t, "postgres"), c.ReplicaDSN(0, "postgres")
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	require.NoError(t, err)
	defer deaf.Close()
	dsn := standby
	changed := make(chan string, 1)
	l := asking(t, pool, replicaAt("standby1", func() string {
		select {
		case dsn = <-changed:
		default:
		}
		return dsn + "&connect_timeout=1"
	}))
	const sessions = "FROM pg_stat_activity WHERE query LIKE '%pg_is_wal_replay_paused%' AND pid <> pg_backend_pid()"
	until(t, l, "the standby is asked", func(s throttle.Sample) bool {
		return caughtUp(s) && ask[int](t, standby, "SELECT count(*) "+sessions) == 1
	})

	// Its session hangs, and who connects anew is not heard.
	changed <- fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", deaf.Addr())
	session := ask[int](t, standby, "SELECT pid "+sessions)
	require.NoError(t, syscall.Kill(session, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(session, syscall.SIGCONT) })
	slowest := time.Duration(0)
	s := until(t, l, "the reading says so, and the primary's view counts", func(s throttle.Sample) bool {
		require.False(t, s.Members[0].Missing)
		began := time.Now()
		l.Read(t.Context())
		slowest = max(slowest, time.Since(began))
		return unreachable(t, s).Value > 2
	})
	require.Regexp(t, "^standby1: .*timeout", unreachable(t, s).Detail)
	require.Less(t, slowest, 500*time.Millisecond, "an answer is waited for 1 s, a connection 1 s: no reading waits for either")
	require.True(t, caughtUp(s))

	changed <- standby
	until(t, l, "it is asked again", func(s throttle.Sample) bool { return unreachable(t, s).Value == 0 })
}

func TestReplicaMustBeAStandbyOfThePrimary(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, heartbeatTable)
	require.NoError(t, db.Cluster.WaitReplayed())
	other := harness.Postgres(t, harness.WithStandby(1))
	role := "plain_" + db.Name
	exec(t, db.DSN, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { db.Cluster.Exec(t, "postgres", "DROP ROLE "+role) })
	require.NoError(t, db.Cluster.WaitReplayed())
	unprivileged, err := pgx.Connect(t.Context(), db.Cluster.Primary.DSNAs(role, db.Name))
	require.NoError(t, err)
	defer unprivileged.Close(context.Background())

	for name, c := range map[string]struct{ dsn, says string }{
		"a standby":        {db.Cluster.ReplicaDSN(0, db.Name), ""},
		"who is down":      {"postgres://postgres@127.0.0.1:1/x", ""},
		"the primary":      {db.DSN, `^replica "s1": BACKFLEET_REPLICA_MAIN__X leads to a primary; name a standby of this database, or remove it$`},
		"another cluster":  {other.ReplicaDSN(0, "postgres"), `^replica "s1": .* leads to another cluster \(system identifier \d+, the primary's is \d+\);`},
		"another database": {db.Cluster.ReplicaDSN(0, "postgres"), `^replica "s1": .* leads to the database "postgres", not "` + db.Name + `";`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, primary := range []signals.Querier{db.Pool, unprivileged} {
				err := signals.NewReplicas(time.Now, 0, replicaAt("S1", fixed(c.dsn))).Check(t.Context(), primary)
				if c.says == "" {
					require.NoError(t, err)
					continue
				}
				var stranger *signals.StrangerError
				require.ErrorAs(t, err, &stranger)
				require.Regexp(t, c.says, err.Error())
			}
		})
	}
	t.Run("no primary", func(t *testing.T) {
		pool, err := pgxpool.New(t.Context(), "postgres://postgres@127.0.0.1:1/x")
		require.NoError(t, err)
		defer pool.Close()
		require.ErrorContains(t, signals.NewReplicas(time.Now, 0).Check(t.Context(), pool), "ask the primary who it is")
	})
}

// A standby that lost its primary has no row there. Asked directly it is not missing, but behind.
func TestReplicaThatThePrimaryDoesNotShow(t *testing.T) {
	c := pair(t)
	standby := c.ReplicaDSN(0, "postgres")
	l := asking(t, c.Pool(t, "postgres"), replicaAt("standby1", fixed(standby)))
	until(t, l, "the standby is caught up", caughtUp)
	exec(t, standby, "ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'")
	exec(t, standby, "SELECT pg_reload_conf()")
	s := until(t, l, "it falls behind", func(s throttle.Sample) bool {
		return s.Members[0].State == "asked directly" && s.Members[0].Lag > 1.5
	})
	require.Len(t, s.Members, 1)
	require.Equal(t, "standby1", s.Members[0].Name)
	require.False(t, s.Members[0].Missing)
	require.True(t, throttle.NewLagStop(throttle.LagConfig{}).Step(s).Hold)
}

func TestReplicaIsTheMemberOfTheSameName(t *testing.T) {
	require.Equal(t, "far-standby-1", signals.ReplicaKey("Far_Standby.1"))
	require.Equal(t, "walreceiver-10-0-0-7", signals.ReplicaKey("walreceiver@10.0.0.7"))

	c := pair(t)
	standby := c.ReplicaDSN(0, "postgres")
	exec(t, standby, fmt.Sprintf(
		"ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=%d user=postgres application_name=Far_Standby.1'", c.Primary.Port))
	l := asking(t, c.Pool(t, "postgres"), replicaAt("far-standby-1", fixed(standby)))
	s := until(t, l, "two names are not the same", func(s throttle.Sample) bool { return len(s.Members) == 2 })
	require.Equal(t, "far-standby-1", s.Members[0].Name, "asked directly")
	require.Equal(t, "standby1", s.Members[1].Name)
	exec(t, standby, "SELECT pg_reload_conf()")
	s = until(t, l, "the primary's name is the member's", func(s throttle.Sample) bool { return s.Members[0].Name == "Far_Standby.1" })
	require.Len(t, s.Members, 2)
	require.Equal(t, "streaming", s.Members[0].State)
	require.True(t, s.Members[1].Missing, "nobody asks the one that had the old name")
}

func TestReplicaThatNeverAnsweredIsMissing(t *testing.T) {
	c := pair(t)
	l := asking(t, c.Pool(t, "postgres"), replicaAt("nowhere", fixed("postgres://postgres@127.0.0.1:1/x")))
	s := until(t, l, "it is declared, so it is waited for", func(s throttle.Sample) bool {
		return len(s.Members) == 2 && unreachable(t, s).Value > 0
	})
	require.Equal(t, "nowhere", s.Members[0].Name)
	require.True(t, s.Members[0].Missing)
	require.Contains(t, unreachable(t, s).Detail, "nowhere: ")
}

// After a failover the replica that was promoted is none any more, and one that did not follow shows no new heartbeat, however far
// its WAL reaches.
func TestReplicasAfterAFailover(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(2))
	c.Exec(t, "postgres", heartbeatTable)
	db := &movable{Pool: c.Pool(t, "postgres")}
	require.NoError(t, c.WaitReplayed())
	one, two := c.ReplicaDSN(0, "postgres"), c.ReplicaDSN(1, "postgres")
	l := asking(t, db, replicaAt("standby1", fixed(one)), replicaAt("standby2", fixed(two)))
	until(t, l, "both are caught up", func(s throttle.Sample) bool {
		return len(s.Members) == 2 && s.Members[0].Lag < 0.5 && s.Members[1].Lag < 0.5 && !s.Members[0].Missing && !s.Members[1].Missing
	})

	require.NoError(t, c.Primary.StopImmediate())
	require.NoError(t, c.Promote(0))
	db.Pool = c.Pool(t, "postgres")
	s := until(t, l, "the other one lags", func(s throttle.Sample) bool {
		return len(s.Members) == 1 && s.Members[0].Lag > 1.5 && unreachable(t, s).Value > 0
	})
	require.Equal(t, "standby2", s.Members[0].Name)
	require.Equal(t, "asked directly", s.Members[0].State)
	require.Regexp(t, `^standby1: replica "standby1": BACKFLEET_REPLICA_MAIN__X leads to a primary;[^;]*$`, unreachable(t, s).Detail)
}
