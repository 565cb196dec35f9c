package throttle

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// step is what one step of a Pressure with a single rule, named "s", answers.
type step struct {
	factor, scale float64
	hard          bool
	reasons       []Reason
}

func stepWith(p *Pressure, at time.Time, rule Rule, readings ...Reading) step {
	for i := range readings {
		readings[i].Signal = "s"
	}
	var s step
	s.factor, s.hard, s.scale, s.reasons = p.Step(at, map[string]Rule{"s": rule}, readings)
	return s
}

// play gives one value a second and returns the steps.
func play(rule Rule, values ...float64) []step {
	var p Pressure
	var steps []step
	at := newFakeClock().t
	for i, v := range values {
		now := at.Add(time.Duration(i) * time.Second)
		steps = append(steps, stepWith(&p, now, rule, Reading{Value: v, At: now}))
	}
	return steps
}

func TestPressureAtItsThresholds(t *testing.T) {
	rule := Rule{Soft: 20, Hard: 42, Unit: "segments", Text: "WAL archive queue"}
	for _, c := range []struct {
		name   string
		rule   Rule
		value  float64
		factor float64
		hard   bool
		text   string
	}{
		{"under", rule, 19.5, 1, false, ""},
		{"at soft", rule, 20, 0.5, false, "WAL archive queue 20 segments at soft limit 20 segments"},
		{"over soft", rule, 31, 0.5, false, "WAL archive queue 31 segments over soft limit 20 segments"},
		{"at hard", rule, 42, 0, true, "WAL archive queue 42 segments at hard limit 42 segments"},
		{"its own factor", Rule{Soft: 1, Hard: None(), Factor: 0.7}, 3, 0.7, false, "s 3 over soft limit 1"},
		{"factor one", Rule{Soft: 1, Hard: None(), Factor: 1}, 3, 1, false, "s 3 over soft limit 1"},
		{"no soft", Rule{Soft: None(), Hard: 5}, 4.9, 1, false, ""},
		{"no soft, hard", Rule{Soft: None(), Hard: 5}, 5.25, 0, true, "s 5.25 over hard limit 5"},
		{"none at all", Rule{Soft: None(), Hard: None()}, math.Inf(1), 1, false, ""},
		{"below, enough", Rule{Soft: 0.2, Hard: 0.1, Below: true}, 0.3, 1, false, ""},
		{"below soft", Rule{Soft: 0.2, Hard: 0.1, Below: true, Unit: UnitShare, Text: "free disk"}, 0.151, 0.5, false, "free disk 15.1% under soft limit 20.0%"},
		{"below hard", Rule{Soft: 0.2, Hard: 0.1, Below: true}, 0.1, 0, true, "s 0.1 at hard limit 0.1"},
		{"seconds", Rule{Soft: 900, Hard: None(), Unit: UnitSeconds, Text: "oldest transaction"}, 901.26, 0.5, false,
			"oldest transaction 901.3s over soft limit 900.0s"},
		{"verdict go", Verdict(time.Second), 0, 1, false, ""},
		{"verdict stop", Verdict(time.Second), 1, 0, true, "s says stop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := play(c.rule, c.value)[0]
			require.InDelta(t, c.factor, s.factor, 1e-9)
			require.Equal(t, c.hard, s.hard)
			if c.text == "" {
				require.Empty(t, s.reasons)
				return
			}
			require.Len(t, s.reasons, 1)
			require.Equal(t, c.text, s.reasons[0].Text)
			require.Equal(t, c.hard, s.reasons[0].Hard)
			require.InDelta(t, c.value, s.reasons[0].Observed, 0)
		})
	}
}

func TestPressureWaitsForAValueToStand(t *testing.T) {
	rule := Rule{Soft: 1, Hard: 1, SoftFor: time.Second, HardFor: 5 * time.Second}
	var got []string
	for _, s := range play(rule, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1) {
		switch {
		case s.hard:
			got = append(got, "hard")
		case s.factor < 1:
			got = append(got, "soft")
		default:
			got = append(got, "-")
		}
	}
	require.Equal(t, []string{"-", "-", "soft", "-", "-", "soft", "soft", "soft", "soft", "hard", "hard", "-", "-"}, got)
}

