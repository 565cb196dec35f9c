package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/backfleet/backfleet/internal/nearest"
	"github.com/backfleet/backfleet/throttle"
)

// signalPath begins the path of one signal's rule: throttle.signals.archive_queue.hard.
const signalPath = "throttle.signals."

const (
	checksPath = "throttle.checks"
	maxList    = 32   // windows or checks of one job
	maxURL     = 2048 // bytes
)

// checkName keeps a check's name fit for a metric, a reason and a path.
var checkName = regexp.MustCompile(`^[a-z0-9-_]{1,40}$`)

// windowFields is every value of a Window, checkFields every one of a Check.
var (
	windowFields = settings[Window]{all: []setting[Window]{
		text("cron", func(w *Window) *string { return &w.Cron }),
		text("tz", func(w *Window) *string { return &w.TZ }),
		span("for", "", throttle.MinWindow, throttle.MaxWindow, func(w *Window) *Duration { return &w.For }),
		fraction("rate", "1", func(w *Window) *float64 { return &w.Rate }),
	}}
	checkFields = settings[Check]{all: []setting[Check]{
		text("name", func(c *Check) *string { return &c.Name }),
		text("sql", func(c *Check) *string { return &c.SQL }),
		text("http", func(c *Check) *string { return &c.HTTP }),
		text("prometheus.url", func(c *Check) *string { return &c.Prometheus.URL }),
		text("prometheus.query", func(c *Check) *string { return &c.Prometheus.Query }),
		text("soft", func(c *Check) *Threshold { return &c.Soft }),
		text("hard", func(c *Check) *Threshold { return &c.Hard }),
		flag("below", func(c *Check) *bool { return &c.Below }),
		span("every", "5s", time.Second, time.Hour, func(c *Check) *Duration { return &c.Every }),
	}}
)

// throttleSettings are the values of ThrottleRules that have parts of their own.
func throttleSettings() []setting[Limits] {
	return []setting[Limits]{
		list("throttle.windows", "{cron: \"0 22 * * *\", tz: Europe/Berlin, for: 8h, rate: 1.0}", &windowFields,
			func(l *Limits) *[]Window { return &l.Throttle.Windows }),
		{path: "throttle.default_rate",
			get: func(l Limits) string {
				if l.Throttle.DefaultRate == nil {
					return ""
				}
				return strconv.FormatFloat(*l.Throttle.DefaultRate, 'g', -1, 64)
			},
			set: func(l *Limits, text string) error {
				if text == "" { // as `set` writes it
					l.Throttle.DefaultRate = nil
					return nil
				}
				rate, err := parseFraction(text)
				l.Throttle.DefaultRate = &rate
				return err
			}},
		list(checksPath, "{name: queue, sql: SELECT count(*) FROM jobs, soft: 100, hard: 1000}", &checkFields,
			func(l *Limits) *[]Check { return &l.Throttle.Checks }),
	}
}

// signal finds the settings of one signal: as a whole, for off and default, and its two thresholds.
func signal(path string) (setting[Limits], bool) {
	name, part, _ := strings.Cut(path, ".")
	if !slices.Contains(throttle.Names(), name) {
		return setting[Limits]{}, false
	}
	change := func(l *Limits, f func(*SignalRule)) {
		rule := l.Throttle.Signals[name]
		f(&rule)
		l.Throttle.Signals = with(l.Throttle.Signals, name, rule)
		if rule == (SignalRule{}) {
			delete(l.Throttle.Signals, name)
		}
	}
	threshold := func(at func(*SignalRule) *Threshold) setting[Limits] {
		return setting[Limits]{path: signalPath + path,
			get: func(l Limits) string {
				rule := l.Throttle.Signals[name]
				return string(*at(&rule))
			},
			set: func(l *Limits, text string) error {
				if text == "default" {
					text = ""
				}
				_, err := Threshold(text).value(throttle.Defaults()[name].Unit, 0)
				change(l, func(r *SignalRule) { *at(r) = Threshold(text) })
				return err
			}}
	}
	switch part {
	case "":
		return setting[Limits]{path: signalPath + name,
			get: func(l Limits) string { return signalText(l.Throttle.Signals[name]) },
			set: func(l *Limits, text string) error {
				switch text {
				case string(thresholdOff):
					change(l, func(r *SignalRule) { *r = SignalRule{Soft: thresholdOff, Hard: thresholdOff} })
				case "default":
					change(l, func(r *SignalRule) { *r = SignalRule{} })
				default:
					return errors.New("is neither off nor default; write thresholds as {soft: 10, hard: 20}")
				}
				return nil
			}}, true
	case "soft":
		return threshold(func(r *SignalRule) *Threshold { return &r.Soft }), true
	case "hard":
		return threshold(func(r *SignalRule) *Threshold { return &r.Hard }), true
	}
	return setting[Limits]{}, false
}

