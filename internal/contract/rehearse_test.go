package contract

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/store"
)

// stage is app.users as an application has it: its owner, a group with the monthly report in it, and the session of the engine.
type stage struct {
	*scene
	owner, group, report string
	engine               *pgx.Conn
	target               Target
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{scene: newScene(t), target: Target{"app", "users", []string{"email"}}}
	s.owner, s.group, s.report = s.role("owner", "login"), s.role("readers", ""), s.role("report", "login")
	for _, sql := range usersSQL {
		s.exec(sql)
	}
	s.exec("insert into app.users (tenant, email) values (1, 'a@x.org')")
	s.exec("alter schema app owner to " + s.owner + "; alter table app.users owner to " + s.owner)
	s.exec("grant usage on schema backfleet to " + s.owner + "; grant all on all tables in schema backfleet to " + s.owner)
	s.exec("grant usage on schema app to public; grant " + s.group + " to " + s.report)
	s.connect()
	_, err := s.engine.Exec(t.Context(), "grant select on app.users to "+s.group)
	require.NoError(t, err)
	return s
}

// connect gives the engine a session of the owner's.
func (s *stage) connect() {
	s.Helper()
	s.engine = s.as(s.owner)
	_, err := s.engine.Exec(s.Context(), "set application_name = 'backfleet phases'")
	require.NoError(s, err)
}

func (s *stage) plan(mode Mode) Plan {
	return Plan{Migration: "users-email-norm", Target: s.target, Mode: mode, By: "ann", Until: time.Now().Add(time.Hour), Accept: []string{"postgres"}}
}

func (s *stage) rehearse(p Plan) (store.Rehearsal, error) {
	var r store.Rehearsal
	return r, s.tx(s.engine, func(tx pgx.Tx) (err error) {
		r, _, err = Rehearse(s.Context(), tx, p)
		return err
	})
}

func (s *stage) undo() (r store.Rehearsal, exact bool, err error) {
	return r, exact, s.tx(s.engine, func(tx pgx.Tx) (err error) {
		r, exact, err = Undo(s.Context(), tx, "users-email-norm", "bob")
		return err
	})
}

// code is the SQLSTATE with which a statement of a role fails.
func code(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	return postgres.SQLState(err)
}

const monthly = "select tenant, count(distinct email) from app.users group by tenant"

func TestTheMonthlyReportFailsDuringARevokeAndWorksAfterIt(t *testing.T) {
	s := newStage(t)
	report := s.as(s.report)
	require.Empty(t, code(t, report, monthly))
	before := s.dump(s.db.Name)

	r, err := s.rehearse(s.plan(Revoke))
	require.NoError(t, err)
	require.Equal(t, "42501", code(t, report, monthly))
	for _, sql := range []string{"select id, tenant, email_norm, at from app.users", "select count(*) from app.users", "select xmin, ctid, tableoid from app.users"} {
		require.Empty(t, code(t, report, sql), sql)
	}
	require.Equal(t, "42501", code(t, report, "select * from app.users"))
	require.Empty(t, code(t, s.engine, monthly), "the owner does not notice")

	_, err = s.rehearse(s.plan(Revoke))
	require.ErrorContains(t, err, "is rehearsed already, by ann until")

	began := time.Now()
	ended, exact, err := s.undo()
	require.NoError(t, err)
	took := time.Since(began)
	t.Logf("the undo took %s", took)
	require.Less(t, took, time.Second)
	require.True(t, exact)
	require.Equal(t, [2]any{r.ID, "bob"}, [2]any{ended.ID, ended.EndedBy})
	require.NotNil(t, ended.Ended)
	require.Empty(t, code(t, report, monthly))
	require.Equal(t, before, s.dump(s.db.Name))
	_, _, err = s.undo()
	require.ErrorIs(t, err, ErrNoRehearsal)
}

