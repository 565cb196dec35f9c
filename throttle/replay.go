package throttle

import (
	"math"
	"time"
)

const (
	baseCap    = 2.0             // seconds; what is beyond is a backlog and no distance
	baseWindow = time.Second     // in which a replica shows its delay
	baseLearn  = 3 * time.Second // of a trickle at most, while the base delay is not known
	rateWindow = 200 * time.Millisecond
	rateLeast  = 100 * time.Millisecond
	busyLeast  = 0.3             // seconds of work that tell how fast a replica replays
	busyOldest = 2 * time.Second // what is older tells of another time
	emptyQueue = 0.02            // seconds; what is less is no backlog
	trailSpan  = 4 * time.Second // more than baseCap and every window
	rateFade   = 60.0            // seconds in which the memory of a fast replay fades
	aheadMost  = 3600.0          // seconds
)

// replays follows how each member that is there replays the primary's WAL. Both loops of the [Governor] look at the same one.
type replays struct {
	readAt  time.Time
	wal     trail
	members map[string]*replay
}

// replay is what is known of one member since it connected.
//
// The base delay is what lies between a commit and its report when nothing queues: distance, and how often the replica reports.
// It must not learn our own queue, so it only ever falls: it is the least, over windows of a second in which WAL flowed, of the
// greatest lag in the window. A plain least reading would be 0 wherever WAL comes in single batches, for in between everything is replayed.
type replay struct {
	name    string
	since   time.Time // the first reading of this connection
	state   string
	base    float64   // seconds
	based   bool      // base was learned
	lag     float64   // seconds, as read
	open    float64   // bytes that the primary has written and that it has not reported as replayed
	backlog float64   // bytes beyond what its base delay holds on the way; 0 where positions are not read
	rate    float64   // bytes per second that it replayed lately, and while it had a backlog
	queued  time.Time // since when it has a backlog; zero: it has none
	fastest float64   // bytes per second that it is known to replay, fading

	// For the outer loop, since its last step.
	least float64  // bytes: the shortest backlog
	slope float64  // bytes per second replayed
	from  mark     // where it stood then
	busy  busyness // what it replayed while its queue was not empty between two readings, lately
	fresh bool     // it has taken no step yet

	pos  trail
	lags []mark // readings of the last second
}

// busyness is what was replayed in the time in which there was something to replay.
type busyness struct {
	since   time.Time // of the oldest part
	seconds float64
	bytes   float64
}

// rate is the replay in bytes per second; known is false where there was too little of it to tell.
func (b busyness) rate() (rate float64, known bool) {
	if b.seconds < busyLeast {
		return 0, false
	}
	return b.bytes / b.seconds, true
}

// step takes a sample's members, if they were read since the last step.
func (r *replays) step(s Sample) {
	if !s.ReadAt.After(r.readAt) {
		return
	}
	r.readAt = s.ReadAt
	if s.WALPos < r.wal.value() {
		r.members = nil // another history: after a failover nothing is as it was
	}
	r.wal.add(s.ReadAt, s.WALPos, trailSpan)
	present := map[string]*replay{}
	for _, m := range s.Members {
		if m.Missing || m.State == "" {
			continue
		}
		t := r.members[m.Name]
		if t == nil || t.state != m.State && m.State == "streaming" {
			t = &replay{name: m.Name, since: s.ReadAt, fresh: true, least: math.Inf(1), from: mark{s.ReadAt, m.Pos}}
		}
		t.step(m, &r.wal, s.ReadAt)
		present[m.Name] = t
	}
	r.members = present
}

func (t *replay) step(m Member, wal *trail, at time.Time) {
	t.state, t.lag = m.State, m.Lag
	if math.IsNaN(t.lag) {
		t.lag = math.Inf(1)
	}
	// Where a replica is asked itself and does not answer once, its position is that of an older report.
	pos := max(m.Pos, t.pos.value())
	t.pos.add(at, pos, trailSpan)
	t.learnBase(wal, at)

	t.open = max(0, wal.value()-pos)
	t.backlog = max(0, wal.at(at.Add(-toDuration(t.base)))-pos)
	dt, gain := 0.0, 0.0
	if n := len(t.pos.points); n > 1 {
		dt, gain = at.Sub(t.pos.points[n-2].at).Seconds(), pos-t.pos.points[n-2].value
	}
	worked := !t.queued.IsZero() // at the reading before
	t.fastest = max(t.pos.rate(rateWindow), t.fastest*(1-min(1, dt/rateFade)))
	switch {
	case t.backlog <= emptyQueue*t.fastest:
		t.queued = time.Time{}
	case t.queued.IsZero():
		t.queued = at
	}
	if worked && !t.queued.IsZero() {
		if t.busy.since.IsZero() {
			t.busy.since = at
		}
		t.busy.seconds, t.busy.bytes = t.busy.seconds+dt, t.busy.bytes+gain
	}
	t.rate = t.pos.rate(rateWindow)
	if !t.queued.IsZero() {
		t.rate = t.pos.rate(min(rateWindow, at.Sub(t.queued)))
	}
	t.least = min(t.least, t.backlog)
	if dt := at.Sub(t.from.at).Seconds(); dt > 0 {
		t.slope = (pos - t.from.value) / dt
	}
}

// restart begins a step of the outer loop.
func (t *replay) restart() {
	t.fresh, t.least, t.from = false, t.backlog, mark{t.pos.last(), t.pos.value()}
	if _, known := t.busy.rate(); known || t.pos.last().Sub(t.busy.since) > busyOldest {
		t.busy = busyness{}
	}
}

func (t *replay) learnBase(wal *trail, at time.Time) {
	t.lags = append(t.lags, mark{at, t.lag})
	old := 0
	for old+1 < len(t.lags) && at.Sub(t.lags[old+1].at) >= baseWindow {
		old++
	}
	t.lags = t.lags[:copy(t.lags, t.lags[old:])]
	if !wal.moves(baseWindow) || !t.pos.moves(baseWindow) || at.Sub(t.lags[0].at) < baseWindow {
		return
	}
	most := 0.0
	for _, l := range t.lags {
		most = max(most, l.value)
	}
	if !t.based || most < t.base {
		t.based, t.base = true, min(most, baseCap)
	}
}

// behind is the queue in seconds: the lag above the base delay.
func (t *replay) behind() float64 { return max(0, t.lag-t.base) }

// ahead is the queue that the WAL written last will see, in seconds: the backlog over the rate at which it is replayed now. It
// tells of a replay that slowed or stopped before the lag does. Reports come in steps, so a backlog of less than least seconds, by
// its known speed and by its lag, or one that is younger than rateLeast, tells nothing.
func (t *replay) ahead(least float64) float64 {
	if t.queued.IsZero() || t.backlog <= least*t.fastest || t.behind() <= least || t.pos.last().Sub(t.queued) < rateLeast {
		return 0
	}
	rate := max(t.rate, t.fastest/100)
	if coming := t.coming(rate); coming < aheadMost*rate {
		return coming / rate
	}
	return aheadMost // of a replica that never replayed anything it would be endless, and that is no number to tell
}

// coming is the queue, in bytes, that stands when all that is on the way has arrived, at a rate of replay.
func (t *replay) coming(rate float64) float64 { return max(0, t.open-t.base*rate) }

// learning reports whether the base delay is not to be believed yet: it ends with the first window in which WAL flowed.
func (t *replay) learning(now time.Time) bool { return !t.based && now.Sub(t.since) < baseLearn }

func toDuration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
