package throttle

import (
	"fmt"
	"math"
	"time"
)

// yearsAhead is how far a schedule looks ahead. A 29th of February may be eight years away.
const yearsAhead = 8

// edgesAhead bounds how many openings and closings without a change of the rate are looked through for one that changes it.
const edgesAhead = 1000

// epoch is a day from which NewSchedule looks whether anything ever opens. Cron knows no years, so any day will do.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// MaxOverride is how long an [Override] may last.
const MaxOverride = 7 * 24 * time.Hour

// Schedule is the part of the fleet's rate that may be used at a time: by windows, by a default outside of them, and by an
// override for a while. It is a value: nothing changes it. The zero Schedule allows the full rate always.
//
// It only takes away from the rate that the controller found. No window and no override raises a limit.
type Schedule struct {
	windows  []recurrence
	limited  bool    // rate counts; else the rate outside of windows is full
	rate     float64 // outside of windows
	override Override
}

// Override is a rate that a person set in place of the schedule's, until a time that must be given. It may be higher than a
// window's, but like a window it only takes away from what the controller found: hard limits are not its to raise.
type Override struct {
	Rate  float64
	Until time.Time // from this moment on the schedule counts again; zero: there is no override
	By    string    // who set it
}

// Check refuses an override that is not a part of the whole, or that has no expiry within [MaxOverride] of now.
func (o Override) Check(now time.Time) error {
	left := o.Until.Sub(now)
	switch {
	case !isRate(o.Rate):
		return ScheduleError{"override.rate", fmt.Sprint(o.Rate), "is not a part of the whole", "write a number from 0 (stop) to 1 (full rate)"}
	case o.Until.IsZero():
		return ScheduleError{"override.until", "", "is missing", "an override needs an expiry, at most " + shortSpan(MaxOverride) + " ahead"}
	case left <= 0:
		return ScheduleError{"override.until", o.Until.Format(time.RFC3339), "has passed", "write a time to come"}
	case left > MaxOverride:
		return ScheduleError{"override.until", o.Until.Format(time.RFC3339), "is too far ahead",
			"write a time within " + shortSpan(MaxOverride) + ", or change the windows"}
	}
	return nil
}

// NewSchedule returns the schedule of windows, in which the lowest rate of those that are open counts, and outside of them
// defaultRate. Without a defaultRate, windows are the only times at which anything may run; without windows, it may always.
//
// It refuses windows that cannot be meant, and a schedule under which nothing would ever run. The error is a [ScheduleErrors].
func NewSchedule(windows []Window, defaultRate *float64) (Schedule, error) {
	s := Schedule{limited: len(windows) > 0}
	var bad ScheduleErrors
	for i, w := range windows {
		r, wrong := compile(w, fmt.Sprintf("windows[%d]", i))
		s.windows, bad = append(s.windows, r), append(bad, wrong...)
	}
	if defaultRate != nil {
		s.limited, s.rate = true, *defaultRate
		if !isRate(*defaultRate) {
			bad = append(bad, ScheduleError{"default_rate", fmt.Sprint(*defaultRate), "is not a part of the whole",
				"write a number from 0 (stop) to 1 (full rate)"})
		}
	}
	if len(bad) > 0 {
		return Schedule{}, bad
	}
	if _, ever := s.NextOpening(epoch); !ever {
		why := "with these windows lets nothing run, ever"
		if len(windows) == 0 {
			why = "without windows lets nothing run, ever"
		}
		return Schedule{}, ScheduleErrors{{"default_rate", fmt.Sprint(s.rate), why,
			"give a window of a higher rate, or the time outside the windows a rate"}}
	}
	return s, nil
}

// With returns the schedule under an override. A rate of it that is out of bounds is brought within; one that is no number stops.
func (s Schedule) With(o Override) Schedule {
	if !isRate(o.Rate) {
		o.Rate = math.Min(1, math.Max(0, o.Rate))
	}
	if math.IsNaN(o.Rate) {
		o.Rate = 0
	}
	s.override = o
	return s
}

