package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// GitLab's batched background migrations, after the published sources of gitlabhq/gitlabhq:
//   - PrimaryKeyBatchingStrategy: a job's bounds are min and max of the next so many keys;
//   - EachBatch: a job walks them in sub-batches, whose end it looks up by OFFSET, and updates each by one statement;
//   - BatchedMigrationJob: it pauses 100 ms after each sub-batch, its MINIMUM_PAUSE_MS;
//   - BatchOptimizer: the next job's size follows from how much of the interval the last jobs took.
//
// The sizes are the kindest published: 50,000 rows a job, as in the example of backfill_conversion_of_integer_to_bigint, and 2,500 a
// sub-batch, the largest of BackfillPkConversionForSelfManaged. Kinder than GitLab is that a job begins as soon as the one before it has
// ended, where jobs are two minutes apart there, and that nothing is written down of jobs and their states.
const (
	gitlabJob   = 50_000
	gitlabSub   = 2_500
	gitlabPause = 100 * time.Millisecond
	gitlabEvery = 2 * time.Minute // the interval of jobs, by which the optimizer judges
)

type gitlab struct {
	job, sub int // rows; the optimizer changes the first as it goes
	pause    time.Duration
}

func (g gitlab) fill(ctx context.Context, conn *pgx.Conn, t table) (written int64, err error) {
	size := optimizer{size: g.job, interval: gitlabEvery}
	var last []any // the job before ended with this key
	for {
		first, err := t.keyAt(ctx, conn, 0, bound{">", last})
		if err != nil || first == nil {
			return written, err
		}
		end, err := t.keyAt(ctx, conn, size.size-1, bound{">=", first}) // nil: the job reaches to the end of the table
		if err != nil {
			return written, err
		}
		began := time.Now()
		n, err := g.perform(ctx, conn, t, first, end)
		written += n
		if err != nil || end == nil || t.over() {
			return written, err
		}
		size.took(time.Since(began))
		last = end
	}
}

// perform walks the rows from first to end, both among them, in sub-batches.
func (g gitlab) perform(ctx context.Context, conn *pgx.Conn, t table, first, end []any) (written int64, err error) {
	job := []bound{{">=", first}, {"<=", end}}
	start := first
	for {
		stop, err := t.keyAt(ctx, conn, g.sub, append(job, bound{">=", start})...)
		if err != nil {
			return written, err
		}
		n, err := t.update(ctx, conn, t.where, append(job, bound{">=", start}, bound{"<", stop})...)
		written += n
		if err != nil {
			return written, err
		}
		if err := pause(ctx, g.pause); err != nil || stop == nil || t.over() {
			return written, err
		}
		start = stop
	}
}

// The constants of Gitlab::Database::BackgroundMigration::BatchOptimizer.
const (
	optimizerJobs  = 20
	optimizerAlpha = 0.4
	efficientFrom  = 0.9
	efficientTo    = 0.95
	growthAtMost   = 1.2
	jobAtLeast     = 1_000
	jobAtMost      = 2_000_000
)

// optimizer chooses the rows of a job so that jobs fill their interval: once it has seen twenty, it aims their smoothed share of the
// interval at 90 to 95 percent, and grows by a fifth a job at most.
type optimizer struct {
	size     int
	interval time.Duration
	shares   []float64 // of the interval, that the last jobs took, the latest first
}

func (o *optimizer) took(job time.Duration) {
	o.shares = append([]float64{job.Seconds() / o.interval.Seconds()}, o.shares[:min(len(o.shares), optimizerJobs-1)]...)
	if len(o.shares) < optimizerJobs {
		return
	}
	var sum, weights float64
	weight := 1.0
	for _, share := range o.shares {
		sum, weights, weight = sum+weight*share, weights+weight, weight*(1-optimizerAlpha)
	}
	efficiency := sum / weights
	if efficiency == 0 || efficiency >= efficientFrom && efficiency <= efficientTo {
		return
	}
	o.size = min(max(int(float64(o.size)*min(efficientTo/efficiency, growthAtMost)), jobAtLeast), jobAtMost)
}
