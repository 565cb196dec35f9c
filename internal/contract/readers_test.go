package contract

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// usersSQL is a table of an application that nobody reads in a way that the catalog knows.
var usersSQL = []string{
	`create schema app`,
	`create table app.users (id bigint generated always as identity primary key, tenant int not null, email text not null default '' check (email <> 'x'), email_norm text, at timestamptz default now())`,
	`alter table app.users drop constraint users_email_check`,
}

// everyReader makes one object of each kind that reads app.users.email. What it must be found as stands beside it.
var everyReader = []struct {
	sql       string
	kind      Kind
	object    string
	certainty Certainty
	fate      Fate
	forbids   bool
}{
	{`create view app.v_direct as select id, email from app.users`, View, "app.v_direct", Sure, Blocks, true},
	{`create view public.v_of_view as select id from app.v_direct`, View, "public.v_of_view", Sure, Blocks, true},
	{`create materialized view app.m as select lower(email) e from app.users`, Materialized, "app.m", Sure, Blocks, true},
	{`create view app.v_row as select to_jsonb(u.*) j from app.users u`, View, "app.v_row", Maybe, Breaks, false},
	{`create function app.f_atomic() returns bigint begin atomic select count(email) from app.users; end`, Function, "app.f_atomic()", Sure, Blocks, true},
	{`create function app.f_sql() returns bigint language sql as 'select count(u.email) from app.users u'`, Function, "app.f_sql()", Maybe, Breaks, false},
	{`create function app.f_plpgsql() returns void language plpgsql as $f$ begin execute format('select %I from app.users', 'email'); end $f$`, Function, "app.f_plpgsql()", Maybe, Breaks, false},
	{`create procedure app.p_star() language plpgsql as $f$ declare r record; begin for r in select * from app.users loop null; end loop; end $f$`, Function, "app.p_star()", Maybe, Breaks, false},
	{`create function app.f_view() returns bigint language sql as 'select count(email) from app.v_direct'`, Function, "app.f_view()", Maybe, Breaks, false},
	{`create function app.f_row(u app.users) returns text language plpgsql as $f$ begin return u.email; end $f$`, Function, "app.f_row(app.users)", Maybe, Breaks, false},
	{`create function app.f_trigger() returns trigger language plpgsql as $f$ begin new.email := trim(new.email); return new; end $f$;
	  create trigger trimmed before insert on app.users for each row execute function app.f_trigger()`, Function, "app.f_trigger()", Maybe, Breaks, true},
	{`create function app.nothing() returns trigger language plpgsql as $f$ begin return new; end $f$;
	  create trigger of_column before update of email on app.users for each row execute function app.nothing()`, Trigger, "of_column on app.users", Sure, Blocks, true},
	{`create trigger by_when before update on app.users for each row when (old.email is distinct from new.email) execute function app.nothing()`, Trigger, "by_when on app.users", Sure, Blocks, true},
	{`create rule r as on insert to app.users where new.email = 'nobody' do instead nothing`, Rule, "r on app.users", Sure, Blocks, true},
	{`create index i_alone on app.users (email)`, Index, "app.i_alone", Sure, Goes, false},
	{`create index i_shared on app.users (tenant, email)`, Index, "app.i_shared", Sure, Goes, true},
	{`create index i_expression on app.users (lower(email))`, Index, "app.i_expression", Sure, Goes, false},
	{`create index i_predicate on app.users (tenant) where email <> ''`, Index, "app.i_predicate", Sure, Goes, true},
	{`create index i_include on app.users (at) include (email)`, Index, "app.i_include", Sure, Goes, true},
	{`alter table app.users add constraint c_unique unique (email)`, Unique, "c_unique on app.users", Sure, Goes, false},
	{`alter table app.users add constraint c_shared unique (tenant, email)`, Unique, "c_shared on app.users", Sure, Goes, true},
	{`alter table app.users add constraint c_check check (email <> 'root')`, CheckConstraint, "c_check on app.users", Sure, Goes, false},
	{`alter table app.users add constraint c_both check (email <> email_norm)`, CheckConstraint, "c_both on app.users", Sure, Goes, true},
	{`alter table app.users add constraint c_exclude exclude (email with =)`, Exclusion, "c_exclude on app.users", Sure, Goes, false},
	{`create table app.domains (email text primary key); alter table app.users add constraint c_key foreign key (email) references app.domains`, ForeignKey, "c_key on app.users", Sure, Goes, false},
	{`create table app.mails (email text constraint c_mails references app.users (email))`, Referencing, "c_mails on app.mails", Sure, Blocks, true},
	{`create statistics app.s on tenant, email from app.users`, Statistics, "app.s", Sure, Goes, false},
	{`create policy p on app.users using (email = current_user)`, Policy, "p on app.users", Sure, Blocks, true},
	{`create publication pub_table for table app.users`, Publication, `"pub_table"`, Maybe, Breaks, false},
	{`grant select (email) on app.users to pg_monitor`, Grant, "pg_monitor on app.users", Sure, Goes, false},
}

