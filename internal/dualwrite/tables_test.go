package dualwrite_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/test/harness"
)

const emails = "SELECT user_id, address FROM user_emails ORDER BY user_id"

func TestANewTableFollowsEveryWayToWriteARow(t *testing.T) {
	everyVersion(t, func(t *testing.T, pool *pgxpool.Pool, version int) {
		// The new table refers to the old one, without ON DELETE: its row must go first.
		s := at(t, pool, table(), "CREATE TABLE users (id bigint PRIMARY KEY DEFERRABLE, email text, seen int)",
			"CREATE UNIQUE INDEX users_id ON users (id)", "ALTER TABLE users ALTER id SET NOT NULL",
			"CREATE TABLE user_emails (user_id bigint PRIMARY KEY, address text, note text)")
		s.install(dualwrite.Forward)
		s.exec("INSERT INTO users VALUES (1, 'Ann'), (2, NULL), (3, 'CY')")
		require.Equal(t, []string{"1 ann", "2 <nil>", "3 cy"}, s.rows(emails))
		s.exec("UPDATE users SET email = 'BO' WHERE id = 2", "UPDATE users SET id = 30 WHERE id = 3", "DELETE FROM users WHERE id = 1")
		require.Equal(t, []string{"2 bo", "30 cy"}, s.rows(emails))
		s.exec("INSERT INTO users VALUES (4, 'Di')", "UPDATE users SET seen = 1")
		s.copy("users", []string{"id", "email"}, []any{5, "Eve"})
		if version >= 15 {
			s.exec(`MERGE INTO users u USING (VALUES (5, 'EVA'), (6, 'Flo')) v(id, email) ON u.id = v.id
				WHEN MATCHED THEN UPDATE SET email = v.email WHEN NOT MATCHED THEN INSERT (id, email) VALUES (v.id, v.email)`)
			require.Equal(t, []string{"2 bo", "30 cy", "4 di", "5 eva", "6 flo"}, sorted(s.rows(emails)))
		}
	})
}

func TestTwoRowsMaySwapTheirKeys(t *testing.T) {
	s := at(t, harness.Database(t).Pool, table(), users, userEmails)
	s.install(dualwrite.Forward)
	s.exec("INSERT INTO users VALUES (1, 'Ann'), (2, 'Bo'), (3, 'Cy')", "UPDATE user_emails SET note = 'kept' WHERE user_id = 2",
		"UPDATE users SET email = (ARRAY['Bo', 'Cy', 'Ann'])[id]")
	require.Equal(t, []string{"1 bo", "2 cy", "3 ann"}, s.rows(emails))
	require.NoError(t, s.inTx(func(tx pgx.Tx) error {
		for _, sql := range []string{"UPDATE users SET id = 9 WHERE id = 1", "UPDATE users SET id = 1 WHERE id = 2", "UPDATE users SET id = 2 WHERE id = 9"} {
			if _, err := tx.Exec(t.Context(), sql); err != nil {
				return err
			}
		}
		return nil
	}))
	require.Equal(t, []string{"1 cy", "2 bo", "3 ann"}, s.rows(emails))
}

// The application's trigger changes the row once more, and its event comes first: the older event must not win.
func TestNestedTriggersOfTheApplicationAreNotTakenForAnEcho(t *testing.T) {
	for _, d := range []dualwrite.Direction{dualwrite.Forward, dualwrite.Both} {
		t.Run(string(d), func(t *testing.T) {
			s := at(t, harness.Database(t).Pool, table(), users, userEmails,
				`CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
					UPDATE users SET email = 'Last' WHERE id = NEW.id AND email <> 'Last';
					INSERT INTO users VALUES (NEW.id + 100, 'Made') ON CONFLICT DO NOTHING;
					RETURN NULL; END $$`,
				"CREATE TRIGGER \"000_app\" AFTER UPDATE OF email ON users FOR EACH ROW WHEN (NEW.id < 100) EXECUTE FUNCTION again()")
			s.install(d)
			s.exec("INSERT INTO users VALUES (1, 'Ann')", "UPDATE users SET email = 'First'")
			require.Equal(t, []string{"1 last", "101 made"}, s.rows(emails))
		})
	}
}

func TestBothTablesFollowWhicheverWasWritten(t *testing.T) {
	s := at(t, harness.Database(t).Pool, table(), users, userEmails)
	s.install(dualwrite.Both)
	const read = "SELECT u.id, u.email, e.address FROM users u FULL JOIN user_emails e ON e.user_id = u.id ORDER BY 1"
	s.exec("INSERT INTO users VALUES (1, 'Ann', NULL)")
	require.Equal(t, []string{"1 Ann ann"}, s.rows(read), "old is not made what backward says while new says what old says")
	s.exec("UPDATE user_emails SET address = 'bob'")
	require.Equal(t, []string{"1 bob bob"}, s.rows(read))
	s.exec("UPDATE user_emails SET address = 'Bob'")
	require.Equal(t, []string{"1 Bob Bob"}, s.rows(read), "the value that the application wrote to the new side stands")
	s.exec("UPDATE users SET email = 'CY'")
	require.Equal(t, []string{"1 CY cy"}, s.rows(read))
	s.exec("DELETE FROM user_emails")
	require.Equal(t, []string{"1 CY <nil>"}, s.rows(read), "a part that goes does not take the old row with it")
	s.exec("DELETE FROM users")
	require.Empty(t, s.rows(read))
}

