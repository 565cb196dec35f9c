package ddl

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// table makes a table t of some rows in a database of its own.
func table(t *testing.T) *harness.TestDatabase {
	t.Helper()
	d := harness.Database(t)
	_, err := d.Pool.Exec(t.Context(), `create table t (id bigint primary key, a int)`)
	require.NoError(t, err)
	_, err = d.Pool.Exec(t.Context(), `insert into t select i, i from generate_series(1, 2000) i`)
	require.NoError(t, err)
	return d
}

func mustParse(t *testing.T, source string) []Statement {
	t.Helper()
	statements, err := Parse(source)
	require.NoError(t, err)
	return statements
}

// recorder keeps what Apply reports.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) of(kind EventKind) (out []Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// holding opens a transaction that holds a lock, as a report or a forgotten psql does. The function ends it.
func holding(t *testing.T, dsn, lock string) (pid uint32, end func()) {
	t.Helper()
	conn := connect(t, dsn)
	for _, sql := range []string{"set application_name = 'forgotten-psql'", "begin", lock} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	end = sync.OnceFunc(func() { _, _ = conn.Exec(context.Background(), "rollback") })
	t.Cleanup(end) // before the connection is closed, and not beside an end that is under way
	return conn.PgConn().PID(), end
}

// application runs short reads and writes on t, of which some are done when it returns, until it is stopped. stop returns the longest that one took.
func application(t *testing.T, pool *pgxpool.Pool) (stop func() (longest time.Duration)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var longest, count atomic.Int64
	for n := range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				sql := `select a from t where id = $1`
				if n%2 == 0 {
					sql = `update t set a = a where id = $1`
				}
				begun := time.Now()
				if _, err := pool.Exec(context.WithoutCancel(ctx), sql, 1+rand.Int64N(2000)); err != nil {
					t.Error(err)
					return
				}
				took := int64(time.Since(begun))
				count.Add(1)
				for old := longest.Load(); took > old && !longest.CompareAndSwap(old, took); old = longest.Load() {
				}
				time.Sleep(2 * time.Millisecond) // a client's own thinking
			}
		})
	}
	require.Eventually(t, func() bool { return count.Load() > 200 }, 20*time.Second, 10*time.Millisecond)
	return func() time.Duration {
		cancel()
		all.Wait()
		return time.Duration(longest.Load())
	}
}

const reportLasts = 8 * time.Second

// A plain ALTER TABLE behind a long report makes every statement wait for as long as the report lasts; Apply for its lock timeout at most.
func TestTheApplicationHardlyWaits(t *testing.T) {
	measure := func(alter func(d *harness.TestDatabase)) time.Duration {
		d := table(t)
		stop := application(t, d.Pool)
		_, end := holding(t, d.DSN, "select count(*) from t")
		defer time.AfterFunc(reportLasts, end).Stop()
		alter(d)
		return stop()
	}
	plain := measure(func(d *harness.TestDatabase) {
		_, err := connect(t, d.DSN).Exec(t.Context(), "alter table t add column c int")
		require.NoError(t, err)
	})
	var events recorder
	guarded := measure(func(d *harness.TestDatabase) {
		require.NoError(t, Apply(t.Context(), connect(t, d.DSN), mustParse(t, "alter table t add column c int"), Options{}, events.add))
	})
	t.Logf("the application's longest wait behind a transaction of %v: %v with a plain ALTER TABLE, %v with Apply (lock timeout 1.2 s, %d attempts)",
		reportLasts, plain.Round(time.Millisecond), guarded.Round(time.Millisecond), 1+len(events.of(Blocked)))
	require.Greater(t, plain, reportLasts-2*time.Second)
	require.Less(t, guarded, 1200*time.Millisecond+500*time.Millisecond)
	require.Greater(t, len(events.of(Blocked)), 1)
	require.Len(t, events.of(Applied), 1)
}

