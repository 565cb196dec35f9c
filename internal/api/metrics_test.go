package api

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/observe"
)

var (
	described = regexp.MustCompile(`fqName: "(backfleet_[a-z_]+)".*variableLabels: \{([^}]*)\}`)
	rowOfPage = regexp.MustCompile("(?m)^\\| `(backfleet_[a-z_]+)` \\|[^|]*\\| ([^|]*) \\|")
)

// docs/metrics.md names every metric of coordinators and workers with its labels, and no other.
func TestThePageOfMetricsNamesExactlyThoseThatAreExported(t *testing.T) {
	r := observe.NewRegistry()
	New(Config{Metrics: r})
	r.MustRegister(observe.ThisWorker(nil), observe.NewBatches())
	exported := map[string]string{}
	for _, d := range descriptions(r) {
		if m := described.FindStringSubmatch(d.String()); m != nil {
			exported[m[1]] = strings.ReplaceAll(m[2], ",", ", ")
		}
	}
	require.Greater(t, len(exported), 40, "the form of a description has changed")

	page, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	documented := map[string]string{}
	for _, m := range rowOfPage.FindAllStringSubmatch(string(page), -1) {
		require.NotContains(t, documented, m[1], "named twice")
		documented[m[1]] = strings.ReplaceAll(m[2], "`", "")
	}
	require.Equal(t, exported, documented)
}

func descriptions(r *prometheus.Registry) (all []*prometheus.Desc) {
	ch := make(chan *prometheus.Desc)
	go func() {
		r.Describe(ch)
		close(ch)
	}()
	for d := range ch {
		all = append(all, d)
	}
	return all
}
