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

const reactsIn = time.Second

// A person steers a running fleet by the ledger alone, or by the API with its token. Workers follow within a second, and the audit
// log says who.
func TestSteer(t *testing.T) {
	f := newFleet(t, shape{rows: 200_000, perRange: perRange, rate: 10_000})
	f.begin(2)
	api := f.api()
	f.awaitShare(0.05)
	var notes []string
	for way, flags := range map[string][]string{"ledger": nil, "API": api} {
		steer := func(args ...string) string { return f.must(append(args, flags...)...) }
		require.Contains(t, steer("pause", f.job, "--reason", "too loud, by the "+way), "is paused: too loud")
		paused := f.awaitReleased()
		require.LessOrEqual(t, paused, reactsIn)
		f.awaitStill()
		require.Equal(t, job.Paused, f.status(flags...).State)

		require.Contains(t, steer("resume", f.job), "is running")
		resumed := f.awaitMore()
		require.LessOrEqual(t, resumed, reactsIn)

		require.Contains(t, steer("set", f.job, "throttle.max_rows_per_second=500"), "throttle.max_rows_per_second: 10000 → 500")
		set := f.awaitPace(func(perSecond float64) bool { return perSecond < 2_000 })
		steer("set", f.job, "throttle.max_rows_per_second=10000")
		notes = append(notes, fmt.Sprintf("by the %s: paused in %s, resumed in %s, slow within %s", way, short(paused), short(resumed), short(set)))
	}

	// A wrong token changes nothing, and no role goes beyond itself.
	wrong := filepath.Join(f.dir, "wrong.token")
	require.NoError(t, os.WriteFile(wrong, []byte("nonsense\n"), 0o600))
	a := f.cli("pause", f.job, api[0], api[1], "--api-token-file", wrong)
	require.Equal(t, 2, a.code, a.stderr)
	oneLine(t, a)
	require.Equal(t, job.Running, f.status().State)

	f.unleash()
	r := f.prove(notes...)
	who := map[string]int{}
	for _, e := range r.Events {
		require.NotEmpty(t, e.By)
		if e.Action == "pause" || e.Action == "resume" {
			require.Contains(t, e.By, "@", "a person at a host")
			who[e.Action]++
		}
		if e.Action == "pause" {
			require.Contains(t, e.Detail["reason"], "too loud")
		}
		if e.Action == "set" {
			require.NotEqual(t, e.Detail["old"], e.Detail["new"])
			who[e.Action]++
		}
	}
	require.Equal(t, map[string]int{"pause": 2, "resume": 2, "set": 5}, who)
}

// awaitReleased waits until no worker carries a range.
func (f *fleet) awaitReleased() time.Duration {
	f.t.Helper()
	return f.awaitSQL("no worker carries a range", "SELECT NOT EXISTS (SELECT 1 FROM backfleet.ranges WHERE state = 'running')")
}

// awaitPace waits until the pace over half a second is as wanted, and returns after how long that half second began.
func (f *fleet) awaitPace(wanted func(perSecond float64) bool) time.Duration {
	f.t.Helper()
	began, since, rows := time.Now(), time.Now(), f.rowsDone()
	f.await("the pace is as set", func(context.Context) (bool, error) {
		over := time.Since(since)
		if over < 500*time.Millisecond {
			return false, nil
		}
		now := f.rowsDone()
		if wanted(float64(now-rows) / over.Seconds()) {
			return true, nil
		}
		since, rows = time.Now(), now
		return false, nil
	})
	return since.Sub(began)
}

