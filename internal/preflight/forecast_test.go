package preflight

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/job"
)

var update = flag.Bool("update", false, "write the golden files anew")

// plannedJob is a plan that no server was asked for.
func plannedJob(change func(*Plan)) *Plan {
	p := &Plan{
		Spec: job.Spec{Name: "users-email-norm", Database: "main", Table: "public.users", Set: map[string]string{"email_norm": "lower(email)"},
			Where: "email_norm IS NULL"}.WithDefaults(),
		Server: Server{Version: "15.18", Database: "app", Role: "backfleet"},
		Table:  catalog.Table{Schema: "public", Name: "users"}, Key: []job.Column{{Name: "id", Type: "bigint"}}, KeyIndex: "users_pkey", Grows: true,
		Idempotent: true, Rows: 120_000_000, RowsBy: "estimated", Ranges: 2400, TableBytes: 18 << 30, IndexBytes: 3 << 30, Index: "users_pkey",
		Columns: []Written{{Name: "email_norm", Type: "text", Expression: "lower(email)"}}, HOT: HOT{Possible: true, Fillfactor: 100},
		Replicas: []Replica{{Name: "standby1", State: "streaming", Sync: "async"}}, Autovacuum: Autovacuum{On: true},
		Connections: Connections{Max: 100, InUse: 12, Need: 20}, Transactions: Transactions{Headroom: 2_000_000_000},
	}
	if change != nil {
		change(p)
	}
	return p
}

// batches are samples of nearly the same cost.
func batches() []sampled {
	b := sampled{keys: 1000, rows: 750, fill: 0.010, proof: 0.002, fixed: 0.0003, wal: 180_000, images: 30_000, hot: 75, wider: 750 * 20}
	dear := b
	dear.fill = 0.012
	return []sampled{b, b, dear, b, b, b}
}

func forecastOf(p *Plan, of []sampled) *job.Forecast {
	s := &sampler{plan: p, opt: PlanSampling, got: of, heap: p.TableBytes}
	return s.forecast(time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC), 700*time.Millisecond)
}

func TestForecastText(t *testing.T) {
	for name, p := range map[string]*Plan{
		"forecast":        plannedJob(nil),
		"forecast-capped": plannedJob(func(p *Plan) { p.Spec.Throttle.MaxRowsPerSecond = 20_000; p.Triggers = []Trigger{{Name: "touch"}} }),
		"forecast-windows": plannedJob(func(p *Plan) {
			p.Spec.Throttle.MaxWALBytesPerSecond = 4 << 20
			p.Spec.Throttle.Windows = []job.Window{{Cron: "0 22 * * *", TZ: "Europe/Berlin", For: job.Duration(8 * time.Hour), Rate: 1}}
		}),
		"forecast-none": plannedJob(nil),
	} {
		if name != "forecast-none" {
			p.Forecast = forecastOf(p, batches())
		}
		d := document{}
		d.forecast(*p)
		path := filepath.Join("testdata", name+".txt")
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(path, []byte(d.text.String()), 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), d.text.String())
	}
}

func TestTheDatabasesRulesBindTheForecast(t *testing.T) {
	began := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	f := func(rules job.DatabaseRules) *job.Forecast {
		s := &sampler{plan: plannedJob(nil), opt: Sampling{Rules: rules}, got: batches(), heap: 18 << 30}
		return s.forecast(began, 0)
	}
	require.Equal(t, "the database's max_rows_per_second 5000", f(job.DatabaseRules{MaxRowsPerSecond: 5000}).Binding)
	require.Equal(t, "the database's max_wal_bytes_per_second 1MiB", f(job.DatabaseRules{MaxWALBytesPerSecond: 1 << 20}).Binding)
	free := f(job.DatabaseRules{})
	half := f(job.DatabaseRules{Override: &job.Override{Rate: 0.5, Until: began.Add(100 * time.Hour), By: "ann"}})
	require.InEpsilon(t, 2, float64(half.Duration.Low)/float64(free.Duration.Low), 0.01)
}