func TestBackwardThatFillsTheKeyCarriesWholeRows(t *testing.T) {
	spec := table()
	spec.Backward = map[string]string{"id": "user_id", "email": "address"}
	spec.From.Columns = []string{"id", "email"}
	s := at(t, harness.Database(t).Pool, spec, users, userEmails)
	s.install(dualwrite.Both)
	s.exec("INSERT INTO user_emails VALUES (1, 'Ann'), (2, 'bo')")
	require.Equal(t, []string{"1 Ann <nil>", "2 bo <nil>"}, s.rows(pairs))
	s.exec("UPDATE user_emails SET user_id = 7, address = 'cy' WHERE user_id = 2", "DELETE FROM user_emails WHERE user_id = 1")
	require.Equal(t, []string{"7 cy <nil>"}, s.rows(pairs))
	s.exec("DELETE FROM users")
	require.Empty(t, s.rows(emails))
}

// The old row's writer needs no right on the new table, nor does the new table's key need a writable sequence.
func TestAWriterOfTheOldTableNeedsNoRightOnTheNewOne(t *testing.T) {
	s := at(t, harness.Database(t).Pool, table(), users,
		"CREATE TABLE user_emails (user_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, address varchar(5))",
		"CREATE ROLE dw_app", "GRANT SELECT, INSERT, UPDATE, DELETE ON users TO dw_app")
	t.Cleanup(func() { s.exec("DROP OWNED BY dw_app", "DROP ROLE dw_app") })
	s.install(dualwrite.Forward)
	require.NoError(t, s.inTx(func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "SET LOCAL ROLE dw_app; INSERT INTO users VALUES (1, 'Ann')")
		return err
	}))
	require.Equal(t, []string{"1 ann"}, s.rows(emails))
	s.fails("UPDATE users SET email = 'longer than five'", "value too long")
	s.fails("SET ROLE dw_app; CREATE TEMP TABLE mine (LIKE users); CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION \"backfleet_dw_users-emails\"()",
		"permission denied for function")
}

func TestAForeignKeyToTheOldTableLetsItsRowsGo(t *testing.T) {
	s := at(t, harness.Database(t).Pool, table(), users, "CREATE TABLE user_emails (user_id bigint PRIMARY KEY REFERENCES users, address text)")
	s.install(dualwrite.Forward)
	s.exec("INSERT INTO users VALUES (1, 'Ann'), (2, 'Bo')", "DELETE FROM users WHERE id = 1")
	require.Equal(t, []string{"2 bo"}, s.rows(emails))
}

// Both tables are partitioned, the key is composite, and rows move to other partitions.
func TestPartitionedTablesFollow(t *testing.T) {
	everyVersion(t, func(t *testing.T, pool *pgxpool.Pool, _ int) {
		spec := migration.Spec{
			Name: "orders", Database: "main", Table: "public.orders", From: migration.From{Columns: []string{"note"}},
			To: migration.To{Table: "public.notes", Key: []string{"order_id", "shop"},
				Columns: []migration.Column{{Name: "shop", Type: "int"}, {Name: "order_id", Type: "bigint"}, {Name: "body", Type: "text"}}},
			Forward: map[string]string{"order_id": "orders.id", "shop": "tenant", "body": "upper(note)"},
		}
		s := at(t, pool, spec, "CREATE TABLE orders (tenant int, id bigint, note text, PRIMARY KEY (tenant, id)) PARTITION BY RANGE (tenant)",
			"CREATE TABLE orders1 PARTITION OF orders FOR VALUES FROM (0) TO (10)", "CREATE TABLE orders2 PARTITION OF orders FOR VALUES FROM (10) TO (20)",
			"CREATE TABLE notes (shop int, order_id bigint, body text, PRIMARY KEY (shop, order_id)) PARTITION BY HASH (shop)",
			"CREATE TABLE notes1 PARTITION OF notes FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "CREATE TABLE notes2 PARTITION OF notes FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
		s.install(dualwrite.Forward)
		s.exec("INSERT INTO orders VALUES (1, 1, 'a'), (2, 1, 'b')", "INSERT INTO orders2 VALUES (11, 1, 'c')", "UPDATE orders SET tenant = 12, note = 'moved' WHERE tenant = 2",
			"SET session_replication_role = replica; INSERT INTO orders1 VALUES (3, 1, 'applied'); RESET session_replication_role")
		const read = "SELECT shop, order_id, body FROM notes ORDER BY 1, 2"
		require.Equal(t, []string{"1 1 A", "3 1 APPLIED", "11 1 C", "12 1 MOVED"}, s.rows(read))
		s.exec("DELETE FROM orders WHERE tenant < 10")
		require.Equal(t, []string{"11 1 C", "12 1 MOVED"}, s.rows(read))
	})
}