// Skipped ranges and rows are left as they are, quarantined ones are done by a retry, and a job that ends with errors says so.
func TestSkipAndRetry(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 60_000, perRange: perRange, rate: 6_000})
	f.exec("ALTER TABLE public.accounts ADD CONSTRAINT steady CHECK (id <> 25000 OR counter = 0)")
	f.begin(2)
	f.awaitShare(0.05)
	f.must("pause", f.job)
	f.awaitReleased()
	f.must("skip", f.job, "--key", "45678", "--reason", "legal hold")
	bad := f.cli("skip", f.job, "--range", "99", "--reason", "no such range")
	require.Equal(t, 2, bad.code, bad.stderr)
	oneLine(t, bad)
	f.must("resume", f.job)
	f.unleash()
	f.awaitEnd()
	a := f.cli("report", f.job, "-o", "json")
	require.Equal(t, 3, a.code, a.stderr)
	require.Equal(t, job.CompleteWithErrors, f.status().State)
	require.Equal(t, []int64{25_000, 45_678}, f.undone())

	// The skipped row is done by the retry as well: that is what it asks for. The other one still fails.
	out := f.must("retry", f.job)
	require.Contains(t, out, "1 row done, 1 still failing")
	f.awaitEnd()
	require.Equal(t, job.CompleteWithErrors, f.status().State)
	require.Equal(t, []int64{25_000}, f.undone())
	f.exec("ALTER TABLE public.accounts DROP CONSTRAINT steady")
	require.Contains(t, f.must("retry", f.job), "1 row done, 0 still failing")
	f.awaitEnd()
	require.Equal(t, job.Complete, f.status().State)
	require.Empty(t, f.undone())
	var twice int
	require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT count(*) FROM public.accounts WHERE counter > 1").Scan(&twice))
	require.Zero(t, twice)
	f.proveStream()
	var by []string
	require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT array_agg(DISTINCT action ORDER BY action) FROM backfleet.events WHERE by LIKE '%@%'").Scan(&by))
	require.Subset(t, by, []string{"pause", "resume", "retry", "skip", "submit"})
}

// undone lists the rows below the frozen bound that the job has not done.
func (f *fleet) undone() (ids []int64) {
	f.t.Helper()
	err := f.pool.QueryRow(f.t.Context(), `SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM public.accounts
		WHERE counter = 0 AND id <= (SELECT bound[1]::bigint FROM backfleet.relations)`).Scan(&ids)
	require.NoError(f.t, err)
	return ids
}

// A range can be skipped while a worker carries it, and a cancelled job ends at once; rows that are done stay done once.
func TestSkipRangeAndCancel(t *testing.T) {
	t.Parallel()
	f := newFleet(t, shape{rows: 100_000, perRange: perRange, rate: 8_000})
	_, workers := f.begin(2)
	f.awaitShare(0.05)
	g := f.awaitGrip("", perRange)
	f.must("skip", f.job, "--range", fmt.Sprint(g.index), "--reason", "archived tenant")
	f.await("its worker says that it lost the range", func(context.Context) (bool, error) {
		return len(logged(byID(workers, g.owner), "range lost to another claim")) == 1, nil
	})
	f.awaitShare(0.3)
	f.must("cancel", f.job, "--reason", "not needed")
	cancelled := f.awaitReleased()
	require.LessOrEqual(t, cancelled, reactsIn)
	f.awaitEnd()
	f.proveStream()
	done := f.rowsDone()
	var once, twice int64
	require.NoError(t, f.pool.QueryRow(t.Context(), "SELECT count(*) FILTER (WHERE counter = 1), count(*) FILTER (WHERE counter > 1) FROM public.accounts").Scan(&once, &twice))
	require.Zero(t, twice)
	require.Equal(t, once, done, "the ledger counts what the table holds")
	a := f.cli("report", f.job, "-o", "json")
	require.Equal(t, 4, a.code, a.stderr)
	var r job.Report
	require.NoError(t, json.Unmarshal([]byte(a.stdout), &r))
	require.Equal(t, job.Cancelled, r.State)
	for _, cmd := range []string{"pause", "resume", "cancel"} {
		a := f.cli(cmd, f.job)
		if cmd != "cancel" { // which is done already
			require.Equal(t, 2, a.code, a.stderr)
			oneLine(t, a)
		}
	}
	t.Logf("cancelled in %s at %d rows", short(cancelled), done)
}

// oneLine checks that a command that failed said why in one line.
func oneLine(t *testing.T, a answer) {
	t.Helper()
	require.Empty(t, a.stdout)
	require.Equal(t, 1, strings.Count(a.stderr, "\n"), a.stderr)
	require.True(t, strings.HasPrefix(a.stderr, "backfleet: "), a.stderr)
}
