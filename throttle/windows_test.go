package throttle

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// opensAt lists the openings of a window in [from, to), in its own zone and with the offset.
func opensAt(t *testing.T, w Window, from, to string) (openings []string) {
	t.Helper()
	r, bad := compile(w, "windows[0]")
	require.Empty(t, bad)
	at, end := instant(t, from).Add(-time.Second), instant(t, to).Add(-time.Second)
	for {
		next, ok := r.next(at, end)
		if !ok {
			return openings
		}
		require.True(t, next.After(at))
		last, ok := r.last(next.Add(-time.Minute), next)
		require.True(t, ok)
		require.Equal(t, next, last, "backward as forward")
		openings, at = append(openings, next.In(r.zone).Format("Mon 15:04 -0700")), next
	}
}

func instant(t require.TestingT, s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	require.NoError(t, err)
	return at.UTC()
}

func TestWindowOpensByTheClocksOfItsZone(t *testing.T) {
	for name, c := range map[string]struct {
		cron, tz, from, to string
		want               []string
	}{
		"the same hour in winter and summer": {"0 22 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z",
			[]string{"Sat 22:00 +0100", "Sun 22:00 +0200"}},
		"Berlin skips 02:30": {"30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z",
			[]string{"Sat 02:30 +0100", "Sun 03:00 +0200", "Mon 02:30 +0200"}},
		"New York skips 02:00 to 02:59": {"0,15,59 2 8 3 *", "America/New_York", "2026-03-08T00:00:00Z", "2026-03-09T00:00:00Z",
			[]string{"Sun 03:00 -0400"}},
		"Lord Howe skips half an hour": {"15,45 2 * * *", "Australia/Lord_Howe", "2026-10-03T14:00:00Z", "2026-10-04T14:00:00Z",
			[]string{"Sun 02:30 +1100", "Sun 02:45 +1100"}},
		"Berlin has 02:30 twice": {"30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z",
			[]string{"Sat 02:30 +0200", "Sun 02:30 +0200", "Mon 02:30 +0100"}},
		"New York has 01:30 twice": {"30 1 1 11 *", "America/New_York", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z",
			[]string{"Sun 01:30 -0400"}},
		"Lord Howe has 01:45 twice": {"15,45 1 * * *", "Australia/Lord_Howe", "2026-04-04T13:00:00Z", "2026-04-05T13:00:00Z",
			[]string{"Sun 01:15 +1100", "Sun 01:45 +1100"}},
		"each hour goes on in an hour that comes twice": {"30 * * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T02:00:00Z",
			[]string{"Sun 01:30 +0200", "Sun 02:30 +0200", "Sun 02:30 +0100"}},
		"each hour leaves out an hour that does not come": {"30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z",
			[]string{"Sun 01:30 +0100", "Sun 03:30 +0200"}},
		"midnight does not come": {"0 0 * * *", "America/Havana", "2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z",
			[]string{"Sun 01:00 -0400", "Mon 00:00 -0400"}},
		"a whole day does not come": {"0 22 * * *", "Pacific/Apia", "2011-12-29T10:00:00Z", "2012-01-01T10:00:00Z",
			[]string{"Thu 22:00 -1000", "Sat 00:00 +1400", "Sat 22:00 +1400", "Sun 22:00 +1400"}},
		"no change of clocks": {"30 2 * * *", "UTC", "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z",
			[]string{"Sat 02:30 +0000", "Sun 02:30 +0000", "Mon 02:30 +0000"}},
		"either day will do": {"0 0 13 * 5", "UTC", "2026-03-06T00:00:00Z", "2026-03-21T00:00:00Z",
			[]string{"Fri 00:00 +0000", "Fri 00:00 +0000", "Fri 00:00 +0000"}},
		"names of days and months": {"0 0 1-3 mar mon-tue", "UTC", "2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z",
			[]string{"Sun 00:00 +0000", "Mon 00:00 +0000", "Tue 00:00 +0000"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := Window{Cron: c.cron, TZ: c.tz, For: time.Hour, Rate: 1}
			require.Equal(t, c.want, opensAt(t, w, c.from, c.to))
		})
	}
}

