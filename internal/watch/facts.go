// Package watch shows a fleet on a terminal: what `status` tells, live, with keys to steer it. It also has the compact form that
// `run` shows of one job, and the plain lines where there is no terminal.
//
// The full screen is a pure model: a state and a message give a state and a view. What is read and what is changed goes through
// [Fleet], so that it works over the API as well as over the ledger alone.
package watch

import (
	"context"
	"time"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
)

// Fleet is what is asked of the fleet; an [api.Client] answers it.
type Fleet interface {
	Me(ctx context.Context) (api.Me, error)
	Databases(ctx context.Context) (api.DatabaseList, error)
	RecentJobs(ctx context.Context) (api.JobList, error)
	Status(ctx context.Context, n api.JobName) (job.Status, error)
	Blocks(ctx context.Context, n api.JobName, cells int) (job.Blocks, error)

	Pause(ctx context.Context, n api.JobName, reason string) (api.Job, error)
	Resume(ctx context.Context, n api.JobName) (api.Job, error)
	SetLimits(ctx context.Context, n api.JobName, values map[string]string) (api.Limited, error)
	Hold(ctx context.Context, database string, howLong time.Duration, reason string) (api.Held, error)
	Release(ctx context.Context, database string) (api.Released, error)
}

// facts is what the fleet said at one moment.
type facts struct {
	at        time.Time
	took      time.Duration
	me        api.Me
	databases []api.DatabaseHealth
	jobs      []api.JobLine // the unfinished ones first, then the newest of the others
	status    *job.Status   // of the job in view; nil: none is
	blocks    *job.Blocks   // of it; nil: not asked for this time
}

// question is what to read.
type question struct {
	job    job.ID // its status as well; empty: of none
	blocks int    // and so many cells of its ranges; 0: none
}

const (
	askTimeout = 10 * time.Second // more than databases that do not answer take in all
	endedShown = 10               // ended jobs, the newest
)

// ask reads the facts; of a fleet that does not answer in time it tells the error.
func ask(ctx context.Context, fleet Fleet, q question, now func() time.Time) (facts, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	f := facts{at: now()}
	var err error
	if f.me, err = fleet.Me(ctx); err != nil {
		return f, err
	}
	databases, err := fleet.Databases(ctx)
	if err != nil {
		return f, err
	}
	f.databases = databases.Databases
	jobs, err := fleet.RecentJobs(ctx)
	if err != nil {
		return f, err
	}
	f.jobs = inOrder(jobs.Jobs)
	if q.job != "" {
		st, err := fleet.Status(ctx, api.JobName(q.job))
		if err != nil {
			return f, err
		}
		f.status = &st
	}
	if q.job != "" && q.blocks > 0 {
		blocks, err := fleet.Blocks(ctx, api.JobName(q.job), q.blocks)
		if err != nil {
			return f, err
		}
		f.blocks = &blocks
	}
	f.took = now().Sub(f.at)
	return f, nil
}

// inOrder lists the unfinished jobs, and after them the newest of the others.
func inOrder(all []api.JobLine) []api.JobLine {
	var open, ended []api.JobLine
	for _, j := range all {
		switch {
		case !j.State.Ended():
			open = append(open, j)
		case len(ended) < endedShown:
			ended = append(ended, j)
		}
	}
	return append(open, ended...)
}
