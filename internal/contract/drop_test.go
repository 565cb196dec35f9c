package contract

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
)

func (s *stage) drop(t Target) error {
	return s.tx(s.engine, func(tx pgx.Tx) error {
		if _, err := tx.Exec(s.Context(), "set local lock_timeout = '100ms'"); err != nil {
			return err
		}
		return Drop(s.Context(), tx, t)
	})
}

func TestADropIsRefusedWhileSomebodyReads(t *testing.T) {
	s := newStage(t)
	before := s.dump(s.db.Name)
	for sql, want := range map[string]string{
		`create view app.v as select email from app.users`:                                            `drop: "view app.v" reads it; replace it`,
		`create index i on app.users (tenant, email)`:                                                 `drop: "index app.i" is dropped with it, though it serves other columns too`,
		`create function app.f() returns bigint begin atomic select count(email) from app.users; end`: `drop: "function app.f()" reads it in its body`,
	} {
		s.exec(sql)
		var refused job.Refusals
		err := s.drop(s.target)
		require.ErrorAs(t, err, &refused)
		require.ErrorContains(t, err, want)
		s.exec("drop view if exists app.v; drop index if exists app.i; drop function if exists app.f")
	}
	_, err := s.rehearse(s.plan(Revoke))
	require.NoError(t, err)
	require.ErrorContains(t, s.drop(s.target), "is rehearsed, for migration users-email-norm; end the rehearsal first")
	_, _, err = s.undo()
	require.NoError(t, err)
	require.Equal(t, before, s.dump(s.db.Name), "what is refused changes nothing")

	require.NoError(t, s.drop(s.target))
	require.Equal(t, "42703", code(t, s.engine, monthly))
	require.ErrorContains(t, s.drop(s.target), `columns: "email" is not a column`)
	s.exec("create view app.v as select 1 from app.users")
	whole := s.target
	whole.Columns = nil
	require.ErrorContains(t, s.drop(whole), `drop: "view app.v" reads it`)
	s.exec("drop view app.v")
	require.NoError(t, s.drop(whole))
	require.Equal(t, "42P01", code(t, s.engine, monthly))
}

// The drop itself rewrites nothing, however many rows there are.
func TestADropIsOfTheCatalogOnly(t *testing.T) {
	s := newStage(t)
	node := func() (file string, wal int64) {
		require.NoError(t, s.pool.QueryRow(t.Context(), "select pg_relation_filepath('app.users'), pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint").Scan(&file, &wal))
		return file, wal
	}
	s.exec("insert into app.users (tenant, email) select 1, i || '@example.org' from generate_series(1, 200000) i")
	file, wal := node()
	began := time.Now()
	require.NoError(t, s.drop(s.target))
	took := time.Since(began)
	after, walAfter := node()
	require.Equal(t, file, after)
	require.Less(t, walAfter-wal, int64(1<<20))
	t.Logf("200,000 rows: %s, %d bytes of WAL", took, walAfter-wal)
}

// While somebody's transaction stays on the table, a drop that gives up and tries again keeps no other reader waiting for longer than its
// lock_timeout.
func TestADropThatWaitsKeepsNobodyWaitingForLong(t *testing.T) {
	s := newStage(t)
	ctx := t.Context()
	s.exec("insert into app.users (tenant) values (1)")
	long, err := s.pool.Begin(ctx)
	require.NoError(t, err)
	_, err = long.Exec(ctx, "select count(*) from app.users")
	require.NoError(t, err)

	applicationCtx, stop := context.WithCancel(ctx)
	var longest time.Duration
	var reads int
	var application sync.WaitGroup
	report := s.as(s.report)
	application.Go(func() {
		for applicationCtx.Err() == nil {
			began := time.Now()
			if _, err := report.Exec(ctx, "select tenant from app.users limit 1"); err != nil {
				panic(err)
			}
			longest, reads = max(longest, time.Since(began)), reads+1
		}
	})
	tries := 0
	for ; tries < 5; tries++ {
		err := s.drop(s.target)
		require.Equal(t, "55P03", postgres.SQLState(err), "%v", err)
	}
	require.NoError(t, long.Rollback(ctx))
	require.NoError(t, s.drop(s.target))
	stop()
	application.Wait()
	t.Logf("%d tries, %d reads, the longest waited %s", tries, reads, longest)
	require.Less(t, longest, time.Second, "lock_timeout is 100ms")
	require.Greater(t, reads, tries)
}

// dropSQL names what it drops, however hostile.
func TestTheDropsOwnStatement(t *testing.T) {
	require.Equal(t, `ALTER TABLE "we""ird"."t; drop" DROP COLUMN "a" RESTRICT, DROP COLUMN "b""" RESTRICT`, Target{`we"ird`, "t; drop", []string{"a", `b"`}}.dropSQL())
	require.Equal(t, `DROP TABLE "s"."t" RESTRICT`, Target{"s", "t", nil}.dropSQL())
}

