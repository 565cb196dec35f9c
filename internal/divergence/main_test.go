package divergence_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/divergence"
	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
)

const walkerDSN = "BACKFLEET_TEST_WALKER"

// A test may start this program as a walker that it kills.
func TestMain(m *testing.M) {
	if dsn := os.Getenv(walkerDSN); dsn != "" {
		fmt.Println(walkSlowly(context.Background(), dsn))
		os.Exit(1) // it is to be killed before
	}
	harness.Main(m, harness.WithSetting("shared_preload_libraries", "pg_stat_statements"))
}

func walkSlowly(ctx context.Context, dsn string) error {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return err
	}
	s := store.New(pool, "main")
	m, err := s.Migration(ctx, "users-email-norm")
	if err != nil {
		return err
	}
	w := divergence.Walker{Pool: pool, Ledger: s, Rate: 5000}
	return w.Round(ctx, m)
}

// scene is a migration with dual-write in a ledger of its own.
type scene struct {
	testing.TB
	pool *pgxpool.Pool
	s    *store.Store
	m    migration.Migration
	rec  *divergence.Recorder
}

func columns() migration.Spec {
	return migration.Spec{
		Name: "users-email-norm", Database: "main", Table: "public.users",
		From:     migration.From{Columns: []string{"email"}},
		To:       migration.To{Columns: []migration.Column{{Name: "email_norm", Type: "text"}}},
		Forward:  map[string]string{"email_norm": "lower(email)"},
		Backward: map[string]string{"email": "email_norm"},
	}
}

func table() migration.Spec {
	return migration.Spec{
		Name: "users-emails", Database: "main", Table: "public.users",
		From: migration.From{Columns: []string{"email"}},
		To: migration.To{Table: "public.user_emails", Key: []string{"user_id"},
			Columns: []migration.Column{{Name: "user_id", Type: "bigint"}, {Name: "address", Type: "text"}}},
		Forward: map[string]string{"user_id": "id", "address": "lower(email)"},
	}
}

const (
	users      = "CREATE TABLE users (id bigint PRIMARY KEY, email text, email_norm text, seen int NOT NULL DEFAULT 0)"
	userEmails = "CREATE TABLE user_emails (user_id bigint PRIMARY KEY, address text)"
)

// begun has a table with rows of before, and then dual-write.
func begun(t testing.TB, pool *pgxpool.Pool, spec migration.Spec, ddl ...string) *scene {
	t.Helper()
	sc := &scene{TB: t, pool: pool, s: store.New(pool, "main")}
	_, _, err := sc.s.Migrate(t.Context())
	require.NoError(t, err)
	sc.exec(ddl...)
	now := time.Now()
	sc.m, _, err = sc.s.StartMigration(t.Context(), spec, migration.Facts{SearchPath: "public"}, "ann", now)
	require.NoError(t, err)
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if err := dualwrite.Install(t.Context(), tx, spec, dualwrite.Forward, "public"); err != nil {
			return err
		}
		if err := sc.s.BeginWatch(t.Context(), tx, spec.Name); err != nil {
			return err
		}
		sc.m, err = sc.s.MoveMigration(t.Context(), tx, store.Move{Name: spec.Name, By: "ann", Action: "dual-write", Now: now,
			Change: func(_ context.Context, _ pgx.Tx, _ migration.Migration, f *migration.Facts) (map[string]any, error) {
				f.DualWrite, f.WrittenBy = &now, migration.ByTrigger
				return map[string]any{"by": "trigger"}, nil
			}})
		return err
	}))
	sc.rec = &divergence.Recorder{Pool: pool, Ledger: sc.s, Tables: func() []string { return divergence.TableNames(spec) }}
	return sc
}

func (sc *scene) exec(statements ...string) {
	sc.Helper()
	for _, sql := range statements {
		_, err := sc.pool.Exec(sc.Context(), sql)
		require.NoError(sc, err, sql)
	}
}

// filled is what the end of the backfill leaves in the facts.
func (sc *scene) filled() {
	now := time.Now()
	sc.m.Facts.Backfilled = &now
}

func (sc *scene) walker() *divergence.Walker {
	return &divergence.Walker{Pool: sc.pool, Ledger: sc.s, Note: sc.rec.Note, Rate: 1e6, Share: 1}
}

// round walks one whole round and returns it.
func (sc *scene) round() divergence.Round {
	sc.Helper()
	require.NoError(sc, sc.walker().Round(sc.Context(), sc.m))
	return sc.last()
}

func (sc *scene) last() divergence.Round {
	sc.Helper()
	all, err := sc.s.Series(sc.Context(), sc.m.Spec.Name, time.Time{})
	require.NoError(sc, err)
	require.NotEmpty(sc, all)
	return all[len(all)-1]
}

func (sc *scene) growth() []divergence.Bucket {
	sc.Helper()
	all, err := sc.s.Growth(sc.Context(), sc.m.Spec.Name)
	require.NoError(sc, err)
	return all
}

// as runs statements in a session of its own, under an application's name.
func (sc *scene) as(application string, statements ...string) {
	sc.Helper()
	cfg := sc.pool.Config().ConnConfig.Copy()
	cfg.RuntimeParams["application_name"] = application
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(sc.Context(), cfg)
	require.NoError(sc, err)
	sc.Cleanup(func() { _ = conn.Close(context.Background()) })
	for _, sql := range statements {
		_, err := conn.Exec(sc.Context(), sql)
		require.NoError(sc, err, sql)
	}
}
