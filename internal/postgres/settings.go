package postgres

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Begin opens a transaction whose isolation does not depend on the role's defaults.
const Begin = "begin isolation level read committed read write"

// rollbackTimeout bounds the wait for a rollback's answer; without one the session is closed, which rolls back as well.
const rollbackTimeout = 5 * time.Second

// Settings are what a Backfleet transaction states for itself, so that neither a pooler, a role nor a database default can
// change how keys read or how long it may wait.
type Settings struct {
	Application       string
	Job               string // backfleet.job, which an updated_at trigger may look at
	SearchPath        string // "" leaves it
	SynchronousCommit string
	LockTimeout       time.Duration
	StatementTimeout  time.Duration
	IdleTimeout       time.Duration // between its statements, before the server ends it; 0 means 10 s
}

const defaultIdleTimeout = 10 * time.Second

// settingsSQL pins formats and row security, and takes the rest as parameters. idle_in_transaction_session_timeout ends a
// transaction whose worker was stopped in the middle; jit only costs in statements this short.
const settingsSQL = `select set_config('DateStyle', 'ISO, MDY', true), set_config('TimeZone', 'UTC', true),
 set_config('IntervalStyle', 'postgres', true), set_config('extra_float_digits', '1', true),
 set_config('row_security', 'off', true), set_config('jit', 'off', true),
 set_config('plan_cache_mode', 'force_custom_plan', true),
 set_config('idle_in_transaction_session_timeout', $7, true),
 set_config('application_name', $1, true), set_config('backfleet.job', $2, true),
 set_config('synchronous_commit', $3, true), set_config('lock_timeout', $4, true),
 set_config('statement_timeout', $5, true),
 set_config('search_path', coalesce(nullif($6, ''), current_setting('search_path')), true)`

// Statement returns the settings as one statement for the inside of a transaction.
func (s Settings) Statement() (sql string, args []any) {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	return settingsSQL, []any{
		clip(s.Application, 63), s.Job, s.SynchronousCommit, ms(s.LockTimeout), ms(s.StatementTimeout), s.SearchPath,
		ms(cmp.Or(s.IdleTimeout, defaultIdleTimeout)),
	}
}

// Starter begins transactions: a pool or a connection.
type Starter interface {
	BeginTx(context.Context, pgx.TxOptions) (pgx.Tx, error)
}

// InTx runs fn in one READ COMMITTED transaction under the settings and commits it. An error of fn rolls back. An error of the
// commit itself may leave the outcome unknown; callers that care must be repeatable.
func InTx(ctx context.Context, db Starter, s Settings, fn func(pgx.Tx) error) error {
	tx, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { // after a commit this is a no-op
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		_ = tx.Rollback(back)
	}()
	sql, args := s.Statement()
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