func TestApplyTellsWhoIsInTheWay(t *testing.T) {
	d := table(t)
	pid, end := holding(t, d.DSN, "update t set a = 0 where id = 1")
	defer end()
	var events recorder
	err := Apply(t.Context(), connect(t, d.DSN), mustParse(t, "comment on table t is 'x';\nalter table t add column c int"),
		Options{LockTimeout: 700 * time.Millisecond, Patience: 5 * time.Second}, events.add)
	var patience *PatienceError
	require.ErrorAs(t, err, &patience)
	require.Equal(t, 2, patience.Statement.Number)
	blocked := events.of(Blocked)
	require.NotEmpty(t, blocked)
	for _, e := range blocked {
		require.Len(t, e.Blockers, 1)
		b := e.Blockers[0]
		require.Equal(t, int32(pid), b.PID)
		require.Equal(t, "forgotten-psql", b.Application)
		require.Equal(t, "idle in transaction", b.State)
		require.Contains(t, b.Query, "update t set a = ?", "without its literals")
		require.Greater(t, b.TransactionAge, time.Duration(0))
		require.Greater(t, e.Pause, time.Duration(0))
		require.Less(t, e.Took, 2*time.Second)
	}
	require.Contains(t, err.Error(), "forgotten-psql")
	require.Contains(t, err.Error(), "statement 2 (line 2): gave up after")
	end()
	require.NoError(t, Apply(t.Context(), connect(t, d.DSN), mustParse(t, "alter table t add column c int"), Options{}, events.add))
}

// Between its attempts a statement must not be left holding anything, and a cancelled Apply ends at once.
func TestACancelledApplyEnds(t *testing.T) {
	d := table(t)
	_, end := holding(t, d.DSN, "lock table t in access share mode")
	defer end()
	conn := connect(t, d.DSN)
	ctx, cancel := context.WithCancel(t.Context())
	begun := time.Now()
	time.AfterFunc(500*time.Millisecond, cancel)
	err := Apply(ctx, conn, mustParse(t, "alter table t add column c int"), Options{LockTimeout: 20 * time.Second}, func(Event) {})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(begun), 10*time.Second)
	var waiting int
	require.Eventually(t, func() bool {
		require.NoError(t, d.Pool.QueryRow(t.Context(), `select count(*) from pg_locks where relation = 't'::regclass and mode = 'AccessExclusiveLock'`).Scan(&waiting))
		return waiting == 0
	}, 10*time.Second, 20*time.Millisecond, "the server goes on waiting for a client that is gone")
}

// A statement whose own work is too long is not tried for ever: each attempt would block the application again.
func TestWorkThatIsTooLongIsNotTriedForEver(t *testing.T) {
	d := table(t)
	_, err := d.Pool.Exec(t.Context(), `create function slow() returns int language plpgsql as 'begin perform pg_sleep(0.01); return 1; end'`)
	require.NoError(t, err)
	err = Apply(t.Context(), connect(t, d.DSN), mustParse(t, "alter table t add column c int default slow()"),
		Options{LockTimeout: 200 * time.Millisecond, StatementTimeout: 300 * time.Millisecond}, func(Event) {})
	require.ErrorContains(t, err, "3 times in a row")
}

func TestErrorsOfTheStatementAreNotTriedAgain(t *testing.T) {
	d := table(t)
	conn := connect(t, d.DSN)
	var events recorder
	err := Apply(t.Context(), conn, mustParse(t, "alter table t add column c int; alter table t add column d nowhere"), Options{}, events.add)
	require.ErrorContains(t, err, "statement 2 (line 1)")
	require.ErrorContains(t, err, "nowhere")
	require.Empty(t, events.of(Blocked))
	require.Len(t, events.of(Applied), 1)
	require.Equal(t, byte('I'), conn.PgConn().TxStatus(), "no transaction is left open")
}

// whole is a file with one statement of each way to apply.
const whole = `create table n (id bigint primary key, t_id bigint);
	alter table t add column c text;
	alter table t add column if not exists d int default 5;
	alter table t add constraint a_set check (a is not null) not valid;
	alter table t validate constraint a_set;
	alter table t alter column a set not null;
	alter table t drop constraint a_set;
	create index concurrently t_c on t (c);
	create unique index concurrently t_a on t (a);
	alter table t add constraint t_a_key unique using index t_a;
	alter table n add constraint n_t foreign key (t_id) references t not valid;
	alter table n validate constraint n_t;
	create function f() returns trigger language plpgsql as 'begin return new; end';
	create trigger f before insert on t for each row execute function f();
	create type e as enum ('x');
	alter type e add value 'y';
	comment on table n is 'new'`

