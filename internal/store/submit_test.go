package store

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

func TestSubmittingAFileTwiceIsOneJob(t *testing.T) {
	s := migrated(t)
	var all sync.WaitGroup
	jobs := make([]job.Job, 8)
	errs := make([]error, len(jobs))
	for i := range jobs {
		all.Go(func() { jobs[i], errs[i] = s.Submit(t.Context(), "ann", newJob(counterSpec())) })
	}
	all.Wait()
	for i := range jobs {
		require.NoError(t, errs[i])
		require.Equal(t, jobs[0].ID, jobs[i].ID)
	}
	events, err := s.Events(t.Context(), jobs[0].ID, 10)
	require.NoError(t, err)
	require.Len(t, events, 1)

	limits := newJob(counterSpec())
	limits.Spec.Limits.Workers.Max = 3
	same, err := s.Submit(t.Context(), "bob", limits)
	require.NoError(t, err)
	require.Equal(t, jobs[0].ID, same.ID, "limits are no part of what a job is")
}

func TestAnotherSpecUnderTheNameIsRefused(t *testing.T) {
	s := migrated(t)
	first, err := s.Submit(t.Context(), "ann", newJob(counterSpec()))
	require.NoError(t, err)
	other := newJob(counterSpec())
	other.Spec.Set = map[string]string{"n": "n + 2"}
	other.Spec.Where = "n < 5"
	_, err = s.Submit(t.Context(), "ann", other)
	var changed *SpecChangedError
	require.ErrorAs(t, err, &changed)
	require.Equal(t, []string{"set", "where"}, changed.Changed)
	require.ErrorContains(t, err, "cancel that job first")

	_, err = s.Cancel(t.Context(), first.ID, "ann", "")
	require.NoError(t, err)
	second, err := s.Submit(t.Context(), "ann", other)
	require.NoError(t, err, "a cancelled job leaves its name")
	require.NotEqual(t, first.ID, second.ID)
}

func TestAnEndedJobIsDoneOnceMoreOnlyOnRequest(t *testing.T) {
	s := migrated(t)
	first, err := s.Submit(t.Context(), "ann", newJob(counterSpec()))
	require.NoError(t, err)
	_, err = s.pool.Exec(t.Context(), "update backfleet.jobs set state = 'complete', ended_at = now()")
	require.NoError(t, err)
	same, err := s.Submit(t.Context(), "ann", newJob(counterSpec()))
	require.NoError(t, err)
	require.Equal(t, first.ID, same.ID)
	again := newJob(counterSpec())
	again.Again = true
	second, err := s.Submit(t.Context(), "ann", again)
	require.NoError(t, err)
	require.NotEqual(t, first.ID, second.ID)
	found, err := s.Find(t.Context(), "count")
	require.NoError(t, err)
	require.Equal(t, second.ID, found.ID, "the unfinished job of the name")
	_, err = s.Find(t.Context(), "nope")
	require.ErrorIs(t, err, ErrNotFound)
}