// rich are columns with all that a column can have, each the last of its table.
var rich = map[string]struct {
	columns []string
	make    []string
	fill    []string // what brings the values back
}{
	"a text with all that it can have": {[]string{"old"}, []string{
		`create table app.t (id bigint primary key, v int, old text collate "C" not null default 'it''s')`,
		`alter table app.t alter old set storage external, alter old set compression pglz, alter old set statistics 500, alter old set (n_distinct = -0.5)`,
		`comment on column app.t.old is 'back\slash and ''quote'''`,
		`create index t_old on app.t (lower(old) text_pattern_ops desc nulls last) where old <> ''`, `comment on index app.t_old is 'fast'`,
		`alter table app.t add constraint t_unique unique (old) deferrable initially deferred`, `comment on constraint t_unique on app.t is 'one of each'`,
		`alter table app.t add constraint t_check check (old <> 'x')`, `alter table app.t add constraint t_later check (old <> 'y') not valid`,
		`create statistics app.t_stats (mcv) on v, old from app.t`, `alter statistics app.t_stats set statistics 77`,
		`grant select (old), update (old) on app.t to {third}`, `grant select (old) on app.t to {holder} with grant option`,
	}, nil},
	"a foreign key, and an exclusion": {[]string{"old"}, []string{
		`create table app.other (id int primary key)`, `create table app.t (id bigint primary key, old int)`, `set search_path = app`,
		`alter table app.t add constraint t_fk foreign key (old) references other on delete cascade deferrable`,
		`alter table app.t add constraint t_x exclude using btree (old with =)`,
	}, nil},
	"a serial":    {[]string{"old"}, []string{`create table app.t (id bigint primary key, old serial)`, `insert into app.t select i from generate_series(1, 10) i`}, []string{`update app.t set old = id`}},
	"an identity": {[]string{"old"}, []string{`create table app.t (id bigint primary key, old smallint generated by default as identity (start 5 increment 2 cycle))`}, nil},
	"the primary key, clustered and the replica identity": {[]string{"old"}, []string{
		`create table app.t (v int, old uuid primary key)`, `alter table app.t cluster on t_pkey`, `alter table app.t replica identity using index t_pkey`,
	}, nil},
	"hostile names and types": {[]string{`a"b; drop`, "Zwei"}, []string{
		`create domain app."Dom""ain" as numeric(10,2)`, `create table app."T; x" (id int, "a""b; drop" app."Dom""ain"[] default '{1}', "Zwei" varchar(7))`,
		`create index "I""x" on app."T; x" ("Zwei")`,
	}, nil},
	"partitions": {[]string{"old"}, []string{
		`create table app.t (id int, old text) partition by range (id)`, `create table app.t1 partition of app.t for values from (0) to (10)`,
		`create index t_old on app.t (old)`, `create index t1_old on app.t1 (old, (length(old)))`,
	}, nil},
	"a whole table": {nil, []string{
		`create unlogged table app.t (id bigint generated always as identity primary key, s serial, v text not null default 'x' check (v <> ''), w int)  with (fillfactor = 70)`,
		`comment on table app.t is 'kept'`, `create index on app.t (w)`, `grant select on app.t to {third}`, `grant update (w) on app.t to {third}`, `grant usage on sequence app.t_s_seq to {third}`,
		`alter table app.t replica identity full`,
		`create function app.f() returns trigger language plpgsql as $f$ begin return new; end $f$`, `create trigger g before insert on app.t for each row execute function app.f()`,
		`alter table app.t disable trigger g`,
	}, nil},
}

// A dropped column, or table, comes back by its script as pg_dump saw it before.
func TestTheUndoScriptMakesItAgain(t *testing.T) {
	for name, c := range rich {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			ctx := t.Context()
			roles := strings.NewReplacer("{third}", s.role("third", ""), "{holder}", s.role("holder", ""))
			for _, sql := range c.make {
				_, err := s.engine.Exec(ctx, roles.Replace(sql))
				require.NoError(t, err, sql)
			}
			table := "t"
			if strings.HasPrefix(name, "hostile") {
				table = "T; x"
			}
			target := Target{"app", table, c.columns}
			before := s.dump(s.db.Name)
			script, err := UndoScript(ctx, s.engine, target, Back{})
			require.NoError(t, err)
			for _, r := range s.readers(target) { // what serves other columns is the owner's to drop
				if r.Kind == Statistics || r.AtDrop == Goes {
					continue
				}
				require.False(t, r.Forbids(), r.String())
			}
			_, err = s.engine.Exec(ctx, target.dropSQL())
			require.NoError(t, err)
			require.NotEqual(t, before, s.dump(s.db.Name))
			for _, sql := range append(append(slices.Clone(script.Add), c.fill...), script.Finish...) {
				_, err := s.engine.Exec(ctx, sql)
				require.NoError(t, err, sql)
			}
			require.Equal(t, before, s.dump(s.db.Name))

			// The file itself, by psql, which knows another search_path.
			_, err = s.engine.Exec(ctx, target.dropSQL())
			require.NoError(t, err)

			cmd := exec.CommandContext(ctx, "psql", "-X", "-v", "ON_ERROR_STOP=1", "-f", "-", s.db.DSN)
			file := strings.Replace(script.String(), "\n-- 3.", "\n"+strings.Join(append(c.fill, ""), ";\n")+"-- 3.", 1)
			cmd.Stdin = strings.NewReader("set role " + s.owner + ";\n" + file)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Equal(t, before, s.dump(s.db.Name))
		})
	}
}

