package throttle

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func schedule(t require.TestingT, defaultRate *float64, windows ...Window) Schedule {
	s, err := NewSchedule(windows, defaultRate)
	require.NoError(t, err)
	return s
}

func TestScheduleDefaults(t *testing.T) {
	at := instant(t, "2026-06-01T12:00:00Z")
	half, none := 0.5, 0.0
	night := Window{Cron: "0 22 * * *", TZ: "UTC", For: 6 * time.Hour, Rate: 1}

	for _, c := range []struct {
		s    Schedule
		rate float64
		why  string
	}{
		{Schedule{}, 1, ""},
		{schedule(t, nil), 1, ""},
		{schedule(t, &half), 0.5, "default_rate 0.5"},
		{schedule(t, nil, night), 0, "outside every window: default_rate 0"},
		{schedule(t, &half, night), 0.5, "outside every window: default_rate 0.5"},
	} {
		rate, why := c.s.At(at)
		require.Equal(t, c.rate, rate)
		require.Equal(t, c.why, why)
	}

	_, err := NewSchedule(nil, &none)
	require.EqualError(t, err, `default_rate: "0" without windows lets nothing run, ever; `+
		"give a window of a higher rate, or the time outside the windows a rate")
	night.Rate = 0
	_, err = NewSchedule([]Window{night}, nil)
	require.ErrorContains(t, err, "lets nothing run, ever")
	always := Window{Cron: "* * * * *", TZ: "UTC", For: time.Minute}
	_, err = NewSchedule([]Window{always}, &half)
	require.ErrorContains(t, err, "lets nothing run, ever", "a rate that no moment sees")
	nan := math.NaN()
	_, err = NewSchedule(nil, &nan)
	require.ErrorContains(t, err, "default_rate")
}

func TestScheduleTakesTheMostRestrictive(t *testing.T) {
	full := 1.0
	s := schedule(t, &full,
		Window{Cron: "0 8 * * 1-5", TZ: "Europe/Berlin", For: 10 * time.Hour, Rate: 0.25},
		Window{Cron: "0 12 * * *", TZ: "Europe/Berlin", For: time.Hour, Rate: 0},
		Window{Cron: "0 0 * * *", TZ: "UTC", For: 24 * time.Hour, Rate: 0.75})
	for at, want := range map[string]struct {
		rate float64
		why  string
	}{
		"2026-06-01T05:59:00Z": {0.75, `window "0 0 * * *" UTC for 24h: rate 0.75`},
		"2026-06-01T06:00:00Z": {0.25, `window "0 8 * * 1-5" Europe/Berlin for 10h: rate 0.25`},
		"2026-06-01T10:30:00Z": {0, `window "0 12 * * *" Europe/Berlin for 1h: rate 0`},
		"2026-06-01T11:00:00Z": {0.25, `window "0 8 * * 1-5" Europe/Berlin for 10h: rate 0.25`},
	} {
		rate, why := s.At(instant(t, at))
		require.Equal(t, want.rate, rate, at)
		require.Equal(t, want.why, why, at)
	}
	opening, ok := s.NextOpening(instant(t, "2026-06-01T10:30:00Z"))
	require.True(t, ok)
	require.True(t, opening.Equal(instant(t, "2026-06-01T11:00:00Z")))
}

func TestScheduleWithoutAChange(t *testing.T) {
	for name, s := range map[string]Schedule{
		"no window":         {},
		"always open":       schedule(t, nil, Window{Cron: "* * * * *", TZ: "Europe/Berlin", For: time.Minute, Rate: 1}),
		"of the same":       schedule(t, new(0.5), Window{Cron: "0 3 * * *", TZ: "UTC", For: time.Hour, Rate: 0.5}),
		"each covered":      schedule(t, nil, Window{Cron: "0 */6 * * *", TZ: "UTC", For: 6 * time.Hour, Rate: 1}),
		"longer than a day": schedule(t, nil, Window{Cron: "30 1 * * *", TZ: "America/New_York", For: 26 * time.Hour, Rate: 1}),
	} {
		t.Run(name, func(t *testing.T) {
			_, ok := s.NextChange(instant(t, "2026-06-01T12:00:00Z"))
			require.False(t, ok)
		})
	}
	// Twenty-four hours of each day leave an hour out on the day that has twenty-five.
	s := schedule(t, nil, Window{Cron: "0 12 * * *", TZ: "Europe/Berlin", For: 24 * time.Hour, Rate: 1})
	next, ok := s.NextChange(instant(t, "2026-06-01T12:00:00Z"))
	require.True(t, ok)
	require.Equal(t, "2026-10-25T10:00:00Z", next.UTC().Format(time.RFC3339))
}

