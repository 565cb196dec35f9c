package job

import "time"

// Point is one point of a job's history: a sample, or the mean of those of a time step.
type Point struct {
	At       time.Time `json:"at"` // where the step begins
	Rows     int64     `json:"rows_written"`
	Rate     float64   `json:"rows_per_second"`
	Lag      float64   `json:"lag"`                // of the worst replica, in seconds; the worst of the step
	Limiting string    `json:"limiting,omitempty"` // the signal that most was lost to; of a step, the commonest
	Lost     float64   `json:"lost"`               // part of what the fleet could have done, 0..1
	Moment
}

// Moment is what the leader knew of a job at one moment. In a point of many samples it is the moment of the worst lag. What was not
// known is absent.
type Moment struct {
	Lags       map[string]float64 `json:"lags,omitempty"` // by replica, in seconds
	Why        []Reason           `json:"why,omitempty"`
	ETA        *ETA               `json:"eta,omitempty"`
	Budget     float64            `json:"budget,omitempty"` // rows/s that the leases add up to; 0: without limit
	Slots      int                `json:"slots"`            // that have a lease
	Batch      *BatchMean         `json:"batch,omitempty"`  // nil: none ended since the sample before
	Pending    *uint64            `json:"pending,omitempty"`
	AckPending int                `json:"ack_pending,omitempty"`
	HOT        *float64           `json:"hot,omitempty"` // part of the table's updates that wrote no index, 0..1
	TableBytes *int64             `json:"table_bytes,omitempty"`
	IndexBytes *int64             `json:"index_bytes,omitempty"`
}

// BatchMean is the mean of the batches between two samples. Each of them committed a checkpoint.
type BatchMean struct {
	PerSecond float64 `json:"per_second"`
	Rows      float64 `json:"rows"`
	Seconds   float64 `json:"seconds"` // of SQL time
}

// RangeMap is the state of a job's ranges in key order, one cell a range, or what of it changed since a revision.
type RangeMap struct {
	Round    int    `json:"round"` // 0: the fill; n: the n-th verification
	First    int    `json:"first"` // index of the first range of the round
	Total    int    `json:"total"`
	Revision string `json:"revision"` // to ask for what changes from here
	Whole    bool   `json:"whole"`    // every cell is told; else only those that changed
	// Runs are triples: the offset of the first cell of a run, how many there are, and the cell that all of them are.
	Runs []int `json:"runs"`
}

// Cell is one range in a map: its state times 256, plus 128 where something went wrong in it, plus the percentage that is done.
type Cell int16

// CellStates are the states of a range in the order in which a [Cell] numbers them.
var CellStates = []RangeState{Queued, Released, RangeRunning, Done, RangeFailed, RangeDropped, RangeExcluded}

// CellTrouble is the bit of a range that met an error or has a row in quarantine.
const CellTrouble = 128

// RangeDetail is all that a person may ask of one range.
type RangeDetail struct {
	Index      int        `json:"range"`
	Kind       Kind       `json:"kind"`
	Round      int        `json:"round"`
	Relation   string     `json:"relation"`
	Span       string     `json:"span"`
	Checkpoint []string   `json:"checkpoint,omitempty"`
	State      RangeState `json:"state"`
	Generation int        `json:"generation"`
	Fence      int64      `json:"fence"`
	Owner      string     `json:"owner,omitempty"`
	LeaseUntil *time.Time `json:"lease_until,omitempty"`
	Attempts   int        `json:"attempts"`
	Claims     int        `json:"claims"`
	Rows       int64      `json:"rows_written"`
	Walked     int64      `json:"keys_walked"`
	Batches    int64      `json:"batches"`
	Retries    int64      `json:"retries"`
	Residual   int64      `json:"residual"`
	CheckFails int64      `json:"check_failures"`
	Error      string     `json:"last_error,omitempty"`
	Started    *time.Time `json:"started_at,omitempty"`
	Ended      *time.Time `json:"ended_at,omitempty"`
	Quarantine int64      `json:"quarantined"`
}