// The process may die at any moment, also while the server goes on with its last statement. Applied again and again, the file gets through, and
// each effect is there once.
func TestApplyCanBeRepeatedAfterAnyDeath(t *testing.T) {
	source := strings.Replace(whole, "create function", "create or replace function", 1)
	deaths := 0
	for round := range 6 {
		d := table(t)
		for attempt := 1; ; attempt++ {
			require.Less(t, attempt, 200)
			cfg, err := pgx.ParseConfig(d.DSN)
			require.NoError(t, err)
			var mu sync.Mutex
			var sockets []net.Conn
			cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, address)
				mu.Lock()
				defer mu.Unlock()
				sockets = append(sockets, c)
				return c, err
			}
			conn, err := pgx.ConnectConfig(t.Context(), cfg)
			require.NoError(t, err)
			life := time.Duration(rand.Int64N(int64(time.Duration(attempt+round) * 8 * time.Millisecond)))
			death := time.AfterFunc(life, func() {
				mu.Lock()
				defer mu.Unlock()
				for _, c := range sockets {
					_ = c.Close()
				}
			})
			err = Apply(t.Context(), conn, mustParse(t, source), Options{}, func(Event) {})
			death.Stop()
			_ = conn.Close(context.Background())
			if err == nil {
				break
			}
			deaths++
			require.True(t, errors.Is(err, net.ErrClosed) || conn.IsClosed() || strings.Contains(err.Error(), "closed"), "%v", err)
		}
		var columns, constraints, invalid, triggers int
		require.NoError(t, d.Pool.QueryRow(t.Context(), `select (select count(*) from pg_attribute where attrelid = 't'::regclass and attnum > 0 and not attisdropped),
			(select count(*) from pg_constraint where conrelid in ('t'::regclass, 'n'::regclass) and contype <> 'n' and convalidated),
			(select count(*) from pg_index where not indisvalid), (select count(*) from pg_trigger where not tgisinternal)`).Scan(&columns, &constraints, &invalid, &triggers))
		require.Equal(t, []int{4, 4, 0, 1}, []int{columns, constraints, invalid, triggers})
	}
	t.Logf("%d deaths in 6 runs", deaths)
	require.Greater(t, deaths, 6)
}

func TestDone(t *testing.T) {
	d := table(t)
	conn := connect(t, d.DSN)
	source := whole + `; drop index concurrently t_c; alter table n rename to m; alter table m rename column t_id to x; alter table m rename constraint n_t to m_t;
		create sequence s; create schema other; create domain dm as int; create view v as select 1; drop view v; drop trigger f on t; drop type e; drop table m;
		create policy p on t using (true); drop policy p on t; create statistics st on a, id from t; alter table t drop column c; alter table t alter a drop not null;
		create table p (id bigint) partition by range (id); create table q (id bigint); alter table p attach partition q for values from (1) to (5);
		alter table p detach partition q concurrently; create materialized view mv as select 1; drop schema other`
	untellable := map[string]bool{"comment": true, "create function": true}
	for _, s := range mustParse(t, source) {
		before, err := Done(t.Context(), conn, s)
		require.NoError(t, err, s.SQL)
		require.False(t, before, "done before it was applied: %s", s.SQL)
		require.NoError(t, Apply(t.Context(), conn, []Statement{s}, Options{}, func(Event) {}), s.SQL)
		after, err := Done(t.Context(), conn, s)
		require.NoError(t, err)
		words := strings.Fields(s.SQL)
		require.Equal(t, !untellable[words[0]] && !untellable[words[0]+" "+words[1]], after, "%s", s.SQL)
	}
	for _, other := range []string{"alter table t add column a text", "create index t_a on p (id)", "alter table t set (fillfactor = 90)"} {
		yes, err := Done(t.Context(), conn, mustParse(t, other)[0])
		require.NoError(t, err)
		require.False(t, yes, other)
	}
}

// A file that takes away what it made before must not make it again when it is repeated.
func TestARepeatMakesNothingTwice(t *testing.T) {
	d := table(t)
	conn := connect(t, d.DSN)
	source := strings.Replace(whole, "create function", "create or replace function", 1) +
		"; alter table n add column x int; alter table n rename to m; create index concurrently m_x on m (x)"
	var first, again recorder
	require.NoError(t, Apply(t.Context(), conn, mustParse(t, source), Options{}, first.add))
	require.Empty(t, first.of(Already))
	shape := func() (names []string) {
		rows, err := conn.Query(t.Context(), `select relname || relfilenode from pg_class where relnamespace = 'public'::regnamespace
			union all select conname from pg_constraint where connamespace = 'public'::regnamespace order by 1`)
		require.NoError(t, err)
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return names
	}
	before := shape()
	require.NoError(t, Apply(t.Context(), conn, mustParse(t, source), Options{}, again.add))
	require.Equal(t, before, shape())
	for _, e := range again.of(Applied) {
		require.Empty(t, e.Statement.probes(), "applied twice: %s", e.Statement.SQL)
	}
}

