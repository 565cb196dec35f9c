package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
)

const spec = "name: norm\ndatabase: main\ntable: public.users\nset: {email_norm: lower(email)}\nwhere: email_norm is null\n"

type bundle struct {
	main, audit *memory
	server      *Server
	http        *httptest.Server
	client      *Client // in-process
}

func setup(t *testing.T) bundle {
	t.Helper()
	b := bundle{main: &memory{}, audit: &memory{}}
	tokens := &Tokens{}
	tokens.Add("root-token", Identity{Name: "root", Role: Admin})
	tokens.Add("op-token", Identity{Name: "olga", Role: Operator})
	tokens.Add("view-token", Identity{Name: "vera", Role: Viewer})
	health := &observe.Health{}
	health.Register("database main").Healthy()
	b.server = New(Config{
		Databases: []Database{{"main", b.main, checker{b.main}}, {"audit", b.audit, checker{b.audit}}},
		Tokens:    tokens, Health: health, Metrics: observe.NewRegistry(),
	})
	b.http = httptest.NewServer(b.server)
	t.Cleanup(b.http.Close)
	b.client = InProcess(b.server, "ann@host")
	return b
}

func (b bundle) submit(t *testing.T) Job {
	t.Helper()
	got, err := b.client.Submit(t.Context(), []byte(spec), "job.yaml", false, Sample{})
	require.NoError(t, err)
	return got.Job
}

// do sends a raw request and returns the status, the content type and the body.
func (b bundle) do(t *testing.T, method, path, token, body string) (int, string, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.http.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set(ActorHeader, "mallory")
	got, err := b.http.Client().Do(r)
	require.NoError(t, err)
	defer func() { _ = got.Body.Close() }()
	raw, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	return got.StatusCode, got.Header.Get("Content-Type"), string(raw)
}

func TestSubmitIsRepeatableUntilTheJobEnds(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	first, err := b.client.Submit(ctx, []byte(spec), "job.yaml", false, Sample{})
	require.NoError(t, err)
	require.True(t, first.Created)
	require.Equal(t, "ann@host", first.Job.By)

	second, err := b.client.Submit(ctx, []byte(spec), "job.yaml", false, Sample{})
	require.NoError(t, err)
	require.False(t, second.Created)
	require.Equal(t, first.Job.ID, second.Job.ID)

	_, err = b.client.Submit(ctx, []byte(strings.Replace(spec, "users", "people", 1)), "job.yaml", true, Sample{})
	require.Contains(t, problem(t, err, Refused).Detail, "with another spec: table")

	b.main.set(first.Job.ID, func(j *job.Job) { j.State = job.Complete })
	third, err := b.client.Submit(ctx, []byte(spec), "job.yaml", false, Sample{})
	require.NoError(t, err)
	require.False(t, third.Created, "a complete job is not run twice by accident")
	fourth, err := b.client.Submit(ctx, []byte(spec), "job.yaml", true, Sample{})
	require.NoError(t, err)
	require.True(t, fourth.Created)
	require.NotEqual(t, first.Job.ID, fourth.Job.ID)
}

func TestARefusedSpecListsEveryReason(t *testing.T) {
	b := setup(t)
	b.main.refusals = job.Refusals{
		{Field: "table", Value: "public.users", Why: "no such table", Fix: "did you mean public.user?"},
		{Field: "set.email", Why: "is a generated column", Fix: "set a plain column"},
	}
	_, err := b.client.Plan(t.Context(), []byte(spec), "job.yaml", Sample{})
	p := problem(t, err, Refused)
	require.Equal(t, http.StatusUnprocessableEntity, p.Status)
	require.Equal(t, b.main.refusals, p.Refusals)
	require.Equal(t, "table: \"public.users\" no such table; did you mean public.user?\nset.email: is a generated column; set a plain column", p.Error())

	_, err = b.client.Submit(t.Context(), []byte(spec+"wher: x\n"), "job.yaml", false, Sample{})
	p = problem(t, err, Refused)
	require.Equal(t, "wher", p.Refusals[0].Field)
	require.Contains(t, p.Error(), "job.yaml:6: wher: ")

	_, err = b.client.Plan(t.Context(), []byte(strings.Replace(spec, "main", "prod", 1)), "job.yaml", Sample{})
	require.Equal(t, `job.yaml: database: "prod" is not known here (known: main, audit); give its DSN to the server in BACKFLEET_DATABASE_PROD`,
		problem(t, err, Refused).Error())
	require.Empty(t, b.main.jobs, "nothing changed")
}

