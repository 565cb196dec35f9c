package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

func TestSamplesAddUpWhatWasLost(t *testing.T) {
	sc := begun(t, 10, 10)
	ctx := t.Context()
	add := func(x Sample) { require.NoError(t, sc.s.AddSample(ctx, sc.j.ID, x)) }
	add(Sample{Limiting: "slots"}) // before the governor watched
	lost, err := sc.s.lost(ctx, sc.j.ID)
	require.NoError(t, err)
	require.Empty(t, lost)

	add(Sample{Limiting: "slots", Watched: 5, Lost: []throttle.Loss{{Signal: "lag of standby1", Seconds: 2}, {Signal: "window", Seconds: 1}}})
	add(Sample{Limiting: "slots", Watched: 5})
	add(Sample{Limiting: "window", Watched: 10, Lost: []throttle.Loss{{Signal: "window", Seconds: 7}}})
	st, err := sc.s.Status(ctx, sc.j.ID)
	require.NoError(t, err)
	require.Equal(t, []job.Loss{{Signal: "window", Share: 0.4, Seconds: 8}, {Signal: "lag of standby1", Share: 0.1, Seconds: 2}}, st.Lost)

	var limiting []string
	var parts []float64
	require.NoError(t, sc.s.pool.QueryRow(ctx, "select array_agg(limiting order by at), array_agg(lost order by at) from backfleet.samples").Scan(&limiting, &parts))
	require.Equal(t, []string{"slots", "lag of standby1", "slots", "window"}, limiting)
	require.Equal(t, []float64{0, 0.6, 0, 0.7}, parts)
}

func TestAForecastIsKeptAndHeldAgainstTheOutcome(t *testing.T) {
	sc := submitted(t, 10)
	ctx := t.Context()
	n := newJob(counterSpec())
	n.Spec.Name = "forecast"
	n.Forecast = &job.Forecast{Rows: job.Amount{Low: 9, High: 11}, Duration: job.Times{High: job.Duration(time.Minute)}, HeapSize: 100, IndexSize: 1 << 30}
	j, err := sc.s.Submit(ctx, "ann", n)
	require.NoError(t, err)
	require.Equal(t, n.Forecast, j.Forecast)
	r, err := sc.s.Report(ctx, j.ID)
	require.NoError(t, err)
	require.Nil(t, r.Outcome, "it has not begun")

	require.NoError(t, sc.l.Freeze(ctx, j, []Leaf{{OID: sc.relation, Schema: "public", Name: "t"}}))
	_, err = sc.l.Start(ctx, j.ID)
	require.NoError(t, err)
	sc.exec("insert into t select i, 0 from generate_series(100, 1100) i")
	r, err = sc.s.Report(ctx, j.ID)
	require.NoError(t, err)
	require.Equal(t, n.Forecast, r.Forecast)
	require.Greater(t, *r.Outcome.WAL, int64(1000*50))
	require.Positive(t, *r.Outcome.Heap)
	require.Negative(t, *r.Outcome.Index)
}
