package job

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// replicaPath begins the path of one replica's policy: throttle.replicas.standby1.
const replicaPath = "throttle.replicas."

// Bounds of the caps, of a job and of a database alike.
const (
	maxRowsCap       = 1_000_000_000
	minWALCap  Bytes = 8 << 10 // a row may cost a whole page
	maxWALCap  Bytes = 1 << 40
)

// limits is every value of Limits.
var limits = settings[Limits]{
	all: slices.Concat([]setting[Limits]{
		whole("weight", "1", 1, 1000, func(l *Limits) *int { return &l.Weight }),
		whole("workers.max", "16", 1, 1024, func(l *Limits) *int { return &l.Workers.Max }),
		span("batch.target", "25ms", time.Millisecond, 10*time.Second, func(l *Limits) *Duration { return &l.Batch.Target }),
		whole("batch.max_rows", "10000", 1, 1_000_000, func(l *Limits) *int { return &l.Batch.MaxRows }),
		choice("batch.synchronous_commit", "off", []string{"off", "local", "remote_write", "on", "remote_apply"},
			func(l *Limits) *string { return &l.Batch.SynchronousCommit }),
		choice("batch.passes", "auto", []string{"auto", "1", "2", "4", "8"}, func(l *Limits) *string { return &l.Batch.Passes }),
		span("throttle.lag.target", "1s", 10*time.Millisecond, time.Hour, func(l *Limits) *Duration { return &l.Throttle.Lag.Target }),
		span("throttle.lag.soft", "5s", 10*time.Millisecond, time.Hour, func(l *Limits) *Duration { return &l.Throttle.Lag.Soft }),
		span("throttle.lag.hard", "10s", 10*time.Millisecond, time.Hour, func(l *Limits) *Duration { return &l.Throttle.Lag.Hard }),
		whole("throttle.max_rows_per_second", "0", 0, maxRowsCap, func(l *Limits) *int { return &l.Throttle.MaxRowsPerSecond }),
		bytesCap("throttle.max_wal_bytes_per_second", minWALCap, maxWALCap, func(l *Limits) *Bytes { return &l.Throttle.MaxWALBytesPerSecond }),
		growthBound("throttle.max_growth", func(l *Limits) *float64 { return &l.Throttle.MaxGrowth }),
	}, throttleSettings(), []setting[Limits]{
		whole("on_error.quarantine_rows", "100", 0, 1_000_000, func(l *Limits) *int { return &l.OnError.QuarantineRows }),
		span("verify.snapshot", "10m", 0, 24*time.Hour, func(l *Limits) *Duration { return &l.Verify.Snapshot }),
	}),
	named: namedLimit,
	more:  func() []string { return append(signalPaths(), replicaPath+"<name>") },
	shown: []string{signalPath + "<signal>", signalPath + "<signal>.soft", signalPath + "<signal>.hard", replicaPath + "<name>"},
}

// namedLimit finds the settings below names that people choose.
func namedLimit(path string) (setting[Limits], bool) {
	if name, ok := strings.CutPrefix(path, replicaPath); ok {
		return replica(name), true
	}
	if rest, ok := strings.CutPrefix(path, signalPath); ok {
		return signal(rest)
	}
	return setting[Limits]{}, false
}

var replicaPolicies = []string{"hold", "ignore"}

// replica is the setting of one replica's policy. The map is replaced, never written, so copies of Limits stay apart.
func replica(name string) setting[Limits] {
	within := func(policy string) error {
		if name == "" || len(name) > maxName || strings.ContainsRune(name, 0) {
			return fmt.Errorf("names no replica; write its application_name, 1 to %d bytes", maxName)
		}
		if !slices.Contains(replicaPolicies, policy) {
			return fmt.Errorf("is not a policy; write hold (its absence stops the fleet) or ignore")
		}
		return nil
	}
	return setting[Limits]{path: replicaPath + name,
		get:   func(l Limits) string { return l.Throttle.Replicas[name] },
		check: func(l Limits) error { return within(l.Throttle.Replicas[name]) },
		set: func(l *Limits, text string) error {
			l.Throttle.Replicas = with(l.Throttle.Replicas, name, text)
			return within(text)
		}}
}

// with is a copy of a map with one entry set.
func with[V any](m map[string]V, key string, v V) map[string]V {
	next := make(map[string]V, len(m)+1)
	maps.Copy(next, m)
	next[key] = v
	return next
}

// Paths returns the path of every setting that [Limits.Set] takes; `<name>` stands for any name.
func Paths() []string { return limits.documented() }

// Set returns limits with values changed, by their paths, and what changed in the order of the paths; a replica without a policy
// has the empty text. The result is valid as a whole, or the error is a [Refusals] with all that is wrong. The receiver is never
// changed.
func (l Limits) Set(values map[string]string) (Limits, []Change, error) {
	next, changes, err := limits.setAll(l, values)
	if err != nil {
		return l, nil, err
	}
	if rs := next.refusals(); len(rs) > 0 {
		return l, nil, rs
	}
	return next, changes, nil
}

// defaultLimits returns limits where every setting has its default.
func defaultLimits() Limits { return limits.defaults() }
