package job

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backfleet/backfleet/throttle"
)

// Window is a time, which comes again and again, in which a job may use a part of its rate; see [throttle.Window].
type Window struct {
	Cron string   `yaml:"cron" json:"cron"`
	TZ   string   `yaml:"tz" json:"tz"`
	For  Duration `yaml:"for" json:"for"`
	Rate float64  `yaml:"rate" json:"rate"` // 0 to 1
}

// Threshold is a value at which a signal slows or stops the fleet, as a person writes it: a number in the signal's unit; where
// that is seconds also a duration ("15m"), where it is a share also a percentage ("20%"). "off" is no threshold, and empty the
// signal's default.
type Threshold string

const thresholdOff Threshold = "off"

// value is the threshold as a number, NaN for none.
func (t Threshold) value(unit string, fallback float64) (float64, error) {
	text := strings.TrimSpace(string(t))
	like := ""
	switch unit {
	case throttle.UnitSeconds:
		if d, err := time.ParseDuration(text); err == nil {
			return d.Seconds(), nil
		}
		like = ", a duration like 15m"
	case throttle.UnitShare:
		if percent, ok := strings.CutSuffix(text, "%"); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
			if err == nil {
				return v / 100, nil
			}
		}
		like = ", a percentage like 20%"
	}
	switch Threshold(text) {
	case "":
		return fallback, nil
	case thresholdOff:
		return throttle.None(), nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("is not a threshold; write a number%s, or off", like)
	}
	return v, nil
}

// SignalRule changes the thresholds of a signal that Backfleet reads by itself. Without any it is off.
type SignalRule struct {
	Soft Threshold `yaml:"soft,omitempty" json:"soft,omitempty"`
	Hard Threshold `yaml:"hard,omitempty" json:"hard,omitempty"`
}

// over is the rule of a signal with these thresholds.
func (s SignalRule) over(rule throttle.Rule) (throttle.Rule, error) {
	var err error
	if rule.Soft, err = s.Soft.value(rule.Unit, rule.Soft); err != nil {
		return rule, err
	}
	rule.Hard, err = s.Hard.value(rule.Unit, rule.Hard)
	return rule, err
}

// Check is a signal that a person adds: a number from the database or from Prometheus with its thresholds, or the address of
// someone who answers 200 for go and 429 for stop. It fails closed.
type Check struct {
	Name       string          `yaml:"name" json:"name"`
	SQL        string          `yaml:"sql,omitempty" json:"sql,omitempty"`
	HTTP       string          `yaml:"http,omitempty" json:"http,omitempty"`
	Prometheus PrometheusQuery `yaml:"prometheus,omitempty" json:"prometheus,omitzero"`
	Soft       Threshold       `yaml:"soft,omitempty" json:"soft,omitempty"`
	Hard       Threshold       `yaml:"hard,omitempty" json:"hard,omitempty"`
	Below      bool            `yaml:"below,omitempty" json:"below,omitempty"` // it fires at or below its thresholds
	Every      Duration        `yaml:"every,omitempty" json:"every"`
}

// PrometheusQuery asks a Prometheus server for one number.
type PrometheusQuery struct {
	URL   string `yaml:"url" json:"url"`
	Query string `yaml:"query" json:"query"`
}

// rule is the check's rule. The check is valid.
func (c Check) rule() (throttle.Rule, error) {
	if c.HTTP != "" {
		return throttle.Verdict(c.Every.D()), nil
	}
	rule := throttle.Check(c.Every.D())
	rule.Below = c.Below
	var err error
	if rule.Soft, err = c.Soft.value("", rule.Soft); err != nil {
		return rule, err
	}
	rule.Hard, err = c.Hard.value("", rule.Hard)
	return rule, err
}

// Schedule is the part of the rate that the job's windows leave it over time. It never fails for limits that are valid.
func (l Limits) Schedule() (throttle.Schedule, error) {
	windows := make([]throttle.Window, len(l.Throttle.Windows))
	for i, w := range l.Throttle.Windows {
		windows[i] = throttle.Window{Cron: w.Cron, TZ: w.TZ, For: w.For.D(), Rate: w.Rate}
	}
	return throttle.NewSchedule(windows, l.Throttle.DefaultRate)
}

// Apply lays the override over a job's schedule; without one the schedule stays as it is.
func (r DatabaseRules) Apply(s throttle.Schedule) throttle.Schedule {
	if r.Override == nil {
		return s
	}
	return s.With(throttle.Override{Rate: r.Override.Rate, Until: r.Override.Until, By: r.Override.By})
}

// Rules is the rule of each signal that is on for the job, by name: the builtin ones under its overrides, and its own checks.
// One without a threshold is off. What cannot be read as a threshold keeps its default: [Limits.Validate] refuses it.
func (l Limits) Rules() map[string]throttle.Rule {
	rules := throttle.Defaults()
	for name, s := range l.Throttle.Signals {
		if rule, builtin := rules[name]; builtin {
			if changed, err := s.over(rule); err == nil {
				rules[name] = changed
			}
		}
	}
	maps.DeleteFunc(rules, func(_ string, r throttle.Rule) bool { return math.IsNaN(r.Soft) && math.IsNaN(r.Hard) })
	for _, c := range l.Throttle.Checks {
		if rule, err := c.rule(); err == nil {
			rules[c.Name] = rule
		}
	}
	return rules
}

// Strictest joins the rules of the jobs that run on one database: a signal is off only if it is for all of them, and the threshold
// that is reached first counts. Checks that are equal are one. Of different ones that share a name, the rules and checks of the
// later jobs are called name@job, so that each check's name is that of its rule.
func Strictest(jobs []Job) (map[string]throttle.Rule, []Check) {
	all := map[string]throttle.Rule{}
	var checks []Check
	for _, j := range jobs {
		rules := j.Limits.Rules()
		for _, c := range j.Limits.Throttle.Checks {
			rule, ok := rules[c.Name]
			delete(rules, c.Name)
			if !ok || slices.Contains(checks, c) {
				continue
			}
			if slices.ContainsFunc(checks, func(other Check) bool { return other.Name == c.Name }) {
				c.Name += "@" + j.Name
			}
			all[c.Name] = rule
			checks = append(checks, c)
		}
		for name, rule := range rules {
			if have, there := all[name]; there {
				rule.Soft, rule.Hard = first(have.Soft, rule.Soft, rule.Below), first(have.Hard, rule.Hard, rule.Below)
			}
			all[name] = rule
		}
	}
	return all, checks
}

// first is the one of two thresholds that is reached first; NaN is none.
func first(a, b float64, below bool) float64 {
	switch {
	case math.IsNaN(a):
		return b
	case math.IsNaN(b):
		return a
	case below:
		return max(a, b)
	}
	return min(a, b)
}

// String is the check's kind and what it asks, for people; no secret may stand in either.
func (c Check) String() string {
	switch {
	case c.SQL != "":
		return "SQL: " + oneLine(c.SQL)
	case c.HTTP != "":
		return "HTTP: " + c.HTTP
	}
	return "Prometheus " + cmp.Or(c.Prometheus.URL, "?") + ": " + oneLine(c.Prometheus.Query)
}
