package coordinator

import (
	"slices"
	"sync"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// silence is how long a worker may say nothing before its slots are given to others.
const silence = 3 * time.Second

// roster knows which workers are here, from what they say every second.
type roster struct {
	now func() time.Time

	mu      sync.Mutex
	workers map[string]heard
}

type heard struct {
	job.Hello
	at time.Time
}

func newRoster(now func() time.Time) *roster { return &roster{now: now, workers: map[string]heard{}} }

func (r *roster) hear(h job.Hello) {
	if h.Version != job.ProtocolVersion {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if h.Leaving {
		delete(r.workers, h.Worker)
		return
	}
	r.workers[h.Worker] = heard{h, now}
	for id, w := range r.workers {
		if now.Sub(w.at) > time.Minute {
			delete(r.workers, id)
		}
	}
}

// slots lists the slots that can serve a database, without those that carry a range of a job elsewhere, and says which slots hold a
// range of which job.
func (r *roster) slots(database string, here map[job.ID]bool) (slots []throttle.Slot, holding map[job.ID][]throttle.Slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	holding = map[job.ID][]throttle.Slot{}
	for _, w := range r.workers {
		if r.now().Sub(w.at) > silence || !slices.Contains(w.Databases, database) {
			continue
		}
		elsewhere := map[int]bool{}
		for _, held := range w.Holding {
			slot := throttle.Slot{Worker: w.Worker, Slot: held.Slot}
			if here[held.Job] {
				holding[held.Job] = append(holding[held.Job], slot)
			} else {
				elsewhere[held.Slot] = true
			}
		}
		for i := range w.Slots {
			if !elsewhere[i] {
				slots = append(slots, throttle.Slot{Worker: w.Worker, Slot: i})
			}
		}
	}
	return slots, holding
}
