package deploy

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

const insufficientPrivilege = "42501"

// A whole job, of a partitioned table beside a replica, under the roles of deploy/postgres and with what `db grants` prints. What they
// do not grant is refused by the server.
func TestLeastPrivileges(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(1))
	c.Exec(t, "postgres", "CREATE DATABASE app")
	c.Exec(t, "app",
		`CREATE SCHEMA archive`,
		`CREATE TABLE public.events (id bigint NOT NULL, at date NOT NULL, note text, counter int NOT NULL DEFAULT 0, PRIMARY KEY (id)) PARTITION BY RANGE (id)`,
		`CREATE TABLE public.events_new PARTITION OF public.events FOR VALUES FROM (10001) TO (MAXVALUE)`,
		`CREATE TABLE archive.events_old PARTITION OF public.events FOR VALUES FROM (MINVALUE) TO (10001)`,
		`INSERT INTO public.events SELECT i, '2026-01-01' FROM generate_series(1, 20000) i`,
		`CREATE TABLE public.salaries (id bigint PRIMARY KEY, counter int NOT NULL DEFAULT 0)`,
		`INSERT INTO public.salaries VALUES (1, 7)`,
		`ANALYZE`)
	scripts := filepath.Join(root(t), "deploy", "postgres")
	for range 2 { // running it again changes nothing
		psql(t, c.DSN("app"), "-f", filepath.Join(scripts, "roles.sql"))
	}
	dsn := func(role string) string { return c.Primary.DSNAs(role, "app") }
	owner := newSite(t, "BACKFLEET_DATABASE_MAIN="+dsn("backfleet_owner"))
	fleet := newSite(t, "BACKFLEET_DATABASE_MAIN="+dsn("backfleet"))
	file := fleet.spec("count", "public.events")

	fleet.refuses(2, []string{"db", "init"}, "permission denied for database app")
	owner.must("db", "init")
	psql(t, dsn("backfleet_owner"), "-f", filepath.Join(scripts, "oncall.sql"))
	fleet.refuses(2, []string{"submit", file}, "permission denied")

	grants := owner.must("db", "grants", "main", "--role", "backfleet", "--table", "public.events")
	require.Contains(t, grants, `"archive"."events_old"`, "leaf partitions included")
	psql(t, c.DSN("app"), "-c", grants)
	t.Run("a job runs", func(t *testing.T) {
		nats := harness.NATS(t)
		fleet.start("coordinator", "--nats-url", nats.URL(), "--listen", "127.0.0.1:0", "--state-dir", t.TempDir())
		fleet.start("worker", "--nats-url", nats.URL(), "--slots", "2")
		began := time.Now()
		fleet.must("submit", file)
		st := fleet.awaitJob("count", job.Complete)
		t.Logf("20000 rows in two leaves, done and verified within %s", time.Since(began).Round(time.Millisecond))
		require.EqualValues(t, 20000, st.Rows)
		require.Equal(t, "standby1", one(t, c, "SELECT string_agg(name, ' ') FROM backfleet.replicas"), "it could see the replica")
		require.Equal(t, "20000 1 1", one(t, c, "SELECT count(*) || ' ' || min(counter) || ' ' || max(counter) FROM public.events"))
		fleet.must("throttle", "hold", "main", "--for", "1m")
		fleet.must("throttle", "release", "main")
	})

	before := one(t, c, "SELECT count(*)::text FROM backfleet.events")
	t.Run("and no more", func(t *testing.T) {
		for _, sql := range []string{
			"SELECT * FROM public.salaries",
			"UPDATE public.salaries SET counter = 0",
			"DO $$BEGIN LOCK TABLE public.salaries; END$$",
			"INSERT INTO public.events VALUES (30000, '2026-01-01')",
			"DELETE FROM public.events",
			"DELETE FROM archive.events_old",
			"TRUNCATE public.events",
			"ALTER TABLE public.events DROP COLUMN note",
			"DROP TABLE archive.events_old",
			"CREATE INDEX ON public.events (note)",
			"CREATE TRIGGER t BEFORE UPDATE ON public.events FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
			"DROP SCHEMA backfleet CASCADE",
			"DROP TABLE backfleet.ranges",
			"TRUNCATE backfleet.ranges CASCADE",
			"ALTER TABLE backfleet.ranges DISABLE TRIGGER ALL",
			"CREATE OR REPLACE FUNCTION backfleet.release() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
			"UPDATE backfleet.events SET by = 'somebody else'",
			"DELETE FROM backfleet.events",
			"UPDATE backfleet.schema_version SET version = 99",
			"CREATE TABLE backfleet.mine (i int)",
			"CREATE TABLE archive.mine (i int)",
			"CREATE SCHEMA mine",
			"CREATE ROLE mine",
			"ALTER ROLE backfleet SUPERUSER",
			"SET ROLE backfleet_owner",
			"SET SESSION AUTHORIZATION postgres",
			"COPY public.events TO PROGRAM 'cat'",
			"SELECT pg_read_file('PG_VERSION')",
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
			"ALTER SYSTEM SET wal_level = minimal",
		} {
			refusedBy(t, dsn("backfleet"), sql)
		}
		require.Equal(t, before, one(t, c, "SELECT count(*)::text FROM backfleet.events"))
	})
	t.Run("on call", func(t *testing.T) {
		c.Exec(t, "app", "CREATE ROLE olga LOGIN IN ROLE backfleet_oncall")
		psql(t, dsn("olga"), "-c", "SELECT backfleet.hold('1 minute', 'incident 4711')")
		require.Contains(t, one(t, c, "SELECT b::text FROM backfleet.brake b"), "incident 4711")
		psql(t, dsn("olga"), "-c", "SELECT backfleet.release()")
		for _, sql := range []string{"SELECT * FROM public.events", "SELECT * FROM backfleet.jobs", "DELETE FROM backfleet.brake"} {
			refusedBy(t, dsn("olga"), sql)
		}
	})
	t.Run("only the columns that a job sets", func(t *testing.T) {
		for _, table := range []string{"public.events", "public.events_new", "archive.events_old"} {
			c.Exec(t, "app", fmt.Sprintf("REVOKE UPDATE ON %s FROM backfleet", table), fmt.Sprintf("GRANT UPDATE (counter) ON %s TO backfleet", table))
		}
		fleet.must("plan", fleet.spec("again", "public.events"), "--no-sample")
		refusedBy(t, dsn("backfleet"), "UPDATE public.events SET note = ''")
	})
}

// refusedBy fails unless the server refuses a statement to a role for want of privileges.
func refusedBy(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), sql)
	var refused *pgconn.PgError
	require.ErrorAs(t, err, &refused, sql)
	require.Equal(t, insufficientPrivilege, refused.Code, "%s: %s", sql, refused.Message)
}

// one reads one text as the superuser.
func one(t *testing.T, c *harness.Cluster, sql string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.DSN("app"))
	require.NoError(t, err)
	defer conn.Close(t.Context())
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&text), sql)
	return text
}
