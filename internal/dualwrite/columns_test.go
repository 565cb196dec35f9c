package dualwrite_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/test/harness"
)

// everyVersion runs a test on the machine's own PostgreSQL, the oldest and the newest.
func everyVersion(t *testing.T, test func(t *testing.T, pool *pgxpool.Pool, version int)) {
	t.Run("own", func(t *testing.T) {
		pool := harness.Database(t).Pool
		var version int
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int / 10000").Scan(&version))
		test(t, pool, version)
	})
	t.Run("14", func(t *testing.T) {
		test(t, harness.Postgres(t, harness.WithVersion(14)).Pool(t, "postgres"), 14)
	})
	t.Run("18", func(t *testing.T) {
		test(t, harness.Postgres(t, harness.WithVersion(18)).Pool(t, "postgres"), 18)
	})
}

const pairs = "SELECT id, email, email_norm FROM users ORDER BY id"

func TestNewColumnsFollowEveryWayToWriteARow(t *testing.T) {
	everyVersion(t, func(t *testing.T, pool *pgxpool.Pool, version int) {
		s := at(t, pool, columns(), users)
		s.install(dualwrite.Forward)
		s.exec("INSERT INTO users VALUES (1, 'Ann@X', NULL), (2, NULL, 'nonsense'), (3, 'Cy@X', 'nonsense')")
		require.Equal(t, []string{"1 Ann@X ann@x", "2 <nil> <nil>", "3 Cy@X cy@x"}, s.rows(pairs))
		s.exec("UPDATE users SET email = 'BOB' WHERE id = 2", "UPDATE users SET email_norm = NULL WHERE id = 3",
			"UPDATE users SET email = NULL WHERE id = 1")
		require.Equal(t, []string{"1 <nil> <nil>", "2 BOB bob", "3 Cy@X cy@x"}, s.rows(pairs))
		s.exec("INSERT INTO users (id, email) VALUES (1, 'UP'), (4, 'Di') ON CONFLICT (id) DO UPDATE SET email = EXCLUDED.email")
		require.Equal(t, []string{"1 UP up", "2 BOB bob", "3 Cy@X cy@x", "4 Di di"}, s.rows(pairs))
		s.copy("users", []string{"id", "email"}, []any{5, "Eve"})
		require.Equal(t, []string{"5 Eve eve"}, s.rows("SELECT id, email, email_norm FROM users WHERE id = 5"))
		if version >= 15 {
			s.exec(`MERGE INTO users u USING (VALUES (5, 'EVA'), (6, 'Flo')) v(id, email) ON u.id = v.id
				WHEN MATCHED THEN UPDATE SET email = v.email WHEN NOT MATCHED THEN INSERT (id, email) VALUES (v.id, v.email)`)
			require.Equal(t, []string{"5 EVA eva", "6 Flo flo"}, s.rows("SELECT id, email, email_norm FROM users WHERE id > 4 ORDER BY id"))
		}
	})
}

// copy sends rows by COPY.
func (s *scene) copy(table string, columns []string, rows ...[]any) {
	s.Helper()
	_, err := s.pool.CopyFrom(s.Context(), pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
	require.NoError(s, err)
}

func TestASessionThatReplicatesFiresTheTriggerToo(t *testing.T) {
	s := at(t, harness.Database(t).Pool, columns(), users)
	s.install(dualwrite.Forward)
	require.NoError(t, s.inTx(func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "SET LOCAL session_replication_role = replica; INSERT INTO users VALUES (1, 'Ann', NULL), (2, 'BO', 'bo')")
		return err
	}))
	require.Equal(t, []string{"1 Ann ann", "2 BO bo"}, s.rows(pairs))
}

func TestTheTriggerSeesWhatOtherBeforeTriggersMade(t *testing.T) {
	s := at(t, harness.Database(t).Pool, columns(), users,
		"CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.email := trim(NEW.email) || ''!''; RETURN NEW; END'",
		"CREATE TRIGGER zz_app BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION tidy()")
	s.install(dualwrite.Forward)
	s.exec("INSERT INTO users VALUES (1, ' Ann ')")
	require.Equal(t, []string{"1 Ann! ann!"}, s.rows(pairs))
	s.exec("UPDATE users SET seen = 1") // names no column that dual-write knows, but the other trigger changes one
	require.Equal(t, []string{"1 Ann!! ann!!"}, s.rows(pairs))
	require.Empty(t, s.state().Later)
	s.exec("ALTER TRIGGER zz_app ON users RENAME TO zzz_app")
	require.Equal(t, []string{"zzz_app"}, s.state().Later)
}

