package surface

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// A job that was cancelled is carried on by a clone from where it stood, and each row is done once.
func TestACloneGoesOn(t *testing.T) {
	nats := harness.NATS(t)
	s := newSite(t, []string{"--nats-url", nats.URL()})
	_, a := s.coordinator()
	s.member("worker", "--slots", "1")
	s.ok("throttle", "set", "main", "max_rows_per_second=200")
	s.ok("submit", s.file("job.yaml", usersSpec))
	s.await("a range is done", func() error {
		var st job.Status
		_, body := a.get("/v1/jobs/users-norm")
		if err := json.Unmarshal([]byte(body), &st); err != nil || st.Ranges.Done < 2 {
			return fmt.Errorf("%w: %s", err, body)
		}
		return nil
	})
	s.ok("cancel", "users-norm")
	s.ok("throttle", "set", "main", "max_rows_per_second=0")
	clone := func(body string) (int, string) {
		return a.ask(http.MethodPost, "/v1/jobs/users-norm/clone", body, map[string]string{"Idempotency-Key": "go on"})
	}
	code, first := clone(`{"mode":"continue","name":"rest"}`)
	require.Equal(t, http.StatusOK, code, first)
	_, again := clone(`{"mode":"continue","name":"rest"}`)
	require.JSONEq(t, idOf(t, first), idOf(t, again))
	code, other := clone(`{"mode":"restart","name":"rest"}`)
	require.Equal(t, http.StatusUnprocessableEntity, code, other)
	_, spec := a.get("/v1/jobs/rest/spec")
	require.Contains(t, spec, `\"id\" >= E'`)
	a.awaitJob("rest", job.Complete) // the row that cannot be done lies before it
	var wrong int
	require.NoError(t, s.db.Pool.QueryRow(t.Context(), "select count(*) from users where touched <> 1 and id <> 7").Scan(&wrong))
	require.Zero(t, wrong)
}

func idOf(t *testing.T, answer string) string {
	t.Helper()
	var got struct {
		Job struct {
			ID job.ID `json:"id"`
		} `json:"job"`
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &got))
	return fmt.Sprintf("%q", got.Job.ID)
}
