package contract

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) {
	harness.Main(m, harness.WithSetting("shared_preload_libraries", "pg_stat_statements"), harness.WithSetting("log_destination", "csvlog"),
		harness.WithSetting("logging_collector", "on"))
}

// scene is a database with a ledger, and roles that are its own.
type scene struct {
	*testing.T
	db    *harness.TestDatabase
	pool  *pgxpool.Pool
	roles map[string]string
}

var scenes atomic.Int64

func newScene(t *testing.T) *scene {
	t.Helper()
	db := harness.Database(t)
	_, _, err := store.New(db.Pool, "main").Migrate(t.Context())
	require.NoError(t, err)
	s := &scene{T: t, db: db, pool: db.Pool, roles: map[string]string{}}
	t.Cleanup(func() { // a role goes only when nothing holds a grant of it any more
		sql := "drop schema if exists app cascade;"
		for _, role := range s.roles {
			sql += " drop owned by " + role + " cascade;"
		}
		for _, role := range s.roles {
			sql += " drop role " + role + ";"
		}
		_, err := s.pool.Exec(context.Background(), sql)
		require.NoError(t, err, sql)
	})
	return s
}

func (s *scene) exec(sql string, args ...any) {
	s.Helper()
	_, err := s.pool.Exec(s.Context(), sql, args...)
	require.NoError(s, err, sql)
}

// role makes a role of this test alone, for roles are the whole cluster's.
func (s *scene) role(name, options string) string {
	s.Helper()
	full := fmt.Sprintf("%s_%d", name, scenes.Add(1))
	s.exec("create role " + full + " " + options)
	s.roles[name] = full
	return full
}

// as is a connection of a role.
func (s *scene) as(role string) *pgx.Conn {
	s.Helper()
	cfg, err := pgx.ParseConfig(s.db.DSN)
	require.NoError(s, err)
	cfg.User = role
	conn, err := pgx.ConnectConfig(s.Context(), cfg)
	require.NoError(s, err)
	s.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// tx runs a function in a transaction of a connection or pool, as the engine does.
func (s *scene) tx(db interface {
	Begin(context.Context) (pgx.Tx, error)
}, fn func(tx pgx.Tx) error,
) error {
	s.Helper()
	return pgx.BeginFunc(s.Context(), db, fn)
}

// dump is the schema as pg_dump tells it, without what differs from run to run.
func (s *scene) dump(database string) string {
	s.Helper()
	dsn := strings.Replace(s.db.DSN, s.db.Name, database, 1)
	out, err := exec.CommandContext(s.Context(), "pg_dump", "--schema-only", "--exclude-schema=backfleet", dsn).CombinedOutput()
	require.NoError(s, err, string(out))
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func (s *scene) readers(t Target) []Reader {
	s.Helper()
	all, err := Readers(s.Context(), s.pool, t)
	require.NoError(s, err)
	return all
}