func TestPressureCountsReadingsAndNotSteps(t *testing.T) {
	var p Pressure
	rule := Rule{Soft: 1, Hard: None(), SoftFor: time.Second}
	at := newFakeClock().t
	r := Reading{Value: 1, At: at}
	require.Zero(t, stepWith(&p, at.Add(2*time.Second), rule, r).reasons, "one reading does not say that the value stood")
	require.Len(t, stepWith(&p, at.Add(2*time.Second), rule, Reading{Value: 1, At: at.Add(time.Second)}).reasons, 1)
	require.Len(t, stepWith(&p, at.Add(3*time.Second), rule, r).reasons, 1, "an older reading changes nothing")
}

func TestPressureHysteresis(t *testing.T) {
	rule := Rule{Soft: 10, Hard: None(), Hysteresis: true}
	values := []float64{10, 9, 8.1} // the last two settle, and the margin is not reached
	values = append(values, 8, 7, 7, 9)
	for range 12 {
		values = append(values, 8)
	}
	steps := play(rule, values...)
	for i, s := range steps[:len(steps)-2] {
		require.InDelta(t, 0.5, s.factor, 0, "second %d", i)
	}
	require.Equal(t, "s 9 settling after it was over soft limit 10", steps[1].reasons[0].Text)
	require.InDelta(t, 1, steps[len(steps)-2].factor, 0, "ten seconds at the margin")
	require.InDelta(t, 1, steps[len(steps)-1].factor, 0)

	below := Rule{Soft: 10, Hard: None(), Hysteresis: true, Below: true}
	require.Equal(t, "s 11 settling after it was under soft limit 10", play(below, 9, 11)[1].reasons[0].Text)
	values = []float64{9}
	for range 11 {
		values = append(values, 12)
	}
	steps = play(below, values...)
	require.InDelta(t, 0.5, steps[10].factor, 0)
	require.InDelta(t, 1, steps[11].factor, 0)
}

func TestPressureTakesTheSmallestFactor(t *testing.T) {
	var p Pressure
	at := newFakeClock().t
	rules := map[string]Rule{
		"a": {Soft: 1, Hard: None(), Factor: 0.7, BatchScale: 0.5},
		"b": {Soft: 1, Hard: None()},
		"c": {Soft: 1, Hard: None(), Factor: 0.9, BatchScale: 0.8},
	}
	read := func(values ...float64) []Reading {
		var rs []Reading
		for i, v := range values {
			rs = append(rs, Reading{Signal: string(rune('a' + i)), Value: v, At: at})
		}
		return rs
	}
	factor, hard, scale, reasons := p.Step(at, rules, read(9, 1, 1))
	require.InDelta(t, 0.5, factor, 0)
	require.False(t, hard)
	require.InDelta(t, 0.5, scale, 0)
	require.Equal(t, []string{"b", "a", "c"}, signalsOf(reasons), "the binding one first")

	at = at.Add(time.Second)
	factor, hard, scale, reasons = p.Step(at, rules, read(0, 0, 1))
	require.InDelta(t, 0.9, factor, 0)
	require.False(t, hard)
	require.InDelta(t, 0.8, scale, 0)
	require.Equal(t, []string{"c"}, signalsOf(reasons))

	rules["d"] = Rule{Soft: None(), Hard: 1}
	at = at.Add(time.Second)
	factor, hard, _, reasons = p.Step(at, rules, read(2, 2, 2, 1))
	require.Zero(t, factor)
	require.True(t, hard)
	require.Equal(t, []string{"d", "b", "a", "c"}, signalsOf(reasons))
}

func signalsOf(reasons []Reason) []string {
	var names []string
	for _, r := range reasons {
		names = append(names, r.Signal)
	}
	return names
}

