package coordinator

import (
	"fmt"
	"math"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle"
)

// terms are one job's own limits, within what its database can bear.
type terms struct {
	job     job.Job
	factor  float64      // of the rate, by its windows
	most    float64      // rows/s; 0: no cap
	reasons []job.Reason // of what limits it by its own terms, the tightest first
}

// supply is what is known of the fleet that serves a job.
type supply struct {
	slots   int
	perSlot float64 // rows that a slot writes in a second; 0: not known
	perRow  float64 // bytes of WAL a row
	most    float64 // rows/s that the caps of the database allow; 0: none
}

// capped is the least of what caps in rows and in WAL allow in rows/s; 0: no cap.
func (s supply) capped(rows int, wal job.Bytes) float64 {
	most := math.Inf(1)
	if rows > 0 {
		most = float64(rows)
	}
	if wal > 0 && s.perRow > 0 {
		most = min(most, math.Max(1, float64(wal)/s.perRow))
	}
	if math.IsInf(most, 1) {
		return 0
	}
	return most
}

// speed is what the fleet could write of a job in a second if nothing limited it; 0: not known.
func (s supply) speed(j job.Job) float64 {
	return s.perSlot * float64(min(s.slots, j.Limits.Workers.Max))
}

// termsOf works out a job's limits at a time. A schedule that cannot be read, for which err stands, lets nothing run.
func termsOf(j job.Job, schedule throttle.Schedule, err error, now time.Time, d throttle.Decision, s supply) terms {
	t := terms{job: j, factor: 1}
	if err != nil { // submit and set have refused it
		t.factor = 0
		t.reasons = []job.Reason{{Signal: "window", Hard: true, Text: "throttle.windows cannot be read: " + err.Error()}}
		return t
	}
	var why string
	if t.factor, why = schedule.At(now); t.factor < 1 {
		r := job.Reason{Signal: "window", Observed: t.factor, Threshold: 1, Text: why}
		if t.factor <= 0 {
			t.reasons = []job.Reason{r}
			return t
		}
		// A part of what the database bears; where nothing limits that, of what the slots can write.
		whole := d.RowsPerSec
		if speed := s.speed(j); whole == 0 || speed > 0 && speed < whole {
			whole = speed
		}
		if whole > 0 {
			t.limit(t.factor*whole, r)
		}
	}
	if rows := j.Limits.Throttle.MaxRowsPerSecond; rows > 0 {
		t.limit(float64(rows), job.Reason{Signal: "cap", Threshold: float64(rows), Text: fmt.Sprintf("throttle.max_rows_per_second %d", rows)})
	}
	if wal := float64(j.Limits.Throttle.MaxWALBytesPerSecond); wal > 0 && s.perRow > 0 {
		rate := math.Max(1, wal/s.perRow)
		t.limit(rate, job.Reason{Signal: "wal cap", Threshold: wal, Text: fmt.Sprintf("throttle.max_wal_bytes_per_second %s is %.0f rows/s at %.0f bytes of WAL a row",
			j.Limits.Throttle.MaxWALBytesPerSecond, rate, s.perRow)})
	}
	return t
}

// growing are the terms of a job whose table may grow no faster than this. One that has to wait waits, whatever else may limit it.
func (t terms) growing(a allowance, s supply) terms {
	switch speed := s.speed(t.job); {
	case a.rate == 0:
		t.factor, t.reasons = 0, append([]job.Reason{a.why}, t.reasons...)
	case math.IsInf(a.rate, 1), speed > 0 && a.rate >= speed:
	case t.factor > 0:
		t.limit(a.rate, a.why)
	}
	return t
}

// limit bounds the rate, in rows/s.
func (t *terms) limit(rate float64, why job.Reason) {
	if t.most == 0 || rate < t.most {
		t.most = rate
		t.reasons = append([]job.Reason{why}, t.reasons...)
	}
}

// explain says what holds the job back, the binding cause first, and what part of what it could do is lost to that.
func (t terms) explain(d throttle.Decision, given int, rate float64, s supply) (why []job.Reason, lost float64) {
	shared := reasons(d.Reasons)
	switch {
	case d.Hold:
		return shared, 1
	case t.factor <= 0:
		return append(t.reasons, shared...), 1
	case s.slots == 0:
		return append([]job.Reason{{Signal: "workers", Text: "no worker is connected"}}, shared...), 1
	case given == 0:
		return append([]job.Reason{{Signal: "workers", Observed: float64(s.slots),
			Text: fmt.Sprintf("no slot is free: other jobs have all %d, or no range is ready", s.slots)}}, shared...), 1
	}
	capacity := s.speed(t.job)
	lost = throttle.Lost(rate, capacity)
	slots := job.Reason{Signal: "workers", Observed: float64(given), Text: fmt.Sprintf("%d slots, each at its batch target", given)}
	if given >= t.job.Limits.Workers.Max {
		slots = job.Reason{Signal: "workers", Observed: float64(given), Threshold: float64(t.job.Limits.Workers.Max),
			Text: fmt.Sprintf("workers.max %d", t.job.Limits.Workers.Max)}
	}
	switch full := rate == 0 || capacity > 0 && rate >= capacity; {
	case full && !scarce(d, given): // every slot at its speed: only more slots would help
		return append(append([]job.Reason{slots}, t.reasons...), shared...), lost
	case t.most > 0 && rate >= 0.99*t.most:
		return append(append(t.reasons, shared...), slots), lost
	case len(shared) > 0:
		return append(append(shared, t.reasons...), slots), lost
	}
	return append(append(t.reasons, slots), shared...), lost
}

// scarce reports that the governor gives the fleet fewer slots than there are.
func scarce(d throttle.Decision, given int) bool {
	return d.Slots > 0 && given >= d.Slots && len(d.Reasons) > 0
}
