// Package migration holds the domain of a migration without downtime in five phases: its file, what was done of it, what the next step
// waits for. It does no I/O and asks nobody for the time.
package migration

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backfleet/backfleet/internal/job"
)

// Spec is a migration file as its author wrote it. It never changes after the start.
type Spec struct {
	Name     string `yaml:"name" json:"name"`
	Database string `yaml:"database" json:"database"`
	Table    string `yaml:"table" json:"table"`
	From     From   `yaml:"from" json:"from"`
	To       To     `yaml:"to" json:"to"`

	// Forward says how each new column follows from the old ones, Backward how each old column follows from the new ones once reads
	// have switched. Without Backward nothing can go back once the application writes new columns alone.
	Forward  map[string]string `yaml:"forward" json:"forward"`
	Backward map[string]string `yaml:"backward,omitempty" json:"backward,omitempty"`

	Backfill Backfill `yaml:"backfill,omitempty" json:"backfill"`
	Soak     Soak     `yaml:"soak,omitempty" json:"soak"`
}

// From is the old schema: the columns that the last phase drops.
type From struct {
	Columns []string `yaml:"columns" json:"columns"`
}

// To is the new schema: columns of the same table or, where Table is named, a new table with a row for each of the old one.
type To struct {
	Table   string   `yaml:"table,omitempty" json:"table,omitempty"`
	Key     []string `yaml:"key,omitempty" json:"key,omitempty"` // of the new table, its primary key
	Columns []Column `yaml:"columns" json:"columns"`
}

// Column is one new column.
type Column struct {
	Name    string `yaml:"name" json:"name"`
	Type    string `yaml:"type" json:"type"`
	Default string `yaml:"default,omitempty" json:"default,omitempty"` // an expression
}

// Soak is how long each wait lasts that nobody may compress.
type Soak struct {
	DualWrite Period `yaml:"dual_write,omitempty" json:"dual_write"` // of dual-write without divergence, before the backfill and before reads switch
	Reads     Period `yaml:"reads,omitempty" json:"reads"`           // of all reads at the new schema, before dual-write stops
	Drop      Period `yaml:"drop,omitempty" json:"drop"`             // after dual-write has stopped, before the old schema is dropped
}

// DefaultSoak is what a file waits for that does not say. Less than that needs an override.
func DefaultSoak() Soak {
	return Soak{DualWrite: Period(day), Reads: Period(7 * day), Drop: Period(7 * day)}
}

// Backfill is the part of a job that a migration's file holds: how the table is walked. Its type is that of a job's spec, of which the
// migration fills in the rest; see [Spec.Job].
type Backfill job.Spec

// NewTable reports whether the new schema is a table of its own.
func (s Spec) NewTable() bool { return s.To.Table != "" }

// NewColumns are the names of the new columns, in the file's order.
func (s Spec) NewColumns() []string {
	names := make([]string, len(s.To.Columns))
	for i, c := range s.To.Columns {
		names[i] = c.Name
	}
	return names
}

// Period is a time.Duration that reads and writes days too: "24h", "7d", "1d12h".
type Period time.Duration

// D returns the time.Duration.
func (p Period) D() time.Duration { return time.Duration(p) }

const day = 24 * time.Hour

// String writes whole days as days.
func (p Period) String() string {
	d := time.Duration(p)
	if d >= 2*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText implements encoding.TextMarshaler.
func (p Period) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Period) UnmarshalText(b []byte) error {
	text := string(b)
	var days time.Duration
	if number, rest, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a time; write it like 24h, 7d or 1d12h", b)
		}
		days, text = time.Duration(n)*day, rest
	}
	if text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is not a time; write it like 24h, 7d or 1d12h", b)
		}
		days += d
	}
	if len(b) == 0 {
		return fmt.Errorf("%q is not a time; write it like 24h, 7d or 1d12h", b)
	}
	*p = Period(days)
	return nil
}
