package fleet

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backfleet/backfleet/internal/job"
)

// takenOver runs two workers over a job that the spec slows down and ends, up to ten times a second, the leases of those of its ranges that a
// condition takes, for which it waits each time, until so many rows are done. Then the job may go on to its end as fast as it can; its report must tell of takeovers.
func (f *fleet) takenOver(spec, which string, rows int) job.Report {
	f.Helper()
	f.run(map[string]func(context.Context) error{
		"coordinator": f.coordinator("coordinator-1").Run, "worker-1": f.worker("worker-1").Run, "worker-2": f.worker("worker-2").Run,
	})
	j := f.submit(spec)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	taken := 0
	enough := func() bool { return f.number("select coalesce(sum(rows), 0) from backfleet.ranges") >= rows }
	for !enough() {
		<-tick.C
		f.until("a lease is there to be ended", func() bool {
			ended := f.number("with e as (update backfleet.ranges set lease_until = clock_timestamp() - interval '1 second'" +
				" where state = 'running' and " + which + " returning 1) select count(*) from e")
			taken += ended
			return ended > 0 || enough()
		})
	}
	require.Positive(f, taken)
	f.faster(j)
	r := f.completes(j)
	require.Positive(f, r.Takeovers)
	return r
}
