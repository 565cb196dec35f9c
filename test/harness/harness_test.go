package harness_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { harness.Main(m) }

func count(t *testing.T, dsn string) (n int) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer conn.Close(ctx)
	require.NoError(t, conn.QueryRow(ctx, "SELECT count(*) FROM t").Scan(&n))
	return n
}

func TestStandbyStreams(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(2))
	c.Exec(t, "postgres", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
	require.NoError(t, c.WaitReplayed())
	require.Equal(t, 1000, count(t, c.ReplicaDSN(0, "postgres")))
	require.Equal(t, 1000, count(t, c.ReplicaDSN(1, "postgres")))

	require.NoError(t, c.Primary.Stop())
	require.NoError(t, c.Promote(1))
	c.Exec(t, "postgres", "INSERT INTO t VALUES (0)")
	require.Equal(t, 1001, count(t, c.DSN("postgres")))
	require.Equal(t, "standby2", c.Primary.Name)
	require.Len(t, c.Standbys, 1)
}

// Servers are where BACKFLEET_TEST_SERVERS wants them: a container's first process is number one of its own.
func TestServersRunWhereTheyShould(t *testing.T) {
	c := harness.Postgres(t)
	content, err := os.ReadFile(filepath.Join(c.Primary.DataDir(), "postmaster.pid"))
	require.NoError(t, err)
	pid, _, _ := strings.Cut(string(content), "\n")
	require.Equal(t, os.Getenv(harness.ServersVariable) == "containers", pid == "1")
}

func TestPostgresSurvivesKill(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(1))
	c.Exec(t, "postgres", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS id")
	require.NoError(t, c.Kill())
	_, err := pgx.Connect(context.Background(), c.DSN("postgres"))
	require.Error(t, err)
	require.NoError(t, c.Restart())
	require.Contains(t, c.Primary.Log(), "database system was not properly shut down")
	require.Equal(t, 1000, count(t, c.DSN("postgres")))

	require.NoError(t, c.StopImmediate())
	require.NoError(t, c.Restart())
	c.Exec(t, "postgres", "INSERT INTO t VALUES (0)")
	require.NoError(t, c.WaitReplayed())
	require.Equal(t, 1001, count(t, c.ReplicaDSN(0, "postgres")))
}

// Primary and standby change places as often as one likes, and each has a small disk of its own.
func TestRejoin(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(1), harness.WithSmallDisk(32<<20))
	c.Exec(t, "postgres", "CREATE TABLE t (id int) TABLESPACE "+harness.SmallDisk)
	for n := range 3 {
		require.NoError(t, c.WaitReplayed())
		require.NoError(t, c.Kill())
		require.NoError(t, c.Promote(0))
		require.NoError(t, c.Rejoin(0))
		require.Empty(t, c.Former)
		require.Equal(t, n, count(t, c.ReplicaDSN(0, "postgres")))
		c.Exec(t, "postgres", "INSERT INTO t VALUES (0)")
	}
	require.Equal(t, 3, count(t, c.FailoverDSN("postgres")))

	pool := c.Pool(t, "postgres")
	free, err := c.Primary.FillDisk()
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "INSERT INTO t SELECT generate_series(1, 100000)")
	require.ErrorContains(t, err, "No space left on device")
	require.NoError(t, free())
	_, err = pool.Exec(t.Context(), "INSERT INTO t SELECT generate_series(1, 100000)")
	require.NoError(t, err)
	require.NoError(t, c.WaitReplayed())
}

func TestDatabasesAreSeparate(t *testing.T) {
	a, b := harness.Database(t), harness.Database(t)
	a.Cluster.Exec(t, a.Name, "CREATE TABLE t (id int)")
	b.Cluster.Exec(t, b.Name, "CREATE TABLE t AS SELECT 1 AS id")
	require.Equal(t, 0, count(t, a.DSN))
	require.Equal(t, 1, count(t, b.DSN))
}

func TestNATSStore(t *testing.T) {
	n := harness.NATS(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	streams := func() (names []string) {
		nc, err := nats.Connect(n.URL())
		require.NoError(t, err)
		defer nc.Close()
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		for name := range js.StreamNames(ctx).Name() {
			names = append(names, name)
		}
		return names
	}
	nc, err := nats.Connect(n.URL())
	require.NoError(t, err)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept.>"}})
	require.NoError(t, err)
	nc.Close()

	require.NoError(t, n.Kill())
	require.NoError(t, n.Start())
	require.Equal(t, []string{"KEPT"}, streams())

	require.Error(t, n.DeleteStore(), "the server runs")
	require.NoError(t, n.Kill())
	require.NoError(t, n.DeleteStore())
	require.NoError(t, n.Restart())
	require.Empty(t, streams())
}

func TestProcess(t *testing.T) {
	p := harness.Start(t, "/bin/sh", []string{"-c", `echo "ready on port $PORT"; read line; exit 7`}, []string{"PORT=42"})
	m, err := p.WaitForOutput(regexp.MustCompile(`port (\d+)`), 10*time.Second)
	require.NoError(t, err)
	require.Equal(t, "42", m[1])
	code, err := p.Wait(10 * time.Second)
	require.NoError(t, err)
	require.Equal(t, 7, code)
	_, err = p.WaitForOutput(regexp.MustCompile("never"), 10*time.Second)
	require.ErrorContains(t, err, "ended without writing")

	frozen := harness.Start(t, "/bin/sleep", []string{"60"}, nil)
	require.NoError(t, frozen.Stop())
	require.True(t, frozen.Running())
	require.NoError(t, frozen.Cont())
	require.NoError(t, frozen.Kill())
	code, err = frozen.Wait(time.Second)
	require.NoError(t, err)
	require.Equal(t, -1, code)
}

// A program that is killed leaves no server behind. This test's own binary plays the program.
func TestNothingOutlivesAKilledProgram(t *testing.T) {
	p := harness.Start(t, os.Args[0], []string{"-test.run=^TestVictim$", "-test.v"}, []string{victim + "=1"})
	m, err := p.WaitForOutput(regexp.MustCompile(`server at (\S+), child (\d+) in (\S+)`), time.Minute)
	require.NoError(t, err)
	require.DirExists(t, m[3])
	require.NoError(t, p.Kill())
	require.Eventually(t, func() bool {
		conn, err := net.DialTimeout("tcp", m[1], time.Second)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, 30*time.Second, 10*time.Millisecond, "the server still answers")
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile("/proc/" + m[2] + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, 30*time.Second, 10*time.Millisecond, "the child still runs")
	// The next program removes what it left on disk.
	env, err := harness.NewEnv()
	require.NoError(t, err)
	require.NoDirExists(t, m[3])
	require.NoError(t, env.Close())
	_, err = env.Start(harness.Command{Path: "/bin/true"})
	require.ErrorContains(t, err, "closed")
}

const victim = "BACKFLEET_TEST_VICTIM"

// TestVictim is the program that TestNothingOutlivesAKilledProgram kills; by itself it does nothing.
func TestVictim(t *testing.T) {
	if os.Getenv(victim) == "" {
		return
	}
	c := harness.Postgres(t)
	frozen := harness.Start(t, "/bin/sleep", []string{"3600"}, nil)
	require.NoError(t, frozen.Stop())
	fmt.Printf("server at 127.0.0.1:%d, child %d in %s\n", c.Primary.Port, frozen.PID(), filepath.Dir(c.Primary.Dir))
	<-t.Context().Done() // killed here
}