func TestEveryChangeIsOnRecordUnderWhoAsked(t *testing.T) {
	b := setup(t)
	b.submit(t)
	ctx, index := t.Context(), 7
	for action, do := range map[string]func() error{
		"pause":  func() error { _, err := b.client.Pause(ctx, "norm", "deploy"); return err },
		"resume": func() error { _, err := b.client.Resume(ctx, "main/norm"); return err },
		"set": func() error {
			_, err := b.client.SetLimits(ctx, "norm", map[string]string{"workers.max": "3"})
			return err
		},
		"retry":        func() error { _, err := b.client.Retry(ctx, "norm"); return err },
		"verify":       func() error { _, err := b.client.Verify(ctx, "norm"); return err },
		"skip range 7": func() error { _, err := b.client.Skip(ctx, "norm", Skip{Range: &index, Reason: "bad"}); return err },
		"skip row 9": func() error {
			_, err := b.client.Skip(ctx, "norm", Skip{Key: []string{"9"}, Reason: "bad"})
			return err
		},
		"hold":    func() error { _, err := b.client.Hold(ctx, "main", time.Minute, "deploy"); return err },
		"release": func() error { _, err := b.client.Release(ctx, "main"); return err },
	} {
		require.NoError(t, do(), action)
		require.Equal(t, action, b.main.last().Action)
		require.Equal(t, "ann@host", b.main.last().By)
	}
	_, err := b.client.Cancel(ctx, "norm", "")
	require.NoError(t, err)
	_, err = b.client.Pause(ctx, "norm", "")
	require.Contains(t, problem(t, err, Conflict).Detail, "submit it again")
	require.Empty(t, b.audit.events)

	// Only an admin speaks for others.
	b.submit(t)
	b.main.set(b.main.jobs[0].ID, func(j *job.Job) { j.State = job.Running })
	code, _, body := b.do(t, http.MethodPost, "/v1/jobs/norm/pause", "op-token", `{"reason":"x"}`)
	require.Equal(t, http.StatusOK, code, body)
	require.Equal(t, "olga", b.main.last().By)
	code, _, body = b.do(t, http.MethodPost, "/v1/jobs/norm/resume", "root-token", "")
	require.Equal(t, http.StatusOK, code, body)
	require.Equal(t, "mallory", b.main.last().By)
}

