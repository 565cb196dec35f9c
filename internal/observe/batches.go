package observe

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/backfleet/backfleet/internal/job"
)

// maxTimed is how many jobs a worker shows the batch times of: the ones that it served last, so that labels stay bounded.
const maxTimed = 32

// Batches exports how long a worker's batches take, by job: as a native histogram, and in fixed buckets for those who scrape none.
type Batches struct {
	took *prometheus.HistogramVec

	mu   sync.Mutex
	jobs [][2]string // database and name, the one served last at the end
}

// NewBatches returns the collector; register it, and tell it of every batch.
func NewBatches() *Batches {
	return &Batches{took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:                            "backfleet_worker_batch_duration_seconds",
		Help:                            "SQL time of the batches that this process committed; fills only, of the 32 jobs that it served last.",
		Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, []string{"database", "job_name"})}
}

// Observe counts one committed batch.
func (b *Batches) Observe(ref job.Ref, took time.Duration) {
	id := [2]string{ref.Database, ref.Name}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.jobs); n == 0 || b.jobs[n-1] != id {
		b.jobs = append(slices.DeleteFunc(b.jobs, func(other [2]string) bool { return other == id }), id)
	}
	if len(b.jobs) > maxTimed {
		b.took.DeleteLabelValues(b.jobs[0][:]...)
		b.jobs = b.jobs[1:]
	}
	b.took.WithLabelValues(id[:]...).Observe(took.Seconds())
}

// Describe implements prometheus.Collector.
func (b *Batches) Describe(ch chan<- *prometheus.Desc) { b.took.Describe(ch) }

// Collect implements prometheus.Collector.
func (b *Batches) Collect(ch chan<- prometheus.Metric) { b.took.Collect(ch) }
