package watch

import (
	"maps"
	"time"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
)

// kept is how many points a sparkline remembers, one a reading.
const kept = 120

// history is the course of rates and lags, for sparklines. Its methods leave the receiver as it is.
type history struct {
	rates map[job.ID][]float64
	lags  map[string][]float64 // by database and replica
	rows  map[job.ID]counted   // for a rate where nobody tells it
}

type counted struct {
	rows int64
	at   time.Time
}

func lagKey(database, replica string) string { return database + "/" + replica }

// with adds what the facts tell.
func (h history) with(f facts) history {
	next := history{rates: map[job.ID][]float64{}, lags: map[string][]float64{}, rows: map[job.ID]counted{}}
	for _, j := range f.jobs {
		if j.Progress == nil {
			continue
		}
		now := counted{j.Progress.Rows, f.at}
		next.rates[j.ID] = appended(h.rates[j.ID], h.rate(j, now))
		next.rows[j.ID] = now
	}
	for _, db := range f.databases {
		for name, lag := range lagsOf(db) {
			key := lagKey(db.Name, name)
			next.lags[key] = appended(h.lags[key], lag.Seconds)
		}
	}
	return next
}

// rate is a job's rate as its leader tells it, else as its rows tell.
func (h history) rate(j api.JobLine, now counted) float64 {
	before, known := h.rows[j.ID]
	seconds := now.at.Sub(before.at).Seconds()
	switch {
	case j.Progress.Live:
		return j.Progress.Rate
	case !known || seconds <= 0:
		return 0
	}
	return max(float64(now.rows-before.rows)/seconds, 0)
}

// last is the newest point of a job's rate.
func (h history) last(id job.ID) float64 {
	if all := h.rates[id]; len(all) > 0 {
		return all[len(all)-1]
	}
	return 0
}

// appended is a copy with one more point, without those that are too old.
func appended(all []float64, v float64) []float64 {
	all = all[max(0, len(all)-kept+1):]
	next := make([]float64, len(all), len(all)+1)
	copy(next, all)
	return append(next, v)
}

func lagsOf(db api.DatabaseHealth) map[string]job.Lag {
	if db.Fleet == nil {
		return nil
	}
	return maps.Clone(db.Fleet.Lag)
}