func TestPlanEndsWithItsForecast(t *testing.T) {
	p := plannedJob(nil)
	p.Forecast = &job.Forecast{Duration: job.Times{Low: job.Duration(40 * time.Minute), High: job.Duration(3*time.Hour + 29*time.Second)}}
	var text strings.Builder
	require.NoError(t, p.Render(&text, false))
	require.True(t, strings.HasSuffix(text.String(), "\nPlan: 2,400 ranges, 1 column to write, 40m0s to 3h00m, 0 findings.\n"), text.String())
}

func TestDurationText(t *testing.T) {
	d := func(d time.Duration) job.Duration { return job.Duration(d) }
	for want, times := range map[string]job.Times{
		"about 1.2s":                   {Low: d(1210 * time.Millisecond), High: d(1240 * time.Millisecond)},
		"3m20s to 1h05m":               {Low: d(200*time.Second + 200*time.Millisecond), High: d(65 * time.Minute)},
		"2d2h to 12d0h":                {Low: d(50 * time.Hour), High: d(12 * 24 * time.Hour)},
		"the windows never let it end": {},
		"1h00m or more: the windows may never let it end": {Low: d(time.Hour)},
	} {
		require.Equal(t, want, DurationText(times))
	}
}

func TestTheCostOfAKeyIsARangeAroundThatOfTheBatches(t *testing.T) {
	w := (&sampler{plan: plannedJob(nil), opt: PlanSampling, got: batches()}).work()
	require.Less(t, w.KeySeconds.High, 0.014/1000)
	require.Greater(t, w.KeySeconds.Low, 0.010/1000*0.8)
	require.InDelta(t, 0.75, w.Written.Mid(), 0.01)
	require.InDelta(t, 0.02, w.Written.High-w.Written.Low, 0.01)
	require.Equal(t, 4, w.Slots)

	w = (&sampler{plan: plannedJob(nil), opt: Sampling{Slots: 64}, got: batches()[:1]}).work()
	require.Equal(t, 16, w.Slots, "workers.max")
}

func TestACommitThatWaitsCosts(t *testing.T) {
	fast := (&sampler{plan: plannedJob(nil), opt: PlanSampling, got: batches()}).work().KeySeconds
	slow := (&sampler{plan: plannedJob(func(p *Plan) { p.Spec.Batch.SynchronousCommit = "on" }), opt: PlanSampling, got: batches()}).work().KeySeconds
	require.Greater(t, slow.Low, fast.Low)
	require.Greater(t, slow.High/slow.Low, fast.High/fast.Low, "and how much is not known")
}

func TestRowsThatNoSampleFoundAreNotRuledOut(t *testing.T) {
	none := batches()
	for i := range none {
		none[i].rows = 0
	}
	w := (&sampler{plan: plannedJob(nil), opt: PlanSampling, got: none}).work()
	require.Zero(t, w.Written.Low)
	require.InDelta(t, 3.0/6000, w.Written.High, 1e-9)
	f := forecastOf(plannedJob(nil), none)
	require.Zero(t, f.Rows.Low)
	require.Equal(t, int64(60_000), f.Rows.High)
	require.Positive(t, f.Duration.Low, "the keys are walked all the same")
}

func TestTriggersAddTheirWAL(t *testing.T) {
	with := batches()
	for i := range with {
		with[i].deferred = 75_000
	}
	with[2].deferred = 9e9 // somebody else's
	without := (&sampler{plan: plannedJob(nil), got: with}).work().RowWAL
	fired := (&sampler{plan: plannedJob(func(p *Plan) { p.Triggers = []Trigger{{Name: "touch"}} }), got: with}).work().RowWAL
	require.InDelta(t, 100, fired.Low-without.Low, 1)
	require.InDelta(t, 100, fired.High-without.High, 1)
}

func TestNoSampleWhileAReplicaIsBehind(t *testing.T) {
	behind := func(p *Plan) { p.Replicas[0].Lag = 1.5 }
	require.Equal(t, "replica standby1 is over its lag target already, and sample batches write WAL", (&sampler{plan: plannedJob(behind)}).unfit())
	require.Empty(t, (&sampler{plan: plannedJob(func(p *Plan) { behind(p); p.Replicas[0].Ignored = true })}).unfit())
}
