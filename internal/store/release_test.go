package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

func TestRunnableCountsForAllJobsAtOnce(t *testing.T) {
	sc := begun(t, 10, 2)
	sc.claim(sc.refs[0], "w1")
	other := job.ID("01OTHER")
	counts, err := sc.s.Runnable(t.Context(), []job.ID{sc.j.ID, other}, 100)
	require.NoError(t, err)
	require.Equal(t, map[job.ID]int{sc.j.ID: 4, other: 0}, counts, "a range that is carried is not one to take")
	counts, err = sc.s.Runnable(t.Context(), []job.ID{sc.j.ID}, 2)
	require.NoError(t, err)
	require.Equal(t, 2, counts[sc.j.ID])
	counts, err = sc.s.Runnable(t.Context(), nil, 2)
	require.NoError(t, err)
	require.Empty(t, counts)
}
