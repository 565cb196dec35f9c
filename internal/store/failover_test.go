package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

// The replica that a failover made the primary never comes back as a replica: waiting for it would hold the fleet for ever.
func TestAFailoverForgetsTheReplicas(t *testing.T) {
	c := harness.Postgres(t, harness.WithStandby(1))
	s := New(c.Pool(t, "postgres"), "main")
	_, _, err := s.Migrate(t.Context())
	require.NoError(t, err)
	l, err := s.Lead(t.Context(), "coordinator-1")
	require.NoError(t, err)
	require.NoError(t, l.RememberReplica(t.Context(), "standby1"))
	seen, err := s.Replicas(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"standby1"}, seen)

	require.NoError(t, c.WaitReplayed())
	require.NoError(t, c.Kill())
	require.NoError(t, c.Promote(0))
	s = New(c.Pool(t, "postgres"), "main")
	seen, err = s.Replicas(t.Context())
	require.NoError(t, err)
	require.Empty(t, seen)
}
