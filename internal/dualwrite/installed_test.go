package dualwrite_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/test/harness"
)

func TestWhatSomebodyChangedIsToldAndInstallMendsIt(t *testing.T) {
	odd, oddDDL := hostile()
	for _, c := range []struct {
		name, sql, told string
		spec            migration.Spec
		ddl             []string
	}{
		{"disabled", "ALTER TABLE users DISABLE TRIGGER USER", "is disabled: run ALTER TABLE", columns(), []string{users}},
		{"not for replication", `ALTER TABLE users ENABLE TRIGGER "zz_backfleet_dw_users-email-norm_i"`, "not fired for rows that replication applies", columns(), []string{users}},
		{"dropped", `DROP TRIGGER "zz_backfleet_dw_users-email-norm_u" ON users`, `trigger "zz_backfleet_dw_users-email-norm_u" is not on`, columns(), []string{users}},
		{"another body", `CREATE OR REPLACE FUNCTION "backfleet_dw_users-email-norm"() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`, "not as it was installed", columns(), []string{users}},
		{"another setting", `ALTER FUNCTION "backfleet_dw_users-email-norm"() SET search_path = public`, "not as it was installed", columns(), []string{users}},
		{"another condition", `CREATE OR REPLACE TRIGGER "zz_backfleet_dw_users-email-norm_u" BEFORE UPDATE ON users FOR EACH ROW
			EXECUTE FUNCTION "backfleet_dw_users-email-norm"(); ALTER TABLE users ENABLE ALWAYS TRIGGER "zz_backfleet_dw_users-email-norm_u"`, "does not fire as it was installed", columns(), []string{users}},
		{"disabled on one partition", `ALTER TABLE "odd ""schema"."p 2" DISABLE TRIGGER USER`, `on "odd ""schema"."p 2" is disabled`, odd, oddDDL},
		{"disabled on the new table's way back", `ALTER TABLE user_emails DISABLE TRIGGER USER`, `on "public"."user_emails" is disabled`, table(), []string{users, userEmails}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := at(t, harness.Database(t).Pool, c.spec, c.ddl...)
			s.install(dualwrite.Both)
			require.Equal(t, dualwrite.Both, s.state().Direction)
			s.exec(c.sql)
			st := s.state()
			require.False(t, st.Stands())
			require.NotEmpty(t, st.Problems)
			require.Contains(t, st.Problems[0], c.told)
			s.install(dualwrite.Both)
			s.remove()
		})
	}
}

func TestInstallTwiceAndTheOtherWayRound(t *testing.T) {
	s := at(t, harness.Database(t).Pool, table(), users, userEmails)
	require.Equal(t, dualwrite.State{}, s.state())
	for _, d := range []dualwrite.Direction{dualwrite.Forward, dualwrite.Forward, dualwrite.Both, dualwrite.Both} {
		s.install(d)
		require.Equal(t, d, s.state().Direction)
	}
	s.remove()
	s.remove()
}

// Every writer that the trigger's transaction did not wait for writes under it: see the package's documentation.
func TestNoWriterGetsPastTheInstallation(t *testing.T) {
	s := at(t, harness.Database(t).Pool, columns(), users)
	ctx := t.Context()
	old, err := s.pool.Begin(ctx) // writes before, and has not ended
	require.NoError(t, err)
	defer func() { _ = old.Rollback(context.WithoutCancel(ctx)) }()
	_, err = old.Exec(ctx, "INSERT INTO users VALUES (1, 'Before')")
	require.NoError(t, err)
	err = s.inTx(func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '100ms'"); err != nil {
			return err
		}
		return dualwrite.Install(ctx, tx, s.spec, dualwrite.Forward, "public")
	})
	require.ErrorContains(t, err, "lock timeout", "it waits for the writer")
	require.Equal(t, dualwrite.State{}, s.state(), "and has left nothing")
	require.NoError(t, old.Commit(ctx))

	snapshot, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}) // has a snapshot of before
	require.NoError(t, err)
	defer func() { _ = snapshot.Rollback(context.WithoutCancel(ctx)) }()
	var n int
	require.NoError(t, snapshot.QueryRow(ctx, "SELECT count(*) FROM users").Scan(&n))
	// A snapshot's reader holds a lock that CREATE TRIGGER does not conflict with.
	tx, err := s.pool.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	require.NoError(t, dualwrite.Install(ctx, tx, s.spec, dualwrite.Forward, "public"))
	waiting := make(chan error, 1)
	go func() {
		_, err := s.pool.Exec(ctx, "INSERT INTO users VALUES (2, 'Waited')")
		waiting <- err
	}()
	require.Eventually(t, func() bool {
		return len(s.rows("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0")) == 1
	}, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, tx.Commit(ctx))
	require.NoError(t, <-waiting)
	_, err = snapshot.Exec(ctx, "INSERT INTO users VALUES (3, 'Old Snapshot')")
	require.NoError(t, err)
	require.NoError(t, snapshot.Commit(ctx))
	require.Equal(t, []string{"1 Before <nil>", "2 Waited waited", "3 Old Snapshot old snapshot"}, s.rows(pairs))
}