// Whatever the privileges were, the dump of before and after is the same to the byte, and while it lasts nobody but the owner reads the column.
func TestAnUndoIsExact(t *testing.T) {
	for name, grants := range map[string][]string{
		"to everybody":                      {"grant select on app.users to public"},
		"through groups of groups":          {"grant select, insert on app.users to {other}"},
		"with other privileges":             {"grant all on app.users to {other}", "grant update, select on app.users to {third}"},
		"with grant option":                 {"grant select on app.users to {third} with grant option", "grant select (email) on app.users to {other} with grant option"},
		"granted by a holder":               {"grant select on app.users to {holder} with grant option", "set role {holder}", "grant select on app.users to {third}", "grant select (email, id) on app.users to {other}", "reset role"},
		"on columns":                        {"grant select (email), update (email) on app.users to {other}", "grant select (id, email_norm) on app.users to {third}"},
		"on columns and the table":          {"grant select (id, email), select on app.users to {other}", "grant insert (email), select (at) on app.users to {other}, {third}"},
		"without the owner's own":           {"revoke all on app.users from {owner}", "grant update on app.users to {third}"},
		"in an order that grants leave":     {"grant update on app.users to {third}", "grant select on app.users to {other}", "grant select on app.users to {third}"},
		"of the owner after others'":        {"grant select on app.users to {third}", "revoke all on app.users from {owner}", "grant all on app.users to {owner}"},
		"to everybody, and to some by name": {"grant select on app.users to public", "grant select on app.users to {third} with grant option"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			ctx := t.Context()
			names := strings.NewReplacer("{group}", s.group, "{other}", s.role("other", ""), "{third}", s.role("third", ""), "{holder}", s.role("holder", ""), "{owner}", s.owner)
			s.exec("grant " + s.roles["holder"] + " to " + s.owner + "; grant usage on schema app to " + s.roles["holder"])
			s.exec("grant " + s.group + " to " + s.roles["other"])
			for _, g := range grants {
				_, err := s.engine.Exec(ctx, names.Replace(g))
				require.NoError(t, err, g)
			}
			before := s.dump(s.db.Name)
			_, err := s.rehearse(s.plan(Revoke))
			require.NoError(t, err)
			require.NotEqual(t, before, s.dump(s.db.Name))
			for _, role := range []string{s.group, s.report, s.roles["other"], s.roles["third"], s.roles["holder"]} {
				var email bool
				require.NoError(t, s.pool.QueryRow(ctx, "select has_column_privilege($1, 'app.users', 'email', 'select')", role).Scan(&email))
				require.False(t, email, role)
			}
			_, exact, err := s.undo()
			require.NoError(t, err)
			require.True(t, exact)
			require.Equal(t, before, s.dump(s.db.Name))
		})
	}
}

// Leaf partitions that are read by their own names lose the column as well; hostile names change nothing.
func TestARevokeReachesEveryPartition(t *testing.T) {
	s := newStage(t)
	ctx := t.Context()
	for _, sql := range []string{
		`create table app."p; drop table x" (id int, "a""b" text, v int) partition by range (id)`,
		`create table app."le""af" (v int, "a""b" text, id int not null)`,
		`alter table app."p; drop table x" attach partition app."le""af" for values from (0) to (9)`,
		`grant select on app."p; drop table x", app."le""af" to ` + s.group,
	} {
		_, err := s.engine.Exec(ctx, sql)
		require.NoError(t, err, sql)
	}
	before := s.dump(s.db.Name)
	p := s.plan(Revoke)
	p.Target = Target{"app", "p; drop table x", []string{`a"b`}}
	_, err := s.rehearse(p)
	require.NoError(t, err)
	report := s.as(s.report)
	for _, table := range []string{`app."p; drop table x"`, `app."le""af"`} {
		require.Equal(t, "42501", code(t, report, `select "a""b" from `+table))
		require.Empty(t, code(t, report, `select id, v from `+table))
	}
	_, exact, err := s.undo()
	require.NoError(t, err)
	require.True(t, exact)
	require.Equal(t, before, s.dump(s.db.Name))

	p.Mode = Rename
	_, err = s.rehearse(p)
	require.NoError(t, err)
	require.Equal(t, "42703", code(t, report, `select "a""b" from app."le""af"`))
	_, _, err = s.undo()
	require.NoError(t, err)
	require.Equal(t, before, s.dump(s.db.Name))
}

