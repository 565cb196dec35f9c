package observe

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/backfleet/backfleet/internal/job"
)

// NewRegistry returns a metrics registry with the process, the Go runtime and `backfleet_build_info` in it.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	b := ThisBuild()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "backfleet_build_info",
			Help:        "The build that runs; always 1.",
			ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "go": b.Go},
		}, func() float64 { return 1 }),
	)
	return r
}

// MetricsHandler serves the registry at /metrics. It needs no token: labels hold names only.
func MetricsHandler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Statuses returns the jobs to show as metrics: those that are not ended and those that ended lately. With an error come those that could
// be read.
type Statuses func(context.Context) ([]job.Status, error)

const (
	scrapeTimeout = 5 * time.Second
	maxReplicas   = 32 // a job shows at most so many replicas, the most lagging first: labels stay bounded
)

// Jobs exports job statuses. It reads them at each scrape, so that what is shown is what the ledger holds; a read that
// fails sets backfleet_jobs_scrape_error to 1 and shows no job, rather than stale figures.
func Jobs(read Statuses) prometheus.Collector {
	// Not "job": that label is Prometheus' own name of who is scraped, and would hide behind it.
	labels := []string{"database", "job_name"}
	c := &jobs{read: read}
	desc := func(name, help string, more ...string) *prometheus.Desc {
		d := prometheus.NewDesc("backfleet_"+name, help, slices.Concat(labels, more), nil)
		c.all = append(c.all, d)
		return d
	}
	c.state = desc("job_state", "1 for the state that the job is in.", "state")
	c.estimate = desc("job_rows_estimated", "Rows in the table at submit, estimated.")
	c.rows = desc("job_rows_written_total", "Rows written by committed batches.")
	c.batches = desc("job_batches_total", "Committed batches.")
	c.retries = desc("job_retries_total", "Batches that were tried again.")
	c.fraction = desc("job_fraction", "Share of the present phase that is done, 0 to 1.")
	c.rate = desc("job_rows_per_second", "Rows a second now.")
	c.etaLow = desc("job_eta_low_seconds", "The least time to the job's end that is expected; absent while unknown.")
	c.etaHigh = desc("job_eta_high_seconds", "The most time to the job's end that is expected; absent while unknown.")
	c.limiting = desc("job_limiting", "1 for the signal that limits the job most now.", "reason")
	c.lost = desc("job_lost_seconds_total", "Seconds of full speed that the job lost to a signal since its start.", "reason")
	c.ranges = desc("job_ranges", "Ranges of the present phase by state.", "state")
	c.quarantine = desc("job_quarantined_rows", "Rows in quarantine.")
	c.lag = desc("job_replica_lag_seconds", "Lag of a replica that the job waits for.", "replica")
	c.missing = desc("job_replica_missing", "1 while a replica that was there before is not.", "replica")
	c.held = desc("job_held", "1 while a hard signal stops every batch of the job.")
	c.workers = desc("job_workers", "Slots that carry a range of the job now.")
	c.leases = desc("job_leases", "Slots that may carry a range of the job now.")
	c.maxWorkers = desc("job_workers_max", "The job's own limit on slots.")
	c.pending = desc("job_stream_pending", "Messages of the job's consumer that no worker has yet.")
	c.ackPending = desc("job_stream_ack_pending", "Messages of the job's consumer that a worker has and has not acked.")
	c.expected = desc("job_stream_expected", "Messages that the ledger said there are when the two above were read: ranges released or running.")
	c.moved = desc("job_last_batch_timestamp_seconds", "When a batch was last seen to commit, or batches became possible again.")
	c.planned = desc("job_planned", "1 once every range of the job is in the ledger.")
	c.open = desc("job_ranges_open", "Ranges that are not at their end, in the stream or still in the ledger: the consumer lag to scale on.")
	c.failed = prometheus.NewDesc("backfleet_jobs_scrape_error", "1 when a ledger could not be read for this scrape; its jobs are missing.", nil, nil)
	c.all = append(c.all, c.failed)
	return c
}

