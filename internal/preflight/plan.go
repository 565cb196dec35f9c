// Package preflight looks at a job before anything is changed: it refuses what cannot go well, and shows what the job will do,
// how, and at what cost. Its document is what `backfleet plan` prints and what `submit` decides by.
//
// The checks run in one READ ONLY transaction that is rolled back, under a short statement_timeout, so that they neither change a
// database nor press it. The sample batches of a forecast are real updates, a transaction each, that are rolled back as well.
package preflight

import (
	"cmp"
	"slices"
	"time"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/job"
)

// Plan is what a job will do, and what it found on the way. Figures are of the moment of the check.
type Plan struct {
	Spec     job.Spec `json:"spec"` // defaults applied
	SpecHash string   `json:"spec_hash"`
	Server   Server   `json:"server"`

	Table        catalog.Table  `json:"table"`
	Key          []job.Column   `json:"key"`
	KeyIndex     string         `json:"key_index"` // on the table or its first leaf
	Leaves       []catalog.Leaf `json:"leaves"`
	Grows        bool           `json:"grows"`      // new rows get keys above all that are there
	Idempotent   bool           `json:"idempotent"` // doing a row twice leaves what doing it once leaves
	SearchPath   string         `json:"search_path"`
	Rows         int64          `json:"rows"` // in the table
	RowsBy       string         `json:"rows_by"`
	Matching     *int64         `json:"matching,omitempty"` // rows that match `where`, as the planner guesses; nil without one
	TableBytes   int64          `json:"table_bytes"`
	IndexBytes   int64          `json:"index_bytes"`
	Ranges       int64          `json:"ranges"`
	Index        string         `json:"index"` // that a batch will use, by EXPLAIN; empty where the table is empty
	Columns      []Written      `json:"columns"`
	Statement    *Effects       `json:"statement,omitempty"` // of a job that has one instead of columns to set
	Walk         Walk           `json:"walk"`
	HOT          HOT            `json:"hot"`
	Triggers     []Trigger      `json:"triggers"`
	ForeignKeys  []ForeignKey   `json:"foreign_keys"`
	Replicas     []Replica      `json:"replicas"`
	Slots        []Slot         `json:"slots"`
	Connections  Connections    `json:"connections"`
	Transactions Transactions   `json:"transactions"`
	Autovacuum   Autovacuum     `json:"autovacuum"`
	Warnings     []Finding      `json:"warnings"` // the gravest first
	// Forecast is nil where no sample batches were asked for, or none could run; then a warning says why.
	Forecast *job.Forecast `json:"forecast,omitempty"`

	volatile string // a volatile function of the user's own that an expression calls
}

// Server is where the job will run.
type Server struct {
	Version  string `json:"version"`
	Number   int    `json:"version_number"` // 150018
	Database string `json:"database"`
	Role     string `json:"role"`
}

// Written is a column that the job writes.
type Written struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Expression string `json:"expression"`
	Reads      bool   `json:"reads_written_column"` // the expression reads a column that the job writes
}

// HOT says whether the updates can avoid all index writes.
type HOT struct {
	Possible   bool     `json:"possible"`
	Blocking   []string `json:"blocking,omitempty"` // the indexes that name a written column
	Fillfactor int      `json:"fillfactor"`         // of the table or its first leaf
	Secondary  int      `json:"secondary_indexes"`  // beside the one that walks the key, on the relation that has most
	Passes     int      `json:"passes"`             // in which batch.passes auto walks a chunk
}

// Trigger is a trigger that the job's updates will fire.
type Trigger struct {
	Name     string `json:"name"`
	Timing   string `json:"timing"` // "BEFORE each row", "AFTER each statement" ...
	Function string `json:"function"`
	Aware    bool   `json:"aware"` // its function mentions backfleet.job
}

// ForeignKey is a constraint that the job's updates will make Postgres check.
type ForeignKey struct {
	Name       string `json:"name"`
	Definition string `json:"definition"`
	From       string `json:"from"`
	Incoming   bool   `json:"incoming"` // another table refers to a column that the job writes
}

// Replica is a WAL receiver that the primary sees.
type Replica struct {
	Name    string  `json:"name"`
	State   string  `json:"state"`
	Sync    string  `json:"sync"`
	Lag     float64 `json:"lag_seconds"` // 0 where the server shows none
	Bytes   int64   `json:"lag_bytes"`
	Ignored bool    `json:"ignored"` // by the spec
}

// Slot is a replication slot.
type Slot struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"` // physical or logical
	Active   bool   `json:"active"`
	Status   string `json:"wal_status"`
	Retained int64  `json:"retained_bytes"`
}

// Connections is the room for the fleet's sessions.
type Connections struct {
	Max   int `json:"max"`    // what this role may use, in whole
	InUse int `json:"in_use"` // by client sessions
	Need  int `json:"need"`   // at the job's worker limit
}

// Transactions is the room before transaction ids wrap around.
type Transactions struct {
	Age       int64    `json:"age"`        // of the database's oldest frozen id
	Headroom  int64    `json:"headroom"`   // ids until the server stops taking writes
	FreezeAge int64    `json:"freeze_age"` // autovacuum_freeze_max_age
	Oldest    Duration `json:"oldest_open"`
}

// Duration is a job.Duration: text in JSON.
type Duration = job.Duration

// Autovacuum is who cleans up behind the job.
type Autovacuum struct {
	On         bool       `json:"on"`
	Dead       int64      `json:"dead_rows"`
	Visible    float64    `json:"all_visible"` // share of the pages, 0..1
	LastVacuum *time.Time `json:"last_vacuum,omitempty"`
}

// Severity ranks a finding.
type Severity string

// The severities, the gravest first.
const (
	Danger  Severity = "danger"  // may harm the database or the data
	Warning Severity = "warning" // will cost, or surprise
	Note    Severity = "note"    // good to know
)

// Finding is one thing that a person should know before the job runs.
type Finding struct {
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject"`
	Text     string   `json:"text"`
	Fix      string   `json:"fix,omitempty"`
}

func rankFindings(all []Finding) {
	order := []Severity{Danger, Warning, Note}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity))
	})
}
