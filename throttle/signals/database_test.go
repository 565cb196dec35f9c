package signals_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

func database(db *harness.TestDatabase) *signals.Database {
	return signals.NewDatabase(db.Pool, time.Now)
}

func oid(t *testing.T, db *harness.TestDatabase, table string) (oid uint32) {
	t.Helper()
	require.NoError(t, db.Pool.QueryRow(t.Context(), "SELECT $1::regclass::oid", table).Scan(&oid))
	return oid
}

func TestActiveBackendsFire(t *testing.T) {
	db := harness.Database(t)
	d := database(db)
	d.SetCores(2)
	connect(t, db.DSN, "backfleet x").start("SELECT pg_sleep(60)")
	w := watching(t, one(throttle.SignalActiveBackends, throttle.Rule{Soft: 0.4, Hard: 0.9}), d)
	first := w.until(t, "a reading", func(o outcome) bool { return len(o.readings) > 0 })
	require.Empty(t, first.reasons, "our own sessions do not count")

	a := connect(t, db.DSN, "app")
	a.start("SELECT pg_sleep(60)")
	o := w.until(t, "one of two cores is soft", soft)
	require.InDelta(t, 0.5, o.reasons[0].Observed, 0)
	require.Contains(t, o.reasons[0].Text, "(1 on 2 cores)")
	b := connect(t, db.DSN, "app")
	b.start("SELECT pg_sleep(60)")
	w.until(t, "two of two are hard", hard)
	a.cancel()
	b.cancel()
	w.until(t, "the fleet goes on", freed)
}

func TestCoresAreKnownWhereTheServerRunsHere(t *testing.T) {
	db := harness.Database(t)
	w := watching(t, nil, database(db))
	o := w.until(t, "a reading", func(o outcome) bool { return o.readings[throttle.SignalActiveBackends].Detail != "" })
	require.Regexp(t, `^\d+ on \d+ cores of this machine$`, o.readings[throttle.SignalActiveBackends].Detail)
}

func TestRequestedCheckpointsFire(t *testing.T) {
	db := harness.Database(t)
	w := watching(t, builtin(throttle.SignalRequestedCheckpoints, 2, throttle.None()), database(db))
	w.until(t, "a first reading", freed)
	exec(t, db.DSN, "CHECKPOINT")
	exec(t, db.DSN, "CHECKPOINT")
	o := w.until(t, "two within a minute", soft)
	require.InDelta(t, 0.7, o.factor, 0)
}

func TestAutovacuumFiresOnAJobsTable(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, "CREATE TABLE t (id int, pad text); INSERT INTO t SELECT n, repeat('x', 500) FROM generate_series(1, 5000) n; CREATE TABLE other (id int)")
	d := database(db)
	d.SetTables(oid(t, db, "other"))
	w := watching(t, builtin(throttle.SignalAutovacuum, 1, 2), d)
	v := connect(t, db.DSN, "app")
	v.do("SET vacuum_cost_delay = 100")
	v.do("SET vacuum_cost_limit = 1")
	v.start("VACUUM (FREEZE) t")
	require.Eventually(t, func() (there bool) {
		err := db.Pool.QueryRow(t.Context(), "SELECT count(*) > 0 FROM pg_stat_progress_vacuum").Scan(&there)
		return err == nil && there
	}, 30*time.Second, 10*time.Millisecond)
	from := time.Now()
	o := w.until(t, "a later reading", func(o outcome) bool { return o.readings[throttle.SignalAutovacuum].At.After(from) })
	require.Empty(t, o.reasons, "it is not a job's table")

	d.SetTables(oid(t, db, "t"))
	o = w.until(t, "the vacuum of a job's table", soft)
	require.Contains(t, o.reasons[0].Text, "(public.t: ")
	v.cancel()
	w.until(t, "the fleet goes on", freed)
}

func TestDeadRowsFireAndTheHOTRatioIsShown(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, "CREATE TABLE t (id int PRIMARY KEY, n int) WITH (autovacuum_enabled = false, fillfactor = 10); INSERT INTO t SELECT n, 0 FROM generate_series(1, 3000) n")
	d := database(db)
	d.SetTables(oid(t, db, "t"))
	rules := one(throttle.SignalDeadRows, throttle.Defaults()[throttle.SignalDeadRows])
	w := watching(t, rules, d)
	w.until(t, "a first reading", freed)
	for range 4 { // in four sessions, for each tells its statistics when it ends
		exec(t, db.DSN, "UPDATE t SET id = id + 10000, n = n + 1")
	}
	o := w.until(t, "more rows dead than alive", soft)
	require.Contains(t, o.reasons[0].Text, "over soft limit 60.0% (public.t)")

	exec(t, db.DSN, "VACUUM (FULL, ANALYZE) t")
	d = database(db)
	d.SetTables(oid(t, db, "t"))
	w = watching(t, rules, d)
	w.until(t, "a first reading", freed)
	o = w.until(t, "updates that change no key are HOT", func(o outcome) bool {
		exec(t, db.DSN, "UPDATE t SET n = n + 1 WHERE id % 100 = 0")
		return o.readings[throttle.SignalHOTRatio].Value > 0.5
	})
	require.LessOrEqual(t, o.readings[throttle.SignalHOTRatio].Value, 1.0)
}