func TestPressureTakesTheWorstOfSeveral(t *testing.T) {
	at := newFakeClock().t
	failed := Reading{Err: errors.New("down")}
	var p Pressure
	s := stepWith(&p, at, Rule{Soft: 5, Hard: None()}, Reading{Value: 1, At: at}, Reading{Value: 7, At: at, Detail: "slot b"}, failed)
	require.Equal(t, "s 7 over soft limit 5 (slot b)", s.reasons[0].Text)
	p = Pressure{}
	s = stepWith(&p, at, Rule{Soft: 5, Hard: None(), Below: true}, failed, Reading{Value: 7, At: at}, Reading{Value: 4, At: at, Detail: "slot c"})
	require.Equal(t, "s 4 under soft limit 5 (slot c)", s.reasons[0].Text)
}

func TestAnAdvisorySignalThatIsBlind(t *testing.T) {
	var p Pressure
	rule := Rule{Soft: 5, Hard: 9}
	at := newFakeClock().t
	down := errors.New("read x: timeout")
	require.Equal(t, step{factor: 1, scale: 1}, stepWith(&p, at, rule), "a server may not have it")

	last := Reading{Value: 9, At: at, Err: down}
	require.True(t, stepWith(&p, at, rule, last).hard)
	require.True(t, stepWith(&p, at.Add(time.Minute), rule, last).hard, "the last value holds for 60 s")
	s := stepWith(&p, at.Add(61*time.Second), rule, last)
	require.InDelta(t, 1, s.factor, 0)
	require.False(t, s.hard)
	require.Equal(t, []Reason{{Signal: "s", Observed: 61, Threshold: 60, Blind: true, Text: "s was last read 61.0s ago, over 1m0s: read x: timeout"}}, s.reasons)

	p = Pressure{}
	s = stepWith(&p, at, rule, Reading{Err: down})
	require.Equal(t, "s has not been read yet: read x: timeout", s.reasons[0].Text, "there is nothing to hold on to")
	require.InDelta(t, 1, s.factor, 0)
	s = stepWith(&p, at, rule, Reading{Value: math.NaN(), At: at})
	require.Equal(t, "s has not been read yet: read s: the value is not a number", s.reasons[0].Text)
}

func TestAClosedSignalThatIsBlind(t *testing.T) {
	var p Pressure
	rule := Check(time.Second)
	rule.Hard = 5
	at := newFakeClock().t
	s := stepWith(&p, at, rule)
	require.True(t, s.hard, "no batch starts before its first answer")
	require.Zero(t, s.factor)
	require.Equal(t, "s has not been read yet", s.reasons[0].Text)
	s = stepWith(&p, at, rule, Reading{Err: errors.New("GET http://gate: connection refused")})
	require.True(t, s.hard, "it was down from the start")
	require.Equal(t, "s has not been read yet: GET http://gate: connection refused", s.reasons[0].Text)

	read := at.Add(4 * time.Second)
	require.False(t, stepWith(&p, read, rule, Reading{Value: 1, At: read}).hard)
	down := Reading{Value: 1, At: read, Err: errors.New("GET http://gate: connection refused")}
	require.False(t, stepWith(&p, read.Add(3*time.Second), rule, down).hard)
	s = stepWith(&p, read.Add(3500*time.Millisecond), rule, down)
	require.True(t, s.hard)
	require.Equal(t, "s was last read 3.5s ago, over 3s: GET http://gate: connection refused", s.reasons[0].Text)
	require.True(t, s.reasons[0].Blind)

	require.Equal(t, 11*time.Second, Check(5*time.Second).Blind, "a check that is rare may be late by one reading")
}

