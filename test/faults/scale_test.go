package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// unfair is how far a measured share or rate may be from what it should be. The tests of this file measure, so each runs alone.
const unfair = 0.05

// uneven is how far the rows of a few seconds may be from their limit: thirty-two processes share the two cores with the database.
const uneven = 0.15

// The fleet may grow from one worker to 32 and shrink to two in mid-run, half of those that go by SIGKILL: the database is pressed as
// before, and no budget on the way is above the limit.
func TestScale(t *testing.T) {
	const rate = 3_000
	f := newFleet(t, shape{rows: 150_000, perRange: 1_000, rate: rate})
	f.nats = harness.NATS(t)
	f.must("db", "init")
	f.coordinator()
	f.awaitLeader(nil)
	workers := []*harness.Process{f.worker(1)}
	heard := f.listen()
	f.must("submit", f.file) // and nobody else at work, whom the fleet would spare
	f.awaitShare(0.02)
	one := f.press(0.95 * rate)

	began := time.Now()
	for len(workers) < 32 {
		workers = append(workers, f.worker(1))
	}
	heard.awaitWorkers(f, 32)
	grown := time.Since(began)
	many := f.press(0.95 * rate)

	holder := f.awaitGrip("", 1_000).owner
	began = time.Now()
	left := 32
	for i, w := range workers {
		switch {
		case fmt.Sprintf("w%d", i+1) == holder:
			require.NoError(t, w.Kill())
			left--
		case left == 2:
		case i%2 == 0:
			require.NoError(t, w.Kill())
			left--
		default:
			require.NoError(t, w.Term())
			left--
		}
	}
	heard.awaitWorkers(f, 2)
	shrunk := time.Since(began)
	two := f.press(0.95 * rate)
	f.awaitSQL("no range is held by a worker that is gone", "SELECT count(*) <= 2 FROM backfleet.ranges WHERE state = 'running'")

	for _, p := range []press{one, many, two} {
		require.InEpsilon(t, rate, p.rows, uneven, "rows a second: one worker %v, 32 %v, two %v", one, many, two)
	}
	require.LessOrEqual(t, heard.most(), rate*1.0001, "the leases of one budget add up to more than the limit")
	f.unleash()
	f.prove(fmt.Sprintf("one worker: %v; 32, there after %s: %v; two, left after %s: %v", one, short(grown), many, short(shrunk), two))
}

// press is what a fleet does to its database.
type press struct {
	rows, batches float64 // a second
	sessions      float64 // in a batch at once, on average
}

func (p press) String() string {
	return fmt.Sprintf("%.0f rows/s, %.0f batches/s, %.2f sessions", p.rows, p.batches, p.sessions)
}

