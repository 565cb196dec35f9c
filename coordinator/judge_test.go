package coordinator

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/ranges"
)

func TestASkippedRangeHidesNoGap(t *testing.T) {
	skipped := []ranges.Span{{Lo: ranges.Key{"1"}, Hi: ranges.Key{"2"}}}
	whole, torn := job.Coverage{Relation: "t"}, job.Coverage{Relation: "t", Gaps: []string{"gap"}}
	for _, c := range []struct {
		report job.Report
		want   job.State
	}{
		{job.Report{Coverage: []job.Coverage{whole}}, job.Complete},
		{job.Report{Coverage: []job.Coverage{whole}, Skipped: skipped}, job.CompleteWithErrors},
		{job.Report{Coverage: []job.Coverage{whole}, Quarantined: []job.Quarantined{{}}}, job.CompleteWithErrors},
		{job.Report{Coverage: []job.Coverage{torn}}, job.Failed},
		{job.Report{Coverage: []job.Coverage{whole, torn}, Skipped: skipped}, job.Failed},
	} {
		state, _ := judge(c.report)
		require.Equal(t, c.want, state)
	}
}
