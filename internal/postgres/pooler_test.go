package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// Behind a pooler nothing is prepared; on the server itself everything is.
func TestAPoolerIsNoticed(t *testing.T) {
	c := harness.SharedCluster(t)
	bouncer := harness.StartPgBouncer(t, c.Primary, 2)
	for dsn, keeps := range map[string]bool{c.DSN("postgres"): true, bouncer.DSN("postgres"): false} {
		pool, err := postgres.Open(t.Context(), "main", postgres.SourceOf(dsn), postgres.PoolOptions{})
		require.NoError(t, err)
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		require.Equal(t, keeps, postgres.KeepsSession(conn.Conn()))
		conn.Release()
		pool.Close()
		one, err := postgres.Connect(t.Context(), "replica", postgres.SourceOf(dsn), "")
		require.NoError(t, err)
		require.Equal(t, keeps, postgres.KeepsSession(one))
		require.NoError(t, one.Close(t.Context()))
	}
}