// generated columns came to block a drop with version 15, and column lists with it.
const generatedSQL = `alter table app.users add column shout text generated always as (upper(email)) stored`

// bystanders name the column, or the table, and do not read it.
var bystanders = []string{
	`create view app.b_view as select id, email_norm from app.users`,
	`create function app.b_comment() returns bigint language plpgsql as $f$ begin -- the email of app.users
	   /* select email */ return (select count(*) from app.users); end $f$`,
	`create function app.b_other() returns text language sql as 'select email from (select 1::text as email) x'`,
	`create table app.b_table (id int, email text); create index b_index on app.b_table (email)`,
	`create index b_email_norm on app.users (email_norm)`,
}

func TestEachReaderIsFound(t *testing.T) {
	s := newScene(t)
	for _, sql := range usersSQL {
		s.exec(sql)
	}
	target := Target{"app", "users", []string{"email"}}
	require.Empty(t, s.readers(target), "a table that nobody reads")
	for _, sql := range bystanders {
		s.exec(sql)
	}
	s.onlyStatements(target)
	for _, r := range everyReader {
		s.exec(r.sql)
	}
	s.exec(generatedSQL)
	s.exec(`create publication pub_list for table app.users (id, email) where (email <> '')`)
	s.exec(`create publication pub_other for table app.users (id)`)
	found := s.readers(target)
	for _, want := range everyReader {
		i := slices.IndexFunc(found, func(r Reader) bool { return r.Kind == want.kind && strings.HasPrefix(r.Object, want.object) })
		if !assertFound(t, found, i, string(want.kind)+" "+want.object) {
			continue
		}
		r := found[i]
		require.Equal(t, []any{want.certainty, want.fate, want.forbids}, []any{r.Certainty, r.AtDrop, r.Forbids()}, r.String())
		require.NotEmpty(t, r.Why, r)
		require.NotEmpty(t, r.Fix, r)
	}
	for _, r := range found {
		known := false
		for _, want := range everyReader {
			known = known || want.kind == r.Kind && strings.HasPrefix(r.Object, want.object)
		}
		if !known && r.Kind != Statement {
			require.Contains(t, []string{"generated column app.users.shout", "publication app.users in publication pub_list", `publication "pub_list"`}, string(r.Kind)+" "+r.Object, "found, though nobody made it")
		}
	}
	generated := found[slices.IndexFunc(found, func(r Reader) bool { return r.Kind == Generated })]
	require.True(t, generated.Forbids())

	// Postgres agrees: without CASCADE it refuses, and names as many.
	_, err := s.pool.Exec(t.Context(), "alter table app.users drop column email restrict")
	require.Error(t, err)
}

func assertFound(t *testing.T, found []Reader, i int, what string) bool {
	t.Helper()
	if i < 0 {
		var lines []string
		for _, r := range found {
			lines = append(lines, r.String())
		}
		t.Errorf("%s was not found among:\n%s", what, strings.Join(lines, "\n"))
	}
	return i >= 0
}

