package job

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/internal/nearest"
	"github.com/backfleet/backfleet/throttle"
)

// checkName keeps a check's name fit for a metric, a reason and a path.
var checkName = regexp.MustCompile(`^[a-z0-9-_]{1,40}$`)

const maxURL = 2048 // bytes

// refusals checks what the rules say together.
func (t ThrottleRules) refusals() Refusals {
	return slices.Concat(t.lagFaults(), t.scheduleFaults(), t.signalFaults(), t.checkFaults())
}

func (t ThrottleRules) lagFaults() (rs Refusals) {
	if t.Lag.Soft < t.Lag.Target {
		rs = append(rs, Refusal{Field: "throttle.lag.soft", Value: t.Lag.Soft.String(), Why: "is below target " + t.Lag.Target.String(),
			Fix: "write target <= soft <= hard"})
	}
	if t.Lag.Hard < t.Lag.Soft {
		rs = append(rs, Refusal{Field: "throttle.lag.hard", Value: t.Lag.Hard.String(), Why: "is below soft " + t.Lag.Soft.String(),
			Fix: "write target <= soft <= hard"})
	}
	return rs
}

func (t ThrottleRules) scheduleFaults() (rs Refusals) {
	_, err := Limits{Throttle: t}.Schedule()
	var bad throttle.ScheduleErrors
	if errors.As(err, &bad) {
		for _, b := range bad {
			rs = append(rs, Refusal{Field: "throttle." + b.Field, Value: b.Value, Why: b.Why, Fix: b.Fix})
		}
	}
	return rs
}

func (t ThrottleRules) signalFaults() (rs Refusals) {
	defaults := throttle.Defaults()
	for _, name := range slices.Sorted(maps.Keys(t.Signals)) {
		rule, builtin := defaults[name]
		field := signalPath + name
		if !builtin {
			rs = append(rs, Refusal{Field: field, Why: "is not a signal", Fix: nearest.Hint(name, throttle.Names())})
			continue
		}
		rule, err := t.Signals[name].over(rule)
		if err == nil {
			if err = always(rule); err == nil {
				err = rule.Validate()
			}
		}
		if err != nil {
			rs = append(rs, refuse(field, signalText(t.Signals[name]), err))
		}
	}
	return rs
}

// always refuses thresholds of a builtin signal that hold the fleet for ever: none of them is ever below 0, and no free share is
// above all of it.
func always(r throttle.Rule) error {
	for _, v := range []float64{r.Soft, r.Hard} {
		switch {
		case !r.Below && v <= 0:
			return fmt.Errorf("has a threshold of %g, which is always reached; write one above 0, or off", v)
		case r.Below && r.Unit == throttle.UnitShare && v >= 1:
			return fmt.Errorf("has a threshold of %g %%, which is always reached; write one below 100%%, or off", 100*v)
		}
	}
	return nil
}

func (t ThrottleRules) checkFaults() (rs Refusals) {
	seen := map[string]bool{}
	for i, c := range t.Checks {
		at := fmt.Sprintf("%s[%d]", checksPath, i)
		add := func(field, value, why, fix string) {
			rs = append(rs, Refusal{Field: join(at, field), Value: value, Why: why, Fix: fix})
		}
		switch {
		case !checkName.MatchString(c.Name):
			add("name", c.Name, "is not a name", "write 1 to 40 of a-z, 0-9, - and _")
		case slices.Contains(throttle.Names(), c.Name):
			add("name", c.Name, "is a signal of Backfleet's own", "write another name")
		case seen[c.Name]:
			add("name", c.Name, "stands in it twice", "give each check a name of its own")
		}
		seen[c.Name] = true
		c.kindFaults(add)
		c.thresholdFaults(add)
		if every, ok := checkFields.at("every"); ok {
			if err := every.check(c); err != nil {
				rs = append(rs, refuse(join(at, "every"), c.Every.String(), err))
			}
		}
	}
	return rs
}

// kindFaults checks what is asked, and where.
func (c Check) kindFaults(add func(field, value, why, fix string)) {
	kinds := 0
	for _, given := range []bool{c.SQL != "", c.HTTP != "", c.Prometheus != PrometheusQuery{}} {
		if given {
			kinds++
		}
	}
	const one = "write exactly one of sql, http and prometheus: {url, query}"
	switch {
	case kinds == 0:
		add("", "", "asks nobody", one)
	case kinds > 1:
		add("", "", "asks in more than one way", one)
	}
	if c.SQL != "" {
		if why := expressionFault(c.SQL); why != "" {
			add("sql", "", why, "write a SELECT of one number")
		}
	}
	if c.HTTP != "" {
		urlFaults("http", c.HTTP, add)
	}
	if p := c.Prometheus; p != (PrometheusQuery{}) {
		urlFaults("prometheus.url", p.URL, add)
		if why := expressionFault(p.Query); why != "" {
			add("prometheus.query", "", why, "write a query that gives one number")
		}
	}
}

// secretWords are what a parameter of an address may not be called: a spec is kept, logged and shown.
var secretWords = regexp.MustCompile(`(?i)(pass|secret|token|api-?_?key|auth|signature)`)

// urlFaults checks an address. It never repeats one that holds a secret.
func urlFaults(field, text string, add func(field, value, why, fix string)) {
	const like = "write an address like http://127.0.0.1:9090/health"
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" {
		add(field, "", "is not an address", like)
		return
	}
	names, _ := url.ParseQuery(u.RawQuery)
	switch {
	case u.User != nil:
		add(field, "", "holds credentials, and a spec is kept, logged and shown", "leave them out; where they are needed, ask by way of a proxy on this host that adds them")
	case slices.ContainsFunc(slices.Collect(maps.Keys(names)), secretWords.MatchString):
		add(field, "", "holds a parameter that looks like a credential, and a spec is kept, logged and shown", "leave it out; where it is needed, ask by way of a proxy on this host that adds it")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", len(text) > maxURL:
		add(field, text, "is not an address", like)
	}
}

// thresholdFaults checks that the thresholds are there, and in their order.
func (c Check) thresholdFaults(add func(field, value, why, fix string)) {
	if c.HTTP != "" {
		if c.Soft != "" || c.Hard != "" || c.Below {
			add("", "", "has thresholds, but an HTTP check answers go (200) or stop (429)", "leave soft, hard and below out")
		}
		return
	}
	bad := false
	for _, f := range []struct {
		name string
		t    Threshold
	}{{"soft", c.Soft}, {"hard", c.Hard}} {
		if _, err := f.t.value("", 0); err != nil {
			why, fix, _ := strings.Cut(err.Error(), "; ")
			add(f.name, string(f.t), why, fix)
			bad = true
		}
	}
	rule, err := c.rule()
	switch {
	case bad || err != nil:
	case (c.Soft == "" || c.Soft == thresholdOff) && (c.Hard == "" || c.Hard == thresholdOff):
		add("", "", "has no threshold", "write soft (slows), hard (stops) or both")
	default:
		if err := rule.Validate(); err != nil {
			why, fix, _ := strings.Cut(err.Error(), "; ")
			add("", "", why, fix)
		}
	}
}
