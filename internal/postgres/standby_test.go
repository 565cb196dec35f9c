package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/test/harness"
)

// A session that finds itself on a standby is not used again, whatever told of it, and its work is to be done anew on another. An error of
// any other kind leaves it as it is.
func TestASessionOnAStandbyIsLeft(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(1))
	c.Exec(t, "postgres", "CREATE TABLE t (id int)")
	require.NoError(t, c.WaitReplayed())
	for sql, want := range map[string]struct {
		left  bool
		class postgres.Class
	}{
		"SELECT 1/0":                  {class: postgres.Data},
		"SELECT * FROM nowhere":       {class: postgres.Schema},
		"INSERT INTO t VALUES (1)":    {left: true, class: postgres.Connection},
		"BEGIN READ WRITE":            {left: true, class: postgres.Connection},
		"SELECT pg_current_wal_lsn()": {left: true, class: postgres.Schema}, // of a batch it would be
	} {
		pool, err := postgres.Open(t.Context(), "main", postgres.SourceOf(c.ReplicaDSN(0, "postgres")), postgres.PoolOptions{})
		require.NoError(t, err)
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), sql)
		require.Error(t, err, sql)
		require.Equal(t, want.class, postgres.Classify(err), "%s: %v", sql, err)
		require.Equal(t, want.left, conn.Conn().IsClosed(), "%s: %v", sql, err)
		conn.Release()
		pool.Close()
	}
}