func TestWindowLastsElapsedTime(t *testing.T) {
	for name, c := range map[string]struct {
		cron, tz, opens, closes string
	}{
		"across a jump forward":  {"0 22 * * *", "Europe/Berlin", "2026-03-28T21:00:00Z", "2026-03-29T05:00:00Z"},       // 07:00 by the clock
		"across a step back":     {"0 22 * * *", "Europe/Berlin", "2026-10-24T20:00:00Z", "2026-10-25T04:00:00Z"},       // 05:00 by the clock
		"across half an hour":    {"0 22 * * *", "Australia/Lord_Howe", "2026-10-03T11:30:00Z", "2026-10-03T19:30:00Z"}, // 06:30 by the clock
		"from within the jump":   {"30 2 * * *", "America/New_York", "2026-03-08T07:00:00Z", "2026-03-08T15:00:00Z"},
		"from the first of two":  {"30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-01T13:30:00Z"},
		"where clocks stay":      {"0 22 * * *", "UTC", "2026-03-28T22:00:00Z", "2026-03-29T06:00:00Z"},
		"a quarter east of full": {"0 22 * * *", "Asia/Kathmandu", "2026-03-28T16:15:00Z", "2026-03-29T00:15:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := NewSchedule([]Window{{Cron: c.cron, TZ: c.tz, For: 8 * time.Hour, Rate: 0.5}}, nil)
			require.NoError(t, err)
			opens, closes := instant(t, c.opens), instant(t, c.closes)
			for at, want := range map[time.Time]float64{
				opens.Add(-time.Nanosecond): 0, opens: 0.5, closes.Add(-time.Nanosecond): 0.5, closes: 0,
			} {
				rate, _ := s.At(at)
				require.Equal(t, want, rate, "at %s", at)
			}
			next, ok := s.NextChange(opens)
			require.True(t, ok)
			require.True(t, closes.Equal(next), "%s", next)
		})
	}
}