// A check that is read once in a minute may be late by one answer, but a fleet must not run for two minutes before the first.
func TestARareCheckThatNeverAnsweredStopsAtOnce(t *testing.T) {
	var p Pressure
	rule := Check(time.Minute)
	rule.Hard = 5
	at := newFakeClock().t
	down := Reading{Err: errors.New("GET http://gate: connection refused")}
	s := stepWith(&p, at, rule, down)
	require.True(t, s.hard)
	require.Equal(t, "s has not been read yet: GET http://gate: connection refused", s.reasons[0].Text)
	read := at.Add(4 * time.Second)
	require.False(t, stepWith(&p, read, rule, Reading{Value: 1, At: read}).hard)
	require.False(t, stepWith(&p, read.Add(2*time.Minute), rule, Reading{Value: 1, At: read, Err: down.Err}).hard)
}

func TestABlindReasonWithoutEffectStandsLast(t *testing.T) {
	var p Pressure
	at := newFakeClock().t
	rules := map[string]Rule{"a": {Soft: 1, Hard: None()}, "z": {Soft: 1, Hard: None(), Factor: 1}}
	_, _, _, reasons := p.Step(at, rules, []Reading{{Signal: "a", Err: errors.New("no")}, {Signal: "z", Value: 1, At: at}, {Signal: "other", Value: 9, At: at}})
	require.Equal(t, []string{"z", "a"}, signalsOf(reasons))
}

func TestThresholdsChangeAtOnce(t *testing.T) {
	var p Pressure
	at := newFakeClock().t
	r := Reading{Value: 5, At: at}
	rule := Rule{Soft: 4, Hard: None(), Hysteresis: true}
	require.InDelta(t, 0.5, stepWith(&p, at, rule, r).factor, 0)
	rule.Soft = 5.5
	require.InDelta(t, 1, stepWith(&p, at, rule, r).factor, 0, "no settling below a threshold that a person has raised")
	rule.Soft = 4
	require.InDelta(t, 0.5, stepWith(&p, at, rule, r).factor, 0)
	rule.Soft = None()
	require.InDelta(t, 1, stepWith(&p, at, rule, r).factor, 0)
	rule.Hard = 5
	require.True(t, stepWith(&p, at, rule, r).hard)
	factor, hard, _, reasons := p.Step(at, nil, []Reading{r})
	require.InDelta(t, 1, factor, 0)
	require.False(t, hard)
	require.Empty(t, reasons)
}

func TestPressureProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c"}
		threshold := rapid.OneOf(rapid.Just(math.NaN()), rapid.Float64Range(-5, 5))
		rules := map[string]Rule{}
		for _, n := range names {
			rules[n] = Rule{
				Soft: threshold.Draw(t, "soft"), Hard: threshold.Draw(t, "hard"), Below: rapid.Bool().Draw(t, "below"),
				Factor: rapid.Float64Range(0, 1).Draw(t, "factor"), BatchScale: rapid.Float64Range(0, 1).Draw(t, "scale"),
				SoftFor: time.Duration(rapid.IntRange(0, 3).Draw(t, "for")) * time.Second, Hysteresis: rapid.Bool().Draw(t, "hysteresis"),
				Closed: rapid.Bool().Draw(t, "closed"), Blind: time.Duration(rapid.IntRange(0, 5).Draw(t, "blind")) * time.Second,
			}
		}
		var p Pressure
		at := newFakeClock().t
		last := map[string]Reading{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			at = at.Add(time.Duration(rapid.IntRange(1, 4000).Draw(t, "ms")) * time.Millisecond)
			for _, n := range names {
				switch rapid.IntRange(0, 3).Draw(t, "what") {
				case 0:
					r := last[n]
					r.Signal, r.Err = n, errors.New("down")
					last[n] = r
				case 1:
				default:
					last[n] = Reading{Signal: n, At: at, Value: rapid.Float64Range(-10, 10).Draw(t, "value")}
				}
			}
			var readings []Reading
			for _, r := range last {
				readings = append(readings, r)
			}
			factor, hard, scale, reasons := p.Step(at, rules, readings)

			require.True(t, factor >= 0 && factor <= 1)
			require.True(t, scale > 0 && scale <= 1)
			require.Equal(t, hard, slices.ContainsFunc(reasons, func(r Reason) bool { return r.Hard }), "a stop has its reason, and no reason but a stop is hard")
			if hard {
				require.Zero(t, factor)
				require.True(t, reasons[0].Hard, "the binding one first")
			}
			if factor < 1 || scale < 1 {
				require.NotEmpty(t, reasons)
				require.False(t, idle(reasons[0]))
			}
			for _, r := range reasons {
				rule := rules[r.Signal]
				require.NotEmpty(t, r.Text)
				if r.Blind {
					require.Equal(t, rule.Closed, r.Hard)
				} else {
					require.False(t, math.IsNaN(r.Threshold))
				}
			}
			for n, rule := range rules {
				if r := last[n]; rule.Closed && rule.Blind > 0 && !r.At.IsZero() && at.Sub(r.At) > rule.Blind {
					require.True(t, hard, "what is closed and not seen stops the fleet")
				} else if at.Equal(r.At) && rule.HardFor == 0 && fires(r.Value, rule.Hard, rule.Below) {
					require.True(t, hard, "what is over its hard limit now stops the fleet")
				}
			}
		}
	})
}

