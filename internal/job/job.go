// Package job holds Backfleet's domain values: what a job, a range, a claim, a lease and a control are. It does no I/O.
package job

import "time"

// ID is a job's ULID.
type ID string

// State is where a job stands. See docs/architecture.md for the transitions.
type State string

// The states of a job.
const (
	AwaitingApproval   State = "awaiting_approval"
	Planning           State = "planning" // freezing the bound and finding the first ranges
	Running            State = "running"  // batches run; later ranges may still be planned
	Paused             State = "paused"
	Verifying          State = "verifying"
	Complete           State = "complete"
	CompleteWithErrors State = "complete_with_errors"
	Failed             State = "failed"
	Cancelled          State = "cancelled"
)

// Ended reports whether nothing more happens to a job by itself.
func (s State) Ended() bool {
	return s == Complete || s == CompleteWithErrors || s == Failed || s == Cancelled
}

// Active reports whether workers may carry ranges of a job in this state.
func (s State) Active() bool { return s == Running || s == Verifying }

// RangeState is where a range stands.
type RangeState string

// The states of a range.
const (
	Queued        RangeState = "queued"   // in the ledger only
	Released      RangeState = "released" // its message is, or was just, in the stream
	RangeRunning  RangeState = "running"  // claimed; see its lease
	Done          RangeState = "done"
	RangeFailed   RangeState = "failed"  // gave up after too many attempts; `retry` queues it again
	RangeDropped  RangeState = "dropped" // its leaf partition is gone
	RangeExcluded RangeState = "skipped" // a person took it out
)

// Kind says what is done with a range.
type Kind string

// The kinds of a range.
const (
	Fill   Kind = "fill"   // update its rows
	Verify Kind = "verify" // count the residual and failing checks, repair the residual
)

// Column is one column of a job's key.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // the cast target, e.g. "bigint", "text", "timestamp with time zone"
	// Collation is set, quoted and schema-qualified, only where the key's index orders otherwise than its column.
	Collation string `json:"collation,omitempty"`
}

// Job is one backfill of one table as the ledger holds it.
type Job struct {
	ID         ID
	Name       string
	Database   string
	Spec       Spec
	SpecHash   string
	Limits     Limits // the spec's limits with every `set` applied
	State      State
	Reason     string // why it is paused or failed; empty otherwise
	Revision   int64  // raised by every change of state or limits
	Key        []Column
	Idempotent bool     // doing a row again leaves what doing it once leaves
	Order      Order    // OrderKey or OrderBlock
	Passes     int      // of a chunk, where batch.passes is auto; 0 is 1
	SearchPath string   // pinned at submit
	Estimate   int64    // rows in the table at submit
	EstimateBy string   // how Estimate was found
	Frozen     bool     // the upper bound is fixed
	FreezeWait []string // write transactions that the first batch waits for
	Planned    bool     // every range is in the ledger; until then totals are estimates
	Round      int      // the verification pass under way, from 1; 0 before
	// Snapshot is what the present round reads blocks in; empty: it walks keys, or there is none.
	Snapshot    string
	BlockRounds int // of the rounds; those that walk keys follow them
	By          string
	Submitted   time.Time
	Started     time.Time // first batch allowed; zero before
	Ended       time.Time // zero before

	ResumeState State // where `resume` returns to; set while paused or failed
	Forecast    *Forecast
	LastLook    *LastLook // of the present round; nil: not taken yet, or the job is not in block order
	EndLSN      *string   // WAL position that every replica must have flushed before `complete`
	StreamClear bool      // it ended and left nothing in the stream

	SubmittedAs string // the API's token that submitted it; empty where it was none's
	PlanHash    string // what its plan came down to at the submit; empty for jobs of before
	ApprovedAs  string // the API's token that approved it; empty where none did
	Approved    time.Time
}

// Ref names one delivery of one range. It is all that a message holds.
type Ref struct {
	Database   string `json:"db"`
	Job        ID     `json:"job"`
	Name       string `json:"name"` // the job's name: part of the subject
	Index      int    `json:"range"`
	Generation int    `json:"gen"`
	// Blocks says that the range spans row addresses: a worker of before these leaves it to others.
	Blocks bool `json:"blocks,omitempty"`
}