func TestWindowsThatCannotBeMeant(t *testing.T) {
	good := Window{Cron: "0 22 * * *", TZ: "Europe/Berlin", For: 6 * time.Hour, Rate: 1}
	for name, c := range map[string]struct {
		change func(*Window)
		want   string
	}{
		"no cron":          {func(w *Window) { w.Cron = "" }, `windows[1].cron: "" is not a cron expression: empty spec string; ` + cronFix},
		"six fields":       {func(w *Window) { w.Cron = "0 0 22 * * *" }, `expected exactly 5 fields, found 6`},
		"hour 24":          {func(w *Window) { w.Cron = "0 24 * * *" }, `windows[1].cron: "0 24 * * *" is not a cron expression: end of range (24) above`},
		"Sunday as 7":      {func(w *Window) { w.Cron = "0 22 * * 7" }, "0 is Sunday"},
		"an empty list":    {func(w *Window) { w.Cron = ", 22 * * *" }, `windows[1].cron: ", 22 * * *" has an empty field; `},
		"every":            {func(w *Window) { w.Cron = "@every 1h" }, `windows[1].cron: "@every 1h" is not five fields; `},
		"a word":           {func(w *Window) { w.Cron = "@daily" }, `windows[1].cron: "@daily" is not five fields; `},
		"zone in the cron": {func(w *Window) { w.Cron = "TZ=Asia/Tokyo 0 22 * * *" }, `names a zone; write the zone as tz`},
		"zone alone":       {func(w *Window) { w.Cron = "CRON_TZ=UTC" }, `names a zone; write the zone as tz`},
		"30 February":      {func(w *Window) { w.Cron = "0 0 30 2 *" }, `windows[1].cron: "0 0 30 2 *" never opens: no month has such a day; name a day that comes`},
		"31 June":          {func(w *Window) { w.Cron = "0 0 31 2,4,6,9,11 *" }, `never opens`},
		"no zone":          {func(w *Window) { w.TZ = "" }, `windows[1].tz: "" is missing; write an IANA zone`},
		"this machine's":   {func(w *Window) { w.TZ = "Local" }, `windows[1].tz: "Local" differs from machine to machine; write an IANA zone`},
		"a zone's case":    {func(w *Window) { w.TZ = "america/new york" }, `windows[1].tz: "america/new york" is not a time zone; did you mean "America/New_York"?`},
		"utc":              {func(w *Window) { w.TZ = "utc" }, `did you mean "UTC"?`},
		"no such zone":     {func(w *Window) { w.TZ = "Europe/Bielefeld" }, `windows[1].tz: "Europe/Bielefeld" is not a time zone; write an IANA zone, such as Europe/Berlin or UTC`},
		"a path":           {func(w *Window) { w.TZ = "../../etc/passwd" }, `is not a time zone`},
		"no duration":      {func(w *Window) { w.For = 0 }, `windows[1].for: "0s" is out of bounds; write a duration from 1m to 744h`},
		"too long":         {func(w *Window) { w.For = 1000 * time.Hour }, `windows[1].for: "1000h0m0s" is out of bounds`},
		"percent":          {func(w *Window) { w.Rate = 50 }, `windows[1].rate: "50" is not a part of the whole; write a number from 0 (stop) to 1 (full rate)`},
		"negative":         {func(w *Window) { w.Rate = -0.1 }, `windows[1].rate`},
	} {
		t.Run(name, func(t *testing.T) {
			w := good
			c.change(&w)
			_, err := NewSchedule([]Window{good, w}, nil)
			var bad ScheduleErrors
			require.ErrorAs(t, err, &bad)
			require.Len(t, bad, 1)
			require.Contains(t, err.Error(), c.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestEveryBadFieldHasItsLine(t *testing.T) {
	all := 2.0
	_, err := NewSchedule([]Window{{Cron: "x", TZ: "y", Rate: 3}}, &all)
	require.Len(t, strings.Split(err.Error(), "\n"), 5)
	for _, field := range []string{"windows[0].cron: ", "windows[0].tz: ", "windows[0].for: ", "windows[0].rate: ", "default_rate: "} {
		require.Contains(t, err.Error(), field)
	}
}

func TestWindowOnALeapDayOpens(t *testing.T) {
	s, err := NewSchedule([]Window{{Cron: "0 0 29 2 *", TZ: "UTC", For: time.Hour, Rate: 1}}, nil)
	require.NoError(t, err)
	next, ok := s.NextOpening(instant(t, "2096-03-01T00:00:00Z"))
	require.True(t, ok)
	require.Equal(t, "2104-02-29T00:00:00Z", next.UTC().Format(time.RFC3339))
}

// naive is a window walked through minute by minute, written without a thought for speed or for the arithmetic of zones.
type naive struct {
	minutes, hours, days, months, weekdays []int // empty: every
	zone                                   *time.Location
	lasts                                  time.Duration
	openUntil                              time.Time
	seen                                   map[string]bool // clock readings that have come
	before                                 string
}

func (n *naive) names(t time.Time) bool {
	has := func(list []int, v int) bool { return len(list) == 0 || slices.Contains(list, v) }
	day := has(n.days, t.Day()) && has(n.weekdays, int(t.Weekday()))
	if len(n.days) > 0 && len(n.weekdays) > 0 {
		day = slices.Contains(n.days, t.Day()) || slices.Contains(n.weekdays, int(t.Weekday()))
	}
	return has(n.minutes, t.Minute()) && has(n.hours, t.Hour()) && has(n.months, int(t.Month())) && day
}

// step goes on to the next minute, and reports whether the window is open then.
func (n *naive) step(t time.Time) bool {
	const clock = "2006-01-02 15:04"
	reading := t.In(n.zone).Format(clock)
	opens := n.names(t.In(n.zone))
	if len(n.hours) > 0 {
		opens = opens && !n.seen[reading]
		if n.before != "" { // readings between the last minute and this one were jumped over
			last, _ := time.Parse(clock, n.before)
			for skipped := last.Add(time.Minute); skipped.Format(clock) < reading; skipped = skipped.Add(time.Minute) {
				opens = opens || n.names(skipped)
			}
		}
	}
	n.seen[reading], n.before = true, reading
	if opens {
		n.openUntil = t.Add(n.lasts)
	}
	return t.Before(n.openUntil)
}

func drawField(t *rapid.T, name string, least, most int) []int {
	if rapid.Bool().Draw(t, "every "+name) {
		return nil
	}
	return rapid.SliceOfNDistinct(rapid.IntRange(least, most), 1, 4, rapid.ID[int]).Draw(t, name)
}

func writeField(list []int) string {
	if len(list) == 0 {
		return "*"
	}
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, ",")
}

func TestScheduleAgreesWithTheMinuteByMinuteModel(t *testing.T) {
	changes := map[string][]string{ // the hours in which clocks change
		"Europe/Berlin":       {"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"},
		"America/New_York":    {"2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"},
		"Australia/Lord_Howe": {"2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z"},
		"America/Havana":      {"2026-03-08T05:00:00Z", "2026-11-01T05:00:00Z"},
		"Pacific/Apia":        {"2011-12-30T10:00:00Z"},
		"UTC":                 {"2026-03-01T00:00:00Z"},
	}
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia", "UTC"}
	rapid.Check(t, func(t *rapid.T) {
		tz := rapid.SampledFrom(zones).Draw(t, "tz")
		zone, err := time.LoadLocation(tz)
		require.NoError(t, err)
		middle := instant(t, rapid.SampledFrom(changes[tz]).Draw(t, "change"))

		var windows []Window
		var models []*naive
		longest := time.Duration(0)
		for range rapid.IntRange(1, 3).Draw(t, "windows") {
			n := &naive{zone: zone, seen: map[string]bool{}, lasts: time.Duration(rapid.SampledFrom([]int{1, 7, 60, 90, 600, 2000}).Draw(t, "for")) * time.Minute,
				minutes: drawField(t, "minutes", 0, 59), hours: drawField(t, "hours", 0, 5), days: drawField(t, "days", 1, 31),
				months: drawField(t, "months", 1, 12), weekdays: drawField(t, "weekdays", 0, 6)}
			w := Window{TZ: tz, For: n.lasts, Rate: float64(rapid.IntRange(0, 4).Draw(t, "rate")) / 4, Cron: strings.Join([]string{
				writeField(n.minutes), writeField(n.hours), writeField(n.days), writeField(n.months), writeField(n.weekdays)}, " ")}
			windows, models, longest = append(windows, w), append(models, n), max(longest, n.lasts)
		}
		outside := float64(rapid.IntRange(0, 4).Draw(t, "default")) / 4
		s, err := NewSchedule(windows, &outside)
		if err != nil {
			t.Skip(err) // opens never, or at rate 0 only
		}

		var last float64
		changed := middle.Add(-36 * time.Hour)
		for at := changed.Add(-longest - time.Minute); at.Before(middle.Add(36 * time.Hour)); at = at.Add(time.Minute) {
			want, open := outside, false
			for i, n := range models {
				if n.step(at) && (!open || windows[i].Rate < want) {
					want, open = windows[i].Rate, true
				}
			}
			if at.Before(middle.Add(-36 * time.Hour)) {
				continue
			}
			rate, why := s.At(at.Add(time.Duration(at.Minute()) * time.Second))
			require.Equal(t, want, rate, "%s: %s: %v", at.In(zone), why, windows)
			if at.Equal(changed) {
				last = rate
			}
			if rate != last {
				next, ok := s.NextChange(changed)
				require.True(t, ok)
				require.True(t, next.Equal(at), "changes at %s, said %s: %v", at, next, windows)
				last, changed = rate, at
			}
		}
	})
}

func FuzzWindow(f *testing.F) {
	f.Add("0 22 * * 1-5", "Europe/Berlin")
	f.Add("*/7,, 0-23/5 ? jan-dec *", "UTC")
	f.Add("TZ=", "../x")
	f.Fuzz(func(t *testing.T, cron, tz string) {
		r, bad := compile(Window{Cron: cron, TZ: tz, For: time.Hour, Rate: 1}, "windows[0]")
		if len(bad) > 0 {
			return
		}
		at := instant(t, "2026-10-24T00:00:00Z")
		next, ok := r.next(at, at.AddDate(yearsAhead, 0, 0))
		require.True(t, ok)
		opened, open := r.open(next)
		require.True(t, open)
		require.True(t, opened.Equal(next))
	})
}
