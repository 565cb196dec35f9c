package worker

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
)

// held is where a batch stops at row 50 with what it has read of it, until the test lets go: it takes lock 1 to say that it is there, and
// waits for lock 2. It polls, for a wait for a lock would be ended by the batch's lock_timeout.
const held = `create function held(id bigint, n int) returns int language plpgsql as $$begin
 if id = 50 and coalesce(current_setting('backfleet.job', true), '') <> '' then
  perform pg_advisory_xact_lock_shared(1);
  while not pg_try_advisory_xact_lock_shared(2) loop perform pg_sleep(0.002); end loop;
 end if;
 return n;
end$$`

// The triggers by which an application keeps table copy (id, n) like table t, and the column double of t like its n.
const (
	upserts = `insert into copy values (new.id, new.n) on conflict (id) do update set n = excluded.n`
	updates = `update copy set n = new.n where id = new.id`
	deletes = `delete from copy where id = old.id`
	// An upsert before the delete fails in a REPEATABLE READ transaction where the row came after its snapshot; a delete alone sees nothing.
	meets   = `insert into copy values (old.id, old.n) on conflict (id) do update set n = excluded.n; delete from copy where id = old.id`
	doubles = `new.double := new.n * 2`
)

const (
	changing = "update t set n = 7 where id = 50"
	removing = "delete from t where id = 50"
)

// A row that the application changes or deletes between a batch's read and its write. What must never be is a stale row: one of copy that
// is not as t has it, with all its triggers at work. The forms of which `plan` warns, or the guide, must show that the warning is true.
func TestRaces(t *testing.T) {
	const into = "INSERT INTO copy (id, n) SELECT u.id, held(u.id, u.n) FROM t u WHERE {{range}} "
	const late = "INSERT INTO copy (id, n) SELECT u.id, u.n FROM t u WHERE {{range}} " // it is held by a trigger, after it has locked the row
	const locked, nothing, excluded = "FOR NO KEY UPDATE OF u ", "ON CONFLICT (id) DO NOTHING", "ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n"
	never, always := [2]bool{false, false}, [2]bool{true, true}
	for name, c := range map[string]struct {
		spec    job.Spec
		filled  bool // copy holds every row already
		trigger string
		app     string
		stale   [2]bool // in READ COMMITTED, and in REPEATABLE READ
	}{
		// The recommended form, and a trigger that upserts.
		"locked, do nothing":             {spec: job.Spec{Statement: late + locked + nothing}, trigger: upserts, app: changing, stale: never},
		"read, then locked, do nothing":  {spec: job.Spec{Statement: into + locked + nothing}, trigger: upserts, app: changing, stale: never},
		"locked, do update":              {spec: job.Spec{Statement: late + locked + excluded}, trigger: upserts, app: changing, stale: never},
		"read, then locked, do update":   {spec: job.Spec{Statement: into + locked + excluded}, trigger: upserts, app: changing, stale: never},
		"locked, deleted":                {spec: job.Spec{Statement: late + locked + nothing}, trigger: meets, app: removing, stale: never},
		"read, then locked, deleted":     {spec: job.Spec{Statement: into + locked + nothing}, trigger: deletes, app: removing, stale: never},
		"locked, share":                  {spec: job.Spec{Statement: late + "FOR SHARE OF u " + nothing}, trigger: upserts, app: changing, stale: never},
		"update from a locked subquery":  {spec: job.Spec{Statement: "UPDATE copy c SET n = s.n FROM (SELECT u.id, held(u.id, u.n) AS n FROM t u WHERE {{range}} FOR NO KEY UPDATE) s WHERE s.id = c.id"}, filled: true, trigger: upserts, app: changing, stale: never},
		"a set":                          {spec: job.Spec{Set: map[string]string{"double": "held(id, n) * 2"}}, trigger: doubles, app: changing, stale: never},
		"a set with a where":             {spec: job.Spec{Set: map[string]string{"double": "held(id, n) * 2"}, Where: "double is null"}, trigger: doubles, app: changing, stale: never},
		"an update of the table":         {spec: job.Spec{Statement: "UPDATE t u SET double = held(u.id, u.n) * 2 WHERE {{range}}"}, trigger: doubles, app: changing, stale: never},
		"moved":                          {spec: job.Spec{Statement: "WITH gone AS (DELETE FROM t u WHERE {{range}} AND u.n = 0 RETURNING u.id, held(u.id, u.n) AS n) INSERT INTO copy SELECT * FROM gone"}, app: changing, trigger: "null", stale: never},
		"not locked, do nothing, upsert": {spec: job.Spec{Statement: into + nothing}, trigger: upserts, app: changing, stale: never},

		// What `plan` warns of.
		"not locked, do update":         {spec: job.Spec{Statement: into + excluded}, trigger: upserts, app: changing, stale: always},
		"not locked, a trigger updates": {spec: job.Spec{Statement: into + nothing}, trigger: updates, app: changing, stale: always},
		"not locked, deleted":           {spec: job.Spec{Statement: into + nothing}, trigger: meets, app: removing, stale: always},
		"weakly locked":                 {spec: job.Spec{Statement: late + "FOR KEY SHARE OF u " + excluded}, trigger: updates, app: changing, stale: always},
		"update from":                   {spec: job.Spec{Statement: "UPDATE copy c SET n = held(u.id, u.n) FROM t u WHERE u.id = c.id AND {{range}}"}, filled: true, trigger: upserts, app: changing, stale: always},

		// A transaction whose snapshot is older than the batch's row does not see it: only an upsert meets it, and fails.
		"locked, a trigger updates": {spec: job.Spec{Statement: late + locked + nothing}, trigger: updates, app: changing, stale: [2]bool{false, true}},
		"locked, a trigger deletes": {spec: job.Spec{Statement: late + locked + nothing}, trigger: deletes, app: removing, stale: [2]bool{false, true}},
	} {
		for i, isolation := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead} {
			t.Run(name+", "+string(isolation), func(t *testing.T) {
				c.spec.Alias = map[bool]string{true: "u"}[c.spec.Statement != ""]
				c.spec.Batch.Target = job.Duration(time.Second) // statement_timeout is twenty times that
				w := walking(t, c.spec)
				w.exec("alter table t add double int")
				w.exec("create table copy (id bigint primary key, n int)")
				w.exec(held)
				if c.filled {
					w.exec("insert into copy select id, -1 from t")
				}
				if c.spec.Statement != "" && !c.filled {
					w.exec("create function wait() returns trigger language plpgsql as $$begin perform held(new.id, new.n); return new; end$$")
					w.exec("create trigger wait before insert on copy for each row execute function wait()")
				}
				when, result := "after", "null"
				if c.trigger == doubles {
					when, result = "before", "new"
				}
				if c.trigger != "null" {
					w.exec("create function dual() returns trigger language plpgsql as $$begin if coalesce(current_setting('backfleet.job', true), '') = '' then " +
						c.trigger + "; end if; return " + result + "; end$$")
					event := map[string]string{changing: "update", removing: "delete"}[c.app]
					w.exec("create trigger dual " + when + " " + event + " on t for each row execute function dual()")
				}
				w.race(isolation, c.app)

				stale := w.one("select count(*) from t full join copy using (id) where id = 50 and t.n is distinct from copy.n")
				if c.trigger == doubles {
					stale = w.one("select count(*) from t where double is distinct from n * 2")
				} else if c.trigger == "null" { // the row is in one of the two, with the application's value or the one before
					stale = 1 - w.one("select count(*) from (select id from t union all select id from copy) x where id = 50")
				}
				require.Equal(t, c.stale[i], stale != 0, "stale rows: %d", stale)
				require.Equal(t, 1, w.one("select count(*) from backfleet.ranges where state = 'done'"))
			})
		}
	}
}