type jobs struct {
	read Statuses
	all  []*prometheus.Desc

	failed, state, estimate, rows, batches, retries, fraction, rate, etaLow, etaHigh, limiting, lost, ranges, quarantine, lag, missing, held, workers,
	leases, maxWorkers, pending, ackPending, expected, moved, planned, open *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *jobs) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.all {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *jobs) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	all, err := c.read(ctx)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.failed, truth(err != nil))
	seen := map[[2]string]bool{} // an ended job and its successor share a name: the first one given is shown
	for _, s := range all {
		id := [2]string{s.Database, s.Name}
		if seen[id] {
			continue
		}
		seen[id] = true
		c.job(s, func(kind prometheus.ValueType, d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, kind, v, slices.Concat(id[:], labels)...)
		})
	}
}

func (c *jobs) job(s job.Status, emit func(prometheus.ValueType, *prometheus.Desc, float64, ...string)) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) { emit(prometheus.GaugeValue, d, v, labels...) }
	counter := func(d *prometheus.Desc, v int64) { emit(prometheus.CounterValue, d, float64(v)) }

	gauge(c.state, 1, string(s.State))
	gauge(c.estimate, float64(s.Estimate))
	counter(c.rows, s.Rows)
	counter(c.batches, s.Batches)
	counter(c.retries, s.Retries)
	gauge(c.fraction, s.Fraction)
	gauge(c.rate, s.Rate)
	if s.ETA.Known() {
		gauge(c.etaLow, s.ETA.Low.D().Seconds())
		gauge(c.etaHigh, s.ETA.High.D().Seconds())
	}
	if len(s.Limiting) > 0 {
		gauge(c.limiting, 1, s.Limiting[0].Signal)
	}
	for _, l := range s.Lost { // their number is bounded where they are summed up
		emit(prometheus.CounterValue, c.lost, l.Seconds, l.Signal)
	}
	r := s.Ranges
	for state, n := range map[job.RangeState]int{
		job.Queued: r.Queued, job.Released: r.Released, job.RangeRunning: r.Running, job.Done: r.Done,
		job.RangeFailed: r.Failed, job.RangeDropped: r.Dropped, job.RangeExcluded: r.Skipped,
	} {
		gauge(c.ranges, float64(n), string(state))
	}
	gauge(c.open, float64(r.Queued+r.Released+r.Running))
	gauge(c.quarantine, float64(s.Quarantine))
	for _, name := range mostLagging(s.Lag) {
		gauge(c.missing, truth(s.Lag[name].Missing), name)
		if !s.Lag[name].Missing { // what it was last says nothing of now
			gauge(c.lag, s.Lag[name].Seconds, name)
		}
	}
	gauge(c.held, truth(Held(s)))
	gauge(c.workers, float64(len(s.Workers)))
	if s.Live {
		gauge(c.leases, float64(s.Leases))
	}
	gauge(c.maxWorkers, float64(s.Limits.Workers.Max))
	if s.Stream != nil {
		gauge(c.pending, float64(s.Stream.Pending))
		gauge(c.ackPending, float64(s.Stream.AckPending))
		gauge(c.expected, float64(s.Stream.Expected))
	}
	gauge(c.planned, truth(s.Planned))
	if s.Moved != nil {
		gauge(c.moved, seconds(*s.Moved))
	}
}

// Held reports whether a hard signal stops the job now. A job that may not run anyway is not held.
func Held(s job.Status) bool {
	return s.State.Active() && slices.ContainsFunc(s.Limiting, func(r job.Reason) bool { return r.Hard })
}

func mostLagging(lag map[string]job.Lag) []string {
	names := make([]string, 0, len(lag))
	for n := range lag {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int {
		switch la, lb := lag[a].Seconds, lag[b].Seconds; {
		case la > lb:
			return -1
		case la < lb:
			return 1
		case a < b:
			return -1
		}
		return 1
	})
	return names[:min(len(names), maxReplicas)]
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
