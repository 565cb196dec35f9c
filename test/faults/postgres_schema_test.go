package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// Migrations that take ACCESS EXCLUSIVE on the table get it between two batches, hold it as long as they like, and may rewrite the
// table: the batches wait, and go on where they were.
func TestDDLInMidRun(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 12_000})
	_, workers := f.begin(2)
	var notes []string
	for n, ddl := range []string{
		"ALTER TABLE public.accounts ADD COLUMN extra int NOT NULL DEFAULT 7",
		"ALTER TABLE public.accounts ALTER COLUMN name TYPE varchar(300)",
		"ALTER TABLE public.accounts ALTER COLUMN extra TYPE bigint", // rewrites
		"VACUUM FULL public.accounts",                                // rewrites
		"DO 'BEGIN LOCK TABLE public.accounts IN ACCESS EXCLUSIVE MODE; PERFORM pg_sleep(3); END'",
	} {
		f.awaitShare(0.1 + 0.05*float64(n))
		began := time.Now()
		f.exec(ddl)
		took := time.Since(began)
		back := f.awaitMore()
		require.LessOrEqual(t, back, 5*time.Second, ddl)
		notes = append(notes, fmt.Sprintf("%s: %s, batches %s later", strings.Join(strings.Fields(ddl)[:2], " "), short(took), short(back)))
	}
	require.NotEmpty(t, append(logged(workers[0], "batch rolled back", "55P03"), logged(workers[1], "batch rolled back", "55P03")...),
		"no batch met the lock")
	f.unleash()
	f.prove(notes...)
}

// A batch that runs into statement_timeout is rolled back and tried again shorter, until it fits.
func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 60_000, perRange: perRange, rate: 10_000, passes: 1})
	f.exec(`CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END'`)
	f.exec(`CREATE TRIGGER slow BEFORE UPDATE OF counter ON public.accounts FOR EACH ROW
		WHEN (OLD.id BETWEEN 30001 AND 30012) EXECUTE FUNCTION public.slow()`)
	_, workers := f.begin(2)
	cancelled := func() int {
		return len(logged(workers[0], "batch rolled back", "57014")) + len(logged(workers[1], "batch rolled back", "57014"))
	}
	f.await("a batch is cancelled", func(context.Context) (bool, error) { return cancelled() > 0, nil })
	began := time.Now()
	f.awaitSQL("the slow rows are done", "SELECT min(counter) = 1 FROM public.accounts WHERE id BETWEEN 30001 AND 30012")
	passed := time.Since(began)
	f.unleash()
	f.prove(fmt.Sprintf("%d batches cancelled by statement_timeout; 12 rows of 0.4 s each done %s after the first", cancelled(), short(passed)))
	require.Less(t, cancelled(), 20)
}

// When the column goes away in mid-run, the job fails with one line that names it. Nothing else is touched: not the other columns, and not
// the job beside it.
func TestColumnDropped(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 100_000, perRange: perRange, rate: 8_000})
	f.exec(`CREATE TABLE public.victims (id bigint PRIMARY KEY, name text NOT NULL, counter int NOT NULL DEFAULT 0) WITH (fillfactor = 80)`)
	f.exec(`INSERT INTO public.victims SELECT i, 'Name ' || i FROM generate_series(1, 50000) i`)
	spec := filepath.Join(f.dir, "victim.yaml")
	require.NoError(t, os.WriteFile(spec, []byte(`{name: victim, database: main, table: public.victims, set: {counter: counter + 1}, late_rows: ignore,
		rows_per_range: 5000, batch: {max_rows: 500}, throttle: {max_rows_per_second: 4000, lag: {target: 5s, soft: 20s, hard: 30s}}}`), 0o600))
	f.begin(2)
	f.must("submit", spec)
	const victim = "(SELECT id FROM backfleet.jobs WHERE name = 'victim')"
	f.awaitSQL("the victim is under way", "SELECT coalesce(sum(rows), 0) > 5000 FROM backfleet.ranges WHERE job_id = "+victim)
	f.exec("ALTER TABLE public.victims DROP COLUMN counter")
	failed := f.awaitSQL("the victim has failed", "SELECT state = 'failed' AND stream_clear FROM backfleet.jobs WHERE name = 'victim'")
	require.LessOrEqual(t, failed, 10*time.Second)
	a := f.cli("report", "victim", "-o", "json")
	require.Equal(t, 4, a.code, a.stderr)
	var r job.Report
	require.NoError(t, json.Unmarshal([]byte(a.stdout), &r), a.stdout)
	require.Equal(t, job.Failed, r.State)
	require.Contains(t, r.Reason, `a batch of "public"."victims": column "counter" does not exist`)
	require.NotContains(t, r.Reason, "\n")
	var changed int
	require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT count(*) FROM public.victims WHERE name <> 'Name ' || id").Scan(&changed))
	require.Zero(t, changed)
	f.awaitMore()
	f.unleash()
	f.prove(fmt.Sprintf("the other job failed %s after its column went: %s", short(failed), r.Reason))
}

// A column that is away for a while, as in a migration that renames it, fails the job; once it is back `retry` goes on where the job stood.
func TestColumnAway(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 100_000, perRange: perRange, rate: 10_000})
	f.begin(2)
	f.awaitShare(0.3)
	f.exec("ALTER TABLE public.accounts RENAME COLUMN counter TO counted")
	failed := f.awaitSQL("the job has failed", "SELECT state = 'failed' AND stream_clear FROM backfleet.jobs")
	require.LessOrEqual(t, failed, 10*time.Second)
	require.Contains(t, f.status().Reason, `a batch of "public"."accounts": column "counter" does not exist`)
	done := f.rowsDone()
	f.exec("ALTER TABLE public.accounts RENAME COLUMN counted TO counter")
	f.must("retry", f.job)
	back := f.awaitMore()
	require.GreaterOrEqual(t, f.rowsDone(), done)
	f.unleash()
	f.prove(fmt.Sprintf("failed in %s at %d rows; batches %s after the retry", short(failed), done, short(back)))
}