func TestRoles(t *testing.T) {
	b := setup(t)
	b.submit(t)
	for _, c := range []struct {
		method, path string
		needs        Role
		body         string
	}{
		{http.MethodGet, "/v1/jobs", Viewer, ""},
		{http.MethodGet, "/v1/jobs/norm", Viewer, ""},
		{http.MethodGet, "/v1/me", Viewer, ""},
		{http.MethodGet, "/v1/jobs/norm/blocks?cells=10", Viewer, ""},
		{http.MethodGet, "/v1/jobs/norm/report", Viewer, ""},
		{http.MethodGet, "/v1/jobs/norm/events", Viewer, ""},
		{http.MethodGet, "/v1/jobs/norm/quarantine", Viewer, ""},
		{http.MethodGet, "/v1/databases", Viewer, ""},
		{http.MethodPost, "/v1/jobs/norm/pause", Operator, "{}"},
		{http.MethodPost, "/v1/jobs/norm/resume", Operator, "{}"},
		{http.MethodPost, "/v1/jobs/norm/retry", Operator, ""},
		{http.MethodPost, "/v1/jobs/norm/verify", Operator, ""},
		{http.MethodPost, "/v1/jobs/norm/skip", Operator, `{"range":1,"reason":"x"}`},
		{http.MethodPatch, "/v1/jobs/norm/limits", Operator, `{"workers.max":"2"}`},
		{http.MethodPost, "/v1/databases/main/hold", Operator, `{"for":"1m"}`},
		{http.MethodDelete, "/v1/databases/main/hold", Operator, ""},
		{http.MethodGet, "/v1/databases/main/throttle", Viewer, ""},
		{http.MethodPatch, "/v1/databases/main/throttle", Operator, `{"max_rows_per_second":"2"}`},
		{http.MethodPut, "/v1/databases/main/throttle/override", Operator, `{"rate":0.5,"for":"1m"}`},
		{http.MethodDelete, "/v1/databases/main/throttle/override", Operator, ""},
		{http.MethodPost, "/v1/plans", Admin, spec},
		{http.MethodPost, "/v1/jobs", Admin, spec},
	} {
		for token, role := range map[string]Role{"": 0, "view-token": Viewer, "op-token": Operator, "root-token": Admin, "root-toke": 0} {
			code, kind, body := b.do(t, c.method, c.path, token, c.body)
			switch {
			case role >= c.needs:
				require.Equal(t, http.StatusOK, code, "%s %s as %s: %s", c.method, c.path, token, body)
				continue
			case role == 0:
				require.Equal(t, http.StatusUnauthorized, code, "%s %s as %s", c.method, c.path, token)
			default:
				require.Equal(t, http.StatusForbidden, code, "%s %s as %s", c.method, c.path, token)
			}
			require.Equal(t, "application/problem+json", kind)
			require.Contains(t, body, `"hint"`)
		}
	}
}

func TestEveryErrorIsAProblemWithAKind(t *testing.T) {
	b := setup(t)
	b.submit(t)
	for _, c := range []struct {
		method, path, body string
		code               int
		kind               Kind
	}{
		{http.MethodGet, "/v1/jobs/none", "", 404, NotFound},
		{http.MethodGet, "/v1/jobs/norm?database=prod", "", 404, NotFound},
		{http.MethodGet, "/v2", "", 404, NotFound},
		{http.MethodGet, "/v1/jobs/norm/events?limit=0", "", 422, Invalid},
		{http.MethodPost, "/v1/jobs/norm/pause", `{"why":"x"}`, 422, Invalid},
		{http.MethodPost, "/v1/jobs/norm/pause", `{`, 400, Invalid},
		{http.MethodPost, "/v1/jobs/norm/skip", `{"range":1}`, 422, Invalid},
		{http.MethodPost, "/v1/jobs/norm/skip", `{"range":1,"key":["1"],"reason":"x"}`, 400, Invalid},
		{http.MethodPatch, "/v1/jobs/norm/limits", `{}`, 400, Invalid},
		{http.MethodPatch, "/v1/jobs/norm/limits", `{"table":"x"}`, 422, Refused},
		{http.MethodPost, "/v1/databases/main/hold", `{"for":"-1m"}`, 400, Invalid},
		{http.MethodPost, "/v1/databases/prod/hold", `{"for":"1m"}`, 404, NotFound},
	} {
		code, kind, body := b.do(t, c.method, c.path, "root-token", c.body)
		require.Equal(t, c.code, code, "%s %s: %s", c.method, c.path, body)
		require.Equal(t, "application/problem+json", kind, c.path)
		var p Problem
		require.NoError(t, json.Unmarshal([]byte(body), &p))
		require.Equal(t, c.kind, p.Kind, body)
		require.NotEmpty(t, p.Detail)
		require.Equal(t, c.code, p.Status)
	}
}

func TestANameInTwoDatabasesMustBeQualified(t *testing.T) {
	b := setup(t)
	b.submit(t)
	_, _, err := checker{b.audit}.Submit(t.Context(), Submission{By: "ann", Spec: job.Spec{Name: "norm", Database: "audit"}})
	require.NoError(t, err)
	_, err = b.client.Cancel(t.Context(), "norm", "")
	require.Contains(t, problem(t, err, Conflict).Error(), "main/norm, audit/norm")
	st, err := b.client.Status(t.Context(), "audit/norm")
	require.NoError(t, err)
	require.Equal(t, "audit", st.Database)
}

func TestADatabaseThatIsDownDoesNotHideTheOthers(t *testing.T) {
	b := setup(t)
	b.submit(t)
	b.audit.down = Fail(Unavailable, errors.New("database \"audit\": cannot connect to postgres://u:canary@h/db"), "")
	jobs, err := b.client.Jobs(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, jobs.Jobs, 1)
	require.InDelta(t, 0.5, jobs.Jobs[0].Progress.Fraction, 0)
	require.Equal(t, "audit", jobs.Unreachable[0].Database)
	require.NotContains(t, jobs.Unreachable[0].Error, "canary")

	_, err = b.client.Status(t.Context(), "norm")
	require.NoError(t, err)
	_, err = b.client.Status(t.Context(), "other")
	_ = problem(t, err, Unavailable)
	dbs, err := b.client.Databases(t.Context())
	require.NoError(t, err)
	require.True(t, dbs.Databases[0].Reachable)
	require.False(t, dbs.Databases[1].Reachable)

	all, err := b.server.Statuses(t.Context())
	require.Error(t, err)
	require.Len(t, all, 1, "the metrics of the others go on")
}

// hung is a ledger whose database answers nothing.
type hung struct{ Ledger }

func (hung) Health(ctx context.Context) (DatabaseHealth, error) {
	<-ctx.Done()
	return DatabaseHealth{}, ctx.Err()
}

func (hung) JobsBefore(ctx context.Context, _ job.ID, _ bool, _ int) ([]job.Job, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hung) Find(ctx context.Context, _ string) (job.Job, error) {
	<-ctx.Done()
	return job.Job{}, ctx.Err()
}

func TestADatabaseThatHangsDoesNotHideTheOthers(t *testing.T) {
	b := setup(t)
	j := b.submit(t)
	b.server.Databases[1].Ledger = hung{b.audit}
	dbs, err := b.client.Databases(t.Context())
	require.NoError(t, err)
	require.True(t, dbs.Databases[0].Reachable)
	require.Contains(t, dbs.Databases[1].Error, "did not answer in time")
	jobs, err := b.client.RecentJobs(t.Context())
	require.NoError(t, err)
	require.Len(t, jobs.Jobs, 1)
	require.Equal(t, "audit", jobs.Unreachable[0].Database)
	began := time.Now()
	_, err = b.client.Status(t.Context(), JobName(j.ID))
	require.NoError(t, err)
	require.Less(t, time.Since(began), besideMost, "a ULID is found without the others")
	_, err = b.client.Status(t.Context(), "norm")
	require.NoError(t, err)
	_, err = b.client.Status(t.Context(), "other")
	_ = problem(t, err, Unavailable)
}

func TestLimitsAreLaidOverARival(t *testing.T) {
	b := setup(t)
	b.submit(t)
	b.main.rivals = 2
	got, err := b.client.SetLimits(t.Context(), "norm", map[string]string{"workers.max": "8"})
	require.NoError(t, err)
	require.Equal(t, []job.Change{{Path: "workers.max", Old: "16", New: "8"}}, got.Changes)
	require.Equal(t, 3, got.Job.Limits.Weight, "the rival's change stays")
	b.main.rivals = limitTries
	_, err = b.client.SetLimits(t.Context(), "norm", map[string]string{"workers.max": "9"})
	_ = problem(t, err, Conflict)
}

type live struct{}

func (live) Live(database string, _ job.ID) (LiveView, bool) {
	return LiveView{Limiting: []job.Reason{{Signal: "lag of standby1"}}, Lag: map[string]job.Lag{"standby1": {Seconds: 0.2}}, Workers: []job.WorkerOnJob{{Worker: "w1"}}}, database == "main"
}

func TestTheLeadersViewCompletesAStatus(t *testing.T) {
	b := setup(t)
	b.submit(t)
	b.server.Live = live{}
	st, err := b.client.Status(t.Context(), "norm")
	require.NoError(t, err)
	require.InDelta(t, 0.2, st.Lag["standby1"].Seconds, 0)
	require.Equal(t, "w1", st.Workers[0].Worker)
	require.Equal(t, int64(10), st.Rows, "the rest stays the ledger's")

	v := LiveView{Rate: 500, ETA: &job.ETA{Low: 1, High: 2}, Limiting: []job.Reason{{Signal: "cap"}}}
	paused := v.over(job.Status{State: job.Paused})
	require.Equal(t, "paused", paused.ETA.Note, "the view is of the time before")
	require.False(t, paused.ETA.Known())
	require.Zero(t, paused.Rate)
	require.Empty(t, paused.Limiting)
	require.Equal(t, v.ETA, v.over(job.Status{State: job.Running}).ETA)
}

func TestOpenAPIAndMetricsNeedNoToken(t *testing.T) {
	b := setup(t)
	b.submit(t)
	code, _, body := b.do(t, http.MethodGet, "/openapi.json", "", "")
	require.Equal(t, http.StatusOK, code)
	var doc struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &doc))
	require.Equal(t, "3.1.0", doc.OpenAPI)
	require.Len(t, doc.Paths, 32)
	for path, ops := range doc.Paths {
		for verb, op := range ops {
			require.Contains(t, string(op), "#/components/schemas/Problem", "%s %s", verb, path)
		}
	}
	code, _, body = b.do(t, http.MethodGet, "/metrics", "", "")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, `backfleet_job_rows_written_total{database="main",job_name="norm"} 10`)
	code, _, _ = b.do(t, http.MethodGet, "/readyz", "", "")
	require.Equal(t, http.StatusOK, code)
}

func TestHTTPClientAndInProcessAgree(t *testing.T) {
	b := setup(t)
	b.submit(t)
	overHTTP, err := NewClient(b.http.URL+"/", "root-token", "ann@host", nil)
	require.NoError(t, err)
	for _, c := range []*Client{overHTTP, b.client} {
		q, err := c.Quarantine(t.Context(), "norm")
		require.NoError(t, err)
		require.Equal(t, "7", q.Rows[0].Key.String())
		r, err := c.Report(t.Context(), "norm")
		require.NoError(t, err)
		require.Equal(t, "norm", r.Name)
		plan, err := c.Plan(t.Context(), []byte(spec), "job.yaml", Sample{NoSample: true, Slots: 7})
		require.NoError(t, err)
		require.JSONEq(t, `{"table":"public.users","ranges":12}`, string(plan))
		require.Equal(t, Sample{NoSample: true, Slots: 7}, b.main.sample)
		_, err = c.Events(t.Context(), "main/norm", "", 5)
		require.NoError(t, err)
	}
	overHTTP.http.CloseIdleConnections()

	gone, err := NewClient("http://127.0.0.1:1", "x", "y", nil)
	require.NoError(t, err)
	_, err = gone.Jobs(t.Context(), "")
	require.Contains(t, problem(t, err, Unavailable).Hint, "BACKFLEET_DATABASE_")
	_, err = NewClient("localhost:80", "", "", nil)
	_ = problem(t, err, Invalid)
	wrong := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(wrong.Close)
	c, err := NewClient(wrong.URL, "", "", nil)
	require.NoError(t, err)
	_, err = c.Jobs(t.Context(), "")
	require.Contains(t, problem(t, err, Internal).Detail, "not Backfleet's")
	c.http.CloseIdleConnections()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestTokenFileIsMadeOnceAndOnlyForItsOwner(t *testing.T) {
	path := t.TempDir() + "/state/api.token"
	first, err := EnsureToken(path)
	require.NoError(t, err)
	require.Len(t, first, 43)
	again, err := EnsureToken(path)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = EnsureToken(path)
	require.ErrorContains(t, err, "chmod 600")
}

func TestActor(t *testing.T) {
	require.Equal(t, "olga", actor(Identity{Name: "olga", Role: Operator}, "ceo"))
	require.Equal(t, "ann@host", actor(Identity{Name: "root", Role: Admin}, " ann@host\n\x1b "))
	require.Equal(t, "root", actor(Identity{Name: "root", Role: Admin}, "\x00"))
	require.Len(t, actor(Identity{Name: "root", Role: Admin}, strings.Repeat("a", 500)), 200)
}

func problem(t *testing.T, err error, kind Kind) *Problem {
	t.Helper()
	var p *Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, kind, p.Kind, p.Error())
	return p
}

