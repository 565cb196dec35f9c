package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/test/harness"
)

const patience = 90 * time.Second

// prometheus is a real server that scrapes and evaluates every second.
type prometheus struct{ url string }

// program returns the path of one of Prometheus' programs.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err, "run test/setup.sh prometheus")
	return path
}

// startPrometheus scrapes the targets, by scrape job, under the rules given.
func startPrometheus(t *testing.T, rules string, targets map[string][]string) prometheus {
	t.Helper()
	env := harness.Environment(t)
	dir, err := env.Dir("prometheus")
	require.NoError(t, err)
	port, err := env.Port()
	require.NoError(t, err)
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yaml]\nscrape_configs:\n"
	for name, at := range targets {
		list, err := json.Marshal(at)
		require.NoError(t, err)
		config += fmt.Sprintf("  - {job_name: %s, static_configs: [{targets: %s}]}\n", name, list)
	}
	file := filepath.Join(dir, "prometheus.yaml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yaml"), []byte(rules), 0o600))
	address := fmt.Sprintf("127.0.0.1:%d", port)
	p := harness.Start(t, program(t, "prometheus"), []string{
		"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address,
	}, nil)
	_, err = p.WaitForOutput(regexp.MustCompile(`Server is ready`), patience)
	require.NoError(t, err)
	return prometheus{"http://" + address}
}

// ask calls Prometheus' API.
func (p prometheus) ask(ctx context.Context, path string, args url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/"+path+"?"+args.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct {
		Data  json.RawMessage
		Error string
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if answer.Error != "" {
		return fmt.Errorf("%s %s: %s", path, args, answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

type series struct{ Metric map[string]string }

// query returns the series that an expression gives now.
func (p prometheus) query(ctx context.Context, expr string) ([]series, error) {
	var data struct{ Result []series }
	return data.Result, p.ask(ctx, "query", url.Values{"query": {expr}}, &data)
}

// alert is one alert that fires.
type alert struct {
	Labels map[string]string
	State  string
}

// firing returns the alerts that fire now, by name; each as the job or signal that it is about.
func (p prometheus) firing(ctx context.Context) (map[string][]string, error) {
	var data struct{ Alerts []alert }
	if err := p.ask(ctx, "alerts", nil, &data); err != nil {
		return nil, err
	}
	names := map[string][]string{}
	for _, a := range data.Alerts {
		if a.State == "firing" {
			name := a.Labels["alertname"]
			names[name] = append(names[name], a.Labels["job_name"]+a.Labels["signal"])
		}
	}
	return names, nil
}

// await asks until there is no complaint.
func await(t *testing.T, what string, ask func(context.Context) error) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	var last error // the one that a deadline does not explain
	for {
		err := ask(ctx)
		if err == nil {
			return time.Since(began)
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %s not yet: %s: %v", patience, what, last)
		}
	}
}

// scrape reads the metrics of one process as text.
func scrape(t *testing.T, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
	require.NoError(t, err)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(body)
}

// promtool runs a check to its end, and requires that it has nothing to say against what it reads.
func promtool(t *testing.T, dir, input string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "promtool"), args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	require.NoError(t, err, "promtool %s:\n%s", strings.Join(args, " "), out)
	return string(out)
}
