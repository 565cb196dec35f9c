package observe

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/backfleet/backfleet/internal/job"
)

// Readings is what one database's signals said last, what reading them took, and how many slots may follow from them.
type Readings struct {
	Signals []job.Signal
	Costs   []job.ReadCost
	Wanted  *int // nil: not known
}

type signals struct {
	read                              func() map[string]Readings
	value, blind, reads, cost, wanted *prometheus.Desc
}

// Signals exports what is read of the databases that are led here, by database. Of several readings of one signal the first is shown.
// Their number is bounded by the builtin signals and the checks of the jobs.
func Signals(read func() map[string]Readings) prometheus.Collector {
	desc := func(name, help, label string) *prometheus.Desc {
		return prometheus.NewDesc("backfleet_"+name, help, []string{"database", label}, nil)
	}
	return &signals{
		read:  read,
		value: desc("signal_value", "Last reading of a signal, in the unit that backfleet throttle show tells; absent where there was none.", "signal"),
		blind: desc("signal_blind", "1 where the last attempt to read a signal failed.", "signal"),
		reads: desc("signal_reads_total", "Readings of a source of signals since this coordinator leads.", "source"),
		cost:  desc("signal_read_seconds_total", "Seconds that readings of a source took, on the server and on the way to it.", "source"),
		wanted: prometheus.NewDesc("backfleet_wanted_slots", "Slots of workers that the database's jobs could use of its budget now; 0 while it is held. "+
			"Scale the fleet by it. Absent where another coordinator leads.", []string{"database"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *signals) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.value, c.blind, c.reads, c.cost, c.wanted} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *signals) Collect(ch chan<- prometheus.Metric) {
	for database, r := range c.read() {
		if r.Wanted != nil {
			ch <- prometheus.MustNewConstMetric(c.wanted, prometheus.GaugeValue, float64(*r.Wanted), database)
		}
		shown := map[*prometheus.Desc]map[string]bool{}
		emit := func(kind prometheus.ValueType, d *prometheus.Desc, v float64, label string) {
			if shown[d] == nil {
				shown[d] = map[string]bool{}
			}
			if !shown[d][label] { // twice would spoil the whole scrape
				shown[d][label] = true
				ch <- prometheus.MustNewConstMetric(d, kind, v, database, label)
			}
		}
		for _, s := range r.Signals {
			if !s.At.IsZero() {
				emit(prometheus.GaugeValue, c.value, s.Value, s.Name)
			}
			emit(prometheus.GaugeValue, c.blind, truth(s.Error != ""), s.Name)
		}
		for _, k := range r.Costs {
			emit(prometheus.CounterValue, c.reads, float64(k.Reads), k.Source)
			emit(prometheus.CounterValue, c.cost, k.Seconds, k.Source)
		}
	}
}
