package preflight_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/test/harness"
)

func replicas(policies map[string]string) job.Spec {
	return spec(func(s *job.Spec) { s.Throttle.Replicas = policies })
}

func checks(own ...job.Check) job.Spec {
	return spec(func(s *job.Spec) {
		for _, c := range own {
			c.Every = job.Duration(time.Second)
			s.Throttle.Checks = append(s.Throttle.Checks, c)
		}
	})
}

func TestReplicaNames(t *testing.T) {
	db := harness.Database(t) // its cluster has standby1
	exec(t, db.Pool, plain)
	check(t, db.Pool, replicas(map[string]string{"standby1": "ignore"}))
	refused(t, db.Pool, replicas(map[string]string{"stanby1": "ignore"}),
		`throttle.replicas.stanby1: no replica of this name was ever seen; did you mean "standby1"?; one that is away can be named once it was connected while a coordinator led`)
	refused(t, db.Pool, replicas(map[string]string{"reporting": "ignore"}), `throttle.replicas.reporting: no replica of this name was ever seen; one of `)

	// One that is asked directly is known without having been seen.
	_, err := preflight.Check(t.Context(), db.Pool, replicas(map[string]string{"Reporting_2": "ignore"}), preflight.Options{Replicas: []string{"reporting-2"}})
	require.NoError(t, err)

	// One that is away may be named if it was seen.
	st := store.New(db.Pool, "main")
	_, _, err = st.Migrate(t.Context())
	require.NoError(t, err)
	refused(t, db.Pool, replicas(map[string]string{"reporting": "ignore"}), `throttle.replicas.reporting: no replica`)
	exec(t, db.Pool, "INSERT INTO backfleet.replicas (name, timeline) VALUES ('reporting', '00000001')")
	wantFinding(t, check(t, db.Pool, replicas(map[string]string{"reporting": "ignore"})), preflight.Note, "throttle.replicas.reporting", "is away now")
	exec(t, db.Pool, "SELECT pg_create_physical_replication_slot('delayed_"+db.Name+"')")
	t.Cleanup(func() { exec(t, db.Pool, "SELECT pg_drop_replication_slot('delayed_"+db.Name+"')") })
	check(t, db.Pool, replicas(map[string]string{"delayed_" + db.Name: "hold"}))

	// `set` looks only at what it names for the first time.
	was, now := replicas(map[string]string{"gone": "ignore"}).Limits, replicas(map[string]string{"gone": "hold", "standby1": "ignore"}).Limits
	_, err = preflight.Limits(t.Context(), db.Pool, "main", was, now, preflight.Options{})
	require.NoError(t, err)
	_, err = preflight.Limits(t.Context(), db.Pool, "main", was, replicas(map[string]string{"standby2": "ignore"}).Limits, preflight.Options{})
	var rs preflight.Refusals
	require.ErrorAs(t, err, &rs)
	require.Contains(t, err.Error(), `throttle.replicas.standby2: no replica of this name was ever seen; did you mean "standby1"?`)
}

func TestWithoutReplicasAnyMayBeNamed(t *testing.T) {
	pool := harness.Postgres(t).Pool(t, "postgres")
	exec(t, pool, plain)
	wantFinding(t, check(t, pool, replicas(map[string]string{"reporting": "ignore"})), preflight.Note, "throttle.replicas.reporting", "was never seen, and none was")
}

func TestChecksOfTheDatabase(t *testing.T) {
	pool := harness.Database(t).Pool
	exec(t, pool, plain, "CREATE FUNCTION sly() RETURNS bigint VOLATILE LANGUAGE sql AS $$ DELETE FROM t WHERE id = 1; SELECT 1::bigint $$")
	q := func(sql string) job.Check { return job.Check{Name: "q", SQL: sql, Hard: "10"} }
	check(t, pool, checks(q("SELECT count(*) FROM t")))
	for sql, want := range map[string]string{
		"DELETE FROM t RETURNING 1":      "throttle.checks[0].sql: \"DELETE FROM t RETURNING 1\" writes or locks rows, which a check must not; write a SELECT of one number",
		"SELECT sly()":                   "writes or locks rows, which a check must not",
		"SELECT count(*) FROM tt":        `fails: relation "tt" does not exist`,
		"SELECT 1; DROP TABLE t":         "is more than one statement; write one SELECT of one number",
		"SELECT w FROM t LIMIT 1":        "is no number",
		"SELECT id FROM t":               "returns more than one row",
		"SELECT pg_sleep(5)::text::int8": "takes longer than 1s",
	} {
		refused(t, pool, checks(q(sql)), want)
		_, err := preflight.Limits(t.Context(), pool, "main", job.Limits{}, checks(q(sql)).Limits, preflight.Options{})
		require.ErrorContains(t, err, want)
		_, err = preflight.Limits(t.Context(), pool, "main", checks(q(sql)).Limits, checks(q(sql)).Limits, preflight.Options{})
		require.NoError(t, err, "what stays is not looked at again")
	}
	var rows int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&rows))
	require.Equal(t, 3000, rows)
}

func TestChecksOverHTTP(t *testing.T) {
	pool := harness.Database(t).Pool
	exec(t, pool, plain)
	answer, body := http.StatusOK, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(answer)
		_, _ = w.Write([]byte(body))
	}))
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	u, err := url.Parse(gone.URL)
	require.NoError(t, err)
	defer server.Close()
	asks := func(address string) job.Spec { return checks(job.Check{Name: "traffic", HTTP: address}) }
	asksPrometheus := func(address string) job.Spec {
		return checks(job.Check{Name: "load", Prometheus: job.PrometheusQuery{URL: address, Query: "sum(up)"}, Soft: "1"})
	}
	require.Empty(t, check(t, pool, asks(server.URL)).Holding())

	for name, c := range map[string]struct {
		spec   job.Spec
		answer int
		body   string
		want   string
	}{
		"stop":             {asks(server.URL), http.StatusTooManyRequests, "checkout is slow\n", "throttle.checks[0]: check traffic says stop now, so the job would begin held back: checkout is slow"},
		"broken":           {asks(server.URL), http.StatusTeapot, "", "throttle.checks[0]: check traffic is blind now, and while it is no batch starts: "},
		"down":             {asks(gone.URL), 0, "", "GET http://" + u.Host},
		"Prometheus down":  {asksPrometheus(gone.URL), 0, "", "throttle.checks[0]: check load is blind now, and while it is no batch starts: "},
		"Prometheus query": {asksPrometheus(server.URL), http.StatusBadRequest, `{"status":"error","error":"parse error"}`, "the query fails: parse error"},
	} {
		t.Run(name, func(t *testing.T) {
			answer, body = c.answer, c.body
			lines := check(t, pool, c.spec).Holding()
			require.Len(t, lines, 1)
			require.Contains(t, lines[0], c.want)
			require.NotContains(t, lines[0], "\n")
			at, err := preflight.Limits(t.Context(), pool, "main", job.Limits{}, c.spec.Limits, preflight.Options{})
			require.NoError(t, err)
			require.Equal(t, lines, at)
		})
	}
}
