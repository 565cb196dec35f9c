package divergence

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/internal/sqltext"
)

const (
	mostSessions   = 500 // that one look reads
	mostStatements = 100 // that one entry reads the text of
	mostKept       = 60  // lines of an entry
)

// Recorder notes what is going on in a database: who has which sessions, and what their statements do by pg_stat_statements where that is
// there. It is safe for concurrent use.
type Recorder struct {
	Pool   *pgxpool.Pool
	Ledger Ledger
	Tables func() []string // that suspicion is about

	mu       sync.Mutex
	sessions map[Activity]int // seen since the last entry
	counts   map[counted]counts
	counting bool // counts are of the last entry
}

type counted struct {
	User uint32
	ID   int64
}

type counts struct{ calls, rows int64 }

// Look notes which sessions there are, for the entry under way. A pooled session shows the last statement it ran, so few looks see it.
func (r *Recorder) Look(ctx context.Context) error {
	rows, err := r.Pool.Query(ctx, `
		SELECT coalesce(application_name, ''), coalesce(usename::text, ''), coalesce(host(client_addr), 'local'), query
		  FROM pg_stat_activity
		 WHERE datname = current_database() AND pid <> pg_backend_pid() AND query <> '' AND application_name NOT LIKE 'backfleet %'
		   AND backend_type IN ('client backend', 'logical replication worker', 'logical replication apply worker', 'logical replication parallel worker')
		   AND (state <> 'idle' OR state_change > clock_timestamp() - interval '2 minutes')
		 ORDER BY state_change DESC LIMIT $1`, mostSessions)
	if err != nil {
		return fmt.Errorf("look at the sessions: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = map[Activity]int{}
	}
	var a Activity
	_, err = pgx.ForEachRow(rows, []any{&a.Application, &a.User, &a.Address, &a.Query}, func() error {
		a.Query = sqltext.Normalise(a.Query)
		r.sessions[a]++
		return nil
	})
	if err != nil {
		return fmt.Errorf("look at the sessions: %w", err)
	}
	return nil
}

// Note ends the entry under way and stores it.
func (r *Recorder) Note(ctx context.Context) error {
	if err := r.Look(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Activity
	for a, n := range r.sessions {
		a.Seen = n
		all = append(all, a)
	}
	statements, err := r.statements(ctx)
	if err != nil {
		return err
	}
	all = append(all, statements...)
	if err := r.Ledger.AddActivity(ctx, ranked(all, r.Tables(), mostKept)); err != nil {
		return err
	}
	r.sessions = nil
	return nil
}

// statements is what ran since the entry before, by pg_stat_statements; nothing where that is not there, or for the first time.
func (r *Recorder) statements(ctx context.Context) ([]Activity, error) {
	var schema string
	err := r.Pool.QueryRow(ctx, `SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
		WHERE e.extname = 'pg_stat_statements' AND current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'`).Scan(&schema)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for pg_stat_statements: %w", err)
	}
	view := pgx.Identifier{schema, "pg_stat_statements"}.Sanitize()
	rows, err := r.Pool.Query(ctx, `SELECT userid, queryid, sum(calls)::bigint, sum(rows)::bigint FROM `+view+`(false)
		 WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid IS NOT NULL GROUP BY 1, 2`)
	if err != nil {
		return nil, fmt.Errorf("read pg_stat_statements: %w", err)
	}
	now := map[counted]counts{}
	ran := map[counted]counts{}
	var k counted
	var c counts
	if _, err := pgx.ForEachRow(rows, []any{&k.User, &k.ID, &c.calls, &c.rows}, func() error {
		now[k] = c
		before := r.counts[k]
		if before.calls > c.calls {
			before = counts{} // it was reset, or thrown out and came again
		}
		if r.counting && c.calls > before.calls {
			ran[k] = counts{c.calls - before.calls, c.rows - before.rows}
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read pg_stat_statements: %w", err)
	}
	r.counts, r.counting = now, true
	if len(ran) == 0 {
		return nil, nil
	}
	return r.texts(ctx, view, ran)
}

// texts reads what the statements that ran most rows are.
func (r *Recorder) texts(ctx context.Context, view string, ran map[counted]counts) ([]Activity, error) {
	var users []uint32
	var ids []int64
	for k := range ran {
		users, ids = append(users, k.User), append(ids, k.ID)
	}
	rows, err := r.Pool.Query(ctx, `SELECT DISTINCT ON (s.userid, s.queryid) s.userid, s.queryid, coalesce(pg_get_userbyid(s.userid)::text, ''), s.query
		  FROM `+view+` s JOIN unnest($1::oid[], $2::bigint[]) w(userid, queryid) USING (userid, queryid)
		 WHERE s.query !~* '^\s*(select|show|begin|commit|rollback|set|fetch|savepoint|release)\y' AND s.query !~* '\ybackfleet\.' ORDER BY 1, 2`, users, ids)
	if err != nil {
		return nil, fmt.Errorf("read pg_stat_statements: %w", err)
	}
	var all []Activity
	var k counted
	var a Activity
	if _, err := pgx.ForEachRow(rows, []any{&k.User, &k.ID, &a.User, &a.Query}, func() error {
		a.Query = sqltext.Normalise(a.Query)
		a.Calls, a.Rows = ran[k].calls, ran[k].rows
		all = append(all, a)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read pg_stat_statements: %w", err)
	}
	return ranked(all, r.Tables(), mostStatements), nil
}

// Held says why no step of a walk may begin now, as far as the database itself can tell: the brake, or a replica that lags behind by more
// than a limit. Empty: it may.
func Held(ctx context.Context, pool *pgxpool.Pool, lag time.Duration) (why string, err error) {
	var by string
	var behind float64
	err = pool.QueryRow(ctx, `SELECT coalesce((SELECT by FROM backfleet.brake WHERE until > clock_timestamp()), ''),
		coalesce((SELECT max(extract(epoch FROM replay_lag)) FROM pg_stat_replication WHERE state = 'streaming'
		           AND pg_wal_lsn_diff(sent_lsn, replay_lsn) > 0), 0)::float8`).Scan(&by, &behind)
	switch {
	case err != nil:
		return "", fmt.Errorf("ask whether the database is held: %w", err)
	case by != "":
		return "the database is held by " + by, nil
	case behind > lag.Seconds():
		return fmt.Sprintf("a replica lags %.1f s behind, the watch waits above %s", behind, lag), nil
	}
	return "", nil
}