// A value that the expression does not take makes the write fail that brings it; a row that has had it from before can be written to.
func TestAFailingExpressionFailsOnlyTheWriteThatBringsTheValue(t *testing.T) {
	spec := columns()
	spec.Forward = map[string]string{"email_norm": "(100 / length(email))::text"}
	s := at(t, harness.Database(t).Pool, spec, users, "INSERT INTO users VALUES (1, '', NULL), (2, 'four', NULL)")
	s.install(dualwrite.Forward)
	s.fails("INSERT INTO users VALUES (3, '')", "division by zero")
	s.fails("UPDATE users SET email = '' WHERE id = 2", "division by zero")
	s.exec("UPDATE users SET seen = 1")
	require.Equal(t, []string{"1  <nil> 1", "2 four 25 1"}, s.rows("SELECT id, email, email_norm, seen FROM users ORDER BY id"), "a row that is written is filled")
}

func TestNothingFiresForAWriteThatConcernsNeither(t *testing.T) {
	s := at(t, harness.Database(t).Pool, columns(), users, "INSERT INTO users SELECT i, 'A' || i FROM generate_series(1, 3) i")
	s.install(dualwrite.Forward)
	s.exec("UPDATE users SET email = email || 'x'") // fills them
	var plan string
	require.NoError(t, s.inTx(func(tx pgx.Tx) error {
		rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) UPDATE users SET seen = seen + 1")
		if err != nil {
			return err
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		plan = strings.Join(lines, "\n")
		return err
	}))
	require.NotContains(t, plan, "_u: ", "the update's trigger was called")
}

func TestBothSidesFollowWhicheverWasWritten(t *testing.T) {
	s := at(t, harness.Database(t).Pool, columns(), users)
	s.install(dualwrite.Both)
	for _, c := range []struct{ what, sql, want string }{
		{"old alone inserted", "INSERT INTO users VALUES (1, 'Ann', NULL)", "1 Ann ann"},
		{"new alone inserted", "INSERT INTO users VALUES (1, NULL, 'ann')", "1 ann ann"},
		{"both, in agreement: neither is touched", "INSERT INTO users VALUES (1, 'Ann', 'ann')", "1 Ann ann"},
		{"both, at odds: new wins", "INSERT INTO users VALUES (1, 'Ann', 'bob')", "1 bob bob"},
		{"neither", "INSERT INTO users VALUES (1, NULL, NULL)", "1 <nil> <nil>"},
		{"old alone updated", "UPDATE users SET email = 'Cy'", "1 Cy cy"},
		{"new alone updated", "UPDATE users SET email_norm = 'di'", "1 di di"},
		{"new alone updated to what old says", "INSERT INTO users VALUES (1, 'Ann', 'x'); UPDATE users SET email = 'BO'; UPDATE users SET email_norm = 'bo'", "1 BO bo"},
		{"new updated to what forward would not say", "UPDATE users SET email_norm = 'Eve'", "1 Eve Eve"},
		{"both updated in agreement", "UPDATE users SET email = 'Flo', email_norm = 'flo'", "1 Flo flo"},
		{"both updated at odds: new wins", "UPDATE users SET email = 'Flo', email_norm = 'gus'", "1 gus gus"},
		{"old set to null", "UPDATE users SET email = NULL", "1 <nil> <nil>"},
		{"new set to null", "UPDATE users SET email_norm = NULL", "1 <nil> <nil>"},
		{"something else", "UPDATE users SET seen = 7", "1 Old old"},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := &scene{t, s.pool, s.spec}
			s.exec("TRUNCATE users")
			if strings.HasPrefix(c.sql, "UPDATE") {
				s.exec("INSERT INTO users VALUES (1, 'Old', 'old')")
			}
			for _, sql := range strings.Split(c.sql, "; ") {
				s.exec(sql)
			}
			require.Equal(t, []string{c.want}, s.rows(pairs))
		})
	}
}

func TestWithoutBackwardTheOldSideStays(t *testing.T) {
	spec := columns()
	spec.Backward = nil
	s := at(t, harness.Database(t).Pool, spec, users)
	s.install(dualwrite.Both)
	s.exec("INSERT INTO users VALUES (1, 'Ann', NULL)", "UPDATE users SET email_norm = 'bob'")
	require.Equal(t, []string{"1 Ann bob"}, s.rows(pairs))
	s.exec("UPDATE users SET email = 'Cy'")
	require.Equal(t, []string{"1 Cy cy"}, s.rows(pairs))
}

