package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"
)

// suite is what the tests of one process share: the Env, and one cluster for all tests that ask for a Database.
// It is set by Main, because only Main can end it.
var suite *shared

type shared struct {
	env       *Env
	cluster   func() (*Cluster, error)
	databases atomic.Int64
}

// Main runs a package's tests, ends everything that they started, and fails the run when a goroutine is left. The
// options are for the shared cluster, which starts with the first test that calls Database. It does not return.
func Main(m *testing.M, opts ...PostgresOption) {
	goleak.VerifyTestMain(&run{m: m, opts: opts})
}

// run is goleak's view of a test run: the servers must be gone before it looks for goroutines.
type run struct {
	m    *testing.M
	opts []PostgresOption
}

func (r *run) Run() int {
	env, err := NewEnv()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the test harness:", err)
		return 1
	}
	suite = &shared{env: env, cluster: sync.OnceValues(func() (*Cluster, error) { return env.StartPostgres(r.opts...) })}
	code := r.m.Run()
	if err := env.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "end the test harness:", err)
		return max(code, 1)
	}
	return code
}

// Environment is the Env of this test process, for what the wrappers below do not cover.
func Environment(t testing.TB) *Env {
	t.Helper()
	if suite == nil {
		t.Fatal("the harness is not started: give this package `func TestMain(m *testing.M) { harness.Main(m) }`")
	}
	return suite.env
}

// Postgres starts a cluster for this test alone, which may kill and promote as it likes. Its logs are printed when
// the test fails.
func Postgres(t testing.TB, opts ...PostgresOption) *Cluster {
	t.Helper()
	c, err := Environment(t).StartPostgres(opts...)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	servers := append([]*Server{c.Primary}, c.Standbys...)
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		logOnFailure(t, servers)
		for _, s := range servers {
			os.RemoveAll(s.Dir)
		}
	})
	return c
}

// SharedCluster is the cluster that all tests of this package share. Do not stop it, and change nothing outside your
// own database.
func SharedCluster(t testing.TB) *Cluster {
	t.Helper()
	Environment(t)
	c, err := suite.cluster()
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	return c
}

// TestDatabase is a fresh database of the shared cluster.
type TestDatabase struct {
	// Name is the database's name.
	Name string
	// DSN is its connection string on the primary, for the superuser.
	DSN string
	// Pool is connected to it, and closed when the test ends.
	Pool *pgxpool.Pool
	// Cluster is the shared cluster.
	Cluster *Cluster
}

// Database creates an empty database for this test in the shared cluster and drops it when the test ends.
func Database(t testing.TB) *TestDatabase {
	t.Helper()
	c := SharedCluster(t)
	ctx := context.Background()
	d := &TestDatabase{Name: fmt.Sprintf("test%d", suite.databases.Add(1)), Cluster: c}
	d.DSN = c.DSN(d.Name)
	if err := c.Primary.exec("CREATE DATABASE " + d.Name + " TEMPLATE template0"); err != nil {
		t.Fatalf("create a database: %v", err)
	}
	logged := len(c.Primary.Log())
	d.Pool = openPool(t, d.DSN)
	t.Cleanup(func() {
		d.Pool.Close()
		if err := c.Primary.exec("DROP DATABASE " + d.Name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
		if t.Failed() {
			t.Logf("PostgreSQL's log of this test:\n%s", tail(c.Primary.Log()[logged:], 100))
		}
	})
	if err := d.Pool.Ping(ctx); err != nil {
		t.Fatalf("connect to the test's database: %v", err)
	}
	return d
}

// Pool opens a pool on a database of the primary, closed when the test ends.
func (c *Cluster) Pool(t testing.TB, database string) *pgxpool.Pool {
	t.Helper()
	return openPool(t, c.DSN(database))
}

// Exec runs statements on the primary's database, each in its own transaction, and fails the test on an error.
func (c *Cluster) Exec(t testing.TB, database string, statements ...string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// NATS starts a NATS server for this test. Its log is printed when the test fails.
func NATS(t testing.TB, opts ...NATSOption) *NATSServer {
	t.Helper()
	n, err := Environment(t).StartNATS(opts...)
	if err != nil {
		t.Fatalf("start NATS: %v", err)
	}
	t.Cleanup(func() {
		n.Process().end()
		if t.Failed() {
			t.Logf("the NATS server's log:\n%s", tail(n.Log(), 50))
		}
	})
	return n
}

// LinkTo opens a link for this test to the server of a URL, such as a DSN; see [Link].
func LinkTo(t testing.TB, server string) *Link {
	t.Helper()
	return LinkAt(t, "127.0.0.1", server)
}

// LinkAt does the same on another address of this machine.
func LinkAt(t testing.TB, host, server string) *Link {
	t.Helper()
	to, err := linkTo(server)
	var l *Link
	if err == nil {
		l, err = Environment(t).StartLinkAt(host, to)
	}
	if err != nil {
		t.Fatalf("open a link: %v", err)
	}
	t.Cleanup(l.Close)
	return l
}

// NewHost makes a network namespace for this test; see [Host]. Where the kernel does not let it, the test is skipped, for no package can
// help: links, which need no leave, break in the same ways above TCP.
func NewHost(t testing.TB) *Host {
	t.Helper()
	h, err := Environment(t).StartHost()
	if errors.Is(err, ErrNoNamespaces) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("make a host: %v", err)
	}
	t.Cleanup(h.Close)
	return h
}

// ClusteredNATS starts a NATS cluster for this test. Its servers' logs are printed when the test fails.
func ClusteredNATS(t testing.TB, size int, opts ...NATSOption) *NATSCluster {
	t.Helper()
	c, err := Environment(t).StartNATSCluster(size, opts...)
	if err != nil {
		t.Fatalf("start a NATS cluster: %v", err)
	}
	t.Cleanup(func() {
		for _, n := range c.Servers {
			n.Process().end()
			if t.Failed() {
				t.Logf("the log of NATS server %s:\n%s", n.Name, tail(n.Log(), 50))
			}
		}
	})
	return c
}

// Backfleet builds the backfleet command, once for the test process, and returns its path.
func Backfleet(t testing.TB) string {
	t.Helper()
	bin, err := Environment(t).BuildBackfleet()
	if err != nil {
		t.Fatalf("build backfleet: %v", err)
	}
	return bin
}

// Start starts a program for this test, killed when the test ends. Env is added to the test's own environment. The
// output is printed when the test fails.
func Start(t testing.TB, path string, args []string, env []string) *Process {
	t.Helper()
	p, err := Environment(t).Start(Command{Path: path, Args: args, Env: env})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("output of %s %s (pid %d):\n%s", p.name, strings.Join(args, " "), p.PID(), tail(p.Output(), 100))
		}
	})
	return p
}

// Pool opens a pool on a DSN, closed when the test ends.
func Pool(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	return openPool(t, dsn)
}

func openPool(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func logOnFailure(t testing.TB, servers []*Server) {
	if !t.Failed() {
		return
	}
	for _, s := range servers {
		t.Logf("log of PostgreSQL %s:\n%s", s.Name, tail(s.Log(), 100))
	}
}
