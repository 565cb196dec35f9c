package throttle

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/robfig/cron/v3"
)

// Bounds of [Window].For. Cron opens by the minute, so a shorter window would be a typing error.
const (
	MinWindow = time.Minute
	MaxWindow = 31 * 24 * time.Hour
)

// Window is a time, which comes again and again, in which the fleet may use a part of its rate.
//
// Cron names the minutes at which it opens, by the clocks of TZ, in five fields: minute, hour, day of month, month, day of
// week (0 is Sunday; where both days are given, either will do). It stays open for For of elapsed time, also across a change
// of the clocks, and anew from each opening. Where the clocks change, a minute that Cron names
//   - opens the window once if it comes twice: the first time;
//   - opens the window at the moment of the jump if the clocks jump over it.
//
// A Cron of every hour (`*`) goes with elapsed time instead: it opens at each minute that comes, and at none that does not.
type Window struct {
	Cron string
	TZ   string        // an IANA zone, such as Europe/Berlin
	For  time.Duration // from [MinWindow] to [MaxWindow]
	Rate float64       // the part of the rate that may be used: 0 is none, 1 is all
}

func (w Window) String() string {
	return fmt.Sprintf("window %q %s for %s", w.Cron, w.TZ, shortSpan(w.For))
}

// ScheduleError is one thing in a schedule that cannot be meant.
type ScheduleError struct {
	Field string // its path below throttle: windows[0].tz, or default_rate
	Value string // as written
	Why   string
	Fix   string // what would be right
}

// Error returns one line.
func (b ScheduleError) Error() string {
	return fmt.Sprintf("%s: %q %s; %s", b.Field, b.Value, b.Why, b.Fix)
}

// ScheduleErrors is the error of [NewSchedule]: one line for each thing that is wrong.
type ScheduleErrors []ScheduleError

func (bs ScheduleErrors) Error() string {
	lines := make([]string, len(bs))
	for i, b := range bs {
		lines[i] = b.Error()
	}
	return strings.Join(lines, "\n")
}

// compile checks a window; at is the path of the list that it stands in.
func compile(w Window, at string) (recurrence, ScheduleErrors) {
	var bad ScheduleErrors
	refuse := func(field, value, why, fix string) {
		bad = append(bad, ScheduleError{Field: at + "." + field, Value: value, Why: why, Fix: fix})
	}
	r := recurrence{Window: w}
	if why, fix := r.parseCron(); why != "" {
		refuse("cron", w.Cron, why, fix)
	}
	if why, fix := r.loadZone(); why != "" {
		refuse("tz", w.TZ, why, fix)
	}
	if w.For < MinWindow || w.For > MaxWindow {
		refuse("for", w.For.String(), "is out of bounds", fmt.Sprintf("write a duration from %s to %s", shortSpan(MinWindow), shortSpan(MaxWindow)))
	}
	if !isRate(w.Rate) {
		refuse("rate", fmt.Sprint(w.Rate), "is not a part of the whole", "write a number from 0 (stop) to 1 (full rate)")
	}
	if len(bad) == 0 {
		r.solid = r.longestGap() <= w.For
		if _, ok := r.next(epoch, epoch.AddDate(yearsAhead, 0, 0)); !ok {
			refuse("cron", w.Cron, "never opens: no month has such a day", "name a day that comes")
		}
	}
	return r, bad
}

// isRate reports whether a number is a part of the whole; one that is not a number is none.
func isRate(f float64) bool { return f >= 0 && f <= 1 }

// fiveFields is cron without seconds and without words such as @daily, which hide at which minute a window opens.
var fiveFields = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

const cronFix = `write five fields: minute, hour, day of month, month, day of week (0 is Sunday), such as "0 22 * * 1-5"`

// parseCron fills in the bits, or says what is wrong.
func (r *recurrence) parseCron() (why, fix string) {
	switch {
	case strings.Contains(r.Cron, "TZ="):
		return "names a zone", "write the zone as tz, and the five fields alone as cron"
	case strings.Contains(r.Cron, "@"):
		return "is not five fields", cronFix
	}
	parsed, err := fiveFields.Parse(r.Cron)
	if err != nil {
		return "is not a cron expression: " + err.Error(), cronFix
	}
	const star = 1 << 63 // as the parser marks a field that is "*"
	c := parsed.(*cron.SpecSchedule)
	const everyMinute, everyHour = 1<<60 - 1, 1<<24 - 1
	r.minutes, r.hours = c.Minute&everyMinute, c.Hour&everyHour
	r.days, r.months, r.weekdays = c.Dom&^star, c.Month&^star, c.Dow&^star
	r.anyHour, r.anyDay, r.anyWeekday = r.hours == everyHour, c.Dom&star != 0, c.Dow&star != 0
	if r.minutes == 0 || r.hours == 0 || r.days == 0 || r.months == 0 || r.weekdays == 0 {
		return "has an empty field", cronFix // the parser takes "," for one
	}
	return "", ""
}

// loadZone fills in the zone, or says what is wrong.
func (r *recurrence) loadZone() (why, fix string) {
	const example = "write an IANA zone, such as Europe/Berlin or UTC"
	switch r.TZ {
	case "":
		return "is missing", example
	case "Local":
		return "differs from machine to machine", example
	}
	zone, err := time.LoadLocation(r.TZ)
	if err == nil {
		r.zone = zone
		return "", ""
	}
	for _, name := range []string{capitalised(r.TZ), strings.ToUpper(r.TZ)} {
		if _, err := time.LoadLocation(name); err == nil {
			return "is not a time zone", fmt.Sprintf("did you mean %q?", name)
		}
	}
	return "is not a time zone", example
}

// capitalised writes a zone as most are written: Europe/Berlin for europe/berlin, America/New_York for AMERICA/NEW YORK.
func capitalised(zone string) string {
	b := []byte(strings.ToLower(strings.ReplaceAll(zone, " ", "_")))
	for i := range b {
		if i == 0 || b[i-1] == '/' || b[i-1] == '_' {
			b[i] = byte(unicode.ToUpper(rune(b[i])))
		}
	}
	return string(b)
}

// shortSpan is a duration for people: 6h, not 6h0m0s.
func shortSpan(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
