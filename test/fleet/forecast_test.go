package fleet

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/preflight"
)

// people makes a table of 300,000 rows as the benchmarks have it: text to work on, and an index that the job does not touch.
func people() []string {
	return []string{
		"create table people (id bigint primary key, email text not null, email_norm text, filler text)",
		"insert into people select i, 'User.' || md5(i::text) || '@Example.com', null, repeat('x', 60) from generate_series(1, 300000) i",
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
rows_per_range: 20000
`

// off is how many times the outcome lies beside the forecast's middle.
func off(low, high, came float64) float64 {
	mid := math.Sqrt(max(low, 1) * max(high, 1))
	return max(mid/came, came/mid)
}

// The forecast of a few batches that were rolled back is within a factor of two of what comes.
func TestAForecastIsNearTheOutcome(t *testing.T) {
	for _, c := range []struct{ name, more, binding string }{
		{"at full speed", "", "4 slots"},
		{"under a cap", "throttle: {max_rows_per_second: 40000}", "throttle.max_rows_per_second 40000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := alone(t, people()...)
			f.sample = &preflight.PlanSampling
			j := f.submit(peopleSpec + c.more)
			require.NotNil(t, j.Forecast)
			require.Zero(t, f.number("select count(*) from people where email_norm is not null"), "the samples were rolled back")
			f.start()
			r := f.completes(j)
			said, came := r.Forecast, r.Outcome
			require.Equal(t, c.binding, said.Binding)
			t.Logf("duration %s to %s, came %s; rows %d to %d, came %d; WAL %d to %d, came %d; heap %d to %d, came %d; indexes %d to %d, came %d",
				said.Duration.Low, said.Duration.High, came.Duration, said.Rows.Low, said.Rows.High, came.Rows,
				said.WAL.Low, said.WAL.High, *came.WAL, said.Heap.Low, said.Heap.High, *came.Heap, said.Index.Low, said.Index.High, *came.Index)
			require.LessOrEqual(t, off(said.Duration.Low.D().Seconds(), said.Duration.High.D().Seconds(), came.Duration.D().Seconds()), 2.0, "duration")
			require.LessOrEqual(t, off(float64(said.Rows.Low), float64(said.Rows.High), float64(came.Rows)), 1.1, "rows")
			require.LessOrEqual(t, off(float64(said.WAL.Low), float64(said.WAL.High), float64(*came.WAL)), 2.0, "WAL")
		})
	}
}
