package worker

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

// tallied is how many jobs a worker counts for; the ones that it served last.
const tallied = 32

// tally counts what this process has done of each job, for the governor, and of each database, for people. Its zero value is ready.
type tally struct {
	mu   sync.Mutex
	work map[job.ID]job.Work
	sums map[string]job.Work // by database, of all jobs: none is forgotten
}

// add counts one committed batch. Only fills are counted: a proof writes next to nothing, and so tells nothing of what writing costs.
func (t *tally) add(ref job.Ref, rows int64, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.work == nil {
		t.work, t.sums = map[job.ID]job.Work{}, map[string]job.Work{}
	}
	if _, known := t.work[ref.Job]; !known && len(t.work) >= tallied {
		delete(t.work, slices.Min(slices.Collect(maps.Keys(t.work)))) // ULIDs: the oldest job
	}
	one := job.Work{Rows: rows, Batches: 1, Seconds: took.Seconds()}
	w := plus(t.work[ref.Job], one)
	w.Job = ref.Job
	t.work[ref.Job] = w
	t.sums[ref.Database] = plus(t.sums[ref.Database], one)
}

func plus(a, b job.Work) job.Work {
	a.Rows += b.Rows
	a.Batches += b.Batches
	a.Seconds += b.Seconds
	return a
}

// sum returns what was done in a database by all jobs together.
func (t *tally) sum(database string) job.Work {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sums[database]
}

// all returns the counts in the order of the jobs.
func (t *tally) all() []job.Work {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.work), func(a, b job.Work) int { return strings.Compare(string(a.Job), string(b.Job)) })
}