// Rows that a subscription applies pass the trigger too; those that come with the new value already are what they were.
func TestASubscriptionAppliesRowsThroughTheTrigger(t *testing.T) {
	c := harness.Postgres(t)
	c.Exec(t, "postgres", "CREATE DATABASE pub", "CREATE DATABASE sub")
	c.Exec(t, "pub", users, "CREATE PUBLICATION p FOR TABLE users", "SELECT pg_create_logical_replication_slot('dw', 'pgoutput')")
	s := at(t, c.Pool(t, "sub"), columns(), users)
	s.install(dualwrite.Forward)
	s.exec("CREATE SUBSCRIPTION s CONNECTION '" + c.DSN("pub") + "' PUBLICATION p WITH (create_slot = false, slot_name = 'dw', copy_data = false)")
	c.Exec(t, "pub", "INSERT INTO users VALUES (1, 'Ann', NULL), (2, 'BO', 'bo')", "UPDATE users SET email = 'Cy' WHERE id = 1")
	require.Eventually(t, func() bool {
		rows := s.rows(pairs)
		return len(rows) == 2 && rows[0] == "1 Cy cy"
	}, 20*time.Second, 20*time.Millisecond)
	require.Equal(t, []string{"1 Cy cy", "2 BO bo"}, s.rows(pairs))
	s.exec("ALTER SUBSCRIPTION s DISABLE", "ALTER SUBSCRIPTION s SET (slot_name = NONE)", "DROP SUBSCRIPTION s")
}

func TestWhatDualWriteCannotKeepIsRefused(t *testing.T) {
	for _, c := range []struct {
		name, why, fix string
		spec           func(*migration.Spec)
		base           migration.Spec
		ddl            []string
	}{
		{"a value of its own", "gives another value at each call", "immutable", func(s *migration.Spec) { s.Forward["email_norm"] = "email || gen_random_uuid()::text" }, columns(), []string{users}},
		{"what it fills", "is read and filled by it", "old ones alone", func(s *migration.Spec) { s.Forward["email_norm"] = "coalesce(email_norm, email)" }, columns(), []string{users}},
		{"a generated column", "no value yet when a trigger sees the row", "upper", func(s *migration.Spec) { s.Forward["email_norm"] = "up" }, columns(),
			[]string{"CREATE TABLE users (id bigint PRIMARY KEY, email text, email_norm text, up text GENERATED ALWAYS AS (upper(email)) STORED)"}},
		{"a column that is not there", "is not a column of", "phase 1", func(*migration.Spec) {}, columns(), []string{"CREATE TABLE users (id bigint PRIMARY KEY, email text)"}},
		{"an unknown function", "does not prepare", "SELECT", func(s *migration.Spec) { s.Forward["email_norm"] = "lowr(email)" }, columns(), []string{users}},
		{"two expressions", "not one expression for each column", "comma", func(s *migration.Spec) { s.Forward["email_norm"] = "lower(email)) AS text), CAST((1" }, columns(), []string{users}},
		{"a key that leads nowhere", "is not a column of the old table", "unique key", func(s *migration.Spec) { s.Forward["user_id"] = "id + 1" }, table(), []string{users, userEmails}},
		{"a key that is none", "covers it", "UNIQUE", func(s *migration.Spec) { s.Forward["user_id"] = "seen" }, table(), []string{users, userEmails}},
		{"a key with no index of its own", "no unique index of exactly these columns", "primary key", func(s *migration.Spec) {
			s.To.Key, s.To.Columns = []string{"user_id", "again"}, append(s.To.Columns, migration.Column{Name: "again", Type: "bigint"})
			s.Forward["again"] = "id"
		}, table(), []string{users, "CREATE TABLE user_emails (user_id bigint PRIMARY KEY, address text, again bigint NOT NULL)", "CREATE INDEX ON user_emails (user_id, again)"}},
		{"a type that does not fit", "does not fit the new table", "INSERT INTO", func(s *migration.Spec) { s.Forward["address"] = "seen = 1" }, table(),
			[]string{users, "CREATE TABLE user_emails (user_id bigint PRIMARY KEY, address int)"}},
		{"no new table", "there is no such table", "", func(*migration.Spec) {}, table(), []string{users}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.spec(&c.base)
			s := at(t, harness.Database(t).Pool, c.base, c.ddl...)
			err := s.inTx(func(tx pgx.Tx) error { return dualwrite.Install(t.Context(), tx, s.spec, dualwrite.Forward, "public") })
			require.ErrorContains(t, err, c.why)
			require.ErrorContains(t, err, c.fix)
			require.Empty(t, s.rows("SELECT proname FROM pg_proc WHERE proname LIKE '%backfleet_dw%'"))
		})
	}
}

