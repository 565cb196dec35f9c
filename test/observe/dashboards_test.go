package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dashboard is what a Grafana dashboard asks of Prometheus.
type dashboard struct {
	file       string
	Templating struct {
		List []struct{ Name, Type, Query string }
	}
	Panels []struct {
		Title   string
		Targets []struct {
			Expr    string
			Instant bool
		}
	}
}

func dashboards(t *testing.T) (all []dashboard) {
	t.Helper()
	files, err := filepath.Glob("../../deploy/grafana/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		d := dashboard{file: filepath.Base(file)}
		require.NoError(t, json.Unmarshal(raw, &d))
		all = append(all, d)
	}
	return all
}

// filled puts in for a dashboard's variables what a person would choose.
func filled(expr string) string {
	return strings.NewReplacer("$database", "main", "$job", "norm", "$__rate_interval", "10s").Replace(expr)
}

var labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

// answered requires that every query of every dashboard, and every list of a variable, is answered with at least one series. It
// returns how many were asked.
func (p prometheus) answered(t *testing.T, all []dashboard) (queries int) {
	t.Helper()
	for _, d := range all {
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			queries++
			m := labelValues.FindStringSubmatch(filled(v.Query))
			require.NotNil(t, m, v.Query)
			await(t, fmt.Sprintf("%s: the list of %s has an entry", d.file, v.Name), func(ctx context.Context) error {
				var values []string
				if err := p.ask(ctx, "label/"+m[2]+"/values", url.Values{"match[]": {m[1]}}, &values); err != nil {
					return err
				}
				return some(len(values))
			})
		}
		for _, panel := range d.Panels {
			for _, q := range panel.Targets {
				queries++
				expr := filled(q.Expr)
				require.NotContains(t, expr, "$", "a variable that nobody fills")
				await(t, fmt.Sprintf("%s: panel %q: %s", d.file, panel.Title, expr), func(ctx context.Context) error {
					n, err := p.series(ctx, expr, q.Instant)
					if err != nil {
						return err
					}
					return some(n)
				})
			}
		}
	}
	return queries
}

// series counts what a panel would show: the value now, or the course of the last half minute.
func (p prometheus) series(ctx context.Context, expr string, instant bool) (int, error) {
	if instant {
		all, err := p.query(ctx, expr)
		return len(all), err
	}
	now := time.Now()
	var data struct{ Result []series }
	err := p.ask(ctx, "query_range", url.Values{
		"query": {expr}, "start": {fmt.Sprint(now.Unix() - 30)}, "end": {fmt.Sprint(now.Unix())}, "step": {"2"},
	}, &data)
	return len(data.Result), err
}

func some(n int) error {
	if n == 0 {
		return errors.New("no series")
	}
	return nil
}