// onlyStatements asserts that nothing but remembered statements reads the target: those of the test itself.
func (s *scene) onlyStatements(t Target) {
	s.Helper()
	for _, r := range s.readers(t) {
		require.Contains(s, []Kind{Statement, Session}, r.Kind, r.String())
	}
}

func TestReadersOnEveryVersion(t *testing.T) {
	for _, major := range harness.Majors {
		c := harness.Postgres(t, harness.WithVersion(major))
		pool := c.Pool(t, "postgres")
		for _, sql := range append(slices.Clone(usersSQL), bystanders...) {
			_, err := pool.Exec(t.Context(), sql)
			require.NoError(t, err)
		}
		target := Target{"app", "users", []string{"email"}}
		none, err := Readers(t.Context(), pool, target)
		require.NoError(t, err)
		none = slices.DeleteFunc(none, func(r Reader) bool { return r.Kind == Session })
		require.Empty(t, none, "version %d", major)
		for _, r := range everyReader {
			_, err := pool.Exec(t.Context(), r.sql)
			require.NoError(t, err, r.sql)
		}
		_, err = pool.Exec(t.Context(), generatedSQL)
		require.NoError(t, err)
		found, err := Readers(t.Context(), pool, target)
		require.NoError(t, err)
		for _, want := range everyReader {
			i := slices.IndexFunc(found, func(r Reader) bool {
				return r.Kind == want.kind && strings.HasPrefix(r.Object, want.object) && r.Certainty == want.certainty && r.AtDrop == want.fate && r.Forbids() == want.forbids
			})
			assertFound(t, found, i, string(want.kind)+" "+want.object)
		}
		i := slices.IndexFunc(found, func(r Reader) bool { return r.Kind == Generated })
		require.GreaterOrEqual(t, i, 0)
		require.True(t, found[i].Forbids(), "version %d", major)
		require.Equal(t, major < 15, found[i].AtDrop == Goes, "version %d", major)
		require.NoError(t, c.Stop())
	}
}

// Hostile names, partitions whose columns have other numbers, and keys that are the partition's.
func TestReadersOfHostileNamesAndPartitions(t *testing.T) {
	s := newScene(t)
	for _, sql := range []string{
		`create schema "we""ird"`,
		`create table "we""ird"."T; drop table x" (id int, "a""b; --" text, "Mail" text) partition by range (id)`,
		`create table "we""ird".leaf (pad int, "Mail" text, id int not null, "a""b; --" text)`,
		`alter table "we""ird".leaf drop column pad`,
		`alter table "we""ird"."T; drop table x" attach partition "we""ird".leaf for values from (0) to (100)`,
		`create view "v""1" as select "a""b; --" from "we""ird".leaf`,
		`create function f_mail() returns bigint language sql as $$ select count("Mail") from "we""ird"."T; drop table x" $$`,
		`create function f_not() returns bigint language sql as $$ select count(mail) from (select 1 as mail) "T; drop table x" $$`,
		`create index on "we""ird"."T; drop table x" ("Mail")`,
	} {
		s.exec(sql)
	}
	kinds := func(column string) (all []string) {
		for _, r := range s.readers(Target{`we"ird`, "T; drop table x", []string{column}}) {
			if r.Kind != Statement && r.Kind != Session {
				all = append(all, string(r.Kind)+" "+r.Object)
			}
		}
		return all
	}
	require.Equal(t, []string{`view public."v""1"`}, kinds(`a"b; --`))
	require.Equal(t, []string{`index "we""ird"."T; drop table x_Mail_idx"`, `function public.f_mail()`}, kinds("Mail"))
	require.Equal(t, []string{`partition key "we""ird"."T; drop table x"`}, kinds("id"))
	_, err := Readers(t.Context(), s.pool, Target{`we"ird`, "T; drop table x", []string{"mail"}})
	require.EqualError(t, err, `columns: "mail" is not a column of "we""ird"."T; drop table x"; did you mean "Mail"?`)
	_, err = Readers(t.Context(), s.pool, Target{`we"ird`, "none", nil})
	require.ErrorContains(t, err, "there is no such table")

	s.exec(`create table parent (a int, b int); create table child () inherits (parent)`)
	all := s.readers(Target{"public", "child", []string{"a"}})
	require.Equal(t, []any{Inheritance, "parent", true}, []any{all[0].Kind, all[0].Object, all[0].Forbids()})
	all = s.readers(Target{"public", "parent", nil})
	require.Equal(t, []any{Table, "public.child", true}, []any{all[0].Kind, all[0].Object, all[0].Forbids()})
}

