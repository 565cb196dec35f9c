package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

func TestCellsTellStateProgressAndTrouble(t *testing.T) {
	sc := begun(t, 100, 10)
	ctx := t.Context()
	for i, state := range []string{"queued", "released", "running", "done", "failed", "dropped", "skipped"} {
		sc.exec("update backfleet.ranges set state = $2, walked = 4 where index = $1", i, state)
	}
	sc.exec("update backfleet.ranges set last_error = 'deadlock' where index = 2")
	sc.exec("insert into backfleet.quarantine (job_id, relation, key, range_index, sqlstate, error, by) values ($1, $2, '{31}', 3, '23514', 'poison', 'w1')", sc.j.ID, sc.relation)
	first, cells, err := sc.s.Cells(ctx, sc.j.ID, 0, 10)
	require.NoError(t, err)
	require.Equal(t, 0, first)
	require.Len(t, cells, 10)
	for i, state := range job.CellStates {
		want := job.Cell(i<<8 + 40)
		switch state {
		case job.RangeRunning:
			want += job.CellTrouble
		case job.Done:
			want = 3<<8 + 100 + job.CellTrouble
		default:
		}
		require.Equal(t, want, cells[i], state)
	}
	sc.exec("update backfleet.ranges set walked = 400 where index = 2")
	_, cells, err = sc.s.Cells(ctx, sc.j.ID, 0, 10)
	require.NoError(t, err)
	require.Equal(t, job.Cell(2<<8+99+job.CellTrouble), cells[2], "what is not done is never told to be whole")

	_, none, err := sc.s.Cells(ctx, sc.j.ID, 1, 10)
	require.NoError(t, err)
	require.Empty(t, none, "no verification yet")
}

func TestOpenJobsAreShownWithTheLastThatEnded(t *testing.T) {
	s := migrated(t)
	ctx := t.Context()
	for i := range 60 {
		n := newJob(counterSpec())
		n.Spec.Name = fmt.Sprintf("j%d", i)
		j, err := s.Submit(ctx, "ann", n)
		require.NoError(t, err)
		if i > 0 { // the oldest stays open
			_, err = s.Cancel(ctx, j.ID, "ann", "")
			require.NoError(t, err)
		}
	}
	jobs, err := s.Recent(ctx)
	require.NoError(t, err)
	require.Len(t, jobs, 51)
	require.Equal(t, "j59", jobs[0].Name)
	require.Equal(t, "j0", jobs[50].Name)
}

func TestARangeIsToldWhole(t *testing.T) {
	sc := begun(t, 100, 10)
	ctx := t.Context()
	sc.exec("update backfleet.ranges set owner = 'w1', rows = 7, last_error = 'deadlock', retries = 2 where index = 4")
	d, err := sc.s.Range(ctx, sc.j.ID, 4)
	require.NoError(t, err)
	require.Equal(t, "[41, 51)", d.Span)
	require.Equal(t, `"public"."t"`, d.Relation)
	require.Equal(t, "w1", d.Owner)
	require.Equal(t, int64(7), d.Rows)
	require.Equal(t, "deadlock", d.Error)
	require.Nil(t, d.LeaseUntil)
	_, err = sc.s.Range(ctx, sc.j.ID, 10)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestALongHistoryIsJoinedIntoSteps(t *testing.T) {
	sc := begun(t, 10, 10)
	ctx := t.Context()
	hot, pending := 0.75, uint64(3)
	for i := range 100 {
		x := Sample{Rows: int64(i), Rate: 10, Lag: float64(i % 10), Limiting: "cap", Watched: 1, Lost: []throttle.Loss{{Signal: "lag", Seconds: 0.5}}}
		x.Moment = job.Moment{Lags: map[string]float64{"standby1": x.Lag}, Batch: &job.BatchMean{Rows: 5}, HOT: &hot, Pending: &pending}
		require.NoError(t, sc.s.AddSample(ctx, sc.j.ID, x))
	}
	sc.exec("update backfleet.samples s set at = '2026-01-01 00:00Z'::timestamptz + n * interval '5 s', moment = case when n = 99 then null else moment end from (select job_id, at, row_number() over (order by at) - 1 as n from backfleet.samples) o where s.job_id = o.job_id and s.at = o.at")

	all, err := sc.s.History(ctx, sc.j.ID, time.Time{}, 1000)
	require.NoError(t, err)
	require.Len(t, all, 100)
	require.InDelta(t, 3, all[3].Lags["standby1"], 0)
	require.Equal(t, &hot, all[3].HOT)
	require.Equal(t, &pending, all[3].Pending)
	require.Equal(t, "lag", all[3].Limiting)
	require.InDelta(t, 0.5, all[3].Lost, 1e-9)
	require.Empty(t, all[99].Lags, "a sample of an older ledger")

	few, err := sc.s.History(ctx, sc.j.ID, time.Time{}, 10)
	require.NoError(t, err)
	require.InDelta(t, 10, len(few), 1)
	require.InDelta(t, 9, few[0].Lag, 1, "the worst of the step")
	require.InDelta(t, few[0].Lag, few[0].Lags["standby1"], 0)
	require.InDelta(t, 10, few[0].Rate, 1e-9)

	late, err := sc.s.History(ctx, sc.j.ID, all[89].At, 1000)
	require.NoError(t, err)
	require.Len(t, late, 10)

	last, err := sc.s.LastPoint(ctx, sc.j.ID, time.Hour)
	require.NoError(t, err)
	require.Nil(t, last, "all are old")
	require.NoError(t, sc.s.AddSample(ctx, sc.j.ID, Sample{Rate: 77}))
	last, err = sc.s.LastPoint(ctx, sc.j.ID, time.Hour)
	require.NoError(t, err)
	require.InDelta(t, 77, last.Rate, 0)
}
