package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	patience = 90 * time.Second
	rows     = 100_000
)

// The job is not idempotent, so that its result proves that each row was done exactly once. It is slow until it was watched enough.
const countJob = `
name: count
database: main
table: public.t
set: {n: n + 1}
check: n = 1
late_rows: ignore
rows_per_range: 1000
throttle: {max_rows_per_second: 1500}
`

// The fleet of deploy/compose comes up, grows under work, proves a job and is scraped, with both implementations of Compose.
func TestComposeFleet(t *testing.T) {
	for name, kind := range map[string]struct {
		command   []string
		api, prom string // ports
	}{
		"plugin":  {[]string{"docker", "compose"}, "18080-18089", "19091"},
		"classic": {[]string{"docker-compose"}, "18090-18099", "19092"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := project(t, name, kind.command, "BACKFLEET_API_PORTS="+kind.api, "PROMETHEUS_PORT="+kind.prom)
			t.Log(f.compose("version"))
			begun := time.Now()
			f.compose("up", "--detach", "--scale", "worker=2")
			t.Logf("up after %s", time.Since(begun).Round(100*time.Millisecond))

			f.sql("primary", `CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0)`)
			f.sql("primary", fmt.Sprintf(`INSERT INTO t SELECT generate_series(1, %d)`, rows))
			f.sql("primary", `ANALYZE t`)
			f.sql("primary", f.cli("db", "grants", "main", "--role", "backfleet", "--table", "public.t"))
			f.cli("submit", "/jobs/count.yaml")
			f.until("rows are written", func() bool { return f.status().Rows > 0 })

			f.compose("up", "--detach", "--no-recreate", "--scale", "worker=8")
			f.until("eight workers and two coordinators are scraped", func() bool {
				return f.metric(`sum(up{job="worker"})`) == 8 && f.metric(`sum(up{job="coordinator"})`) == 2
			})
			f.until("the standby's lag is known", func() bool {
				return f.metric(`count(backfleet_job_replica_lag_seconds{job_name="count", replica="standby"})`) == 1
			})
			require.Equal(t, "running", f.status().State, "the fleet grows under work")
			require.Positive(t, f.alerts(), "Prometheus knows the alerts")
			f.cli("set", "count", "throttle.max_rows_per_second=0")
			f.until("the job is complete", func() bool {
				st := f.status()
				if st.State != "running" && st.State != "verifying" && st.State != "complete" {
					t.Fatalf("the job is %s: %s", st.State, st.Reason)
				}
				return st.State == "complete"
			})

			require.Equal(t, "0", f.sql("primary", `SELECT count(*) FROM t WHERE n <> 1`))
			f.until("the standby has replayed it", func() bool {
				return f.sql("standby", `SELECT count(*) FROM t WHERE n = 1 AND pg_is_in_recovery()`) == fmt.Sprint(rows)
			})
			var report struct {
				Verified bool
				Rows     int64 `json:"rows_written"`
				Workers  []struct{ Worker string }
			}
			require.NoError(t, json.Unmarshal([]byte(f.cli("report", "count", "-o", "json")), &report))
			require.True(t, report.Verified)
			require.EqualValues(t, rows, report.Rows)
			t.Logf("%d of 8 workers carried ranges", len(report.Workers))
			f.until("Prometheus knows what was written", func() bool {
				return f.metric(`max(backfleet_job_rows_written_total{job_name="count"})`) == rows
			})

			begun = time.Now()
			f.compose("down", "--volumes")
			t.Logf("down after %s", time.Since(begun).Round(100*time.Millisecond))
			require.Empty(t, output(t, "docker", "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+f.name))
			require.Empty(t, output(t, "docker", "volume", "ls", "--quiet", "--filter", "label=com.docker.compose.project="+f.name))
		})
	}
}

// fleet is one project of deploy/compose with the test's images.
type fleet struct {
	*testing.T
	name    string
	command []string
	env     []string
	token   string
	api     string
	prom    string
}

func project(t *testing.T, name string, command []string, env ...string) *fleet {
	t.Helper()
	jobs := t.TempDir()
	require.NoError(t, os.Chmod(jobs, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(jobs, "count.yaml"), []byte(countJob), 0o644))
	file, err := filepath.Abs("../../deploy/compose/compose.yaml")
	require.NoError(t, err)
	f := &fleet{T: t, name: "backfleet-test-" + name, command: append(command, "-f", file)}
	f.env = append(os.Environ(), "COMPOSE_PROJECT_NAME="+f.name, "BACKFLEET_IMAGE="+image, "POSTGRES_IMAGE=backfleet-test/postgres",
		"NATS_IMAGE=backfleet-test/nats", "PROMETHEUS_IMAGE=backfleet-test/prometheus", "BACKFLEET_JOBS="+jobs)
	f.env = append(f.env, env...)
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := f.run(context.Background(), "logs", "--no-color", "--tail", "40")
			t.Log(logs)
		}
		_, _ = f.run(context.Background(), "down", "--volumes", "--timeout", "1")
	})
	return f
}

