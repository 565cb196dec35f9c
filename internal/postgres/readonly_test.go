package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/test/harness"
)

// A session that is told that its server takes no writes is not used again; any other error leaves it as it is.
func TestAReadOnlySessionIsLeft(t *testing.T) {
	c := harness.SharedCluster(t)
	for sql, kept := range map[string]bool{
		"SELECT 1":          true,
		"SELECT 1/0":        true,
		"CREATE TABLE t ()": false, // 25006
		"DO 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END'": false,
	} {
		pool, err := postgres.Open(t.Context(), "main", postgres.SourceOf(c.DSN("postgres")+"&default_transaction_read_only=on"), postgres.PoolOptions{})
		require.NoError(t, err)
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), sql)
		require.Equal(t, kept, !conn.Conn().IsClosed(), "%s: %v", sql, err)
		conn.Release()
		pool.Close()
	}
}