// Expressions may qualify what they read, hold a subquery, or name the whole row: what they say is what a SELECT over the table says.
func TestExpressionsMeanWhatTheyMeanInAQuery(t *testing.T) {
	for x, want := range map[string]string{
		"lower(users.email)":      "ann",
		`"users"."email" || seen`: "Ann7",
		"(SELECT max(o.word) FROM others o WHERE o.id = users.id)":   "other",
		"(SELECT max(email) FROM others WHERE others.id = users.id)": "theirs",
		"to_jsonb(users)->>'email'":                                  "Ann",
		"(users.*)::text":                                            "(1,Ann,,7)",
		"at_home(email)":                                             "at Ann",
		"CASE WHEN email ~ ';' THEN 'a;b' ELSE $$it's$$ END":         "it's",
		"to_char(timestamptz '2026-01-01 00:00:00+00', 'HH24')":      "00",
	} {
		t.Run(x, func(t *testing.T) {
			spec := columns()
			spec.Forward, spec.Backward = map[string]string{"email_norm": x}, nil
			s := at(t, harness.Database(t).Pool, spec, users, "CREATE TABLE others (id bigint, word text, email text)", "INSERT INTO others VALUES (1, 'other', 'theirs')",
				"CREATE FUNCTION at_home(text) RETURNS text STABLE LANGUAGE sql AS $$ SELECT 'at ' || $1 $$")
			s.install(dualwrite.Forward)
			s.exec("SET TimeZone = 'Asia/Tokyo'; INSERT INTO users (id, email, seen) VALUES (1, 'Ann', 7); RESET TimeZone")
			require.Equal(t, []string{want}, s.rows("SELECT email_norm FROM users"))
		})
	}
}

func TestDefaultsAreNotTakenForWrites(t *testing.T) {
	s := at(t, harness.Database(t).Pool, columns(), "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL DEFAULT '', email_norm text NOT NULL DEFAULT '')")
	s.install(dualwrite.Both)
	s.exec("INSERT INTO users (id, email) VALUES (1, 'Ann')", "INSERT INTO users (id, email_norm) VALUES (2, 'bob')")
	require.Equal(t, []string{"1 Ann ann", "2 bob bob"}, s.rows(pairs))
}

// Every name is hostile, the schema is on no search path, the table is partitioned by a part of its key, and rows move.
func TestHostileNamesPartitionsAndCompositeKeys(t *testing.T) {
	everyVersion(t, func(t *testing.T, pool *pgxpool.Pool, _ int) {
		spec, ddl := hostile()
		s := at(t, pool, spec, ddl...)
		s.install(dualwrite.Forward)
		s.exec(`INSERT INTO "odd ""schema"."we""ird; drop table x" VALUES (1, 1, 'x', 10)`, `INSERT INTO "odd ""schema"."p 2" VALUES (11, 2, 'y', 20)`)
		const read = `SELECT "a""b", "ol""d", "ne""w; --", "found"::text FROM "odd ""schema"."we""ird; drop table x" ORDER BY 1`
		require.Equal(t, []string{"1 x x$backfleet$ 10.05", "11 y y$backfleet$ 20.10"}, s.rows(read))
		s.exec(`UPDATE "odd ""schema"."we""ird; drop table x" SET "a""b" = "a""b" + 10, "ol""d" = 'z' WHERE "a""b" = 1`) // to another partition
		require.Equal(t, []string{"11 y y$backfleet$ 20.10", "11 z z$backfleet$ 10.05"}, sorted(s.rows(strings.Replace(read, "ORDER BY 1", "", 1))))
		// A partition that comes later is under the trigger too.
		s.exec(`CREATE TABLE "odd ""schema".p3 PARTITION OF "odd ""schema"."we""ird; drop table x" FOR VALUES FROM (20) TO (30)`)
		require.True(t, s.state().Stands(), "%+v", s.state())
		s.install(dualwrite.Both)
		s.exec(`UPDATE "odd ""schema"."p 2" SET "found" = 3 WHERE "ol""d" = 'z'`)
		require.Equal(t, []string{"3.00"}, s.rows(`SELECT "select" FROM "odd ""schema"."p 2" WHERE "ol""d" = 'z'`))
		s.remove()
	})
}

func sorted(all []string) []string {
	all = append([]string(nil), all...)
	for i := range all {
		for j := i; j > 0 && all[j] < all[j-1]; j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	return all
}

func (s *scene) remove() {
	s.Helper()
	require.NoError(s, s.inTx(func(tx pgx.Tx) error { return dualwrite.Remove(context.Background(), tx, s.spec) }))
	require.Empty(s, s.rows("SELECT tgname FROM pg_trigger WHERE tgname LIKE '%backfleet_dw%'"))
	require.Empty(s, s.rows("SELECT proname FROM pg_proc WHERE proname LIKE '%backfleet_dw%'"))
	require.Equal(s, dualwrite.State{}, s.state())
}
