package throttle

import (
	"math"
	"time"
)

const (
	growthEarly = 0.4                    // of the room: a vacuum is begun there, so that it may be over before a hold
	growthLate  = 0.4                    // of the room, that is left: the same where freed space is used up
	growthStep  = 0.02                   // of the room, that a table may grow after a vacuum before the next is due
	growthLead  = 500 * time.Millisecond // until a hold has stopped the last batch
	growthSpan  = 200 * time.Millisecond // over which growth is measured
	growthBrief = time.Second            // a table that must wait again so soon after a vacuum has gained nothing by it
	growthPause = 10 * time.Minute       // at most, from a vacuum that freed nothing to the next
	growthNear  = 0.005                  // of the room: so near to the bound a job waits, and does not crawl on
	// growthReach is how long a fleet may write by what one look has found: until the rows are known that it has written, until a budget
	// goes out, for as long as one is trusted without a leader, and what a limiter lets pass at once.
	growthReach = 5 * time.Second
)

// Heap is what a table is made of at a time.
type Heap struct {
	Base, Size float64 // bytes: at the freeze, and now
	Rows       float64 // in the table; 0: not known
	Written    float64 // rows, by the job; it may be a second old
}

// GrowthBound keeps a table within a bound of its size: it says when a vacuum is due, and when a job must wait for one.
//
// What batches leave dead is space that later batches use, once a vacuum has freed it; the file of the table only ever grows. So the size
// tells whether freed space lasts, and the rows written since a vacuum began tell how much of it. A vacuum is due when two fifths of the
// room is gone, then when three fifths of what one freed is, or the table has grown by another fiftieth; batches go on meanwhile. They stop
// where they would reach the bound before a hold is in effect, until a vacuum has ended that could free space. Beyond the bound the room after
// each vacuum halves, so all of it together is no more than twice a fiftieth for each leader.
//
// A job is never faster than what room and freed space take in five seconds, so that the bound holds where the leader dies and the fleet
// goes on for three seconds that nobody watches. That a row stays as wide as it was is assumed here; where it does not, a hold has to do.
//
// A vacuum that freed nothing, for a reason that nobody knew, lets the job go on for a moment only. The next one then waits, each time twice
// as long, so that the table does not grow without end.
//
// Sizes are in bytes. It is not safe for concurrent use; the zero value is ready.
type GrowthBound struct {
	most    float64
	base    float64
	mark    float64 // where the next vacuum is due
	settled float64 // the size at the end of the last vacuum that freed space
	slack   float64 // that the table may grow from there
	cleaned bool
	clean   float64 // rows written of which no dead one is left
	held    bool
	vain    int       // vacuums in a row that have freed nothing, as far as one sees
	lifted  time.Time // when a vacuum last ended a hold
	next    time.Time // when one may begin

	rate   float64 // bytes/s
	sized  float64
	sizeAt time.Time
}

// Step takes a table at a time, and the bound, as a multiple of its base. frees says whether a vacuum that began now could free a good
// part of what is dead; vacuuming, that one is under way. It returns whether the job must wait, and whether a vacuum is to begin.
func (g *GrowthBound) Step(at time.Time, h Heap, most float64, frees, vacuuming bool) (hold, vacuum bool) {
	base, size := h.Base, h.Size
	if base <= 0 || most <= 1 {
		*g = GrowthBound{}
		return false, false
	}
	room := base * (most - 1)
	if g.base != base || g.most != most {
		*g = GrowthBound{most: most, base: base, mark: base + growthEarly*room, slack: growthStep * room, sizeAt: g.sizeAt, sized: g.sized, rate: g.rate}
	}
	g.measure(at, size)
	was, near, left := g.held, growthNear*min(room, g.slack/growthStep), g.room(h)
	if size > g.settled || left <= near { // else freed space is left
		g.held = g.held || left <= max(near, g.rate*growthLead.Seconds())
	} else {
		g.held = false
	}
	if g.held && !was {
		g.again(at)
	}
	return g.held, (g.held || size >= g.mark || g.cleaned && left <= growthLate*room) && frees && !vacuuming && !at.Before(g.next)
}

// room is how much the job may write, in bytes of the rows as they were, until a vacuum must have ended: what the table may grow, and as long as
// it has not grown since the last vacuum what that has freed.
func (g *GrowthBound) room(h Heap) float64 {
	room := max(g.base*g.most, g.settled+g.slack) - h.Size
	if g.cleaned && h.Rows > 0 && h.Size <= g.settled {
		room = max(room, g.base*(g.most-1)-g.base/h.Rows*(h.Written-g.clean))
	}
	return room
}

// RowsPerSec is how fast the job may write so that the bound holds although nobody watches it for a while; +Inf: as fast as it can. It goes by the
// bound of the last step.
func (g *GrowthBound) RowsPerSec(h Heap) float64 {
	if g.base <= 0 || h.Rows <= 0 {
		return math.Inf(1)
	}
	return max(0, g.room(h)*h.Rows/g.base/growthReach.Seconds())
}

// again takes note of a hold that begins.
func (g *GrowthBound) again(at time.Time) {
	if g.lifted.IsZero() || at.Sub(g.lifted) > growthBrief {
		g.vain, g.next = 0, time.Time{}
		return
	}
	g.vain++
	g.next = at.Add(min(time.Second<<min(g.vain-1, 10), growthPause))
}

// Vain says how many vacuums in a row have freed nothing, as far as one sees, and when the next may begin.
func (g *GrowthBound) Vain() (vacuums int, next time.Time) { return g.vain, g.next }

// Vacuumed takes note of the end of a vacuum that could free a part of what was dead when it began, in (0, 1], with the rows that the job had written
// by then, and of the size at its end.
func (g *GrowthBound) Vacuumed(at time.Time, size, freed, written float64) {
	if g.base <= 0 {
		return
	}
	if g.held {
		g.lifted = at
	}
	g.cleaned = g.cleaned || freed >= 1
	g.clean += freed * (written - g.clean)
	room := g.base * (g.most - 1)
	if g.settled >= g.base*g.most {
		g.slack /= 2
	}
	g.settled, g.held, g.rate = size, false, 0
	g.mark = max(g.mark, size) + growthStep*room
}

// measure follows how fast the table grows. A job that waits learns nothing of it.
func (g *GrowthBound) measure(at time.Time, size float64) {
	if g.sizeAt.IsZero() {
		g.sizeAt, g.sized = at, size
		return
	}
	span := at.Sub(g.sizeAt)
	if g.held || span < growthSpan {
		if g.held {
			g.sizeAt, g.sized = at, size
		}
		return
	}
	g.rate = max(0, (size-g.sized)/span.Seconds())
	g.sizeAt, g.sized = at, size
}

// Frees is the part of what died since transaction from that a vacuum could free now: all of it where nobody holds a snapshot that old, none
// where one holds all. Transactions are counted without their wrap-around; held 0 is nobody.
func Frees(from, now, held int64) float64 {
	switch {
	case held == 0 || held >= now:
		return 1
	case held <= from:
		return 0
	}
	return float64(held-from) / float64(now-from)
}
