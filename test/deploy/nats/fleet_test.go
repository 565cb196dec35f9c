package nats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

const (
	pollEvery = 20 * time.Millisecond
	patience  = 90 * time.Second
)

func TestMain(m *testing.M) { harness.Main(m) }

// fleet is a job on one table with the processes that carry it: every row exactly once, and twice would show.
type fleet struct {
	t    *testing.T
	db   *harness.TestDatabase
	bin  string
	dir  string
	rows int
}

func newFleet(t *testing.T, rows int) *fleet {
	t.Helper()
	f := &fleet{t: t, db: harness.Database(t), bin: harness.Backfleet(t), dir: t.TempDir(), rows: rows}
	for _, sql := range []string{
		"CREATE TABLE public.accounts (id bigint PRIMARY KEY, counter int NOT NULL DEFAULT 0)",
		fmt.Sprintf("INSERT INTO public.accounts SELECT i FROM generate_series(1, %d) i", rows),
		"ANALYZE public.accounts",
	} {
		_, err := f.db.Pool.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
	f.must("db", "init")
	return f
}

func (f *fleet) env() []string { return []string{"BACKFLEET_DATABASE_MAIN=" + f.db.DSN} }

// submit submits the job, which is called `count` and does so many rows a second.
func (f *fleet) submit(rate int) {
	f.t.Helper()
	file := filepath.Join(f.dir, "JOB.yaml")
	require.NoError(f.t, os.WriteFile(file, fmt.Appendf(nil, `name: count
database: main
table: public.accounts
set: {counter: counter + 1}
check: counter = 1
late_rows: ignore
rows_per_range: 2000
batch: {max_rows: 200}
throttle: {max_rows_per_second: %d}
`, rate), 0o600))
	f.must("submit", file)
}

func (f *fleet) coordinator(nats ...string) *harness.Process {
	f.t.Helper()
	p := harness.Start(f.t, f.bin, append([]string{"coordinator", "--listen", "127.0.0.1:0", "--state-dir", f.t.TempDir()}, nats...), f.env())
	f.await("a coordinator leads", "SELECT EXISTS (SELECT 1 FROM backfleet.leadership WHERE until > clock_timestamp())")
	return p
}

func (f *fleet) worker(id string, nats ...string) *harness.Process {
	f.t.Helper()
	return harness.Start(f.t, f.bin, append([]string{"worker", "--id", id}, nats...), f.env())
}

// run runs a command to its end, and returns its exit code and what it said.
func (f *fleet) run(args ...string) (code int, stdout, stderr string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, f.bin, args...)
	cmd.Env = append(os.Environ(), f.env()...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		f.t.Fatalf("backfleet %s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func (f *fleet) must(args ...string) {
	f.t.Helper()
	code, stdout, stderr := f.run(args...)
	require.Zero(f.t, code, "backfleet %s: %s%s", strings.Join(args, " "), stdout, stderr)
}

// await waits until a query that returns one boolean says true.
func (f *fleet) await(what, sql string, args ...any) {
	f.t.Helper()
	until(f.t, what, func(ctx context.Context) (yes bool, err error) {
		err = f.db.Pool.QueryRow(ctx, sql, args...).Scan(&yes)
		return yes, err
	})
}

func until(t *testing.T, what string, ask func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, err := ask(ctx)
		if ok && err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %s not yet: %s (last error: %v)", patience, what, err)
		}
	}
}

// prove waits for the end of the job, which is complete, and counts.
func (f *fleet) prove() {
	f.t.Helper()
	f.await("the job has ended", "SELECT stream_clear AND state IN ('complete', 'complete_with_errors', 'failed', 'cancelled') FROM backfleet.jobs")
	code, stdout, stderr := f.run("report", "count")
	require.Zero(f.t, code, "only a complete job's report exits 0: %s%s", stdout, stderr)
	var once int
	require.NoError(f.t, f.db.Pool.QueryRow(f.t.Context(), "SELECT count(*) FILTER (WHERE counter = 1) FROM public.accounts").Scan(&once))
	require.Equal(f.t, f.rows, once, "rows done exactly once")
}
