package api

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

func TestATokenLearnsWhatItMayDo(t *testing.T) {
	b := setup(t)
	for token, want := range map[string]string{"view-token": "viewer", "op-token": "operator", "root-token": "admin"} {
		code, _, body := b.do(t, http.MethodGet, "/v1/me", token, "")
		require.Equal(t, http.StatusOK, code, body)
		require.Contains(t, body, `"role":"`+want+`"`)
	}
	require.True(t, Me{Role: "operator"}.May(Operator))
	require.False(t, Me{Role: "viewer"}.May(Operator))
	require.False(t, Me{}.May(Viewer), "nobody is told yet")
}

func TestRecentJobsAreTheNewestAndTheOpenOnes(t *testing.T) {
	b := setup(t)
	for i := range recentJobs + 10 {
		state := job.Complete
		if i == 3 {
			state = job.Running
		}
		b.main.jobs = append(b.main.jobs, job.Job{ID: job.ID(fmt.Sprintf("01JNX4ZT0000000000000%05d", i)), Name: fmt.Sprintf("j%d", i), Database: "main", State: state})
	}
	got, err := b.client.RecentJobs(t.Context())
	require.NoError(t, err)
	require.Len(t, got.Jobs, recentJobs+1)
	require.Equal(t, "j109", got.Jobs[0].Name)
	require.Equal(t, "j3", got.Jobs[recentJobs].Name)
}
