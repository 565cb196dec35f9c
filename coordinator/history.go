package coordinator

import (
	"context"
	"maps"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// sizesEvery is how often a job's table is measured: a table of many files takes its time.
const sizesEvery = 30 * time.Second

// historian tells, for the history of each job, what was done between two samples and how the table stands.
type historian struct {
	*leadership
	jobs map[job.ID]*chapter
}

// chapter is what the historian remembers of one job.
type chapter struct {
	at           time.Time
	work         job.Work
	sized        time.Time
	table, index *int64
}

func newHistorian(l *leadership) *historian { return &historian{l, map[job.ID]*chapter{}} }

// keep forgets the jobs that are not open any more.
func (h *historian) keep(open map[job.ID]bool) {
	maps.DeleteFunc(h.jobs, func(id job.ID, _ *chapter) bool { return !open[id] })
}

// moment is what is known of a job now.
func (h *historian) moment(ctx context.Context, now time.Time, st job.Status, live Live) job.Moment {
	c := h.jobs[st.ID]
	if c == nil {
		c = &chapter{}
		h.jobs[st.ID] = c
	}
	m := job.Moment{Lags: map[string]float64{}, Why: live.Limiting, ETA: live.ETA, Budget: live.Budget, Slots: live.Leases}
	for name, lag := range live.Lag {
		m.Lags[name] = lag.Seconds
	}
	if live.Stream != nil {
		m.Pending, m.AckPending = &live.Stream.Pending, live.Stream.AckPending
	}
	m.Batch = c.batches(now, h.c.roster.work(st.ID))
	for _, s := range h.gov.signals() {
		if s.Name == throttle.SignalHOTRatio && s.Error == "" && !s.At.IsZero() {
			ratio := finite(s.Value)
			m.HOT = &ratio
		}
	}
	if now.Sub(c.sized) >= sizesEvery {
		c.sized = now
		if table, index, err := h.gov.ledger.Sizes(ctx, st.ID); err == nil { // else the size of before stands: it is only shown
			c.table, c.index = &table, &index
		}
	}
	m.TableBytes, m.IndexBytes = c.table, c.index
	return m
}

// batches is the mean of those that ended since the call before; nil where none did, or there was no call before.
func (c *chapter) batches(now time.Time, work job.Work) *job.BatchMean {
	before, since := c.work, now.Sub(c.at).Seconds()
	first := c.at.IsZero()
	c.at, c.work = now, work
	n := float64(work.Batches - before.Batches)
	if first || n <= 0 || since <= 0 {
		return nil
	}
	return &job.BatchMean{PerSecond: n / since, Rows: float64(work.Rows-before.Rows) / n, Seconds: (work.Seconds - before.Seconds) / n}
}
