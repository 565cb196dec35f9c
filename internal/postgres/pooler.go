package postgres

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// poolerGuard returns what looks, before the first connection of its pool, whether a pooler such as PgBouncer stands between. Behind one
// each transaction may meet another backend, so nothing is prepared there: a statement is parsed where it runs.
func poolerGuard() func(context.Context, *pgx.ConnConfig) error {
	var mu sync.Mutex
	var known, pooled bool
	return func(ctx context.Context, cfg *pgx.ConnConfig) error {
		mu.Lock()
		defer mu.Unlock()
		if !known {
			var err error
			if pooled, err = behindPooler(ctx, cfg.Config.Copy()); err != nil {
				return err
			}
			known = true
		}
		if pooled && cfg.DefaultQueryExecMode != pgx.QueryExecModeSimpleProtocol {
			cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
		}
		return nil
	}
}

// behindPooler connects once. A pooler gives the session a key of its own to cancel by, so its process id is not the backend's.
func behindPooler(ctx context.Context, cfg *pgconn.Config) (bool, error) {
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(ctx) }()
	results, err := conn.Exec(ctx, "select pg_backend_pid()").ReadAll()
	if err != nil {
		return false, fmt.Errorf("read the backend's process id: %w", err)
	}
	return string(results[0].Rows[0][0]) != strconv.FormatUint(uint64(conn.PID()), 10), nil
}

// KeepsSession reports whether what is set or prepared in a session is there in its next transaction too.
func KeepsSession(conn *pgx.Conn) bool {
	mode := conn.Config().DefaultQueryExecMode
	return mode != pgx.QueryExecModeExec && mode != pgx.QueryExecModeSimpleProtocol
}
