package job

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backfleet/backfleet/internal/nearest"
)

// replicaPath begins the path of one replica's policy: throttle.replicas.standby1.
const replicaPath = "throttle.replicas."

// setting is one value of Limits, addressed by its dotted path in a spec. Parser, defaults, validation and `backfleet set`
// all go by this one list, so none of them can forget a field.
type setting struct {
	path     string
	number   bool   // written without quotes in YAML
	fallback string // its default, as text
	get      func(Limits) string
	set      func(*Limits, string) error // errors say why and what would be right
	check    func(Limits) error
}

var settings = []setting{
	whole("weight", "1", 1, 1000, func(l *Limits) *int { return &l.Weight }),
	whole("workers.max", "16", 1, 1024, func(l *Limits) *int { return &l.Workers.Max }),
	span("batch.target", "25ms", time.Millisecond, 10*time.Second, func(l *Limits) *Duration { return &l.Batch.Target }),
	whole("batch.max_rows", "10000", 1, 1_000_000, func(l *Limits) *int { return &l.Batch.MaxRows }),
	choice("batch.synchronous_commit", "off", []string{"off", "local", "remote_write", "on", "remote_apply"},
		func(l *Limits) *string { return &l.Batch.SynchronousCommit }),
	span("throttle.lag.target", "1s", 10*time.Millisecond, time.Hour, func(l *Limits) *Duration { return &l.Throttle.Lag.Target }),
	span("throttle.lag.soft", "5s", 10*time.Millisecond, time.Hour, func(l *Limits) *Duration { return &l.Throttle.Lag.Soft }),
	span("throttle.lag.hard", "10s", 10*time.Millisecond, time.Hour, func(l *Limits) *Duration { return &l.Throttle.Lag.Hard }),
	whole("throttle.max_rows_per_second", "0", 0, 1_000_000_000, func(l *Limits) *int { return &l.Throttle.MaxRowsPerSecond }),
	whole("on_error.quarantine_rows", "100", 0, 1_000_000, func(l *Limits) *int { return &l.OnError.QuarantineRows }),
}

var replicaPolicies = []string{"hold", "ignore"}

func whole(path, fallback string, least, most int, at func(*Limits) *int) setting {
	within := func(n int) error {
		if n < least || n > most {
			return fmt.Errorf("is out of bounds; write a whole number from %d to %d", least, most)
		}
		return nil
	}
	return setting{path: path, number: true, fallback: fallback,
		get:   func(l Limits) string { return strconv.Itoa(*at(&l)) },
		check: func(l Limits) error { return within(*at(&l)) },
		set: func(l *Limits, text string) error {
			n, err := strconv.Atoi(text)
			if err != nil {
				return fmt.Errorf("is not a whole number; write one from %d to %d", least, most)
			}
			*at(l) = n
			return within(n)
		}}
}

func span(path, fallback string, least, most time.Duration, at func(*Limits) *Duration) setting {
	within := func(d Duration) error {
		if d.D() < least || d.D() > most {
			return fmt.Errorf("is out of bounds; write a duration from %s to %s", Duration(least), Duration(most))
		}
		return nil
	}
	return setting{path: path, fallback: fallback,
		get:   func(l Limits) string { return at(&l).String() },
		check: func(l Limits) error { return within(*at(&l)) },
		set: func(l *Limits, text string) error {
			var d Duration
			if d.UnmarshalText([]byte(text)) != nil {
				return fmt.Errorf("is not a duration; write one with its unit, like 25ms, 1s or 10m")
			}
			*at(l) = d
			return within(d)
		}}
}

func choice(path, fallback string, of []string, at func(*Limits) *string) setting {
	within := func(s string) error {
		if !slices.Contains(of, s) {
			return fmt.Errorf("is not known; write one of %s", strings.Join(of, ", "))
		}
		return nil
	}
	return setting{path: path, fallback: fallback,
		get:   func(l Limits) string { return *at(&l) },
		check: func(l Limits) error { return within(*at(&l)) },
		set: func(l *Limits, text string) error {
			*at(l) = text
			return within(text)
		}}
}

// replica is the setting of one replica's policy. The map is replaced, never written, so copies of Limits stay apart.
func replica(name string) setting {
	within := func(policy string) error {
		if name == "" || len(name) > maxName || strings.ContainsRune(name, 0) {
			return fmt.Errorf("names no replica; write its application_name, 1 to %d bytes", maxName)
		}
		if !slices.Contains(replicaPolicies, policy) {
			return fmt.Errorf("is not a policy; write hold (its absence stops the fleet) or ignore")
		}
		return nil
	}
	return setting{path: replicaPath + name,
		get:   func(l Limits) string { return l.Throttle.Replicas[name] },
		check: func(l Limits) error { return within(l.Throttle.Replicas[name]) },
		set: func(l *Limits, text string) error {
			next := maps.Clone(l.Throttle.Replicas)
			if next == nil {
				next = map[string]string{}
			}
			next[name] = text
			l.Throttle.Replicas = next
			return within(text)
		}}
}

// settingAt finds the setting of a path.
func settingAt(path string) (setting, bool) {
	if name, ok := strings.CutPrefix(path, replicaPath); ok {
		return replica(name), true
	}
	i := slices.IndexFunc(settings, func(s setting) bool { return s.path == path })
	if i < 0 {
		return setting{}, false
	}
	return settings[i], true
}

// Paths returns the path of every setting that [Limits.Set] takes; `throttle.replicas.<name>` stands for any replica.
func Paths() []string {
	paths := make([]string, 0, len(settings)+1)
	for _, s := range settings {
		paths = append(paths, s.path)
	}
	return append(paths, replicaPath+"<name>")
}

// Set returns limits with one value changed, and the text of the value before; a replica without a policy has the empty
// text. The result is valid as a whole, or the error is a [Refusals]. The receiver is never changed.
func (l Limits) Set(path, value string) (Limits, string, error) {
	s, ok := settingAt(path)
	if !ok {
		return l, "", Refusals{{Field: path, Why: "is not a setting that can change", Fix: nearest.Hint(path, Paths())}}
	}
	next, old := l, s.get(l)
	if err := s.set(&next, strings.TrimSpace(value)); err != nil {
		return l, old, Refusals{refuse(path, value, err)}
	}
	if rs := next.refusals(); len(rs) > 0 {
		return l, old, rs
	}
	return next, old, nil
}

// defaultLimits returns limits where every setting has its default.
func defaultLimits() Limits {
	var l Limits
	for _, s := range settings {
		if err := s.set(&l, s.fallback); err != nil {
			panic("default of " + s.path + " " + err.Error()) // a test sees it first
		}
	}
	return l
}

// refuse splits an error of a setting, "why; fix", into a refusal.
func refuse(path, value string, err error) Refusal {
	why, fix, _ := strings.Cut(err.Error(), "; ")
	return Refusal{Field: path, Value: value, Why: why, Fix: fix}
}
