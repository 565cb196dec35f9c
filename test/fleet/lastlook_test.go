package fleet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// atLook leads a job whose rows are done already to its last look: a coordinator without a worker, whose work the test pretends.
func (f *fleet) atLook(j job.Job, before func()) {
	f.Helper()
	f.run(map[string]func(context.Context) error{"coordinator": f.coordinator("coordinator-1").Run})
	f.until("all is planned", func() bool { return f.status(j).Planned })
	f.exec("update backfleet.ranges set state = 'done', key = hi")
	f.until("round 1 begins", func() bool { return f.status(j).Round == 1 })
	before()
	f.verified()
}

// verified pretends that workers have ended a round and found nothing.
func (f *fleet) verified() {
	f.Helper()
	f.exec("update backfleet.ranges set state = 'done', key = hi where kind = 'verify' and state <> 'done'")
}

// A last look holds the table's weakest lock. Where somebody waits for a strong one, the application waits behind them: the look gives way,
// and begins anew. So it does while the database is held.
func TestTheLastLookGivesWay(t *testing.T) {
	f := stage(t, append(scattered(60_000),
		`create function gate(i int) returns boolean stable language plpgsql as $$begin
			if i % 5000 = 0 then while not pg_try_advisory_xact_lock_shared(7) loop perform pg_sleep(0.005); end loop; end if;
			return true; end$$`)...)
	j := f.submit("name: count\ntable: t\nset: {n: n + 1}\nwhere: n % 1000 = 0 and gate(i)\norder: block\nthrottle: {signals: {foreground: off}}")
	f.exec("update t set n = 1")
	gate := f.lock("select pg_advisory_xact_lock(7)")
	f.run(map[string]func(context.Context) error{"coordinator": f.coordinator("coordinator-1").Run})
	f.until("all is planned", func() bool { return f.status(j).Planned })
	f.exec("update backfleet.ranges set state = 'done', key = hi")
	f.until("round 1 begins", func() bool { return f.status(j).Round == 1 })
	f.exec("update t set n = 1000") // each row is asked by the gate now
	f.exec("update backfleet.ranges set state = 'done', key = hi where kind = 'verify'")
	looks := func() bool {
		return f.number("select count(*) from pg_stat_activity where wait_event = 'PgSleep' and application_name = 'backfleet proof of count' and datname = current_database()") > 0
	}
	f.until("the look is under way, and stands at the gate", looks)
	strong := make(chan error, 1)
	go func() {
		_, err := f.admin.Exec(t.Context(), "alter table t add column more int")
		strong <- err
	}()
	f.until("somebody waits for the table", func() bool {
		return f.number("select count(*) from pg_locks where relation = 't'::regclass and not granted") > 0
	})
	f.exec("update backfleet.jobs set last_look = null")
	gate()
	require.NoError(t, <-strong, "the look gives way")
	f.until("another look is taken", func() bool { return f.number("select count(*) from backfleet.jobs where last_look is not null") > 0 })
	require.Equal(t, 60_000, f.number("select (last_look->>'residual')::int from backfleet.jobs"))
}

// verify.snapshot bounds a last look. Without a whole one the job is not complete, so a person is asked, once.
func TestTheLastLookIsBounded(t *testing.T) {
	f := stage(t, append(scattered(60_000), `create function slow(i int) returns boolean stable language plpgsql as $$begin
		if i % 100 = 0 then perform pg_sleep(0.005); end if; return true; end$$`)...)
	j := f.submit("name: count\ntable: t\nset: {n: n + 1}\nwhere: n % 1000 = 0\ncheck: slow(i)\norder: block\nverify: {snapshot: 1s}\nthrottle: {signals: {foreground: off}}")
	f.exec("update t set n = 1")
	f.atLook(j, func() {})
	st := f.reaches(j, job.Paused)
	require.Contains(t, st.Reason, "the last look takes longer than verify.snapshot, 1s: it had read")
	require.Contains(t, st.Reason, "`backfleet set count verify.snapshot=")
	require.Contains(t, st.Reason, "`backfleet resume count` has it begin anew")
	f.until("the look's session has ended", func() bool {
		return f.number("select count(*) from pg_stat_activity where application_name like 'backfleet proof of %' and datname = current_database()") == 0
	})

	limits, _, err := j.Limits.Set(map[string]string{"verify.snapshot": "0"})
	require.NoError(t, err)
	_, err = f.store.SetLimits(t.Context(), j.ID, "ann", limits, 0)
	require.NoError(t, err)
	_, err = f.store.Resume(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	r := f.completes(j)
	f.lastLook(r, 60_000)
	require.Greater(t, r.LastLook.Took.D(), time.Second)
}

// An error of a row's values ends the look each time that it is read: it counts as what a look finds open does, and does not repeat for ever.
func TestAnErrorInTheLastLookEndsTheJob(t *testing.T) {
	f := stage(t, scattered(9000)...)
	j := f.submit("name: count\ntable: t\nset: {n: n + 1}\nwhere: n % 1000 = 0\ncheck: 1 / (i - 9500) is not null\norder: block\nthrottle: {signals: {foreground: off}}")
	f.exec("update t set n = 1")
	f.atLook(j, func() { f.exec("insert into t (i, n) values (9500, 1)") })
	for round := 2; round <= 3; round++ {
		f.until(fmt.Sprintf("round %d begins", round), func() bool { return f.status(j).Round == round })
		f.verified()
	}
	st := f.reaches(j, job.Failed)
	require.Contains(t, st.Reason, "the last look fails after 3 rounds of verification: ")
	require.Contains(t, st.Reason, "division by zero")
}
