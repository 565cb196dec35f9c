package coordinator

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

const (
	// silence is how long a worker may say nothing before its slots are given to others.
	silence = 3 * time.Second
	// forgotten is how long a worker that is gone is remembered, for what it did must not be counted twice if it comes back.
	forgotten = time.Minute
)

// roster knows which workers are here and what they have done, from what they say.
type roster struct {
	now func() time.Time

	mu      sync.Mutex
	workers map[string]heard
	done    map[job.ID]job.Work // since this roster began, by every worker
	moves   int64               // how often a slot came, went, took or ended a job's range, or began or ceased to wait for a lock
}

type heard struct {
	job.Hello
	at time.Time
}

func newRoster(now func() time.Time) *roster {
	return &roster{now: now, workers: map[string]heard{}, done: map[job.ID]job.Work{}}
}

func (r *roster) hear(h job.Hello) {
	if h.Version != job.ProtocolVersion {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	before, known := r.workers[h.Worker]
	if known {
		h.Work = r.count(before.Work, h.Work)
	}
	if known == h.Leaving || !maps.Equal(heldOf(before.Holding), heldOf(h.Holding)) {
		r.moves++
	}
	if h.Leaving {
		delete(r.workers, h.Worker)
		return
	}
	r.workers[h.Worker] = heard{h, now}
	for id, w := range r.workers {
		if now.Sub(w.at) > forgotten {
			delete(r.workers, id)
		}
	}
}

// heldOf is whose range each slot holds, and whether it waits; which range does not matter.
func heldOf(holding []job.Held) map[int]job.Held {
	m := map[int]job.Held{}
	for _, h := range holding {
		h.Range = 0
		m[h.Slot] = h
	}
	return m
}

// moved counts the changes that may call for another sharing out of leases.
func (r *roster) moved() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.moves
}

// count adds what a worker did between two of its announcements, and returns what it has done in all. An older word counts nothing.
func (r *roster) count(before, after []job.Work) []job.Work {
	all := slices.Clone(after)
	for i, w := range after {
		var old job.Work
		if at := slices.IndexFunc(before, func(b job.Work) bool { return b.Job == w.Job }); at >= 0 {
			old = before[at]
		}
		if w.Batches < old.Batches {
			all[i] = old
			continue
		}
		sum := r.done[w.Job]
		sum.Job = w.Job
		sum.Rows += w.Rows - old.Rows
		sum.Batches += w.Batches - old.Batches
		sum.Seconds += w.Seconds - old.Seconds
		r.done[w.Job] = sum
	}
	return all
}

// work returns what all workers have done of a job since this coordinator began to listen.
func (r *roster) work(id job.ID) job.Work {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done[id]
}

// present returns how many workers that reach a database were heard lately, and how many slots they have.
func (r *roster) present(database string) (workers, slots int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.workers {
		if r.now().Sub(w.at) <= silence && slices.Contains(w.Databases, database) {
			workers++
			slots += w.Slots
		}
	}
	return workers, slots
}

// members lists the workers that reach a database and were heard lately, by name.
func (r *roster) members(database string) []job.Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []job.Member{}
	for _, w := range r.workers {
		if r.now().Sub(w.at) <= silence && slices.Contains(w.Databases, database) {
			all = append(all, job.Member{Worker: w.Worker, Build: w.Build, Slots: w.Slots, Holding: slices.Clone(w.Holding)})
		}
	}
	slices.SortFunc(all, func(a, b job.Member) int { return strings.Compare(a.Worker, b.Worker) })
	return all
}

// waiting counts the slots whose range of one of these jobs waits for a lock.
func (r *roster) waiting(here map[job.ID]bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.workers {
		if r.now().Sub(w.at) > silence {
			continue
		}
		for _, held := range w.Holding {
			if held.Waits && here[held.Job] {
				n++
			}
		}
	}
	return n
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