// Who changes privileges while a rehearsal lasts does not hinder its end, and keeps the change.
func TestAnUndoOnTopOfAChange(t *testing.T) {
	s := newStage(t)
	other := s.role("other", "login")
	_, err := s.engine.Exec(t.Context(), "grant select (email) on app.users to "+s.role("gone", ""))
	require.NoError(t, err)
	_, err = s.rehearse(s.plan(Revoke))
	require.NoError(t, err)
	_, err = s.engine.Exec(t.Context(), "grant select (tenant), update (tenant) on app.users to "+other)
	require.NoError(t, err)
	_, exact, err := s.undo()
	require.NoError(t, err)
	require.False(t, exact)
	require.Empty(t, code(t, s.as(s.report), monthly))
	require.Empty(t, code(t, s.as(other), "select tenant from app.users"))
	var columns int
	require.NoError(t, s.pool.QueryRow(t.Context(), `select count(*) from pg_attribute, aclexplode(attacl) e where attrelid = 'app.users'::regclass and e.grantee = $1::regrole`, s.group).Scan(&columns))
	require.Zero(t, columns, "what the rehearsal gave is gone")
}

func TestARehearsalThatWouldShowNothingIsRefused(t *testing.T) {
	s := newStage(t)
	ctx := t.Context()
	p := s.plan(Revoke)
	p.Until = time.Now().Add(-time.Hour)
	_, err := s.rehearse(p)
	require.ErrorContains(t, err, "is over by the database's clock")

	p = s.plan(Revoke)
	application := s.as(s.owner) // an application that connects as the owner
	_, err = s.rehearse(p)
	require.ErrorContains(t, err, `"`+s.owner+`" owns the table and would not notice, but is connected (1 sessions); rehearse by rename`)
	require.NoError(t, application.Close(ctx))

	p.Accept = nil
	_, err = s.rehearse(p)
	require.ErrorContains(t, err, `"postgres" is a superuser and would not notice, but is connected`)
	p.Accept = []string{"postgres"}

	s.exec("grant pg_read_all_data to " + s.group)
	_, err = s.rehearse(p)
	require.ErrorContains(t, err, `"`+s.group+`" may read all data (pg_read_all_data) and would not notice, but was granted SELECT`)
	s.exec("revoke pg_read_all_data from " + s.group)

	stranger := s.role("stranger", "")
	s.exec("grant select on app.users to " + stranger + " with grant option; grant usage on schema app to " + stranger)
	s.exec("set role " + stranger + "; grant select on app.users to " + s.role("friend", "") + "; reset role")
	_, err = s.rehearse(p)
	require.ErrorContains(t, err, "role "+quote(stranger)+" granted privileges on it, in whose name this session cannot bring them back; GRANT "+quote(stranger)+" TO "+quote(s.owner))
	s.exec("revoke select on app.users from " + stranger + " cascade")

	_, err = s.engine.Exec(ctx, "revoke select on app.users from "+s.group)
	require.NoError(t, err)
	_, err = s.rehearse(p)
	require.ErrorContains(t, err, "nobody but the owner may read")
	rs, err := store.New(s.pool, "main").Rehearsals(ctx, "users-email-norm")
	require.NoError(t, err)
	require.Empty(t, rs, "what is refused is not begun")
}