func TestXIDAgeFires(t *testing.T) {
	db := harness.Database(t)
	w := watching(t, builtin(throttle.SignalXIDAge, 1, 2), database(db))
	exec(t, db.DSN, "SELECT pg_current_xact_id()")
	exec(t, db.DSN, "SELECT pg_current_xact_id()")
	o := w.until(t, "an age of some transactions", hard)
	require.Regexp(t, `^transaction id age \d+ transactions (over|at) hard limit 2 transactions \(database \w+\)$`, o.reasons[0].Text)
}

func TestOldestTransactionFires(t *testing.T) {
	db := harness.Database(t)
	w := watching(t, builtin(throttle.SignalOldestTransaction, 0.1, 0.4), database(db))
	ours := connect(t, db.DSN, "backfleet count")
	ours.do("BEGIN")
	ours.do("SELECT 1")
	time.Sleep(200 * time.Millisecond) // its age is the condition
	from := time.Now()
	o := w.until(t, "a later reading", func(o outcome) bool { return o.readings[throttle.SignalOldestTransaction].At.After(from) })
	require.Empty(t, o.reasons, "our own transactions do not count")

	dump := connect(t, db.DSN, "pg_dump")
	dump.do("BEGIN")
	w.until(t, "it is old", func(o outcome) bool { return len(o.reasons) > 0 })
	o = w.until(t, "it is very old", hard)
	require.Contains(t, o.reasons[0].Text, "of postgres, pg_dump)")
	dump.do("ROLLBACK")
	w.until(t, "the fleet goes on", freed)

	t.Cleanup(func() { db.Cluster.Exec(t, db.Name, "ROLLBACK PREPARED 'left behind'") })
	dump.do("BEGIN")
	dump.do("CREATE TABLE never ()")
	dump.do("PREPARE TRANSACTION 'left behind'")
	o = w.until(t, "a prepared one counts too", hard)
	require.Contains(t, o.reasons[0].Text, "(prepared transaction left behind of postgres)")
}

func TestOldestXminFires(t *testing.T) {
	db := harness.Database(t)
	w := watching(t, builtin(throttle.SignalOldestXmin, 10, 20), database(db))
	w.until(t, "nobody holds a snapshot", freed)
	dump := connect(t, db.DSN, "pg_dump")
	dump.do("BEGIN ISOLATION LEVEL REPEATABLE READ")
	dump.do("SELECT count(*) FROM pg_class")
	exec(t, db.DSN, burn(30))
	o := w.until(t, "a snapshot of long ago", hard)
	require.Contains(t, o.reasons[0].Text, "pg_dump)")
	dump.do("COMMIT")
	w.until(t, "the fleet goes on", freed)
}

// burn uses up transaction ids: each block with an exception handler that writes takes one.
func burn(n int) string {
	return `CREATE TEMP TABLE burnt (n int);
		DO $$ BEGIN FOR i IN 1..` + strconv.Itoa(n) + ` LOOP
			BEGIN INSERT INTO burnt VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END;
		END LOOP; END $$`
}

func TestDiskFreeFires(t *testing.T) {
	db := harness.Database(t)
	d := database(db)
	_, known := d.FreeBytes()
	require.False(t, known)
	w := watching(t, builtin(throttle.SignalDiskFree, 2, 1.5), d)
	o := w.until(t, "less free than the threshold", hard)
	require.Less(t, o.reasons[0].Observed, 1.0)
	require.Greater(t, o.reasons[0].Observed, 0.0)
	free, known := d.FreeBytes()
	require.True(t, known)
	require.Greater(t, free, 1e6)
	require.Contains(t, o.reasons[0].Text, "under hard limit 150.0% ("+db.Cluster.Primary.DataDir()+")")
}

func TestIOFires(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, "ALTER DATABASE "+db.Name+" SET track_io_timing = on")
	exec(t, db.DSN, "ALTER DATABASE "+db.Name+" SET track_wal_io_timing = on")
	exec(t, db.DSN, "CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
	db.Pool.Reset()
	rules := builtin(throttle.SignalIOOperations, throttle.None(), 10)
	rules[throttle.SignalIOTime] = throttle.Rule{Soft: 1e-9, Hard: throttle.None()}
	w := watching(t, rules, database(db))
	o := w.until(t, "both are over what they may be", func(o outcome) bool {
		exec(t, db.DSN, "INSERT INTO t SELECT n FROM generate_series(1, 1000) n")
		exec(t, db.DSN, "CHECKPOINT")
		return len(o.reasons) == 2
	})
	require.Equal(t, throttle.SignalIOOperations, o.reasons[0].Signal)
	require.True(t, o.hard)
	require.Equal(t, throttle.SignalIOTime, o.reasons[1].Signal)
}

