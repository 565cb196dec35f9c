package observe

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/backfleet/backfleet/internal/job"
)

type worker struct {
	read func() job.WorkerView

	slots, busy, reachable, budget, rows, batches, took *prometheus.Desc
}

// ThisWorker exports what one worker process does. There is no label of a job: a worker outlives many.
func ThisWorker(read func() job.WorkerView) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("backfleet_worker_"+name, help, labels, nil)
	}
	return &worker{
		read:      read,
		slots:     desc("slots", "Ranges that this worker may carry at once."),
		busy:      desc("slots_busy", "Ranges that it carries now."),
		reachable: desc("database_reachable", "1 where the database answers this worker.", "database"),
		budget:    desc("budget_timestamp_seconds", "When the last budget was heard; no batch starts 3 s later. Absent before the first.", "database"),
		rows:      desc("rows_written_total", "Rows written by batches that this process committed.", "database"),
		batches:   desc("batches_total", "Batches that this process committed.", "database"),
		took:      desc("batch_seconds_total", "Seconds of SQL time that those batches took.", "database"),
	}
}

// Describe implements prometheus.Collector.
func (c *worker) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.slots, c.busy, c.reachable, c.budget, c.rows, c.batches, c.took} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *worker) Collect(ch chan<- prometheus.Metric) {
	emit := func(kind prometheus.ValueType, d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	v := c.read()
	emit(prometheus.GaugeValue, c.slots, float64(v.Slots))
	emit(prometheus.GaugeValue, c.busy, float64(v.Busy))
	for database, in := range v.Databases {
		emit(prometheus.GaugeValue, c.reachable, truth(in.Reachable), database)
		if !in.Budget.IsZero() {
			emit(prometheus.GaugeValue, c.budget, seconds(in.Budget), database)
		}
		emit(prometheus.CounterValue, c.rows, float64(in.Work.Rows), database)
		emit(prometheus.CounterValue, c.batches, float64(in.Work.Batches), database)
		emit(prometheus.CounterValue, c.took, in.Work.Seconds, database)
	}
}