// At returns the part of the rate that may be used at t, from 0 to 1, and what decided it; empty where nothing is scheduled.
func (s Schedule) At(t time.Time) (rate float64, why string) {
	if t.Before(s.override.Until) {
		o := s.override
		return o.Rate, fmt.Sprintf("override by %s until %s: rate %v", o.By, o.Until.UTC().Format(time.RFC3339), o.Rate)
	}
	i, rate := s.binding(t)
	switch {
	case i >= 0:
		return rate, fmt.Sprintf("%s: rate %v", s.windows[i], rate)
	case len(s.windows) > 0:
		return rate, fmt.Sprintf("outside every window: default_rate %v", rate)
	case rate < 1:
		return rate, fmt.Sprintf("default_rate %v", rate)
	}
	return rate, ""
}

// binding returns the window that decides at t, -1 for none, and the rate.
func (s Schedule) binding(t time.Time) (int, float64) {
	decides, rate := -1, 1.0
	if s.limited {
		rate = s.rate
	}
	for i := range s.windows {
		if w := &s.windows[i]; decides < 0 || w.Rate < rate {
			if _, open := w.open(t); open {
				decides, rate = i, w.Rate
			}
		}
	}
	return decides, rate
}

// NextChange returns the first time after t at which the rate is another. It reports false if none is in sight: within eight
// years, or behind a great number of openings and closings that change nothing.
func (s Schedule) NextChange(t time.Time) (time.Time, bool) {
	before := s.at(t)
	return s.until(t, func(rate float64) bool { return rate != before })
}

// NextOpening returns t if anything may run at it, else the first time after it when something may; false as for
// [Schedule.NextChange].
func (s Schedule) NextOpening(t time.Time) (time.Time, bool) {
	if s.at(t) > 0 {
		return t, true
	}
	return s.until(t, func(rate float64) bool { return rate > 0 })
}

// Finish returns when work would be done that takes that long at full rate, if it starts at start and the rate is the
// schedule's; false if the schedule does not let it end within eight years.
func (s Schedule) Finish(start time.Time, work time.Duration) (time.Time, bool) {
	limit, left := start.AddDate(yearsAhead, 0, 0), work.Seconds()
	for at := start; left > 0; {
		next, ok := s.NextChange(at)
		if !ok || next.After(limit) {
			next = limit
		}
		rate, span := s.at(at), next.Sub(at).Seconds()
		if rate*span >= left {
			return at.Add(time.Duration(left / rate * float64(time.Second))), true
		}
		if next.Equal(limit) {
			return time.Time{}, false
		}
		at, left = next, left-rate*span
	}
	return start, true
}

// at is At without its reason.
func (s Schedule) at(t time.Time) float64 {
	if t.Before(s.override.Until) {
		return s.override.Rate
	}
	_, rate := s.binding(t)
	return rate
}

// until returns the first edge after t, of a window or the override, at which the rate is a wanted one.
func (s Schedule) until(t time.Time, wanted func(rate float64) bool) (time.Time, bool) {
	limit := t.AddDate(yearsAhead, 0, 0)
	for range edgesAhead {
		edge, ok := s.edge(t, limit)
		if !ok {
			break
		}
		if wanted(s.at(edge)) {
			return edge, true
		}
		t = edge
	}
	return time.Time{}, false
}

// edge returns the first time after t, and by the limit, at which a window opens or closes, or the override ends.
func (s Schedule) edge(t, limit time.Time) (first time.Time, found bool) {
	if t.Before(s.override.Until) {
		return s.override.Until, true
	}
	earlier := func(t time.Time, ok bool) {
		if ok && (!found || t.Before(first)) {
			first, found, limit = t, true, t
		}
	}
	// Those that are shut come first: an end of the others needs a look no further ahead than their openings.
	var opened []time.Time
	var open []*recurrence
	for i := range s.windows {
		w := &s.windows[i]
		if at, ok := w.open(t); ok {
			opened, open = append(opened, at), append(open, w)
			continue
		}
		earlier(w.next(t, limit))
	}
	for i, w := range open {
		earlier(w.closes(opened[i], limit))
	}
	return first, found
}