func TestIOTimeIsLeftOutWhereItIsNotMeasured(t *testing.T) {
	db := harness.Database(t)
	w := watching(t, nil, database(db))
	o := w.until(t, "a rate", func(o outcome) bool { _, ok := o.readings[throttle.SignalIOOperations]; return ok })
	require.NotContains(t, o.readings, throttle.SignalIOTime)
}

// Archiving and a vacuum against wraparound need settings that the shared server does not have.
func TestArchiveQueueAndWraparoundFire(t *testing.T) {
	c := harness.Postgres(t, harness.WithSetting("archive_mode", "on"), harness.WithSetting("autovacuum_naptime", "1s"))
	pool := c.Pool(t, "postgres")
	d := signals.NewDatabase(pool, time.Now)

	t.Run("archive queue", func(t *testing.T) {
		w := watching(t, builtin(throttle.SignalArchiveQueue, 2, 4), d)
		w.until(t, "an empty queue", freed)
		c.Exec(t, "postgres", "ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
		fill := func() {
			c.Exec(t, "postgres", "SELECT pg_logical_emit_message(false, 'test', '')", "SELECT pg_switch_wal()")
		}
		var first throttle.Reason
		w.until(t, "full segments wait", func(o outcome) bool {
			if len(o.reasons) > 0 && first.Text == "" {
				first = o.reasons[0]
			}
			fill()
			return o.hard
		})
		require.Contains(t, first.Text, "none archived, failed at 0000000100000000")

		c.Exec(t, "postgres", "ALTER SYSTEM SET archive_command = 'true'", "SELECT pg_reload_conf()")
		o := w.until(t, "the queue is worked off", func(o outcome) bool {
			fill() // it wakes the archiver
			return freed(o)
		})
		require.Contains(t, o.readings[throttle.SignalArchiveQueue].Detail, "last archived 0000000100000000")
	})

	t.Run("wraparound", func(t *testing.T) {
		_, err := pool.Exec(t.Context(), `CREATE TABLE old (id int, pad text) WITH (autovacuum_enabled = false, autovacuum_freeze_max_age = 100000,
			autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)`)
		require.NoError(t, err)
		_, err = pool.Exec(t.Context(), "INSERT INTO old SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n")
		require.NoError(t, err)
		var oid uint32
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT 'old'::regclass::oid").Scan(&oid))
		d.SetTables(oid)
		w := watching(t, builtin(throttle.SignalAutovacuum, 1, 2), d)
		c.Exec(t, "postgres", burn(100_500))
		o := w.until(t, "a vacuum that nobody can put off", hard)
		require.Regexp(t, `\(public.old: .*, to prevent wraparound\)$`, o.reasons[0].Text)
	})
}

func TestWithoutArchivingThereIsNoQueue(t *testing.T) {
	db := harness.Database(t)
	w := watching(t, nil, database(db))
	o := w.until(t, "a reading", func(o outcome) bool { return len(o.readings) > 0 })
	require.NotContains(t, o.readings, throttle.SignalArchiveQueue)
	require.NotContains(t, o.readings, throttle.SignalAutovacuum, "there is no table to look at")
}

func TestWithoutPrivilegeTheSignalsAreBlindAndSayWhatToGrant(t *testing.T) {
	db := harness.Database(t)
	role := "Blind" + db.Name
	exec(t, db.DSN, `CREATE ROLE "`+role+`" LOGIN`)
	t.Cleanup(func() { db.Cluster.Exec(t, "postgres", `DROP ROLE "`+role+`"`) })
	conn, err := pgx.Connect(t.Context(), db.Cluster.Primary.DSNAs(role, db.Name))
	require.NoError(t, err)
	defer conn.Close(context.Background())

	hint := `the sessions of others are hidden from this role; run GRANT pg_monitor TO "` + role + `"`
	for _, source := range []signals.Source{signals.NewDatabase(conn, time.Now), signals.NewBlocked(conn)} {
		var p throttle.Pressure
		readings := source.Read(t.Context())
		require.NotEmpty(t, readings)
		for _, r := range readings {
			require.EqualError(t, r.Err, hint)
			require.True(t, r.At.IsZero())
		}
		_, hard, _, reasons := p.Step(time.Now(), throttle.Defaults(), readings)
		require.False(t, hard)
		require.Contains(t, reasons[0].Text, hint)
	}
	exec(t, db.DSN, `GRANT pg_monitor TO "`+role+`"`)
	for _, source := range []signals.Source{signals.NewDatabase(conn, time.Now), signals.NewBlocked(conn)} {
		for _, r := range source.Read(t.Context()) {
			require.NoError(t, r.Err, r.Signal)
		}
	}
}

func TestAServerThatIsGoneIsAnErrorOfEachSignal(t *testing.T) {
	db := harness.Database(t)
	conn, err := pgx.Connect(t.Context(), db.DSN)
	require.NoError(t, err)
	d := signals.NewDatabase(conn, time.Now)
	good := d.Read(t.Context())
	require.NoError(t, good[0].Err)
	require.NoError(t, conn.Close(t.Context()))
	for _, r := range d.Read(t.Context()) {
		require.EqualError(t, r.Err, "read the signals of the database: conn closed")
	}
}
