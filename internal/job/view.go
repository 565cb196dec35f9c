package job

import (
	"time"

	"github.com/backfleet/backfleet/ranges"
)

// Status is what a person asks of a job: where it stands, what holds it back, when it ends.
type Status struct {
	ID         ID             `json:"id"`
	Name       string         `json:"name"`
	Database   string         `json:"database"`
	Table      string         `json:"table"`
	State      State          `json:"state"`
	Reason     string         `json:"reason,omitempty"`
	Revision   int64          `json:"revision"`
	Limits     Limits         `json:"limits"`
	Order      Order          `json:"order"` // in which the rows are walked: key or block
	Estimate   int64          `json:"rows_estimated"`
	EstimateBy string         `json:"rows_estimated_by"`
	Planned    bool           `json:"planned"` // false: Ranges.Total still grows
	Ranges     RangeCounts    `json:"ranges"`
	Rows       int64          `json:"rows_written"`
	Batches    int64          `json:"batches"`
	Retries    int64          `json:"retries"`
	Quarantine int64          `json:"quarantined"`
	Round      int            `json:"verify_round,omitempty"`
	Fraction   float64        `json:"fraction"` // of the present phase, 0..1
	Live       bool           `json:"live"`     // false: read from the ledger alone, so Rate, ETA, Lag and Stream are not known
	Rate       float64        `json:"rows_per_second"`
	ETA        *ETA           `json:"eta,omitempty"` // nil: nobody here knows
	Lag        map[string]Lag `json:"lag,omitempty"` // by replica
	Leases     int            `json:"leases"`        // of the job now; 0 where Live is false
	Limiting   []Reason       `json:"limiting,omitempty"`
	Lost       []Loss         `json:"lost,omitempty"`     // to each reason since the start, the most first
	Forecast   *Forecast      `json:"forecast,omitempty"` // of the submit
	Workers    []WorkerOnJob  `json:"workers,omitempty"`
	Stream     *StreamLag     `json:"stream,omitempty"`
	Moved      *time.Time     `json:"moved_at,omitempty"` // when a batch was last seen, or batches became possible again
	By         string         `json:"submitted_by"`
	Submitted  time.Time      `json:"submitted_at"`
	Started    *time.Time     `json:"started_at,omitempty"`
	Ended      *time.Time     `json:"ended_at,omitempty"`
}

// Lag is one replica's distance from the primary.
type Lag struct {
	Seconds float64 `json:"seconds"`
	Bytes   int64   `json:"bytes"`
	Missing bool    `json:"missing,omitempty"` // it is not there now: Seconds and Bytes are the last ones known
}

// StreamLag is the job's JetStream consumer as `nats consumer report` would show it.
type StreamLag struct {
	Pending    uint64 `json:"pending"`
	AckPending int    `json:"ack_pending"`
	// Expected is how many messages the ledger said there are, read right before: ranges released or running.
	Expected int `json:"expected"`
}

// Fleet is what the coordinator that leads a database knows of itself and of the fleet that serves it.
type Fleet struct {
	Epoch     int64
	Workers   int       // heard lately
	Slots     int       // theirs that may serve this database
	HeldSince time.Time // when the hold began that stops every batch now; zero: none does
	Read      time.Time // when the replicas were last read; before the first time, when this leadership began
	Stream    StreamCare
	Lag       map[string]Lag // by replica, as last read
	Members   []Member       // by name
	LagTarget Duration       // the least of the jobs that may run; 0: none may
	Share     Share
}

// Member is one worker of a fleet as its leader hears it.
type Member struct {
	Worker  string `json:"worker"`
	Build   string `json:"build"`
	Slots   int    `json:"slots"`
	Holding []Held `json:"holding"` // ranges of any database
}

// Share is what the governor of a database allows its fleet now.
type Share struct {
	Decided bool    // false: it has not decided yet, or not lately
	Hold    bool    // no batch may start
	Rate    float64 // rows/s; 0: without limit. It means nothing while Hold
	Leases  []Lease
	Reasons []Reason // why it is not more; the binding one first
}

// StreamCare is what a leader had to do since it leads so that the stream held what the ledger says.
type StreamCare struct {
	Compared time.Time // when ledger and stream were last compared in full, for every job; zero: not yet
	Missing  int       // ranges released whose message that comparison did not find
	Lost     int64     // ranges that went out anew because their message was not in the stream
	Expired  int64     // ranges taken back because their worker's lease ran out
}

// RangeView is one range as people see it: what it spans, how far it is, who has it, and what went wrong with it.
type RangeView struct {
	Index      int        `json:"index"`
	Kind       Kind       `json:"kind"`
	Round      int        `json:"round,omitempty"` // of verification
	Relation   string     `json:"relation"`
	Lo         ranges.Key `json:"lo"` // null: from the least key on
	Hi         ranges.Key `json:"hi"` // null: up to the greatest
	HiClosed   bool       `json:"hi_inclusive,omitempty"`
	Key        ranges.Key `json:"checkpoint"` // the last key that is committed, of the present pass
	State      RangeState `json:"state"`
	Attempts   int        `json:"attempts"`  // in a row, without a batch
	Takeovers  int        `json:"takeovers"` // claims beyond the first
	Owner      string     `json:"owner,omitempty"`
	LeaseUntil *time.Time `json:"lease_until,omitempty"`
	Rows       int64      `json:"rows_written"`
	Walked     int64      `json:"keys_walked"`
	Batches    int64      `json:"batches"`
	Retries    int64      `json:"retries"`
	Residual   int64      `json:"residual,omitempty"`
	CheckFails int64      `json:"check_failures,omitempty"`
	Error      string     `json:"last_error,omitempty"`
	Started    *time.Time `json:"started_at,omitempty"`
	Ended      *time.Time `json:"ended_at,omitempty"`
}

