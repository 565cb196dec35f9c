package coordinator

import (
	"sync"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// calendars are the jobs' windows, read once a revision: a time zone is a file.
type calendars struct {
	mu    sync.Mutex
	known map[job.ID]calendar
	set   job.DatabaseRules
}

type calendar struct {
	revision int64
	schedule throttle.Schedule
	err      error
}

// override takes what a person set for the database.
func (c *calendars) override(set job.DatabaseRules) {
	c.mu.Lock()
	c.set = set
	c.mu.Unlock()
}

// of is when a job may run, and how fast.
func (c *calendars) of(j job.Job) (throttle.Schedule, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	have, ok := c.known[j.ID]
	if !ok || have.revision != j.Revision {
		have.revision = j.Revision
		have.schedule, have.err = j.Limits.Schedule()
		if c.known == nil {
			c.known = map[job.ID]calendar{}
		}
		c.known[j.ID] = have
	}
	return c.set.Apply(have.schedule), have.err
}
