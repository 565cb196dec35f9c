package observe

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// everything is a registry in which each of Backfleet's metrics has a value.
func everything(t *testing.T) *prometheus.Registry {
	t.Helper()
	at, wanted := time.Unix(1_800_000_000, 0), 7
	batches := NewBatches()
	batches.Observe(job.Ref{Database: "main", Name: "norm"}, time.Millisecond)
	r := NewRegistry()
	r.MustRegister(
		Jobs(func(context.Context) ([]job.Status, error) {
			return []job.Status{{
				Name: "norm", Database: "main", State: job.Running, Live: true, Moved: &at, Stream: &job.StreamLag{},
				ETA: &job.ETA{Low: 1, High: 2}, Limiting: []job.Reason{{Signal: "lag"}}, Lost: []job.Loss{{Signal: "lag", Seconds: 1}},
				Lag: map[string]job.Lag{"standby1": {Seconds: 1}},
			}}, nil
		}),
		Fleets(func() map[string]*job.Fleet {
			return map[string]*job.Fleet{"main": {
				Epoch: 1, HeldSince: at, Read: at, Stream: job.StreamCare{Compared: at}, Share: job.Share{Decided: true, Rate: 5000, Leases: make([]job.Lease, 3)},
			}}
		}),
		Signals(func() map[string]Readings {
			return map[string]Readings{"main": {Wanted: &wanted, Signals: []job.Signal{{Name: "gate", At: at}}, Costs: []job.ReadCost{{Source: "lag"}}}}
		}),
		ThisWorker(func() job.WorkerView {
			return job.WorkerView{Databases: map[string]job.WorkerIn{"main": {Budget: at}}}
		}),
		batches,
	)
	return r
}

// The names, units and helps are as Prometheus asks for them.
func TestMetricsAreNamedByTheRules(t *testing.T) {
	problems, err := testutil.GatherAndLint(everything(t))
	require.NoError(t, err)
	require.Empty(t, problems)
}

// The labels are those that are bounded, and no other: a range, a key or an id of a job would make a series each.
func TestLabelsAreBounded(t *testing.T) {
	bounded := map[string]bool{ // by what bounds each, docs/metrics.md tells
		"database": true, "job_name": true, "replica": true, "reason": true, "signal": true, "source": true, "state": true,
		"version": true, "commit": true, "go": true,
	}
	families, err := everything(t).Gather()
	require.NoError(t, err)
	seen := 0
	for _, f := range families {
		if len(f.GetName()) < 10 || f.GetName()[:10] != "backfleet_" {
			continue
		}
		seen++
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				require.True(t, bounded[l.GetName()], "%s{%s}", f.GetName(), l.GetName())
			}
		}
	}
	require.Greater(t, seen, 45)
}

func TestABudgetWithoutLimitIsAbsent(t *testing.T) {
	for _, c := range []struct {
		share job.Share
		shown int
	}{
		{job.Share{}, 0}, {job.Share{Decided: true}, 0}, {job.Share{Decided: true, Rate: 10}, 1}, {job.Share{Decided: true, Hold: true}, 1},
	} {
		r := prometheus.NewRegistry()
		r.MustRegister(Fleets(func() map[string]*job.Fleet { return map[string]*job.Fleet{"main": {Share: c.share}} }))
		n, err := testutil.GatherAndCount(r, "backfleet_budget_rows_per_second")
		require.NoError(t, err)
		require.Equal(t, c.shown, n, "%+v", c.share)
	}
}