// WorkerOnJob is a worker that carries a range of the job now.
type WorkerOnJob struct {
	Worker string `json:"worker"`
	Range  int    `json:"range"`
	Rows   int64  `json:"rows"`
	Error  string `json:"last_error,omitempty"` // why its last retry was needed
}

// WorkerView is what one worker does now and has done since its process began.
type WorkerView struct {
	Slots     int
	Busy      int // slots that carry a range
	Databases map[string]WorkerIn
}

// WorkerIn is a worker's view of one database.
type WorkerIn struct {
	Work      Work // of all jobs together; fills only
	Reachable bool
	Budget    time.Time // when the last budget was heard; zero: none yet
}

// RangeCounts counts the ranges of a job's present phase by state.
type RangeCounts struct {
	Total    int `json:"total"`
	Queued   int `json:"queued"`
	Released int `json:"released"`
	Running  int `json:"running"`
	Done     int `json:"done"`
	Failed   int `json:"failed"`
	Dropped  int `json:"dropped"`
	Skipped  int `json:"skipped"`
}

// Add counts n ranges of a state.
func (c *RangeCounts) Add(state RangeState, n int) {
	c.Total += n
	switch state {
	case Queued:
		c.Queued += n
	case Released:
		c.Released += n
	case RangeRunning:
		c.Running += n
	case Done:
		c.Done += n
	case RangeFailed:
		c.Failed += n
	case RangeDropped:
		c.Dropped += n
	case RangeExcluded:
		c.Skipped += n
	}
}

// Blocks is a job's key space as a row of cells, each the sum of the ranges that lie in it.
type Blocks struct {
	Cells []RangeCounts `json:"cells"` // in key order
}

// Event is one line of the audit log.
type Event struct {
	ID     int64          `json:"id"`
	At     time.Time      `json:"at"`
	Job    ID             `json:"job,omitempty"`
	By     string         `json:"by"`
	Action string         `json:"action"`
	Detail map[string]any `json:"detail,omitempty"` // "old" and "new" where a value changed
}

// Refused is a change that somebody asked for in vain.
type Refused struct {
	Operation string `json:"operation"`
	Status    int    `json:"status"` // of HTTP: 403, 409, 412 or 429
	Reason    string `json:"reason"`
	From      string `json:"from,omitempty"` // the address
}

// Report is the proof of a job: what was done, what is left, who did what.
type Report struct {
	Job         ID            `json:"job"`
	Name        string        `json:"name"`
	Database    string        `json:"database"`
	Table       string        `json:"table"`
	State       State         `json:"state"`
	Reason      string        `json:"reason,omitempty"`
	SpecHash    string        `json:"spec_hash"`
	Verified    bool          `json:"verified"`
	Order       Order         `json:"order"`               // in which the rows were walked: key or block
	LastLook    *LastLook     `json:"last_look,omitempty"` // in block order: the whole table in one snapshot, after the last round
	Coverage    []Coverage    `json:"coverage"`
	Residual    *int64        `json:"residual,omitempty"`       // nil: the job has no `where`
	CheckFails  *int64        `json:"check_failures,omitempty"` // nil: the job has no `check`
	Rounds      int           `json:"verify_rounds"`
	Repaired    int64         `json:"rows_repaired"`
	Rows        int64         `json:"rows_written"`
	Batches     int64         `json:"batches"`
	Retries     int64         `json:"retries"`
	Takeovers   int64         `json:"takeovers"` // claims beyond the first of a range
	Quarantined []Quarantined `json:"quarantined"`
	Dropped     []string      `json:"dropped_relations,omitempty"`
	Skipped     []ranges.Span `json:"skipped_ranges,omitempty"`
	Samples     []ranges.Key  `json:"failing_keys,omitempty"` // rows that reappeared or fail the check
	Submitted   time.Time     `json:"submitted_at"`
	Started     *time.Time    `json:"started_at,omitempty"`
	Ended       *time.Time    `json:"ended_at,omitempty"`
	Duration    Duration      `json:"duration"`
	RowsPerSec  float64       `json:"rows_per_second"`
	Lost        []Loss        `json:"lost"`               // to each reason, the most first
	Forecast    *Forecast     `json:"forecast,omitempty"` // of the submit; nil: none was made
	Outcome     *Outcome      `json:"outcome,omitempty"`  // what became of it
	Workers     []WorkerTotal `json:"workers"`
	Events      []Event       `json:"events"`
	Promise     string        `json:"promise"` // what "exactly once" covers, in words
}

// Coverage is the proof that a relation's ranges tile its key space.
type Coverage struct {
	Relation string     `json:"relation"`
	Ranges   int        `json:"ranges"`
	Bound    ranges.Key `json:"frozen_bound"` // nil: the relation was empty at the freeze
	Gaps     []string   `json:"gaps"`         // empty: gap-free, without overlap, all at their end
}

// WorkerTotal sums up the ranges that one worker was the last to carry. What a worker before it did of them counts here, too.
type WorkerTotal struct {
	Worker string `json:"worker"`
	Ranges int64  `json:"ranges"`
	Rows   int64  `json:"rows"`
}
