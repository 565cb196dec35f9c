package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

func TestClone(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	first := b.submit(t)
	b.main.set(first.ID, func(j *job.Job) {
		j.Key = []job.Column{{Name: "id", Type: "bigint"}}
		j.Limits.Workers.Max = 3
	})
	_, err := b.client.Clone(ctx, "norm", Clone{Mode: "restart"}, Sample{})
	require.Contains(t, problem(t, err, Conflict).Hint, "give the clone a name")
	got, err := b.client.Clone(ctx, "norm", Clone{Mode: "restart", Name: "norm-2"}, Sample{})
	require.NoError(t, err)
	require.True(t, got.Created)
	require.Equal(t, 3, got.Job.Limits.Workers.Max, "with the limits in force")

	b.main.set(first.ID, func(j *job.Job) { j.State = job.Cancelled })
	once := b.client.Once("k")
	rest, err := once.Clone(ctx, "norm", Clone{Mode: "continue", Name: "norm-3"}, Sample{})
	require.NoError(t, err)
	same, err := once.Clone(ctx, "norm", Clone{Mode: "continue", Name: "norm-3"}, Sample{})
	require.NoError(t, err)
	require.Equal(t, rest.Job.ID, same.Job.ID)
	spec, err := b.client.Spec(ctx, "norm-3")
	require.NoError(t, err)
	require.Equal(t, "(email_norm is null\n) AND \"id\" >= E'40'::bigint", spec.Spec.Where)
	_, err = b.client.Clone(ctx, "norm", Clone{Mode: "range", Name: "norm-4", From: []string{"10"}, To: []string{"20"}}, Sample{})
	require.NoError(t, err)
	spec, err = b.client.Spec(ctx, "norm-4")
	require.NoError(t, err)
	require.Equal(t, "(email_norm is null\n) AND \"id\" >= E'10'::bigint AND \"id\" < E'20'::bigint", spec.Spec.Where)

	_, err = b.client.Clone(ctx, "norm", Clone{Mode: "range", Name: "norm-5", From: []string{"1", "2"}}, Sample{})
	_ = problem(t, err, Refused)
	_, err = b.client.Clone(ctx, "norm", Clone{Mode: "restart", Name: "NO"}, Sample{})
	_ = problem(t, err, Refused)
	_, err = b.client.Clone(ctx, "norm", Clone{Mode: "restart", Name: "norm-6", From: []string{"1"}}, Sample{})
	_ = problem(t, err, Invalid)
	_, err = b.client.If(77).Clone(ctx, "norm", Clone{Mode: "restart", Name: "norm-6"}, Sample{})
	_ = problem(t, err, Stale)
	require.Len(t, b.main.jobs, 4)
}
