package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
	"github.com/backfleet/backfleet/throttle/signals"
)

// `complete` waits for the replicas that the throttle sees, under the names that throttle.replicas knows them by, and for no other
// reader of WAL.
func TestTheEndWaitsForTheReplicasThatTheThrottleSees(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(1))
	pool := c.Pool(t, "postgres")
	s := New(pool, "main")
	_, _, err := s.Migrate(t.Context())
	require.NoError(t, err)

	bin, err := harness.PostgresBin()
	require.NoError(t, err)
	harness.Start(t, filepath.Join(bin, "pg_receivewal"), []string{"--dbname", c.DSN("postgres"), "--directory", t.TempDir()}, nil)
	require.Eventually(t, func() bool {
		var n int
		err := pool.QueryRow(t.Context(), "select count(*) from pg_stat_replication where application_name = 'pg_receivewal'").Scan(&n)
		return err == nil && n == 1
	}, 30*time.Second, 20*time.Millisecond, "pg_receivewal does not stream")

	var names []string
	lag := signals.NewLag(pool, time.Now, 0)
	for _, m := range lag.Read(t.Context()).Members {
		names = append(names, m.Name)
	}
	require.Len(t, names, 1)
	behind, err := s.NotFlushed(t.Context(), "FFFFFFFF/0")
	require.NoError(t, err)
	require.Equal(t, names, behind)
	behind, err = s.NotFlushed(t.Context(), "0/0")
	require.NoError(t, err)
	require.Empty(t, behind)
}