// press waits until the pace is at least so many rows a second, and measures for a while.
func (f *fleet) press(atLeast float64) (p press) {
	f.t.Helper()
	f.awaitPace(func(perSecond float64) bool { return perSecond >= atLeast })
	const lasting = 6 * time.Second
	count := func() (rows, batches float64) {
		require.NoError(f.t, f.pool.QueryRow(f.t.Context(),
			"SELECT sum(rows), sum(batches) FROM backfleet.ranges WHERE kind = 'fill'").Scan(&rows, &batches))
		return rows, batches
	}
	rows, batches := count()
	began, looks := time.Now(), 0
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Since(began) < lasting {
		<-tick.C
		var n float64
		require.NoError(f.t, f.pool.QueryRow(f.t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'backfleet ' || $1 AND state <> 'idle'`, f.job).Scan(&n))
		p.sessions += n
		looks++
	}
	r, b := count()
	took := time.Since(began).Seconds()
	return press{rows: (r - rows) / took, batches: (b - batches) / took, sessions: p.sessions / float64(looks)}
}

// awaitWorkers waits until exactly so many workers say that they are there.
func (h *hearing) awaitWorkers(f *fleet, n int) {
	f.t.Helper()
	f.await(fmt.Sprintf("%d workers are there", n), func(context.Context) (bool, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		there := 0
		for _, at := range h.workers {
			if time.Since(at) < 2*time.Second {
				there++
			}
		}
		return there == n, nil
	})
}

// most is the greatest sum of leases in one budget, in rows a second.
func (h *hearing) most() (most float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.budgets {
		var sum float64
		for _, l := range b.Leases {
			sum += l.Rate
		}
		most = max(most, sum)
	}
	return most
}

// target is a database with several jobs of different weights and a cap for all of them together.
type target struct {
	name    string
	db      *harness.TestDatabase
	most    float64 // rows a second
	weights []int
}

// Jobs of one database share its budget by their weights, and each of two databases that one fleet serves has a budget of its own.
func TestFairShares(t *testing.T) {
	targets := []*target{
		{name: "main", db: harness.Database(t), most: 6_000, weights: []int{1, 2, 5}},
		{name: "second", db: harness.Database(t), most: 3_000, weights: []int{1, 3}},
	}
	f := &fleet{t: t, bin: harness.Backfleet(t), dir: t.TempDir(), nats: harness.NATS(t)}
	var env []string
	for i, name := range []string{"MAIN", "SECOND"} {
		env = append(env, "BACKFLEET_DATABASE_"+name+"="+targets[i].db.DSN)
	}
	must := func(args ...string) string {
		t.Helper()
		a := command(t, f.bin, env, args...)
		require.Zero(t, a.code, "%v: %s%s", args, a.stdout, a.stderr)
		return a.stdout
	}
	for _, d := range targets {
		must("db", "init", d.name)
		must("throttle", "set", d.name, fmt.Sprintf("max_rows_per_second=%.0f", d.most))
	}
	harness.Start(t, f.bin, []string{"coordinator", "--nats-url", f.nats.URL(), "--listen", "127.0.0.1:0", "--state-dir", f.dir}, env)
	for i := range 4 {
		harness.Start(t, f.bin, []string{"worker", "--nats-url", f.nats.URL(), "--slots", "2", "--id", fmt.Sprintf("w%d", i+1)}, env)
	}
	for _, d := range targets {
		for _, spec := range d.make(t, f.dir) {
			must("submit", spec)
		}
	}
	for _, d := range targets {
		d.awaitPace(t)
	}
	const lasting = 20 * time.Second // a limiter may be 0.75 s of its rate ahead
	began, before := time.Now(), [][]float64{targets[0].done(t), targets[1].done(t)}
	time.Sleep(lasting) // the window that is measured
	var notes string
	for i, d := range targets {
		after, took := d.done(t), time.Since(began).Seconds()
		var sum, weights float64
		for n, w := range d.weights {
			sum += after[n] - before[i][n]
			weights += float64(w)
		}
		notes += fmt.Sprintf("%s: %.0f rows/s of %.0f, shares", d.name, sum/took, d.most)
		for n, w := range d.weights {
			share, fair := (after[n]-before[i][n])/sum, float64(w)/weights
			notes += fmt.Sprintf(" %.3f (of %.3f)", share, fair)
			if share < fair*(1-unfair) || share > fair*(1+unfair) {
				t.Errorf("job %d of %s, weight %d, had a share of %.3f, not %.3f", n, d.name, w, share, fair)
			}
		}
		require.InEpsilon(t, d.most, sum/took, uneven, "rows a second of %s", d.name)
		notes += "; "
	}
	t.Log(notes)
	for _, d := range targets {
		must("throttle", "set", d.name, "max_rows_per_second=0")
	}
	for _, d := range targets {
		d.prove(t, must)
	}
	f.proveStream()
}

const fairRows = 150_000 // of each job's table

func (d *target) job(n int) string { return fmt.Sprintf("%s-%d", d.name, n) }

// make creates a table a job, and the specs.
func (d *target) make(t *testing.T, dir string) (files []string) {
	t.Helper()
	for n, weight := range d.weights {
		d.db.Cluster.Exec(t, d.db.Name,
			fmt.Sprintf("CREATE TABLE public.t%d (id bigint PRIMARY KEY, counter int NOT NULL DEFAULT 0) WITH (fillfactor = 80)", n),
			fmt.Sprintf("INSERT INTO public.t%d (id) SELECT generate_series(1, %d)", n, fairRows),
			fmt.Sprintf("ANALYZE public.t%d", n))
		file := filepath.Join(dir, d.job(n)+".yaml")
		spec := fmt.Sprintf(`name: %s
database: %s
table: public.t%d
set: {counter: counter + 1}
late_rows: ignore
check: counter = 1
rows_per_range: 2000
weight: %d
batch: {max_rows: 200}
throttle: {lag: {target: 5s, soft: 20s, hard: 30s}, signals: {foreground: off, probe: off, active_backends: off}}
`, d.job(n), d.name, n, weight)
		require.NoError(t, os.WriteFile(file, []byte(spec), 0o600))
		files = append(files, file)
	}
	return files
}

// done counts what is done of each job.
func (d *target) done(t *testing.T) (rows []float64) {
	t.Helper()
	for n := range d.weights {
		var done float64
		require.NoError(t, d.db.Pool.QueryRow(t.Context(), `SELECT coalesce(sum(r.rows), 0) FROM backfleet.ranges r JOIN backfleet.jobs j ON j.id = r.job_id
			WHERE j.name = $1 AND r.kind = 'fill'`, d.job(n)).Scan(&done))
		rows = append(rows, done)
	}
	return rows
}

// awaitPace waits until the jobs together are as fast as they may be.
func (d *target) awaitPace(t *testing.T) {
	t.Helper()
	sum := func(rows []float64) (n float64) {
		for _, r := range rows {
			n += r
		}
		return n
	}
	since, before := time.Now(), sum(d.done(t))
	await(t, d.name+" is at its pace", func(context.Context) (bool, error) {
		took := time.Since(since).Seconds()
		if took < 1 {
			return false, nil
		}
		now := sum(d.done(t))
		pace := (now - before) / took
		since, before = time.Now(), now
		return pace >= (1-uneven)*d.most, nil
	})
}

// prove holds every job of the database against its promise.
func (d *target) prove(t *testing.T, must func(...string) string) {
	t.Helper()
	await(t, "the jobs of "+d.name+" have ended", func(ctx context.Context) (ended bool, err error) {
		err = d.db.Pool.QueryRow(ctx, "SELECT bool_and(stream_clear AND state = 'complete') FROM backfleet.jobs").Scan(&ended)
		return ended, err
	})
	for n := range d.weights {
		var r job.Report
		require.NoError(t, json.Unmarshal([]byte(must("report", d.job(n), "-o", "json")), &r))
		require.Equal(t, job.Complete, r.State)
		require.Empty(t, r.Coverage[0].Gaps)
		require.EqualValues(t, fairRows, r.Rows)
		require.Zero(t, counted(t, d.db.Pool, fmt.Sprintf("SELECT count(*) FROM public.t%d WHERE counter <> 1", n)))
	}
	require.Zero(t, counted(t, d.db.Pool, "SELECT count(*) FROM backfleet.ranges WHERE state <> 'done'"))
}

func counted(t *testing.T, pool *pgxpool.Pool, sql string) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&n), sql)
	return n
}
