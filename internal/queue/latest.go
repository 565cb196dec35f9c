package queue

import (
	"sync"

	"github.com/backfleet/backfleet/internal/job"
)

// Latest keeps the newest control of each job name: see [job.Control.Newer]. It is safe for concurrent use,
// and its zero value is ready.
type Latest struct {
	mu   sync.Mutex
	kept map[[2]string]job.Control
}

// Offer keeps ctl unless a newer one is kept already, and reports whether it was news: neither older nor the same.
func (l *Latest) Offer(ctl job.Control) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := [2]string{ctl.Database, ctl.Name}
	if have, ok := l.kept[key]; ok && !ctl.Newer(have) {
		return false
	}
	if l.kept == nil {
		l.kept = map[[2]string]job.Control{}
	}
	l.kept[key] = ctl
	return true
}

// Get returns the newest control offered for a job name on a database.
func (l *Latest) Get(database, name string) (job.Control, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctl, ok := l.kept[[2]string{database, name}]
	return ctl, ok
}
