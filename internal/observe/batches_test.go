package observe

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

func TestBatchTimesAreANativeHistogramOfAFewJobs(t *testing.T) {
	b := NewBatches()
	r := prometheus.NewRegistry()
	r.MustRegister(b)
	for i := range 3 * maxTimed {
		b.Observe(job.Ref{Database: "main", Name: fmt.Sprintf("job-%d", i)}, 25*time.Millisecond)
		b.Observe(job.Ref{Database: "main", Name: "steady"}, 30*time.Millisecond)
	}
	require.Equal(t, maxTimed, testutil.CollectAndCount(b), "a worker outlives many jobs")
	families, err := r.Gather()
	require.NoError(t, err)
	var steady *dto.Histogram
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[1].GetValue() == "steady" {
			steady = m.GetHistogram()
		}
	}
	require.NotNil(t, steady, "the one that is served all the time stays")
	require.Equal(t, uint64(3*maxTimed), steady.GetSampleCount(), "and nothing of it was forgotten")
	require.NotNil(t, steady.Schema, "it is native")
	require.NotEmpty(t, steady.GetPositiveDelta())
	require.NotEmpty(t, steady.GetBucket(), "and has buckets for those who scrape none")
}

// A Prometheus that scrapes native histograms asks for protobuf, and gets it.
func TestNativeHistogramsAreServedToThoseWhoAsk(t *testing.T) {
	b := NewBatches()
	b.Observe(job.Ref{Database: "main", Name: "norm"}, 25*time.Millisecond)
	r := prometheus.NewRegistry()
	r.MustRegister(b)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	answer := httptest.NewRecorder()
	MetricsHandler(r).ServeHTTP(answer, request)
	var family dto.MetricFamily
	require.NoError(t, expfmt.NewDecoder(answer.Body, expfmt.ResponseFormat(answer.Header())).Decode(&family))
	require.Equal(t, "backfleet_worker_batch_duration_seconds", family.GetName())
	require.NotNil(t, family.GetMetric()[0].GetHistogram().Schema)
}