func TestOverride(t *testing.T) {
	now := instant(t, "2026-06-01T12:00:00Z")
	s := schedule(t, nil, Window{Cron: "0 22 * * *", TZ: "UTC", For: 6 * time.Hour, Rate: 0.5})
	o := Override{Rate: 1, Until: now.Add(time.Hour), By: "ada"}
	require.NoError(t, o.Check(now))

	over := s.With(o)
	rate, why := over.At(now)
	require.Equal(t, 1.0, rate)
	require.Equal(t, "override by ada until 2026-06-01T13:00:00Z: rate 1", why)
	next, ok := over.NextChange(now)
	require.True(t, ok)
	require.True(t, next.Equal(o.Until))
	rate, _ = over.At(o.Until)
	require.Zero(t, rate, "expired")
	rate, _ = s.At(now)
	require.Zero(t, rate, "the schedule itself is as it was")

	stop := s.With(Override{Rate: 0, Until: now.Add(12 * time.Hour)})
	opening, ok := stop.NextOpening(now)
	require.True(t, ok)
	require.True(t, opening.Equal(now.Add(12*time.Hour)), "in the window, when the override lets go: %s", opening)

	for rate, want := range map[float64]float64{math.NaN(): 0, -1: 0, 7: 1, math.Inf(1): 1} {
		got, _ := s.With(Override{Rate: rate, Until: o.Until}).At(now)
		require.Equal(t, want, got, "fails closed on %v", rate)
	}
}

func TestOverrideNeedsAnExpiry(t *testing.T) {
	now := instant(t, "2026-06-01T12:00:00Z")
	for want, o := range map[string]Override{
		`override.rate: "1.5" is not a part of the whole; `:                                 {Rate: 1.5, Until: now.Add(time.Hour)},
		`override.rate: "NaN" is not a part of the whole; `:                                 {Rate: math.NaN(), Until: now.Add(time.Hour)},
		`override.until: "" is missing; an override needs an expiry`:                        {Rate: 1},
		`override.until: "2026-06-01T12:00:00Z" has passed; `:                               {Rate: 1, Until: now},
		`override.until: "2026-06-08T12:00:01Z" is too far ahead; write a time within 168h`: {Rate: 1, Until: now.Add(MaxOverride + time.Second)},
	} {
		require.ErrorContains(t, o.Check(now), want)
	}
}

func TestFinish(t *testing.T) {
	start := instant(t, "2026-06-01T12:00:00Z")
	night := Window{Cron: "0 22 * * *", TZ: "UTC", For: 6 * time.Hour, Rate: 0.5}
	for name, c := range map[string]struct {
		s    Schedule
		work time.Duration
		want string
	}{
		"always":           {Schedule{}, 90 * time.Minute, "2026-06-01T13:30:00Z"},
		"nothing":          {Schedule{}, 0, "2026-06-01T12:00:00Z"},
		"in one night":     {schedule(t, nil, night), time.Hour, "2026-06-02T00:00:00Z"},
		"to its very end":  {schedule(t, nil, night), 3 * time.Hour, "2026-06-02T04:00:00Z"},
		"in three nights":  {schedule(t, nil, night), 7 * time.Hour, "2026-06-04T00:00:00Z"},
		"slower outside":   {schedule(t, new(0.1), night), 2 * time.Hour, "2026-06-02T00:00:00Z"},
		"with an override": {schedule(t, nil, night).With(Override{Rate: 1, Until: start.Add(time.Hour)}), 2 * time.Hour, "2026-06-02T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			end, ok := c.s.Finish(start, c.work)
			require.True(t, ok)
			require.Equal(t, c.want, end.UTC().Round(time.Second).Format(time.RFC3339))
		})
	}
	_, ok := schedule(t, nil, Window{Cron: "0 0 29 2 *", TZ: "UTC", For: time.Hour, Rate: 1}).Finish(start, 24*time.Hour)
	require.False(t, ok)
	_, ok = schedule(t, new(1e-12)).Finish(start, 24*time.Hour)
	require.False(t, ok)
}

func TestFinishIntegratesTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := instant(t, "2026-03-27T00:00:00Z")
		outside := float64(rapid.IntRange(0, 2).Draw(t, "default")) / 2
		s := schedule(t, &outside,
			Window{Cron: "15 1,9 * * *", TZ: "Europe/Berlin", For: time.Duration(rapid.IntRange(1, 500).Draw(t, "for")) * time.Minute, Rate: 0.25},
			Window{Cron: "*/20 4 * * *", TZ: "America/New_York", For: 7 * time.Minute, Rate: 0.125})
		end, ok := s.Finish(start, time.Duration(rapid.IntRange(1, 600).Draw(t, "work"))*time.Minute)
		require.True(t, ok)
		work := 0.0
		for at := start; at.Before(end); at = at.Add(time.Minute) {
			rate, _ := s.At(at)
			work += rate * min(60, end.Sub(at).Seconds())
		}
		again, ok := s.Finish(start, time.Duration(work*float64(time.Second)))
		require.True(t, ok)
		require.WithinDuration(t, end, again, time.Second)
	})
}
