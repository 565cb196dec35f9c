package surface

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/test/harness"
)

// A job of a database that asks for it begins after a second person's approval of the plan that they saw, and not before.
func TestTwoPersonsStartAJob(t *testing.T) {
	nats := harness.NATS(t)
	s := newSite(t, []string{"--nats-url", nats.URL()})
	s.ok("db", "set", "main", "--approval", "on")
	ann, bob := s.token("ann", "admin"), s.token("bob", "admin")
	_, a := s.coordinator("--api-tokens", s.tokens())
	s.member("worker", "--slots", "2")
	through := func(token string, args ...string) []string {
		return append(args, "--api", a.url, "--api-token-file", s.file("token", token))
	}
	spec := s.file("job.yaml", usersSpec)
	code, _, errs := s.run("submit", spec)
	require.Equal(t, 2, code, errs)
	require.Contains(t, errs, "it is not known who the first", "a DSN is nobody's own: who submits by it could approve by their token")
	require.Contains(t, s.ok(through(ann, "submit", spec)...), "awaits the approval of another person")
	approve := func(token, hash string) (int, string) {
		return a.as(token).ask(http.MethodPost, "/v1/jobs/users-norm/approve", `{"plan_hash":"`+hash+`"}`, nil)
	}
	hash := func() string {
		var p struct {
			Hash string `json:"plan_hash"`
		}
		_, body := a.as(bob).get("/v1/jobs/users-norm/plan")
		require.NoError(t, json.Unmarshal([]byte(body), &p))
		require.Len(t, p.Hash, 64)
		return p.Hash
	}

	first := hash()
	code, body := approve(ann, first)
	require.Equal(t, http.StatusForbidden, code, body)
	code, body = approve(a.token, first)
	require.Equal(t, http.StatusForbidden, code, "a process's token is nobody's own: %s", body)
	code, _, errs = s.run("approve", "users-norm", "--plan-hash", first)
	require.Equal(t, 2, code, "nor is a DSN")
	require.Contains(t, errs, "not known who asks")
	_, err := s.db.Pool.Exec(t.Context(), `create function seen() returns trigger language plpgsql as 'begin return new; end'; create trigger seen before update on users for each row execute function seen()`)
	require.NoError(t, err)
	code, body = approve(bob, first)
	require.Equal(t, http.StatusConflict, code, body)
	require.Contains(t, body, "has changed since the submit")

	require.Equal(t, job.AwaitingApproval, a.awaitJob("users-norm", job.AwaitingApproval).State, "and nothing has begun")
	s.ok(through(ann, "cancel", "users-norm")...)
	s.ok(through(ann, "submit", spec)...)
	require.NotEqual(t, first, hash())
	code, body = approve(bob, first)
	require.Equal(t, http.StatusPreconditionFailed, code, body)
	require.Contains(t, s.ok(through(bob, "approve", "users-norm")...), "to approve it: backfleet approve users-norm --plan-hash "+hash())
	s.ok(through(bob, "approve", "users-norm", "--plan-hash", hash())...)
	st := a.awaitJob("users-norm", job.Complete, job.CompleteWithErrors, job.Paused)
	require.EqualValues(t, rows-1, st.Rows)

	_, events := a.get("/v1/databases/main/events?limit=1000")
	for _, want := range []string{`"action":"approval"`, `"action":"approve"`, `"by":"bob"`, `"action":"refused"`, `"operation":"approve"`} {
		require.Contains(t, events, want)
	}
}