// A worse value never frees the fleet.
func TestPressureIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		soft := rapid.Float64Range(0, 10).Draw(t, "soft")
		rule := Rule{Soft: soft, Hard: soft + rapid.Float64Range(0, 10).Draw(t, "more"), Hysteresis: rapid.Bool().Draw(t, "hysteresis")}
		var low, high []float64
		for range rapid.IntRange(1, 40).Draw(t, "readings") {
			v := rapid.Float64Range(0, 25).Draw(t, "value")
			low, high = append(low, v), append(high, v+rapid.Float64Range(0, 5).Draw(t, "extra"))
		}
		lows, highs := play(rule, low...), play(rule, high...)
		for i := range lows {
			require.LessOrEqual(t, highs[i].factor, lows[i].factor, "second %d", i)
		}
	})
}

func TestDefaultRules(t *testing.T) {
	rules := Defaults()
	require.Len(t, rules, len(Builtins()), "each name once")
	for _, b := range Builtins() {
		require.NoError(t, b.Rule.Validate(), b.Name)
		require.NotEmpty(t, b.What, b.Name)
		require.NotEmpty(t, b.Cost, b.Name)
		require.NotEmpty(t, b.Rule.Text, b.Name)
		require.False(t, b.Rule.Closed, "%s: only what a person adds is closed", b.Name)
	}
	for _, name := range []string{SignalAutovacuum, SignalOldestTransaction, SignalOldestXmin, SignalSlotLost, SignalDeadRows} {
		require.True(t, math.IsNaN(rules[name].Hard), "%s can last for days and must not stop a run by itself", name)
		require.False(t, math.IsNaN(rules[name].Soft), name)
	}
	require.False(t, math.IsNaN(rules[SignalXIDAge].Hard))
	require.Less(t, rules[SignalProbe].BatchScale, 1.0)
	require.Less(t, rules[SignalBlockedByUs].BatchScale, 1.0)

	rules[SignalProbe] = Rule{}
	require.NotEqual(t, rules[SignalProbe], Defaults()[SignalProbe], "the caller's own")
	require.IsIncreasing(t, Names())
}

func TestValidateRule(t *testing.T) {
	for text, rule := range map[string]Rule{
		"has soft 9 above hard 5; soft is the one that is reached first":                                        {Soft: 9, Hard: 5},
		"has soft 0.1 below hard 0.2, but it fires below its thresholds; soft is the one that is reached first": {Soft: 0.1, Hard: 0.2, Below: true},
		"has factor 1.5; write one above 0 and up to 1":                                                         {Soft: 1, Hard: 2, Factor: 1.5},
		"has a threshold that is not finite; leave it out where there shall be none":                            {Soft: 1, Hard: math.Inf(1)},
	} {
		require.EqualError(t, rule.Validate(), text)
	}
	require.NoError(t, Rule{Soft: 5, Hard: 5}.Validate())
	require.NoError(t, Rule{Soft: None(), Hard: None()}.Validate())
}