// race carries the range, and lets the application do its work on row 50 while the batch is held there. The application tries again after
// a serialization failure, as whoever uses that isolation must.
func (w *walk) race(isolation pgx.TxIsoLevel, app string) {
	w.Helper()
	ctx, pool := w.Context(), w.c.desk.db.Pool
	keeper, err := pool.Acquire(ctx)
	require.NoError(w, err)
	defer keeper.Release()
	_, err = keeper.Exec(ctx, "select pg_advisory_lock(2)")
	require.NoError(w, err)
	carried := make(chan error, 1)
	go func() { carried <- w.c.carry(ctx, ctx) }()
	w.soon("the batch is held", "select count(*) from pg_locks where locktype = 'advisory' and objid = 1 and database = (select oid from pg_database where datname = current_database())")

	done := make(chan error, 1)
	began := make(chan uint32, 10)
	go func() {
		for {
			err := apply(ctx, w, isolation, app, began)
			if postgres.SQLState(err) != "40001" {
				done <- err
				return
			}
		}
	}()
	pid := <-began
	require.Eventually(w, func() bool {
		if len(done) > 0 {
			return true
		}
		return w.one("select cardinality(pg_blocking_pids($1))", pid) > 0
	}, 30*time.Second, 2*time.Millisecond, "the application has neither written nor met the batch")
	_, err = keeper.Exec(ctx, "select pg_advisory_unlock(2)")
	require.NoError(w, err)
	require.NoError(w, <-carried)
	require.NoError(w, <-done)
}

// apply is one transaction of the application, whose snapshot is taken before it writes.
func apply(ctx context.Context, w *walk, isolation pgx.TxIsoLevel, sql string, began chan<- uint32) error {
	conn, err := w.c.desk.db.Pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: isolation}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select from t where id = 50"); err != nil {
			return err
		}
		began <- conn.Conn().PgConn().PID()
		_, err := tx.Exec(ctx, sql)
		return err
	})
}

// soon waits until a query counts something.
func (w *walk) soon(what, sql string, args ...any) {
	w.Helper()
	require.Eventually(w, func() bool { return w.one(sql, args...) > 0 }, 30*time.Second, 2*time.Millisecond, what)
}