func TestReadersOfAWholeTable(t *testing.T) {
	s := newScene(t)
	s.exec(`create table old (id bigint generated always as identity primary key, v text default 'x' unique check (v <> ''))`)
	s.exec(`create index on old (v)`)
	s.exec(`create table keeps (id bigint references old)`)
	s.exec(`create view sees as select 1 from old`)
	s.exec(`create function f() returns bigint language sql as 'select count(*) from old'`)
	s.exec(`create function takes(old) returns int language sql as 'select 1'`)
	var got []string
	for _, r := range s.readers(Target{"public", "old", nil}) {
		if r.Kind != Statement && r.Kind != Session {
			got = append(got, string(r.Kind)+" "+r.Object)
		}
	}
	require.Equal(t, []string{"function public.takes(public.old)", "referencing foreign key keeps_id_fkey on public.keeps", "view public.sees", "function public.f()"}, got)
}

// What pg_stat_statements remembers tells who read, and a second look who goes on.
func TestTwoLooksTellWhoStillReads(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	for _, sql := range usersSQL {
		s.exec(sql)
	}
	target := Target{"app", "users", []string{"email"}}
	empty, err := TakeLook(ctx, s.pool, target)
	require.NoError(t, err)
	require.Empty(t, empty.Calls, "without the extension nothing is remembered")
	unseen, err := Unseen(ctx, s.pool)
	require.NoError(t, err)
	require.Contains(t, strings.Join(unseen, "\n"), "CREATE EXTENSION pg_stat_statements")

	s.exec(`create schema stats; create extension pg_stat_statements schema stats`)
	unseen, err = Unseen(ctx, s.pool)
	require.NoError(t, err)
	require.NotContains(t, strings.Join(unseen, "\n"), "pg_stat_statements is not there")
	const report, stopped, other = `select count(email) from app.users where tenant = $1`, `select email from app.users where id = $1`, `select email_norm from app.users`
	for range 3 {
		s.exec(report, 1)
		s.exec(stopped, 1)
		s.exec(other)
	}
	first, err := TakeLook(ctx, s.pool, target)
	require.NoError(t, err)
	require.Len(t, first.Calls, 2, first.Texts)
	s.exec(report, 2)
	second, err := TakeLook(ctx, s.pool, target)
	require.NoError(t, err)
	uses := map[string][2]int64{}
	for _, u := range second.Since(first) {
		_, text, _ := strings.Cut(u.Statement, ": ")
		uses[text] = [2]int64{u.Calls, u.Before}
	}
	require.Equal(t, map[string][2]int64{report: {1, 3}, stopped: {0, 3}}, uses)
	require.True(t, second.At.After(first.At))
	all := s.readers(target)
	i := slices.IndexFunc(all, func(r Reader) bool { return r.Kind == Statement && strings.Contains(r.Object, "count(email)") })
	require.GreaterOrEqual(t, i, 0)
	require.Equal(t, int64(4), all[i].Calls)
}

func TestASessionThatReadsIsFound(t *testing.T) {
	s := newScene(t)
	for _, sql := range usersSQL {
		s.exec(sql)
	}
	role := s.role("report", "login")
	s.exec("grant usage on schema app to " + role + "; grant select on app.users to " + role)
	conn := s.as(role)
	_, err := conn.Exec(t.Context(), "select email from app.users")
	require.NoError(t, err)
	all := s.readers(Target{"app", "users", []string{"email"}})
	i := slices.IndexFunc(all, func(r Reader) bool { return r.Kind == Session && strings.HasPrefix(r.Object, role) })
	require.GreaterOrEqual(t, i, 0, all)
	require.Contains(t, all[i].Why, "select email from app.users")
}
