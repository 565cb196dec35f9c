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

// tally counts what this process has done of each job, for the governor. Its zero value is ready.
type tally struct {
	mu   sync.Mutex
	work map[job.ID]job.Work
}

// add counts one committed batch. Only fills are counted: a proof writes next to nothing, and so tells nothing of what writing costs.
func (t *tally) add(ref job.Ref, rows int64, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.work == nil {
		t.work = map[job.ID]job.Work{}
	}
	if _, known := t.work[ref.Job]; !known && len(t.work) >= tallied {
		delete(t.work, slices.Min(slices.Collect(maps.Keys(t.work)))) // ULIDs: the oldest job
	}
	w := t.work[ref.Job]
	w.Job = ref.Job
	w.Rows += rows
	w.Batches++
	w.Seconds += took.Seconds()
	t.work[ref.Job] = w
}

// all returns the counts in the order of the jobs.
func (t *tally) all() []job.Work {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.work), func(a, b job.Work) int { return strings.Compare(string(a.Job), string(b.Job)) })
}