// run runs one command of Compose and returns its stdout, with stderr on a failure.
func (f *fleet) run(ctx context.Context, args ...string) (string, error) {
	args = append(f.command[1:len(f.command):len(f.command)], args...)
	cmd := exec.CommandContext(ctx, f.command[0], args...)
	cmd.Env = f.env
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String() + stderr.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

func (f *fleet) compose(args ...string) string {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), 3*time.Minute)
	defer cancel()
	out, err := f.run(ctx, args...)
	require.NoError(f, err)
	return out
}

// cli runs one command of backfleet in the project.
func (f *fleet) cli(args ...string) string {
	f.Helper()
	return f.compose(append([]string{"run", "--rm", "-T", "cli"}, args...)...)
}

// sql runs statements as the database's superuser, and returns what the last one selects.
func (f *fleet) sql(server, statements string) string {
	f.Helper()
	return f.compose("exec", "-T", server, "psql", "--username=postgres", "--dbname=app", "--no-psqlrc", "--quiet", "--tuples-only",
		"--no-align", "--set=ON_ERROR_STOP=1", "--command="+statements)
}

func (f *fleet) until(what string, condition func() bool) {
	f.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatalf("did not come about within %s: %s", patience, what)
		}
	}
}

// address is where a published port of a service is reached.
func (f *fleet) address(service, port string) string {
	f.Helper()
	at := f.compose("port", service, port)
	require.NotEmpty(f, at)
	return "http://" + at
}

type status struct {
	State  string
	Reason string
	Rows   int64 `json:"rows_written"`
}

// status asks the API of the first coordinator for the job.
func (f *fleet) status() (st status) {
	f.Helper()
	if f.token == "" {
		f.token = f.compose("exec", "-T", "primary", "cat", "/run/backfleet/api.token")
		f.api = f.address("coordinator", "8080")
	}
	f.get(f.api+"/v1/jobs/count", &st)
	return st
}

// metric is the value of a Prometheus query with one result; -1 while it has none.
func (f *fleet) metric(query string) float64 {
	f.Helper()
	if f.prom == "" {
		f.prom = f.address("prometheus", "9090")
	}
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	f.get(f.prom+"/api/v1/query?query="+url.QueryEscape(query), &answer)
	if len(answer.Data.Result) == 0 {
		return -1
	}
	require.Len(f, answer.Data.Result, 1, query)
	var v float64
	_, err := fmt.Sscan(answer.Data.Result[0].Value[1].(string), &v)
	require.NoError(f, err)
	return v
}

// alerts is how many alert rules Prometheus has; each must have been evaluated without an error, or not yet.
func (f *fleet) alerts() (n int) {
	f.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health string }
			}
		}
	}
	f.get(f.prom+"/api/v1/rules?type=alert", &answer)
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			require.Contains(f, []string{"ok", "unknown"}, r.Health, r.Name)
		}
		n += len(g.Rules)
	}
	return n
}

func (f *fleet) get(address string, into any) {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), http.MethodGet, address, nil)
	require.NoError(f, err)
	req.Header.Set("Authorization", "Bearer "+f.token)
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	require.NoError(f, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(f, err)
	require.Equal(f, http.StatusOK, resp.StatusCode, string(body))
	require.NoError(f, json.Unmarshal(body, into), string(body))
}
