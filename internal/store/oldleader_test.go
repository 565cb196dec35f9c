package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// A coordinator that was stopped for a while must not pause or fail a job for what it saw before; a worker or a person may, whoever
// leads.
func TestAnOldLeaderPausesAndFailsNothing(t *testing.T) {
	sc := begun(t, 10, 10)
	sc.exec("update backfleet.leadership set until = clock_timestamp()")
	_, err := sc.s.Lead(t.Context(), "coordinator-2")
	require.NoError(t, err)
	_, err = sc.l.Pause(t.Context(), sc.j.ID, "backfleet", "ranges failed")
	require.ErrorIs(t, err, ErrNotLeader)
	_, err = sc.l.Fail(t.Context(), sc.j.ID, "backfleet", "table t is gone")
	require.ErrorIs(t, err, ErrNotLeader)
	require.Equal(t, "running", sc.text("select state from backfleet.jobs"))
	j, err := sc.s.Pause(t.Context(), sc.j.ID, "ann", "")
	require.NoError(t, err)
	require.Equal(t, job.Paused, j.State)
}
