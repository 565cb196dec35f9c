// Package fleet proves the whole line in one process: a coordinator and a worker, over a real Postgres and an embedded NATS with
// JetStream on disk. The tests read as a specification; each names the invariant of the design that it proves.
package fleet

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/backfleet/backfleet/coordinator"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/worker"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	patience = 90 * time.Second
	glance   = 20 * time.Millisecond
	slots    = 4
)

// fleet is one database with its ledger, its stream and, once started, those who work on it.
type fleet struct {
	*testing.T
	db    *harness.TestDatabase
	admin *pgxpool.Pool // the application and the database's owner
	pool  *pgxpool.Pool // the fleet's own
	sense *pgxpool.Pool // the governors' own
	store *store.Store
	nats  *queue.Embedded
	conn  *queue.Conn
	log   *zap.Logger

	token  string
	sample *preflight.Sampling // of a submit; nil: no forecast
}

// stage prepares a fleet that has not begun, and runs the statements in its database.
func stage(t *testing.T, statements ...string) *fleet {
	t.Helper()
	t.Parallel()
	return alone(t, statements...)
}

// alone is a stage of a test that no other of this package runs beside.
func alone(t *testing.T, statements ...string) *fleet {
	t.Helper()
	db := harness.Database(t)
	f := &fleet{T: t, db: db, admin: db.Pool, log: zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel)), token: "fleet-test"}
	for _, s := range statements {
		f.exec(s)
	}
	f.pool = f.open(db.DSN)
	f.sense = f.open(db.DSN)
	f.store = store.New(f.pool, "main")
	_, _, err := f.store.Migrate(t.Context())
	require.NoError(t, err)

	f.nats, err = queue.Embed(queue.EmbedOptions{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Token: f.token, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(f.nats.Shutdown)
	f.conn, err = f.nats.Connect(t.Context(), queue.Options{Logger: f.log})
	require.NoError(t, err)
	t.Cleanup(f.conn.Close)
	return f
}

// started is a stage with the fleet at work.
func started(t *testing.T, statements ...string) *fleet {
	t.Helper()
	f := stage(t, statements...)
	f.start()
	return f
}

func (f *fleet) open(dsn string) *pgxpool.Pool {
	f.Helper()
	pool, err := postgres.Open(f.Context(), "main", postgres.SourceOf(dsn), postgres.PoolOptions{MaxConns: slots + 8})
	require.NoError(f, err)
	f.Cleanup(pool.Close)
	return pool
}

// start lets a coordinator and a worker of four slots begin. They end with the test, or with stop.
func (f *fleet) start() (stop func()) {
	return f.run(map[string]func(context.Context) error{
		"coordinator": f.coordinator("coordinator-1").Run,
		"worker":      f.worker("worker-1").Run,
	})
}

func (f *fleet) coordinator(name string) *coordinator.Coordinator {
	return coordinator.New(coordinator.Config{Name: name, Databases: []coordinator.Database{{Ledger: f.store, Signals: f.sense}}, Queue: f.conn, Logger: f.log})
}

func (f *fleet) worker(id string) *worker.Worker {
	return worker.New(worker.Config{
		ID: id, Slots: slots, Databases: []worker.Database{{Name: "main", Pool: f.pool, Ledger: f.store}}, Queue: f.conn, Logger: f.log,
	})
}

func (f *fleet) run(parts map[string]func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for name, part := range parts {
		all.Go(func() {
			if err := part(ctx); err != nil {
				f.Errorf("%s: %v", name, err)
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
	f.Cleanup(stop)
	return stop
}

// exec runs a statement as the application.
func (f *fleet) exec(sql string, args ...any) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	_, err := f.admin.Exec(ctx, sql, args...)
	require.NoError(f, err, sql)
}

// number reads one number as the application.
func (f *fleet) number(sql string, args ...any) (n int) {
	f.Helper()
	require.NoError(f, f.admin.QueryRow(f.Context(), sql, args...).Scan(&n), sql)
	return n
}

// until waits for a condition.
func (f *fleet) until(what string, condition func() bool) {
	f.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(glance) {
		if time.Now().After(deadline) {
			f.Fatalf("did not come about within %s: %s", patience, what)
		}
	}
}

// still watches for a while that a condition does not come about.
func (f *fleet) still(what string, d time.Duration, condition func() bool) {
	f.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(glance) {
		if !condition() {
			f.Fatalf("did not last: %s", what)
		}
	}
}

// submit checks a spec against the database, as `backfleet submit` does, and stores it.
func (f *fleet) submit(spec string) job.Job {
	f.Helper()
	return f.submitOn(f.pool, spec)
}

func (f *fleet) submitOn(pool *pgxpool.Pool, spec string) job.Job {
	f.Helper()
	if !strings.Contains(spec, "database:") {
		spec += "\ndatabase: main"
	}
	s, err := job.ParseSpec([]byte(spec), "")
	require.NoError(f, err)
	plan, err := preflight.Check(f.Context(), pool, s, preflight.Options{Sample: f.sample})
	require.NoError(f, err)
	j, err := store.New(pool, "main").Submit(f.Context(), "ann", store.NewJob{
		Spec: plan.Spec, Key: plan.Key, Idempotent: plan.Idempotent, Order: plan.Walk.Order, Passes: plan.HOT.Passes, SearchPath: plan.SearchPath, Estimate: plan.Rows, EstimateBy: plan.RowsBy, Forecast: plan.Forecast,
	})
	require.NoError(f, err)
	return j
}

func (f *fleet) status(j job.Job) job.Status {
	f.Helper()
	st, err := f.store.Status(f.Context(), j.ID)
	require.NoError(f, err)
	return st
}

// reaches waits for a state; a job that ended otherwise fails the test with its reason.
func (f *fleet) reaches(j job.Job, want job.State) job.Status {
	f.Helper()
	var st job.Status
	f.until(fmt.Sprintf("job %s is %s", j.Name, want), func() bool {
		st = f.status(j)
		if st.State != want && st.State.Ended() {
			f.Fatalf("job %s is %s, not %s: %s", j.Name, st.State, want, st.Reason)
		}
		return st.State == want
	})
	return st
}

// ends waits for a job's end and for its stream to be empty, and returns its report.
func (f *fleet) ends(j job.Job, want job.State) job.Report {
	f.Helper()
	f.reaches(j, want)
	f.until("the stream holds nothing of "+j.Name, func() bool {
		now, err := f.store.Get(f.Context(), j.ID)
		require.NoError(f, err)
		return now.StreamClear
	})
	left, err := f.conn.Inventory(f.Context(), "main", j.Name)
	require.NoError(f, err)
	require.Empty(f, left)
	_, err = f.conn.Lag(f.Context(), "main", j.Name)
	require.ErrorIs(f, err, queue.ErrNoConsumer)
	r, err := f.store.Report(f.Context(), j.ID)
	require.NoError(f, err)
	require.Equal(f, want, r.State)
	for _, c := range r.Coverage {
		require.Empty(f, c.Gaps, c.Relation)
	}
	return r
}

// completes waits until a job is complete, which means verified.
func (f *fleet) completes(j job.Job) job.Report {
	f.Helper()
	r := f.ends(j, job.Complete)
	require.True(f, r.Verified)
	require.Empty(f, r.Quarantined)
	return r
}

// counter makes a table of n rows that a job of counterSpec counts.
func counter(n int) []string {
	return []string{
		"create table t (id bigint primary key, n int not null default 0)",
		fmt.Sprintf("insert into t (id) select generate_series(1, %d)", n),
		"vacuum analyze t",
	}
}

// counterSpec is not idempotent: it proves that each row was done exactly once.
const counterSpec = `
name: count
table: t
set: {n: n + 1}
check: n % 1000 = 1
late_rows: ignore
rows_per_range: 1000
`

// once fails unless every row of the counter was done exactly once.
func (f *fleet) once() {
	f.Helper()
	require.Zero(f, f.number("select count(*) from t where n <> 1"))
}

// lock holds row locks as an application would, until release.
func (f *fleet) lock(sql string) (release func()) {
	f.Helper()
	tx, err := f.admin.Begin(f.Context())
	require.NoError(f, err)
	_, err = tx.Exec(f.Context(), sql)
	require.NoError(f, err)
	release = sync.OnceFunc(func() { _ = tx.Rollback(context.Background()) })
	f.Cleanup(release)
	return release
}

// done counts a job's ranges in state done.
func (f *fleet) done(j job.Job) int {
	return f.number("select count(*) from backfleet.ranges where job_id = $1 and state = 'done'", j.ID)
}