func TestServeEndsWithItsContext(t *testing.T) {
	b := setup(t)
	ctx, stop := context.WithCancel(t.Context())
	l, err := Listen(ctx, "")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(l.Addr().String(), "127.0.0.1:"), "loopback by default")
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, b.server, zap.NewNop()) }()
	c, err := NewClient("http://"+l.Addr().String(), "view-token", "", nil)
	require.NoError(t, err)
	_, err = c.Jobs(ctx, "")
	require.NoError(t, err)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	stop()
	require.NoError(t, <-ended)
	_, err = Listen(t.Context(), "127.0.0.1:x")
	require.ErrorContains(t, err, "--listen")
}

// A list is read to its end in pages; a cursor of another list is refused.
func TestPages(t *testing.T) {
	b := setup(t)
	for i := range 5 {
		text := strings.Replace(spec, "norm\n", fmt.Sprintf("norm-%d\n", i), 1)
		_, err := b.client.Submit(t.Context(), []byte(text), "job.yaml", false, Sample{})
		require.NoError(t, err)
		_, err = b.client.Pause(t.Context(), JobName(fmt.Sprintf("norm-%d", i)), "")
		require.NoError(t, err)
	}
	b.main.set(b.main.jobs[0].ID, func(j *job.Job) { j.State = job.Complete })
	for _, c := range []struct {
		path string
		want int
	}{
		{"/v1/jobs?limit=2", 5}, {"/v1/jobs?limit=5", 5}, {"/v1/jobs?open=true&limit=3", 4}, {"/v1/jobs/norm-1/ranges?limit=2", 5},
		{"/v1/jobs/norm-1/events?limit=2", 5}, {"/v1/jobs/norm-1/events?limit=2&action=pause", 5}, {"/v1/databases/main/events?limit=4", 5},
		{"/v1/jobs/norm-1/quarantine?limit=1", 1},
	} {
		seen := map[string]bool{}
		for after := ""; ; {
			code, _, body := b.do(t, http.MethodGet, c.path+"&after="+after, "view-token", "")
			require.Equal(t, http.StatusOK, code, body)
			var page map[string]json.RawMessage
			require.NoError(t, json.Unmarshal([]byte(body), &page))
			for name, raw := range page {
				if name == "next" {
					continue
				}
				var lines []json.RawMessage
				require.NoError(t, json.Unmarshal(raw, &lines))
				for _, l := range lines {
					require.False(t, seen[string(l)], "%s: twice: %s", c.path, l)
					seen[string(l)] = true
				}
			}
			after = ""
			if raw, more := page["next"]; more {
				require.NoError(t, json.Unmarshal(raw, &after))
			}
			if after == "" {
				break
			}
		}
		require.Len(t, seen, c.want, c.path)
	}
	for _, path := range []string{"/v1/jobs/norm-1/ranges?after=x", "/v1/jobs/norm-1/events?after=-4", "/v1/jobs/norm-1/quarantine?after=x", "/v1/jobs/norm-1/ranges?after=99999999999"} {
		code, _, body := b.do(t, http.MethodGet, path, "view-token", "")
		require.Equal(t, http.StatusBadRequest, code, path)
		require.Contains(t, body, "is no cursor")
	}
}

