package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/backfleet/backfleet/internal/job"
)

type fleets struct {
	read func() map[string]*job.Fleet

	leader, epoch, workers, slots, budget, leases, held, heldSince, lastRead, compared, missing, lost, expired *prometheus.Desc
}

// Fleets exports what is known of the fleet of each database that this process may lead. Where another leads there is nothing but
// that: the figures are the leader's to tell.
func Fleets(read func() map[string]*job.Fleet) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("backfleet_"+name, help, []string{"database"}, nil)
	}
	return &fleets{
		read:      read,
		leader:    desc("leader", "1 where this coordinator leads the database, 0 where it stands by."),
		epoch:     desc("leader_epoch", "Epoch of this leadership; each change of leader raises it."),
		workers:   desc("workers", "Workers that were heard lately and reach the database."),
		slots:     desc("slots", "Slots of those workers."),
		budget:    desc("budget_rows_per_second", "Rows a second that the governor allows the database's fleet now; 0 while it is held, absent where nothing limits them."),
		leases:    desc("leases", "Leases of that budget that workers have now."),
		held:      desc("held", "1 while a hold stops every batch of the database."),
		heldSince: desc("held_since_timestamp_seconds", "When that hold began; absent while there is none."),
		lastRead:  desc("lag_last_read_timestamp_seconds", "When the replicas' lag was last read; before the first time, when this leadership began."),
		compared:  desc("stream_last_compared_timestamp_seconds", "When ledger and stream were last compared in full; absent before the first time."),
		missing:   desc("stream_missing_messages", "Released ranges whose message that comparison did not find in the stream."),
		lost:      desc("stream_lost_messages_total", "Ranges that went out anew because their message was not in the stream, since this coordinator leads."),
		expired:   desc("leases_expired_total", "Ranges taken back because their worker's lease ran out, since this coordinator leads."),
	}
}

// Describe implements prometheus.Collector.
func (c *fleets) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.leader, c.epoch, c.workers, c.slots, c.budget, c.leases, c.held, c.heldSince, c.lastRead, c.compared, c.missing, c.lost, c.expired,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *fleets) Collect(ch chan<- prometheus.Metric) {
	for database, f := range c.read() {
		emit := func(kind prometheus.ValueType, d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, kind, v, database)
		}
		when := func(d *prometheus.Desc, at time.Time) {
			if !at.IsZero() {
				emit(prometheus.GaugeValue, d, seconds(at))
			}
		}
		emit(prometheus.GaugeValue, c.leader, truth(f != nil))
		if f == nil {
			continue
		}
		emit(prometheus.GaugeValue, c.epoch, float64(f.Epoch))
		emit(prometheus.GaugeValue, c.workers, float64(f.Workers))
		emit(prometheus.GaugeValue, c.slots, float64(f.Slots))
		if b := f.Share; b.Decided && (b.Hold || b.Rate > 0) {
			emit(prometheus.GaugeValue, c.budget, b.Rate)
		}
		emit(prometheus.GaugeValue, c.leases, float64(len(f.Share.Leases)))
		emit(prometheus.GaugeValue, c.held, truth(!f.HeldSince.IsZero()))
		when(c.heldSince, f.HeldSince)
		when(c.lastRead, f.Read)
		when(c.compared, f.Stream.Compared)
		emit(prometheus.GaugeValue, c.missing, float64(f.Stream.Missing))
		emit(prometheus.CounterValue, c.lost, float64(f.Stream.Lost))
		emit(prometheus.CounterValue, c.expired, float64(f.Stream.Expired))
	}
}

// seconds is a time as Prometheus writes it.
func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }
