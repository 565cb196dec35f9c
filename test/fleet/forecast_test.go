package fleet

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/preflight"
)

// people makes a table of n rows as the benchmarks have it: text to work on, and an index that the job does not touch.
func people(n int) []string {
	return []string{
		"create table people (id bigint primary key, email text not null, email_norm text, filler text)",
		fmt.Sprintf("insert into people select i, 'User.' || md5(i::text) || '@Example.com', null, repeat('x', 60) from generate_series(1, %d) i", n),
		"create index on people (email)",
		"vacuum analyze people",
	}
}

const peopleSpec = `
name: people
table: people
set: {email_norm: lower(email)}
where: email_norm is null
check: email_norm = lower(email)
rows_per_range: 5000
`

// off is how many times an outcome lies beside a value.
func off(said, came float64) float64 { return max(said/came, came/said) }

// mid is the middle of a forecast.
func mid[N int64 | job.Duration](low, high N) float64 {
	return math.Sqrt(max(float64(low), 1) * float64(high))
}

const (
	// unwatched leaves out the signals by which the test's own looks, and whatever else the machine does, would slow a run.
	unwatched   = "signals: {foreground: off, probe: off, active_backends: off}"
	atFullSpeed = "4 slots"
)

// The forecast of a few batches that were rolled back is within a factor of two of what comes. At full speed, where the duration is
// that of a machine that others use as well, the nearer end of the range is; under a cap its middle is.
func TestAForecastIsNearTheOutcome(t *testing.T) {
	for _, c := range []struct {
		name          string
		rows          int
		more, binding string
	}{
		{"at full speed", 300_000, "throttle: {" + unwatched + "}", atFullSpeed},
		{"under a cap", 100_000, "throttle: {max_rows_per_second: 10000, " + unwatched + "}", "throttle.max_rows_per_second 10000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := alone(t, people(c.rows)...)
			f.sample = &preflight.PlanSampling
			j := f.submit(peopleSpec + c.more)
			require.NotNil(t, j.Forecast)
			require.Zero(t, f.number("select count(*) from people where email_norm is not null"), "the samples were rolled back")
			lead := f.coordinator("coordinator-1")
			f.run(map[string]func(context.Context) error{"coordinator": lead.Run, "worker": f.worker("worker-1").Run})
			tells := map[float64]job.ETA{} // the time left by the fraction done
			var at []time.Time
			for _, part := range []float64{0.25, 0.6} {
				f.until("a part is done and a time left is told", func() bool {
					st := f.status(j)
					l, ok := lead.Live("main", j.ID)
					if !ok || st.Round > 0 || st.Fraction < part || !l.ETA.Known() {
						return st.Round > 0 || st.State.Ended() // too fast to be asked
					}
					tells[st.Fraction] = *l.ETA
					at = append(at, time.Now())
					return true
				})
			}
			r := f.completes(j)
			require.True(t, c.binding == atFullSpeed || len(tells) == 2, "a run under a cap can be asked twice")
			for i, fraction := range slices.Sorted(maps.Keys(tells)) {
				came, eta := r.Ended.Sub(at[i]), tells[fraction]
				t.Logf("at %.2f: %s to %s left (%s), came %s", fraction, eta.Low, eta.High, eta.Note, came)
				if c.binding != atFullSpeed {
					near := min(max(came, eta.Low.D()), eta.High.D())
					require.LessOrEqual(t, off(float64(near), float64(came)), 1.5, "time left")
				}
			}
			said, came := r.Forecast, r.Outcome
			require.Equal(t, c.binding, said.Binding)
			t.Logf("duration %s to %s, came %s; rows %d to %d, came %d; WAL %d to %d, came %d; heap %d to %d, came %d; indexes %d to %d, came %d",
				said.Duration.Low, said.Duration.High, came.Duration, said.Rows.Low, said.Rows.High, came.Rows,
				said.WAL.Low, said.WAL.High, *came.WAL, said.Heap.Low, said.Heap.High, *came.Heap, said.Index.Low, said.Index.High, *came.Index)
			t.Logf("outcome by the middle of the forecast: duration %.2f, WAL %.2f, heap %.2f", float64(came.Duration)/mid(said.Duration.Low, said.Duration.High),
				float64(*came.WAL)/mid(said.WAL.Low, said.WAL.High), float64(*came.Heap)/mid(said.Heap.Low, said.Heap.High))
			middle := mid(said.Duration.Low, said.Duration.High)
			if c.binding == atFullSpeed {
				middle = min(max(float64(came.Duration), float64(said.Duration.Low)), float64(said.Duration.High))
			}
			require.LessOrEqual(t, off(middle, float64(came.Duration)), 2.0, "duration")
			require.LessOrEqual(t, off(mid(said.Rows.Low, said.Rows.High), float64(came.Rows)), 1.1, "rows")
			require.LessOrEqual(t, off(mid(said.WAL.Low, said.WAL.High), float64(*came.WAL)), 2.0, "WAL")
			require.LessOrEqual(t, *came.Heap, 2*said.Heap.High, "heap")
			require.LessOrEqual(t, *came.Index, 2*said.Index.High, "indexes")
		})
	}
}

// What a run loses is summed up by its reason, in the ledger, where the next leader and the report find it.
func TestAHeldRunSaysWhatItLost(t *testing.T) {
	f := stage(t, counter(20_000)...)
	j := f.submit(counterSpec + "throttle: {max_rows_per_second: 4000}")
	c := f.coordinator("coordinator-1")
	f.run(map[string]func(context.Context) error{"coordinator": c.Run, "worker": f.worker("worker-1").Run})
	f.until("the job moves", func() bool { return f.status(j).Rows > 0 })
	_, err := f.store.Hold(t.Context(), "ann", "", time.Hour)
	require.NoError(t, err)
	f.until("half a second of hold is in the ledger", func() bool {
		lost := f.status(j).Lost
		return len(lost) > 0 && lost[0].Signal == "brake" && lost[0].Seconds > 0.5
	})
	f.until("an ETA knows no end", func() bool {
		l, ok := c.Live("main", j.ID)
		return ok && l.ETA != nil && !l.ETA.Known() && l.ETA.Note == "no progress now"
	})
	_, err = f.store.Pause(t.Context(), j.ID, "ann", "")
	require.NoError(t, err)
	f.until("the ETA says that it is paused", func() bool {
		l, ok := c.Live("main", j.ID)
		return ok && l.ETA != nil && !l.ETA.Known() && l.ETA.Note == "paused"
	})
	_, err = f.store.Resume(t.Context(), j.ID, "ann")
	require.NoError(t, err)
	require.NoError(t, f.store.Release(t.Context(), "ann"))
	r := f.completes(j)
	require.Equal(t, "brake", r.Lost[0].Signal)
	require.Greater(t, r.Lost[0].Share, 0.2)
	sum := 0.0
	for _, l := range r.Lost {
		sum += l.Share
	}
	require.LessOrEqual(t, sum, 1.0)
	require.Positive(t, f.number("select count(*) from backfleet.samples where job_id = $1 and limiting = 'brake' and lost > 0.9", j.ID))
	require.Equal(t, r.Rows, r.Outcome.Rows)
	require.Positive(t, *r.Outcome.WAL)
	require.Nil(t, r.Forecast)
}
