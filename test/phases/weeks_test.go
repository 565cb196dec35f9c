package phases

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/test/harness"
)

// A whole migration, from its file to the drop, with the soaks of the rule, a real fleet, and the application writing all the while: first the
// old schema, then the new one. At the end every row is there and says what the application last wrote.
func TestThreeWeeks(t *testing.T) {
	t.Run("new columns", func(t *testing.T) {
		threeWeeks(t, sameTable, "users", "id", func(s *scene) {
			require.Zero(t, s.number("SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'email' AND NOT attisdropped"))
		})
	})
	t.Run("a new table", func(t *testing.T) {
		threeWeeks(t, newTable, "mails", "user_id", func(s *scene) {
			require.Zero(t, s.number("SELECT count(*) FROM pg_class WHERE relname = 'users'"))
		})
	})
}

func threeWeeks(t *testing.T, file, table, key string, dropped func(*scene)) {
	s := newScene(t, file)
	s.exec("INSERT INTO users (email) SELECT 'Ann' || i || '@X' FROM generate_series(301, 3000) i")
	s.exec("INSERT INTO truth SELECT id, email FROM users WHERE id > 300")
	s.fleet()
	load := s.write("users", "id", "email", "Bob%d@X")

	require.Contains(t, s.phase("plan", "--people", "ann,#dba"), "- #dba")
	require.Contains(t, s.phase("expand", "--dry-run"), table)
	s.refused("dual-write")
	s.phase("expand")
	require.Contains(t, s.refused("dual-write"), "phase tick norm schema-deployed")
	s.tick("schema-deployed")
	s.phase("dual-write", "--cost")
	s.phase("dual-write")
	if table != "users" {
		s.exec("GRANT SELECT, INSERT, UPDATE, DELETE ON public.mails TO " + application)
	}

	s.tick("writers-known")
	s.phase("check")
	s.opens(day, func() *time.Time { return s.facts().DualWrite }, "backfill")
	require.Contains(t, s.phase("backfill"), s.facts().Job, "again it is the same job")
	s.refused("switch", "--to", "1")
	s.await("the backfill is complete", func() bool { return s.show().Phase == migration.Switch })

	s.tick("dashboards-watched")
	for _, to := range []string{"1", "10", "100"} {
		s.exec("UPDATE backfleet.divergence_rounds SET started_at = started_at - interval '1 day'") // none is of after the last step
		require.Contains(t, s.refused("switch", "--to", to), "no diverging row")
		s.phase("check")
		if to != "100" {
			require.Contains(t, s.refused("switch", "--to", "100"), "--to "+to)
		}
		s.phase("switch", "--to", to)
		require.InDelta(t, s.facts().Percent, s.number("SELECT count(*) FROM generate_series(1, 10000) i WHERE backfleet.flag('norm', i::text)")/100, 2)
		require.Equal(t, s.facts().Percent, s.show().Facts.Percent)
	}
	s.phase("rollback", "--reason", "a drill")
	require.Zero(t, s.number("SELECT count(*) FROM generate_series(1, 100) i WHERE backfleet.flag('norm', i::text)"))
	for _, to := range []string{"1", "10", "100"} {
		s.phase("check")
		s.phase("switch", "--to", to)
	}

	s.ends(load) // a new version of the application, which knows the new schema only
	load = s.write(table, key, "email_norm", "cy%d@x")
	s.tick("no-old-readers", "rollback-given-up")
	s.phase("check")
	s.opens(7*day, func() *time.Time { return s.facts().Ramped }, "stop")
	require.Contains(t, s.refused("rollback"), "a new migration from the new schema to the old one")

	s.exec("CREATE VIEW monthly AS SELECT email FROM users")
	require.Contains(t, s.phase("readers"), "monthly")
	require.Contains(t, s.refused("drop"), "monthly")
	s.exec("DROP VIEW monthly")
	s.phase("rehearse", "--for", "24h", "--mode", "rename", "--detach")
	require.Contains(t, s.must("phase"), "phase undo norm")
	s.pass(23 * time.Hour)
	s.phase("undo")
	require.Contains(t, s.refused("drop"), "a rehearsal of the drop ran its whole time", "an hour was missing")
	s.phase("rehearse", "--for", "24h", "--mode", "rename", "--detach")
	s.pass(day)
	s.phase("undo")
	s.tick("undo-kept")
	s.opens(7*day, func() *time.Time { return s.facts().Stopped }, "drop")
	require.Contains(t, s.phase("drop"), "email", "again it prints the script")
	dropped(s)

	s.ends(load)
	require.Equal(t, migration.Done, s.show().Phase)
	require.Zero(t, s.number(fmt.Sprintf("SELECT count(*) FROM public.%s n FULL JOIN truth ON n.%s = truth.id WHERE n.email_norm IS DISTINCT FROM lower(truth.value)", table, key)))
	require.Positive(t, s.number("SELECT count(*) FROM truth WHERE value LIKE 'Bob%'"))
	require.Positive(t, s.number("SELECT count(*) FROM truth WHERE value LIKE 'cy%'"))
}

// write has the application insert, update and delete, and keep with each write what is true from then on.
func (s *scene) write(table, key, column, value string) *harness.Load {
	s.Helper()
	pool := harness.Pool(s, as(s.dsn, application))
	sql := strings.NewReplacer("{table}", "public."+table, "{key}", key, "{column}", column)
	op := func(weight int, text string, insert bool) harness.Op {
		text = sql.Replace(text)
		return harness.Op{Name: text, Weight: weight, Run: func(ctx context.Context, pool *pgxpool.Pool, r *rand.Rand) error {
			args := []any{1 + r.Int64N(3000), fmt.Sprintf(value, r.IntN(1e9))}
			if insert {
				args[0] = 1e6 + r.Int64N(1e12)
			}
			_, err := pool.Exec(ctx, text, args...)
			return err
		}}
	}
	return harness.Writer{Pool: pool, Clients: 2, Rate: 60, Seed: uint64(len(column)), Ops: []harness.Op{
		op(3, "WITH w AS (INSERT INTO {table} ({key}, {column}) VALUES ($1, $2) RETURNING {key}) INSERT INTO truth SELECT {key}, $2 FROM w", true),
		op(6, "WITH w AS (UPDATE {table} SET {column} = $2 WHERE {key} = $1 RETURNING {key}) UPDATE truth SET value = $2 FROM w WHERE truth.id = w.{key}", false),
		op(1, "WITH w AS (DELETE FROM {table} WHERE {key} = $1 AND $2 <> '' RETURNING {key}) DELETE FROM truth USING w WHERE truth.id = w.{key}", false),
	}}.Start(s.Context())
}

// ends ends the writers, of whose writes none may have failed.
func (s *scene) ends(load *harness.Load) {
	s.Helper()
	for name, r := range load.Stop().Ops {
		require.Zero(s, r.Errors, "%s: %v", name, r.LastError)
		require.Positive(s, r.Done, name)
	}
}
