package fleet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// gate is a function that stands still while somebody holds the lock 7, at one of so many rows.
const gate = `create function gate(i int) returns boolean stable language plpgsql as $$begin
	if i % 5000 = 0 then while not pg_try_advisory_xact_lock_shared(7) loop perform pg_sleep(0.005); end loop; end if;
	return true; end$$`

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

// looking counts the sessions of last looks that stand at the gate.
func (f *fleet) looking() int {
	return f.number("select count(*) from pg_stat_activity where wait_event = 'PgSleep' and application_name like 'backfleet proof of %' and datname = current_database()")
}

const gated = "name: count\ntable: t\nset: {n: n + 1}\nwhere: n % 1000 = 0 and gate(i)\norder: block\nthrottle: {signals: {foreground: off}}"

// A last look holds the table's weakest lock and one snapshot. Where somebody waits for a strong lock, the application waits behind them, and
// whoever builds an index beside it waits for the snapshot: the look gives way, and begins anew.
func TestTheLastLookGivesWay(t *testing.T) {
	for name, waits := range map[string]string{
		"to a strong lock":                "alter table t add column more int",
		"to an index built beside it":     "create index concurrently on t (n)",
		"to one that is rebuilt likewise": "reindex index concurrently t_i_idx",
	} {
		t.Run(name, func(t *testing.T) {
			f := stage(t, append(scattered(60_000), gate)...)
			j := f.submit(gated)
			f.exec("update t set n = 1")
			release := f.lock("select pg_advisory_xact_lock(7)")
			f.atLook(j, func() { f.exec("update t set n = 1000") }) // each row is asked by the gate now
			f.until("the look is under way, and stands at the gate", func() bool { return f.looking() > 0 })
			done := make(chan error, 1)
			go func() {
				_, err := f.admin.Exec(t.Context(), waits)
				done <- err
			}()
			f.until("somebody waits", func() bool {
				return f.number("select count(*) from pg_locks where not granted and (relation = 't'::regclass or locktype = 'virtualxid')") > 0
			})
			require.Equal(t, 1, f.looking())
			release()
			f.until("it is told that the look has given way", func() bool {
				return f.number("select count(*) from backfleet.jobs where reason like 'the last look was given up, and begins anew: %somebody waits for%'") > 0
			})
			require.NoError(t, <-done)
			f.until("another look is taken", func() bool { return f.number("select count(*) from backfleet.jobs where last_look is not null") > 0 })
			require.Equal(t, 60_000, f.number("select (last_look->>'residual')::int from backfleet.jobs"))
		})
	}
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

// Limits of time that the server sets for all transactions are not for a look at a whole table.
func TestTheServersLimitsDoNotEndTheLastLook(t *testing.T) {
	f := stage(t, append(scattered(60_000), gate)...)
	if f.number("select current_setting('server_version_num')::int") >= 170000 {
		f.exec("do $$begin execute format('alter database %I set transaction_timeout = ''3s''', current_database()); end$$")
	}
	f.exec("do $$begin execute format('alter database %I set statement_timeout = ''3s''', current_database()); end$$")
	j := f.submit(gated)
	f.exec("update t set n = 1")
	release := f.lock("select set_config('transaction_timeout', '0', true), set_config('statement_timeout', '0', true), pg_advisory_xact_lock(7)")
	f.atLook(j, func() { f.exec("update t set n = 1000") })
	f.until("the look stands at the gate", func() bool { return f.looking() > 0 })
	f.still("the look goes on", 4*time.Second, func() bool { return f.looking() > 0 })
	release()
	f.until("the look is taken", func() bool { return f.number("select count(*) from backfleet.jobs where last_look is not null") > 0 })
}

// Each look is a sequential read under a snapshot, in a session of its own: one at a time, and the ledger's connections are free for the
// leadership.
func TestLastLooksAreTakenOneAtATime(t *testing.T) {
	f := stage(t, append(scattered(60_000), gate, "create table u as table t", "alter table u add primary key (id)", "vacuum analyze u")...)
	one := f.submit(gated)
	two := f.submit("name: other\ntable: u\nset: {n: n + 1}\nwhere: n % 1000 = 0 and gate(i)\norder: block\nthrottle: {signals: {foreground: off}}")
	f.exec("update t set n = 1")
	f.exec("update u set n = 1")
	release := f.lock("select pg_advisory_xact_lock(7)")
	f.atLook(one, func() {
		f.until("both are planned", func() bool { return f.status(two).Planned })
		f.exec("update backfleet.ranges set state = 'done', key = hi")
		f.until("both are in round 1", func() bool { return f.status(two).Round == 1 })
		f.exec("update t set n = 1000")
		f.exec("update u set n = 1000")
	})
	f.until("one waits for the other", func() bool {
		return f.looking() == 1 && f.number("select count(*) from backfleet.jobs where reason like 'waits for the last look at the table of job %: one at a time'") == 1
	})
	release()
	f.until("both looks are taken", func() bool {
		return f.number("select count(*) from backfleet.jobs where last_look is not null") == 2
	})
}