func TestARenameIsNoticedByEverybody(t *testing.T) {
	s := newStage(t)
	before := s.dump(s.db.Name)
	application := s.as(s.owner)
	_, err := s.rehearse(s.plan(Rename))
	require.NoError(t, err)
	require.Equal(t, "42703", code(t, application, monthly), "the owner notices")
	require.Equal(t, "42703", code(t, s.as(s.report), monthly))
	require.Empty(t, code(t, application, "select email_is_being_dropped from app.users"))
	began := time.Now()
	_, exact, err := s.undo()
	require.NoError(t, err)
	require.Less(t, time.Since(began), time.Second)
	require.True(t, exact)
	require.Equal(t, before, s.dump(s.db.Name))

	// A whole table.
	p := s.plan(Rename)
	p.Target.Columns = nil
	_, err = s.rehearse(p)
	require.NoError(t, err)
	require.Equal(t, "42P01", code(t, application, monthly))
	_, _, err = s.undo()
	require.NoError(t, err)
	require.Equal(t, before, s.dump(s.db.Name))
}

func TestARenameThatWouldGoUnnoticedOrStopWritesIsRefused(t *testing.T) {
	s := newStage(t)
	for sql, want := range map[string]string{
		`create view app.v as select email from app.users`: `"view app.v" follows a new name by itself, so it would not notice, and reads it`,
		`create function app.f() returns trigger language plpgsql as $f$ begin new.email_norm := lower(new.email); return new; end $f$;
		 create trigger dual before insert or update on app.users for each row execute function app.f()`: `every such write would fail: app.users: dual`,
	} {
		s.exec(sql)
		_, err := s.rehearse(s.plan(Rename))
		require.ErrorContains(t, err, want)
		s.exec("drop view if exists app.v; drop function if exists app.f cascade")
	}
	_, err := s.rehearse(s.plan(Rename))
	require.NoError(t, err)
	s.exec(`alter table app.users rename email_is_being_dropped to mail`)
	_, _, err = s.undo()
	require.ErrorContains(t, err, `"mail" was email_is_being_dropped, which the rehearsal had made of email: somebody renamed it; rename it to "email" yourself`)
	s.exec(`alter table app.users rename mail to email`)
	_, _, err = s.undo()
	require.NoError(t, err)
}

// A process that dies in the middle leaves the time before or the time after, and any other one can end it.
func TestADeathInTheMiddleLeavesEitherState(t *testing.T) {
	for _, mode := range []Mode{Revoke, Rename} {
		t.Run(string(mode), func(t *testing.T) {
			s := newStage(t)
			ctx := t.Context()
			before := s.dump(s.db.Name)
			die := func(do func(tx pgx.Tx) error) {
				doomed := s.as(s.owner)
				_, err := doomed.Exec(ctx, "set application_name = 'backfleet doomed'")
				require.NoError(t, err)
				tx, err := doomed.Begin(ctx)
				require.NoError(t, err)
				require.NoError(t, do(tx))
				pid := doomed.PgConn().PID()
				require.NoError(t, doomed.PgConn().Conn().Close()) // as a SIGKILL closes it
				require.Eventually(t, func() bool {
					var n int
					require.NoError(t, s.pool.QueryRow(ctx, "select count(*) from pg_stat_activity where pid = $1", pid).Scan(&n))
					return n == 0
				}, 10*time.Second, 5*time.Millisecond)
			}
			die(func(tx pgx.Tx) error {
				_, _, err := Rehearse(ctx, tx, s.plan(mode))
				return err
			})
			require.Equal(t, before, s.dump(s.db.Name))
			_, _, err := s.undo()
			require.ErrorIs(t, err, ErrNoRehearsal)

			_, err = s.rehearse(s.plan(mode))
			require.NoError(t, err)
			during := s.dump(s.db.Name)
			die(func(tx pgx.Tx) error {
				_, _, err := Undo(ctx, tx, "users-email-norm", "doomed")
				return err
			})
			require.Equal(t, during, s.dump(s.db.Name))
			require.NoError(t, s.engine.Close(ctx))
			s.connect() // another process, which knows the ledger only
			_, exact, err := s.undo()
			require.NoError(t, err)
			require.True(t, exact)
			require.Equal(t, before, s.dump(s.db.Name))
		})
	}
}

