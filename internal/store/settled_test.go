package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// verified brings a job of two ranges to where its only verification round has found nothing.
func verified(t *testing.T) *scene {
	t.Helper()
	sc := begun(t, 20, 10)
	sc.exec(`update backfleet.jobs set spec = jsonb_set(spec, '{check}', '"n = 1"')`)
	for _, ref := range sc.refs {
		sc.finish(sc.claim(ref, "w1"))
	}
	var err error
	sc.j, err = sc.l.StartRound(t.Context(), sc.j.ID, 1)
	require.NoError(t, err)
	require.Equal(t, job.Verifying, sc.j.State)
	sc.exec("update backfleet.ranges set state = 'done' where kind = 'verify'")
	return sc
}

func TestAJobDoesNotEndOverARangeThatARetryHasQueued(t *testing.T) {
	for _, state := range []string{"queued", "failed"} {
		sc := verified(t)
		sc.exec("update backfleet.ranges set state = $1 where index = 3", state)
		j, err := sc.l.End(t.Context(), sc.j.ID, job.Complete, "", job.Report{})
		require.NoError(t, err)
		require.Equal(t, job.Verifying, j.State, "with a range %s", state)
		sc.exec("update backfleet.ranges set state = 'done' where index = 3")
		j, err = sc.l.End(t.Context(), sc.j.ID, job.Complete, "", job.Report{})
		require.NoError(t, err)
		require.Equal(t, job.Complete, j.State)
	}
}

func TestARoundDoesNotLeaveOutARangeThatIsOpenAgain(t *testing.T) {
	sc := verified(t)
	sc.exec("update backfleet.jobs set state = 'running', verify_round = 0")
	sc.exec("delete from backfleet.ranges where kind = 'verify'")
	sc.exec("update backfleet.ranges set state = 'queued' where index = 1")
	j, err := sc.l.StartRound(t.Context(), sc.j.ID, 1)
	require.NoError(t, err)
	require.Zero(t, j.Round)
	require.Zero(t, sc.one("select count(*) from backfleet.ranges where kind = 'verify'"))
}

func TestTheReportListsEverySkippedRangeAndCallsNoneAGap(t *testing.T) {
	sc := verified(t)
	sc.exec("update backfleet.ranges set state = 'skipped' where index in (0, 3)")
	r, err := sc.s.BuildReport(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.Len(t, r.Skipped, 2, "one of the fill, one of the verification")
	require.Empty(t, r.Coverage[0].Gaps)
	sc.exec("update backfleet.ranges set state = 'queued' where index = 1")
	r, err = sc.s.BuildReport(t.Context(), sc.j.ID)
	require.NoError(t, err)
	require.Len(t, r.Coverage[0].Gaps, 1)
}
