package signals_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

func TestBlockedByUsFires(t *testing.T) {
	db := harness.Database(t)
	exec(t, db.DSN, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
	rules := one(throttle.SignalBlockedByUs, throttle.Rule{Soft: 1, Hard: 1, SoftFor: 200 * time.Millisecond, HardFor: time.Second, BatchScale: 0.5})
	w := watching(t, rules, signals.NewBlocked(db.Pool))

	other := connect(t, db.DSN, "app")
	other.do("BEGIN")
	other.do("SELECT * FROM t WHERE id = 2 FOR UPDATE")
	waiter := connect(t, db.DSN, "app waiter")
	waiter.start("UPDATE t SET id = id WHERE id = 2")
	batch := connect(t, db.DSN, "backfleet x")
	batch.do("BEGIN")
	batch.do("SELECT * FROM t WHERE id = 1 FOR UPDATE")
	ours := connect(t, db.DSN, "backfleet y")
	ours.start("UPDATE t SET id = id WHERE id = 1")
	waiting(t, db, 2)
	from := time.Now()
	o := w.until(t, "a later reading", func(o outcome) bool { return o.readings[throttle.SignalBlockedByUs].At.After(from) })
	require.Zero(t, o.readings[throttle.SignalBlockedByUs].Value, "others block others, and we block us")

	victim := connect(t, db.DSN, "app victim")
	victim.start("UPDATE t SET id = id WHERE id = 1")
	waiting(t, db, 3)
	o = w.until(t, "a session waits for us", soft)
	require.InDelta(t, 0.5, o.scale, 0)
	require.InDelta(t, 0.5, o.factor, 0)
	require.Regexp(t, `\(pid \d+, app victim\)$`, o.reasons[0].Text)
	w.until(t, "it waits for long", hard)
	batch.do("ROLLBACK")
	w.until(t, "the fleet goes on", freed)
}

func TestAnApplicationAtWorkIsSpared(t *testing.T) {
	db := harness.Database(t)
	rule := throttle.Defaults()[throttle.SignalForeground]
	rule.Hysteresis = false
	w := watching(t, one(throttle.SignalForeground, rule), signals.NewBlocked(db.Pool))
	ours, idle := connect(t, db.DSN, "backfleet count"), connect(t, db.DSN, "app idle")
	a, b := connect(t, db.DSN, "app 1"), connect(t, db.DSN, "app 2")
	idle.do("SELECT 1")
	o := w.until(t, "all have slept", func(o outcome) bool {
		ours.do("SELECT 1")
		r, ok := o.readings[throttle.SignalForeground]
		return ok && r.Value <= 1 && len(o.reasons) == 0 // the test's own look at the sessions may count
	})
	require.InDelta(t, 1, o.scale, 0)
	o = w.until(t, "two sessions are at work", func(o outcome) bool {
		a.do("SELECT 1")
		b.do("SELECT 1")
		return len(o.reasons) > 0
	})
	require.InDelta(t, 0.2, o.scale, 0)
	require.InDelta(t, 0.9, o.factor, 0)
	require.Regexp(t, `^application at work: \d+ sessions`, o.reasons[0].Text)
}

// waiting waits until n sessions of a database wait for a lock.
func waiting(t *testing.T, db *harness.TestDatabase, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		var have int
		err := db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&have)
		return err == nil && have == n
	}, 30*time.Second, 10*time.Millisecond)
}
