package dualwrite_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/test/harness"
)

// Writers of both sides and the backfill work on the same few rows at once, in transactions that end in any order, some of them rolled back.
// Whatever comes of it, both sides agree in the end.
func TestConcurrentWritersLeaveNothingDiverging(t *testing.T) {
	old := []string{
		"INSERT INTO users (id, email) VALUES ($1::bigint, 'I' || $2::int) ON CONFLICT (id) DO UPDATE SET email = EXCLUDED.email",
		"UPDATE users SET email = 'U' || $2::int WHERE id = $1::bigint", "UPDATE users SET seen = seen + 1 WHERE id = $1::bigint AND $2::int >= 0", "DELETE FROM users WHERE id = $1::bigint AND $2::int >= 0",
		"UPDATE users SET id = id + 100 WHERE id = $1::bigint AND $2::int >= 0 AND NOT EXISTS (SELECT FROM users o WHERE o.id = $1::bigint + 100)",
	}
	for _, c := range []struct {
		name      string
		spec      migration.Spec
		direction dualwrite.Direction
		writes    []string
		backfill  string
		diverging string
	}{
		{"columns", columns(), dualwrite.Forward, old, "UPDATE users SET email_norm = lower(email) WHERE id BETWEEN $1::bigint AND $1::bigint + 5 AND email_norm IS NULL",
			"SELECT id, email, email_norm FROM users WHERE email_norm IS DISTINCT FROM lower(email)"},
		{"columns, both sides", columns(), dualwrite.Both, append(old, "UPDATE users SET email_norm = 'n' || $2::int WHERE id = $1::bigint"), "",
			"SELECT id, email, email_norm FROM users WHERE email_norm IS DISTINCT FROM lower(email) AND email IS DISTINCT FROM email_norm"},
		{"table", table(), dualwrite.Forward, old,
			"INSERT INTO user_emails (user_id, address) SELECT id, lower(email) FROM users WHERE id BETWEEN $1::bigint AND $1::bigint + 5 FOR NO KEY UPDATE ON CONFLICT (user_id) DO NOTHING",
			"SELECT u.id, u.email, e.user_id, e.address FROM users u FULL JOIN user_emails e ON e.user_id = u.id WHERE u.id IS NULL OR e.user_id IS NULL OR e.address IS DISTINCT FROM lower(u.email)"},
		{"table, both sides", table(), dualwrite.Both, append(old, "UPDATE user_emails SET address = 'n' || $2::int WHERE user_id = $1::bigint"), "",
			`SELECT u.id, u.email, e.user_id, e.address FROM users u FULL JOIN user_emails e ON e.user_id = u.id
				WHERE u.id IS NULL OR e.user_id IS NULL OR e.address IS DISTINCT FROM lower(u.email) AND u.email IS DISTINCT FROM e.address`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := at(t, harness.Database(t).Pool, c.spec, users, userEmails)
			if c.backfill != "" {
				s.exec("INSERT INTO users SELECT i, 'Before' || i FROM generate_series(1, 30) i")
			}
			s.install(c.direction)
			var all sync.WaitGroup
			for writer := range 4 {
				all.Go(func() {
					dice := rand.New(rand.NewPCG(uint64(writer), 7))
					for n := range 60 {
						if err := s.some(t.Context(), dice, c.writes, n); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Go(func() {
				for id := 1; c.backfill != "" && id <= 150; id += 3 {
					if err := again(func() error { _, err := s.pool.Exec(t.Context(), c.backfill, id); return err }); err != nil {
						t.Error(err)
					}
				}
			})
			all.Wait()
			if c.backfill != "" { // what the race left to do
				s.exec("UPDATE users SET seen = 0")
				_, err := s.pool.Exec(t.Context(), c.backfill, 1)
				require.NoError(t, err)
				for id := 1; id <= 150; id += 5 {
					_, err := s.pool.Exec(t.Context(), c.backfill, id)
					require.NoError(t, err)
				}
			}
			require.NotEmpty(t, s.rows("SELECT id FROM users"))
			require.Empty(t, s.rows(c.diverging))
		})
	}
}

// some is a transaction of a few writes to rows that others write too.
func (s *scene) some(ctx context.Context, dice *rand.Rand, writes []string, n int) error {
	count, back := 1+dice.IntN(3), dice.IntN(10) == 0
	type write struct {
		sql   string
		id, n int
	}
	all := make([]write, count)
	for i := range all {
		all[i] = write{writes[dice.IntN(len(writes))], 1 + dice.IntN(30), n}
	}
	return again(func() error {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			for _, w := range all {
				if _, err := tx.Exec(ctx, w.sql, w.id, w.n); err != nil {
					return err
				}
			}
			if back {
				return errBack
			}
			return nil
		})
		if errors.Is(err, errBack) {
			return nil
		}
		return err
	})
}

var errBack = errors.New("rolled back")

// again repeats what an application repeats: deadlocks, and keys that another took meanwhile.
func again(fn func() error) (err error) {
	for range 100 {
		var pg *pgconn.PgError
		if err = fn(); !errors.As(err, &pg) || pg.Code != "40P01" && pg.Code != "23505" {
			return err
		}
	}
	return err
}
