package job

import (
	"fmt"
	"time"

	"github.com/backfleet/backfleet/throttle"
)

// DatabaseRules is what a person set for all jobs of a database together.
type DatabaseRules struct {
	MaxRowsPerSecond     int       `json:"max_rows_per_second,omitempty"`      // 0: no cap
	MaxWALBytesPerSecond Bytes     `json:"max_wal_bytes_per_second,omitempty"` // 0: no cap
	Override             *Override `json:"override,omitempty"`                 // nil: the jobs' windows decide
}

// Override takes the place of every window of a database's jobs until it ends by itself.
type Override struct {
	Rate  float64   `json:"rate"` // of the full rate, 0 to 1; 0 stops every batch
	Until time.Time `json:"until"`
	By    string    `json:"by"`
}

// MaxOverride bounds how long an override or a hold may stand, so that none is forgotten.
const MaxOverride = throttle.MaxOverride

// databaseRules is every value of DatabaseRules that `backfleet throttle set` may change; an override has its own command.
var databaseRules = settings[DatabaseRules]{all: []setting[DatabaseRules]{
	whole("max_rows_per_second", "0", 0, maxRowsCap, func(r *DatabaseRules) *int { return &r.MaxRowsPerSecond }),
	bytesCap("max_wal_bytes_per_second", minWALCap, maxWALCap, func(r *DatabaseRules) *Bytes { return &r.MaxWALBytesPerSecond }),
}}

// DatabasePaths returns the path of every setting that [DatabaseRules.Set] takes.
func DatabasePaths() []string { return databaseRules.paths() }

// Set returns rules with values changed, by their paths, and what changed. The error is a [Refusals] with all that is wrong.
func (r DatabaseRules) Set(values map[string]string) (DatabaseRules, []Change, error) {
	return databaseRules.setAll(r, values)
}

// Brake is a hold of a whole database: no batch may start before it ends.
type Brake struct {
	Until  time.Time `json:"until"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

// Why tells the brake as the reason that it is.
func (b Brake) Why() Reason {
	text := fmt.Sprintf("held by %s until %s", b.By, b.Until.UTC().Format(time.RFC3339))
	if b.Reason != "" {
		text += ": " + oneLine(b.Reason)
	}
	return Reason{Signal: "brake", Text: text, Hard: true}
}
