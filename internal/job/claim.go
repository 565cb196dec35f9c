package job

import (
	"time"

	"github.com/backfleet/backfleet/ranges"
)

// Claim is a worker's right to carry one range: it holds as long as the ledger row keeps this fence and token.
type Claim struct {
	Ref        Ref
	Kind       Kind
	Relation   uint32 // OID of the table or leaf partition
	Schema     string // the relation's present name
	Table      string
	Span       ranges.Span
	Checkpoint ranges.Checkpoint
	Fence      int64
	Token      string // random, made by this claim; a failover may take the fence back, never this
	Attempts   int    // claims of this range, this one included
	Quarantine int    // rows of this relation in quarantine at the claim: 0 saves their exclusion
	// File is the file of the relation whose blocks the span is: its keys are TIDs. 0: they are keys.
	File  uint32
	Bound ranges.Key // the relation's frozen bound
	Owner string
}

// Batch is what one committed batch did.
type Batch struct {
	Rows       int64 // rows written
	Residual   int64 // verify: rows that still matched `where`
	CheckFails int64 // verify: rows whose `check` is not true
}

// Quarantined is one row that was set aside.
type Quarantined struct {
	Relation string     `json:"relation"`
	Key      ranges.Key `json:"key"`
	SQLState string     `json:"sqlstate"`
	Error    string     `json:"error"`
	Attempts int        `json:"attempts"`
	By       string     `json:"by"` // the worker, or the person who skipped it
	// At and Range are told where the quarantine is listed; a report leaves them out. Range is nil where a person skipped the row.
	At    *time.Time `json:"at,omitempty"`
	Range *int       `json:"range,omitempty"`
}