func TestARehearsalPastItsTimeIsFound(t *testing.T) {
	s := newStage(t)
	ledger := store.New(s.pool, "main")
	r, err := s.rehearse(s.plan(Revoke))
	require.NoError(t, err)
	overdue, err := ledger.OverdueRehearsals(t.Context())
	require.NoError(t, err)
	require.Empty(t, overdue)
	s.exec("update backfleet.rehearsals set until = clock_timestamp()")
	overdue, err = ledger.OverdueRehearsals(t.Context())
	require.NoError(t, err)
	require.Len(t, overdue, 1)
	require.Equal(t, [3]any{r.ID, "users-email-norm", "revoke"}, [3]any{overdue[0].ID, overdue[0].Migration, overdue[0].Mode})
	_, _, err = s.undo()
	require.NoError(t, err)
	overdue, err = ledger.OverdueRehearsals(t.Context())
	require.NoError(t, err)
	require.Empty(t, overdue)
}

// Where the server's log may be read, it tells who failed; else it is said why not.
func TestTheLogTellsWhoFailed(t *testing.T) {
	s := newStage(t)
	ctx := t.Context()
	report := s.as(s.report)
	require.Equal(t, "42703", code(t, report, "select nonsense from app.users"))
	r, err := s.rehearse(s.plan(Revoke))
	require.NoError(t, err)
	_, why, err := Failures(ctx, s.engine, r)
	require.NoError(t, err)
	require.Contains(t, why, "GRANT pg_monitor")
	_, _, err = s.undo()
	require.NoError(t, err)

	for _, grant := range []string{"grant pg_monitor to " + s.owner, "grant execute on function pg_current_logfile(text), pg_read_binary_file(text, bigint, bigint, boolean), pg_stat_file(text, boolean) to " + s.owner} {
		s.exec(grant)
	}
	for range 2 {
		require.Empty(t, code(t, report, monthly))
	}
	r, err = s.rehearse(s.plan(Revoke))
	require.NoError(t, err)
	for range 3 {
		require.Equal(t, "42501", code(t, report, monthly))
	}
	require.Equal(t, "42703", code(t, report, "select nonsense from app.users"))
	var all []Failure
	require.Eventually(t, func() bool { // the collector writes by itself
		all, why, err = Failures(ctx, s.engine, r)
		require.NoError(t, err)
		require.Empty(t, why)
		return len(all) == 1 && all[0].Count == 3
	}, 10*time.Second, 50*time.Millisecond)
	f := all[0]
	require.Equal(t, []any{s.report, "42501", "permission denied for table users", monthly}, []any{f.User, f.SQLState, f.Message, f.Statement})
	require.NotEmpty(t, f.Last)
}

func TestLinesOfALog(t *testing.T) {
	csvText := `broken "start of a record` + "\n" +
		`2026-11-27 12:00:00.000 UTC,"report","app",1,"h:1",s,1,"SELECT",2026-11-27 12:00:00 UTC,1/1,0,ERROR,42501,"permission denied for table ""users""",,,,,,"select ` + "\n" + ` 1",,,"monthly","client backend",,0` + "\n"
	all := csvLines([]byte(csvText[strings.IndexByte(csvText, '\n')+1:]))
	require.Equal(t, []Failure{{User: "report", Program: "monthly", SQLState: "42501", Message: `permission denied for table "users"`, Statement: "select 1", Last: "2026-11-27 12:00:00.000 UTC"}}, all)
	jsonText := "half a line}\n" + `{"timestamp":"t","user":"report","application_name":"monthly","state_code":"42703","message":"column \"email\" does not exist","statement":"select email"}` + "\n"
	require.Equal(t, []Failure{{User: "report", Program: "monthly", SQLState: "42703", Message: `column "email" does not exist`, Statement: "select email", Last: "t"}}, jsonLines([]byte(jsonText)))
}
