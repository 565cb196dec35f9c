package coordinator

import (
	"math"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

// speedTime is over how long the speed of a slot is averaged.
const speedTime = 10.0 // seconds

// progress follows what the fleet writes in one database, from what its workers tell.
type progress struct {
	rows    float64 // written since this began
	perSlot float64 // rows that a slot writes in a second of SQL time; 0: not known
	done    map[job.ID]job.Work
	at      time.Time

	recentRows, recentSeconds float64 // fading
}

func newProgress() *progress { return &progress{done: map[job.ID]job.Work{}} }

// note takes the counts of the jobs that are active.
func (p *progress) note(now time.Time, active []job.Job, work func(job.ID) job.Work) {
	keep := math.Exp(-now.Sub(p.at).Seconds() / speedTime)
	p.at = now
	p.recentRows, p.recentSeconds = p.recentRows*keep, p.recentSeconds*keep
	next := map[job.ID]job.Work{}
	for _, j := range active {
		w := work(j.ID)
		next[j.ID] = w
		old, known := p.done[j.ID]
		if !known {
			continue
		}
		p.rows += float64(w.Rows - old.Rows)
		p.recentRows += float64(w.Rows - old.Rows)
		p.recentSeconds += w.Seconds - old.Seconds
	}
	p.done = next
	if p.recentSeconds > 0.1 && p.recentRows > 0 {
		p.perSlot = p.recentRows / p.recentSeconds
	}
}
