package worker

import (
	"slices"
	"sync"
	"time"
)

// tripsKept is how many questions an estimate goes by: as many as are asked in this many seconds.
const tripsKept = 10

// trips estimates how long a question to a database and its answer are on the way, from questions that cost the server nothing: as long
// as the quickest of the last ones. Its zero value is ready, and knows of no way.
type trips struct {
	mu   sync.Mutex
	last []time.Duration
}

// add tells how long a question took.
func (t *trips) add(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) == tripsKept {
		t.last = t.last[1:]
	}
	t.last = append(t.last, took)
}

// without is what a statement that took so long took in the server.
func (t *trips) without(took time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.last) == 0 {
		return took
	}
	return max(0, took-slices.Min(t.last))
}