func TestAStaleChangeIsRefused(t *testing.T) {
	b := setup(t)
	b.submit(t)
	ask := func(method, path, match, body string) (int, string, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, b.http.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer op-token")
		r.Header.Set("If-Match", match)
		got, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer func() { _ = got.Body.Close() }()
		raw, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		return got.StatusCode, got.Header.Get("ETag"), string(raw)
	}
	code, seen, _ := ask(http.MethodGet, "/v1/jobs/norm", "", "")
	require.Equal(t, http.StatusOK, code)
	b.main.set(b.main.jobs[0].ID, func(j *job.Job) { j.Revision = 7 })
	for path, body := range map[string]string{"pause": "{}", "resume": "{}", "cancel": "{}", "verify": "{}", "retry": "", "skip": `{"range":1,"reason":"x"}`} {
		code, _, answer := ask(http.MethodPost, "/v1/jobs/norm/"+path, `"3"`, body)
		require.Equal(t, http.StatusPreconditionFailed, code, path)
		require.Contains(t, answer, `"kind":"stale"`)
		require.Contains(t, answer, "read it again")
	}
	code, _, _ = ask(http.MethodPatch, "/v1/jobs/norm/limits", `"3"`, `{"workers.max":"4"}`)
	require.Equal(t, http.StatusPreconditionFailed, code)
	code, tag, _ := ask(http.MethodPatch, "/v1/jobs/norm/limits", `"7"`, `{"workers.max":"4"}`)
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, `"8"`, tag)
	require.NotEqual(t, seen, tag)
	code, _, answer := ask(http.MethodPost, "/v1/jobs/norm/pause", "seven", "{}")
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, answer, "no ETag")
	_, err := b.client.If(3).Pause(t.Context(), "norm", "")
	_ = problem(t, err, Stale)
	_, err = b.client.If(8).Pause(t.Context(), "norm", "")
	require.NoError(t, err)

	_, err = b.client.If(9).SetThrottle(t.Context(), "main", map[string]string{"max_rows_per_second": "5"})
	_ = problem(t, err, Stale)
}

func TestASubmitIsRepeatedUnderItsKey(t *testing.T) {
	b := setup(t)
	ctx, once := t.Context(), b.client.Once("deploy 17")
	first, err := once.Submit(ctx, []byte(spec), "job.yaml", false, Sample{})
	require.NoError(t, err)
	b.main.set(first.Job.ID, func(j *job.Job) { j.State = job.Complete })
	again, err := b.client.Once("deploy 18").Submit(ctx, []byte(spec), "job.yaml", true, Sample{})
	require.NoError(t, err)
	require.NotEqual(t, first.Job.ID, again.Job.ID)
	b.main.set(again.Job.ID, func(j *job.Job) { j.State = job.Complete })
	for range 2 {
		same, err := b.client.Once("deploy 18").Submit(ctx, []byte(spec), "job.yaml", true, Sample{})
		require.NoError(t, err)
		require.Equal(t, again.Job.ID, same.Job.ID)
		require.True(t, same.Created)
	}
	require.Len(t, b.main.jobs, 2)
	_, err = once.Submit(ctx, []byte(spec+"rows_per_range: 9\n"), "job.yaml", false, Sample{})
	require.Contains(t, problem(t, err, Refused).Detail, "was used for another request")
}
