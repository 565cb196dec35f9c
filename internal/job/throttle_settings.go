package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/backfleet/backfleet/throttle"
)

// signalPath begins the path of one signal's rule: throttle.signals.archive_queue.hard.
const signalPath = "throttle.signals."

const (
	checksPath = "throttle.checks"
	maxList    = 32 // windows or checks of one job
)

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
		if len(l.Throttle.Signals) == 0 {
			l.Throttle.Signals = nil // as in a spec that says nothing
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
					return setThresholds(l, name, text)
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

// setThresholds takes both thresholds of a signal from one text, such as "{soft: 6%, hard: 3%}"; one that is left out has its default again.
func setThresholds(l *Limits, name, text string) error {
	const hint = "; write thresholds as {soft: 10, hard: 20}"
	var parts map[string]any
	if !strings.HasPrefix(text, "{") || yaml.Unmarshal([]byte(text), &parts) != nil || len(parts) == 0 {
		return errors.New("is neither off nor default" + hint)
	}
	next := Limits{}
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		threshold, known := signal(name + "." + part)
		if !known {
			return fmt.Errorf("has no threshold %q%s", part, hint)
		}
		if err := threshold.set(&next, fmt.Sprint(parts[part])); err != nil {
			return fmt.Errorf("has a %s that %w", part, err)
		}
	}
	l.Throttle.Signals = with(l.Throttle.Signals, name, next.Throttle.Signals[name])
	return nil
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

// growthBound is a multiple of a size; nothing keeps a table exactly as large as it was.
func growthBound[T any](path string, at func(*T) *float64) setting[T] {
	const least, most = 1.05, 100
	within := func(v float64) error {
		if v != 0 && !(v >= least && v <= most) {
			return fmt.Errorf("is out of bounds; write a multiple of the table's size from %g to %d, like 1.3, or 0 for no bound", least, most)
		}
		return nil
	}
	return setting[T]{path: path, number: true, fallback: "0",
		get:   func(v T) string { return strconv.FormatFloat(*at(&v), 'g', -1, 64) },
		check: func(v T) error { return within(*at(&v)) },
		set: func(v *T, text string) error {
			bound, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return within(-1)
			}
			*at(v) = bound
			return within(bound)
		}}
}

func parseFraction(text string) (float64, error) {
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || !(rate >= 0 && rate <= 1) {
		return 0, errors.New("is not a part of the whole; write a number from 0 (stop) to 1 (full rate)")
	}
	return rate, nil
}
