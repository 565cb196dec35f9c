package dualwrite_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// scene is a migration on a database of its own.
type scene struct {
	testing.TB
	pool *pgxpool.Pool
	spec migration.Spec
}

// columns is the migration of the documentation: a new column beside the old one.
func columns() migration.Spec {
	return migration.Spec{
		Name: "users-email-norm", Database: "main", Table: "public.users",
		From:     migration.From{Columns: []string{"email"}},
		To:       migration.To{Columns: []migration.Column{{Name: "email_norm", Type: "text"}}},
		Forward:  map[string]string{"email_norm": "lower(email)"},
		Backward: map[string]string{"email": "email_norm"},
	}
}

const users = `CREATE TABLE users (id bigint PRIMARY KEY, email text, email_norm text, seen int NOT NULL DEFAULT 0)`

// table is one into a new table.
func table() migration.Spec {
	return migration.Spec{
		Name: "users-emails", Database: "main", Table: "public.users",
		From: migration.From{Columns: []string{"email"}},
		To: migration.To{Table: "public.user_emails", Key: []string{"user_id"},
			Columns: []migration.Column{{Name: "user_id", Type: "bigint"}, {Name: "address", Type: "text"}}},
		Forward:  map[string]string{"user_id": "id", "address": "lower(email)"},
		Backward: map[string]string{"email": "address"},
	}
}

const userEmails = `CREATE TABLE user_emails (user_id bigint PRIMARY KEY, address text, note text)`

func at(t testing.TB, pool *pgxpool.Pool, spec migration.Spec, ddl ...string) *scene {
	t.Helper()
	s := &scene{t, pool, spec}
	s.exec(ddl...)
	return s
}

func (s *scene) exec(statements ...string) {
	s.Helper()
	for _, sql := range statements {
		_, err := s.pool.Exec(context.Background(), sql)
		require.NoError(s, err, sql)
	}
}

func (s *scene) install(d dualwrite.Direction) {
	s.Helper()
	require.NoError(s, s.inTx(func(tx pgx.Tx) error { return dualwrite.Install(s.Context(), tx, s.spec, d, "public") }))
	require.True(s, s.state().Stands(), "%+v", s.state())
}

func (s *scene) state() (st dualwrite.State) {
	s.Helper()
	require.NoError(s, s.inTx(func(tx pgx.Tx) (err error) {
		st, err = dualwrite.Installed(s.Context(), tx, s.spec, "public")
		return err
	}))
	return st
}

func (s *scene) inTx(fn func(pgx.Tx) error) error {
	return pgx.BeginFunc(s.Context(), s.pool, fn)
}

// rows returns a query's rows, each as one text.
func (s *scene) rows(sql string) (all []string) {
	s.Helper()
	rows, err := s.pool.Query(s.Context(), sql)
	require.NoError(s, err, sql)
	all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		vs, err := row.Values()
		text := ""
		for i, v := range vs {
			if i > 0 {
				text += " "
			}
			text += fmt.Sprint(v)
		}
		return text, err
	})
	require.NoError(s, err, sql)
	return all
}

func (s *scene) fails(sql, with string) {
	s.Helper()
	_, err := s.pool.Exec(s.Context(), sql)
	require.ErrorContains(s, err, with, sql)
}