// A file that swaps two tables is in no state, at its start, in which its end seems reached.
func TestASwapIsNotTakenForDone(t *testing.T) {
	d := table(t)
	conn := connect(t, d.DSN)
	var events recorder
	require.NoError(t, Apply(t.Context(), conn, mustParse(t, "create table t_new (id bigint); alter table t rename to t_old; alter table t_new rename to t"), Options{}, events.add))
	require.Len(t, events.of(Applied), 3)
}

func TestAnInvalidIndexIsSwept(t *testing.T) {
	d := table(t)
	conn := connect(t, d.DSN)
	_, err := conn.Exec(t.Context(), `insert into t values (9999, 1)`)
	require.NoError(t, err)
	statements := mustParse(t, "create unique index concurrently if not exists t_a on t (a)")
	require.Error(t, Apply(t.Context(), conn, statements, Options{}, func(Event) {}), "there is a duplicate")
	_, err = conn.Exec(t.Context(), `delete from t where id = 9999`)
	require.NoError(t, err)
	var events recorder
	require.NoError(t, Apply(t.Context(), conn, statements, Options{}, events.add))
	require.Len(t, events.of(Swept), 1)
	require.Len(t, events.of(Applied), 1)
	done, err := Done(t.Context(), conn, statements[0])
	require.NoError(t, err)
	require.True(t, done)
	var lockTimeout string
	require.NoError(t, conn.QueryRow(t.Context(), "show lock_timeout").Scan(&lockTimeout))
	require.Equal(t, "0", lockTimeout, "the session is as it was")
}

// A dead process's CREATE INDEX CONCURRENTLY goes on in the server. It must be waited for, not dropped.
func TestAnIndexThatIsStillBuiltIsLeftAlone(t *testing.T) {
	d := table(t)
	_, end := holding(t, d.DSN, "update t set a = a where id = 1")
	defer end()
	statements := mustParse(t, "create index concurrently t_a on t (a)")
	orphan := connect(t, d.DSN)
	built := make(chan error, 1)
	go func() { _, err := orphan.Exec(context.Background(), statements[0].SQL); built <- err }()
	require.Eventually(t, func() bool {
		var n int
		require.NoError(t, d.Pool.QueryRow(t.Context(), `select count(*) from pg_stat_progress_create_index where index_relid <> 0`).Scan(&n))
		return n == 1
	}, 10*time.Second, 10*time.Millisecond)
	var events recorder
	done := make(chan error, 1)
	conn := connect(t, d.DSN)
	go func() { done <- Apply(t.Context(), conn, statements, Options{}, events.add) }()
	require.Eventually(t, func() bool { return len(events.of(Blocked)) > 0 }, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, int32(orphan.PgConn().PID()), events.of(Blocked)[0].Blockers[0].PID)
	end()
	require.NoError(t, <-built)
	require.NoError(t, <-done)
	require.Empty(t, events.of(Swept))
	require.Len(t, events.of(Already), 1)
}

// A DETACH ... CONCURRENTLY that fails in its second half leaves the partition half detached; only FINALIZE ends that.
func TestADetachThatWasCutOffIsFinished(t *testing.T) {
	d := harness.Database(t)
	conn := connect(t, d.DSN)
	for _, sql := range []string{"create table p (id bigint) partition by range (id)", "create table q partition of p for values from (0) to (10)"} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	_, end := holding(t, d.DSN, "lock table q in access share mode")
	defer end()
	var events recorder
	done := make(chan error, 1)
	statements := mustParse(t, "alter table p detach partition q concurrently")
	go func() {
		done <- Apply(t.Context(), conn, statements, Options{LockTimeout: 300 * time.Millisecond}, events.add)
	}()
	require.Eventually(t, func() bool { return len(events.of(Blocked)) >= 2 }, 20*time.Second, 20*time.Millisecond)
	end()
	require.NoError(t, <-done)
	yes, err := Done(t.Context(), conn, statements[0])
	require.NoError(t, err)
	require.True(t, yes)
}