func signalText(r SignalRule) string {
	switch {
	case r == SignalRule{}:
		return ""
	case r.Soft == thresholdOff && r.Hard == thresholdOff:
		return string(thresholdOff)
	}
	var parts []string
	if r.Soft != "" {
		parts = append(parts, "soft: "+string(r.Soft))
	}
	if r.Hard != "" {
		parts = append(parts, "hard: "+string(r.Hard))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// signalPaths lists the paths that signal finds.
func signalPaths() []string {
	var paths []string
	for _, name := range throttle.Names() {
		paths = append(paths, signalPath+name, signalPath+name+".soft", signalPath+name+".hard")
	}
	return paths
}

// list is a setting whose value is a list of mappings, each with fields of its own. like is an example of one.
func list[T, E any](path, like string, fields *settings[E], at func(*T) *[]E) setting[T] {
	return setting[T]{path: path,
		get: func(v T) string {
			if len(*at(&v)) == 0 {
				return ""
			}
			text, err := json.Marshal(*at(&v))
			if err != nil {
				return err.Error()
			}
			return string(text)
		},
		read: func(r *specReader, n ast.Node, path string, into *T) {
			items, ok := n.(*ast.SequenceNode)
			if !ok {
				r.refuse(n, path, "", "is "+kind(n)+", not a list", "write it as ["+like+"]")
				return
			}
			if len(items.Values) > maxList {
				r.refuse(n, path, "", fmt.Sprintf("holds %d", len(items.Values)), fmt.Sprintf("write at most %d", maxList))
				return
			}
			var all []E // a new list: copies of the value stay apart
			for i, item := range items.Values {
				e, at := fields.defaults(), fmt.Sprintf("%s[%d]", path, i)
				r.lines[at] = line(item)
				if _, mapping := item.(*ast.MappingNode); !mapping {
					r.refuse(item, at, "", "is "+kind(item)+", not fields with values", "write it as "+like)
					continue
				}
				readSetting(r, item, fields, at, "", &e)
				all = append(all, e)
			}
			*at(into) = all
		}}
}

func text[T any, S ~string](path string, at func(*T) *S) setting[T] {
	return setting[T]{path: path,
		get: func(v T) string { return string(*at(&v)) },
		set: func(v *T, text string) error {
			*at(v) = S(strings.TrimSpace(text))
			return nil
		}}
}

func flag[T any](path string, at func(*T) *bool) setting[T] {
	return setting[T]{path: path,
		get: func(v T) string { return strconv.FormatBool(*at(&v)) },
		set: func(v *T, text string) error {
			if text != "true" && text != "false" {
				return errors.New("is neither true nor false; write true, or leave it out")
			}
			*at(v) = text == "true"
			return nil
		}}
}

func fraction[T any](path, fallback string, at func(*T) *float64) setting[T] {
	return setting[T]{path: path, fallback: fallback,
		get: func(v T) string { return strconv.FormatFloat(*at(&v), 'g', -1, 64) },
		set: func(v *T, text string) (err error) {
			*at(v), err = parseFraction(text)
			return err
		}}
}

func parseFraction(text string) (float64, error) {
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || !(rate >= 0 && rate <= 1) {
		return 0, errors.New("is not a part of the whole; write a number from 0 (stop) to 1 (full rate)")
	}
	return rate, nil
}

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
			err = rule.Validate()
		}
		if err != nil {
			rs = append(rs, refuse(field, signalText(t.Signals[name]), err))
		}
	}
	return rs
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