func TestTheUndoScriptBringsValuesBackByABackfill(t *testing.T) {
	s := newStage(t)
	script, err := UndoScript(t.Context(), s.engine, Target{"app", "users", []string{"email", "email_norm"}},
		Back{Name: "users-email-norm-undo", Database: "main", Values: map[string]string{"email": `tenant || '@' -- "all" of it`}})
	require.NoError(t, err)
	spec, err := job.ParseSpec([]byte(script.Job), "undo.yaml")
	require.NoError(t, err, script.Job)
	require.Equal(t, [2]string{"users-email-norm-undo", `"app"."users"`}, [2]string{spec.Name, spec.Table})
	require.Equal(t, map[string]string{"email": `tenant || '@' -- "all" of it`}, spec.Set)
	require.Equal(t, []string{`the values of column "email_norm": the migration has no ` + "`backward`" + ` expression for it; restore them from a backup`}, script.Lost)

	// Taken out of the file as it says, it is the same.
	var lines []string
	for line := range strings.Lines(script.String()) {
		if text, ok := strings.CutPrefix(line, "--   "); ok {
			lines = append(lines, text)
		}
	}
	require.Equal(t, script.Job, strings.Join(lines, ""))

	s.exec("create table app.p (id int) partition by range (id)")
	_, err = UndoScript(t.Context(), s.engine, Target{"app", "p", nil}, Back{})
	var refused job.Refusals
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, "pg_dump --schema-only")
}

// On each version, by its own catalog: a rehearsal leaves no trace, and what a script made is written down as what was there before.
func TestRehearsalDropAndScriptOnEveryVersion(t *testing.T) {
	for _, major := range harness.Majors {
		c := harness.Postgres(t, harness.WithVersion(major))
		pool := c.Pool(t, "postgres")
		ctx := t.Context()
		_, _, err := store.New(pool, "main").Migrate(ctx)
		require.NoError(t, err)
		exec := func(sql string) {
			_, err := pool.Exec(ctx, sql)
			require.NoError(t, err, "version %d: %s", major, sql)
		}
		exec(`create schema app; create role holder; create role third; create role report login; grant holder to postgres; grant usage on schema app to holder`)
		text := rich["a text with all that it can have"]
		for _, sql := range text.make {
			exec(strings.NewReplacer("{third}", "third", "{holder}", "holder").Replace(sql))
		}
		exec(`drop statistics app.t_stats; grant select on app.t to holder with grant option; grant select on app.t to report; set role holder; grant select on app.t to third; reset role`)
		target := Target{"app", "t", text.columns}
		before, err := UndoScript(ctx, pool, target, Back{})
		require.NoError(t, err)
		for _, mode := range []Mode{Revoke, Rename} {
			require.NoError(t, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				_, _, err := Rehearse(ctx, tx, Plan{Migration: "m", Target: target, Mode: mode, By: "ann", Until: time.Now().Add(time.Hour), Accept: []string{"postgres", "root"}})
				return err
			}), "version %d: %s", major, mode)
			_, err = pool.Exec(ctx, "set role report; select old from app.t")
			require.Error(t, err, "version %d: %s", major, mode)
			exec("reset role")
			require.NoError(t, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				_, exact, err := Undo(ctx, tx, "m", "ann")
				require.True(t, exact, "version %d: %s", major, mode)
				return err
			}))
		}
		same, err := UndoScript(ctx, pool, target, Back{})
		require.NoError(t, err)
		require.Equal(t, before, same, "version %d", major)
		require.NoError(t, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return Drop(ctx, tx, target) }), "version %d", major)
		for _, sql := range append(slices.Clone(before.Add), before.Finish...) {
			exec(sql)
		}
		same, err = UndoScript(ctx, pool, target, Back{})
		require.NoError(t, err)
		require.Equal(t, before, same, "version %d", major)
		require.NoError(t, c.Stop())
	}
}