func TestAWriterWhoMayNotCallTheFunctionIsNamedBeforeItsWritesFail(t *testing.T) {
	spec := columns()
	spec.Forward = map[string]string{"email_norm": "own.norm(email)"}
	s := at(t, harness.Database(t).Pool, spec, users, "CREATE SCHEMA own", "CREATE FUNCTION own.norm(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)'",
		"CREATE ROLE dw_writer", "GRANT INSERT ON users TO dw_writer")
	t.Cleanup(func() { s.exec("DROP OWNED BY dw_writer", "DROP ROLE dw_writer") })
	install := func() error {
		return s.inTx(func(tx pgx.Tx) error { return dualwrite.Install(t.Context(), tx, s.spec, dualwrite.Forward, "public") })
	}
	require.ErrorContains(t, install(), `role dw_writer, which writes to "public"."users"`)
	require.ErrorContains(t, install(), `GRANT USAGE ON SCHEMA own TO "dw_writer"`)
	s.exec("GRANT USAGE ON SCHEMA own TO dw_writer")
	require.NoError(t, install())
	require.NoError(t, s.inTx(func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "SET LOCAL ROLE dw_writer; INSERT INTO users VALUES (1, 'Ann')")
		return err
	}))
	require.Equal(t, []string{"1 Ann ann"}, s.rows(pairs))
}

func TestBareColumns(t *testing.T) {
	for x, want := range map[string]string{"id": "id", " ID ": "id", "users.id": "id", `"users"."I""d"`: `I"d`, `"id"`: "id", "id + 1": "", "a.b.c": "", `"id`: "", "other.id": "", "": "", "f(id)": "", "id.": ""} {
		got, ok := dualwrite.BareColumn(x, "users")
		require.Equal(t, want, got, x)
		require.Equal(t, want != "", ok, x)
	}
}

func TestTheCostIsMeasuredAndLeavesNothing(t *testing.T) {
	for _, spec := range []migration.Spec{columns(), table()} {
		t.Run(spec.Name, func(t *testing.T) {
			s := at(t, harness.Database(t).Pool, spec, users, userEmails, "INSERT INTO users SELECT i, 'User' || i || '@Example.com' FROM generate_series(1, 5000) i", "ANALYZE users")
			const left = "SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_trigger), (SELECT sum(seen) FROM users), (SELECT count(*) FROM user_emails)"
			before := s.rows(left)
			c, err := dualwrite.MeasureCost(t.Context(), s.pool, s.spec, "public")
			require.NoError(t, err)
			t.Logf("%s", c)
			require.Equal(t, 2000, c.Rows)
			require.GreaterOrEqual(t, c.Trials, 1)
			for _, w := range []dualwrite.Write{c.Insert, c.Update} {
				require.Greater(t, w.With, w.Without)
				require.Greater(t, w.Without, 0.0)
			}
			require.Greater(t, c.Other.Without, 0.0)
			require.Less(t, c.Other.Factor(), c.Update.Factor(), "what concerns neither side does not call the function")
			require.Equal(t, before, s.rows(left))
		})
	}
	s := at(t, harness.Database(t).Pool, columns(), users)
	c, err := dualwrite.MeasureCost(t.Context(), s.pool, s.spec, "public")
	require.NoError(t, err)
	require.Zero(t, c.Rows)
}

// The failure that dual-write prevents: a backfill alone leaves stale what is written behind it.
func TestABackfillWithoutDualWriteLeavesRowsStale(t *testing.T) {
	stale := func(t *testing.T, with bool) (n int) {
		s := at(t, harness.Database(t).Pool, columns(), users, "INSERT INTO users SELECT i, 'User' || i FROM generate_series(1, 1000) i")
		if with {
			s.install(dualwrite.Forward)
		}
		for lo := 1; lo <= 1000; lo += 100 { // ten batches, between which the application writes one row that is done, one that is not, and a new one
			_, err := s.pool.Exec(t.Context(), "UPDATE users SET email_norm = lower(email) WHERE id >= $1::int AND id < $1::int + 100 AND email_norm IS NULL", lo)
			require.NoError(t, err)
			_, err = s.pool.Exec(t.Context(), "UPDATE users SET email = 'Changed' || id WHERE id IN ($1::int, $1::int + 105)", lo)
			require.NoError(t, err)
			_, err = s.pool.Exec(t.Context(), "INSERT INTO users VALUES ($1::int + 5000, 'New')", lo)
			require.NoError(t, err)
		}
		require.NoError(t, s.pool.QueryRow(t.Context(), "SELECT count(*) FROM users WHERE email_norm IS DISTINCT FROM lower(email)").Scan(&n))
		return n
	}
	require.Equal(t, 20, stale(t, false), "ten changed behind the backfill, ten inserted beyond its end")
	require.Equal(t, 0, stale(t, true))
}
