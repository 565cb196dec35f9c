package throttle

import "time"

const (
	growthEarly = 0.4                    // of the room: a vacuum is begun there, so that it may be over before a hold
	growthStep  = 0.02                   // of the room, that a table may grow after a vacuum before the next is due
	growthLead  = 500 * time.Millisecond // until a hold has stopped the last batch
	growthSpan  = 200 * time.Millisecond // over which growth is measured
	growthBrief = time.Second            // a table that must wait again so soon after a vacuum has gained nothing by it
	growthPause = 10 * time.Minute       // at most, from a vacuum that freed nothing to the next
)

// GrowthBound keeps a table within a bound of its size: it says when a vacuum is due, and when a job must wait for one.
//
// What batches leave dead is space that later batches use, once a vacuum has freed it; the file of the table only ever grows. So the size
// alone tells: while freed space lasts it stands still, and where it grows again that space is used up. A vacuum is due when two fifths of the
// room is gone, and then whenever the table has grown by another fiftieth of it; batches go on meanwhile. They stop where they would
// reach the bound before a hold is in effect, until a vacuum has ended that could free space. Beyond the bound the room after each
// vacuum halves, so all of it together is no more than twice a fiftieth. What is written from where freed space is used up until a hold is in
// effect comes on top, after each vacuum; freed space grows with the table, so it comes ever more seldom.
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
	held    bool
	vain    int       // vacuums in a row that have freed nothing, as far as one sees
	lifted  time.Time // when a vacuum last ended a hold
	next    time.Time // when one may begin

	rate   float64 // bytes/s
	sized  float64
	sizeAt time.Time
}

// Step takes the size of a table at a time, and the bound, as a multiple of base. frees says whether a vacuum that began now could free a good
// part of what is dead; vacuuming, that one is under way. It returns whether the job must wait, and whether a vacuum is to begin.
func (g *GrowthBound) Step(at time.Time, base, most, size float64, frees, vacuuming bool) (hold, vacuum bool) {
	if base <= 0 || most <= 1 {
		*g = GrowthBound{}
		return false, false
	}
	room := base * (most - 1)
	if g.base != base || g.most != most {
		*g = GrowthBound{most: most, base: base, mark: base + growthEarly*room, slack: growthStep * room, sizeAt: g.sizeAt, sized: g.sized, rate: g.rate}
	}
	g.measure(at, size)
	top := max(base*most, g.settled+g.slack) - g.rate*growthLead.Seconds()
	was := g.held
	g.held = size > g.settled && (g.held || size >= top) // where it has not grown since, freed space is left
	if g.held && !was {
		g.again(at)
	}
	return g.held, (g.held || size >= g.mark) && frees && !vacuuming && !at.Before(g.next)
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

// Vacuumed takes note of the end of a vacuum that could free space, and of the size then.
func (g *GrowthBound) Vacuumed(at time.Time, size float64) {
	if g.base <= 0 {
		return
	}
	if g.held {
		g.lifted = at
	}
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
