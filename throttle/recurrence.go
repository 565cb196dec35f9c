package throttle

import (
	"math"
	"math/bits"
	"time"
)

// recurrence is a compiled window: the bits of its cron fields, and their zone.
type recurrence struct {
	Window
	zone                        *time.Location
	minutes, hours              uint64
	days, months, weekdays      uint64
	anyHour, anyDay, anyWeekday bool
	solid                       bool // once open on a day, it closes only after that day's last opening
}

// longestGap returns the longest time between two openings of one day.
func (r *recurrence) longestGap() time.Duration {
	longest := int64(0)
	for last := r.minuteFrom(0); ; {
		next := r.minuteFrom(last + 1)
		if next < 0 {
			return time.Duration(longest) * time.Minute
		}
		longest, last = max(longest, next-last), next
	}
}

// period is a time in which a zone's clocks stood at one offset from UTC, in seconds. A clock reading is held as the Unix
// time at which UTC's clocks would show it. The readings from start+before on belong to it: those that the jump at its start
// went over as well, and not those that it repeats. So each reading belongs to one period.
type period struct {
	start, end     int64 // Unix times; end is excluded
	offset, before int64 // before is the offset of the period before
}

func periodAt(t time.Time, zone *time.Location) period {
	t = t.In(zone)
	_, offset := t.Zone()
	p := period{start: math.MinInt64 / 2, end: math.MaxInt64 / 2, offset: int64(offset), before: int64(offset)}
	start, end := t.ZoneBounds()
	if !end.IsZero() {
		p.end = end.Unix()
	}
	if !start.IsZero() {
		_, before := start.Add(-time.Second).Zone()
		p.start, p.before = start.Unix(), int64(before)
	}
	return p
}

// first returns the first reading of p that comes at the given Unix time or later; with anyHour, readings come as they are seen.
func (p period) first(from int64, anyHour bool) int64 {
	own := p.start + p.before
	if anyHour {
		own = p.start + p.offset
	}
	if from <= p.start {
		return own
	}
	return max(own, from+p.offset)
}

// opens returns when a reading of p comes: at the jump if the clocks jumped over it.
func (p period) opens(reading int64) time.Time { return time.Unix(max(p.start, reading-p.offset), 0) }

// next returns the first opening after t and not after limit.
func (r *recurrence) next(t, limit time.Time) (time.Time, bool) {
	for from := t.Unix() + 1; from <= limit.Unix(); {
		p := periodAt(time.Unix(from, 0), r.zone)
		last := min(p.end-1, limit.Unix()) + p.offset
		if reading, ok := r.readingFrom(p.first(from, r.anyHour), last); ok {
			return p.opens(reading), true
		}
		from = max(p.end, from+1)
	}
	return time.Time{}, false
}

// last returns the last opening that is after floor and not after t.
func (r *recurrence) last(floor, t time.Time) (time.Time, bool) {
	for until := t.Unix(); until > floor.Unix(); {
		p := periodAt(time.Unix(until, 0), r.zone)
		if reading, ok := r.readingUntil(p.first(max(p.start, floor.Unix()+1), r.anyHour), until+p.offset); ok {
			return p.opens(reading), true
		}
		until = p.start - 1
	}
	return time.Time{}, false
}

// open returns the opening by which the window is open at t.
func (r *recurrence) open(t time.Time) (time.Time, bool) { return r.last(t.Add(-r.For), t) }

// closes returns when a window that opened closes, if it does so by the limit: openings that follow before that keep it open.
func (r *recurrence) closes(opened, limit time.Time) (time.Time, bool) {
	for {
		if r.solid {
			opened = r.lastOfDay(opened)
		}
		if opened.After(limit) {
			return time.Time{}, false
		}
		again, ok := r.last(opened, opened.Add(r.For))
		if !ok {
			return opened.Add(r.For), true
		}
		opened = again
	}
}

// lastOfDay returns the last opening of the same day and offset, if opened is one of that day and no moment of a jump. It
// spares closes a walk over every minute of a year.
func (r *recurrence) lastOfDay(opened time.Time) time.Time {
	p := periodAt(opened, r.zone)
	from := opened.Unix() + p.offset
	if _, named := r.readingFrom(from, from); !named {
		return opened
	}
	reading, _ := r.readingUntil(from, min(p.end-1+p.offset, from-mod(from, secondsPerDay)+secondsPerDay-1))
	return p.opens(reading)
}

const minutesPerDay, secondsPerDay = 24 * 60, 24 * 60 * 60

// readingFrom returns the first reading in [from, to] that the cron fields name.
func (r *recurrence) readingFrom(from, to int64) (int64, bool) {
	from += mod(-from, 60)
	minute := mod(from, secondsPerDay) / 60
	for day := from - mod(from, secondsPerDay); day <= to; day += secondsPerDay {
		if r.onDay(day) {
			if m := r.minuteFrom(minute); m >= 0 {
				reading := day + 60*m
				return reading, reading <= to
			}
		}
		minute = 0
	}
	return 0, false
}

// readingUntil returns the last reading in [from, to] that the cron fields name.
func (r *recurrence) readingUntil(from, to int64) (int64, bool) {
	minute := mod(to, secondsPerDay) / 60
	for day := to - mod(to, secondsPerDay); day+secondsPerDay > from; day -= secondsPerDay {
		if r.onDay(day) {
			if m := r.minuteUntil(minute); m >= 0 {
				reading := day + 60*m
				return reading, reading >= from
			}
		}
		minute = minutesPerDay - 1
	}
	return 0, false
}

// onDay reports whether the window opens on the day that begins at a reading.
func (r *recurrence) onDay(day int64) bool {
	_, month, dayOfMonth := time.Unix(day, 0).UTC().Date()
	if r.months>>month&1 == 0 {
		return false
	}
	inMonth, inWeek := r.days>>dayOfMonth&1 != 0, r.weekdays>>time.Unix(day, 0).UTC().Weekday()&1 != 0
	if r.anyDay || r.anyWeekday {
		return inMonth && inWeek
	}
	return inMonth || inWeek
}

// minuteFrom returns the first opening of a day at the given minute of it or later; -1 if there is none.
func (r *recurrence) minuteFrom(minute int64) int64 {
	hour := minute / 60
	if r.hours>>hour&1 != 0 {
		if later := r.minutes >> (minute % 60); later != 0 {
			return minute + int64(bits.TrailingZeros64(later))
		}
	}
	later := r.hours >> (hour + 1)
	if later == 0 {
		return -1
	}
	return (hour+1+int64(bits.TrailingZeros64(later)))*60 + int64(bits.TrailingZeros64(r.minutes))
}

// minuteUntil returns the last opening of a day at the given minute of it or sooner; -1 if there is none.
func (r *recurrence) minuteUntil(minute int64) int64 {
	hour := minute / 60
	if r.hours>>hour&1 != 0 {
		if sooner := r.minutes & (1<<(minute%60+1) - 1); sooner != 0 {
			return hour*60 + int64(bits.Len64(sooner)) - 1
		}
	}
	sooner := r.hours & (1<<hour - 1)
	if sooner == 0 {
		return -1
	}
	return int64(bits.Len64(sooner)-1)*60 + int64(bits.Len64(r.minutes)) - 1
}

// mod is the remainder that is never negative.
func mod(a, b int64) int64 { return (a%b + b) % b }
