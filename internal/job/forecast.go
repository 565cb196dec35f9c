package job

import "time"

// ETA is how long a job still takes, as far as that can be said honestly.
type ETA struct {
	// Low and High bound it. High is 0 where no time can be told: Note says why.
	Low  Duration `json:"low,omitempty"`
	High Duration `json:"high,omitempty"`
	Note string   `json:"note,omitempty"` // what stands in the way, or what is not counted
}

// Known reports whether a time can be told.
func (e *ETA) Known() bool { return e != nil && e.High > 0 }

// Loss is the part of a run that was lost to one reason.
type Loss struct {
	Signal  string  `json:"signal"`
	Share   float64 `json:"share"`   // of the time that a leader watched the job, 0..1
	Seconds float64 `json:"seconds"` // of full speed
}

// Forecast is what sample batches predicted of a job before it began.
type Forecast struct {
	At        time.Time    `json:"at"` // a start at this moment is assumed
	Keys      int64        `json:"keys"`
	Rows      Amount       `json:"rows_written"`
	Duration  Times        `json:"duration"` // from the first batch to the end, with the waits for windows
	Fill      Times        `json:"fill"`     // the rows alone, at full speed
	Proof     Times        `json:"verification"`
	Finish    Moments      `json:"finish"`
	Rate      Amount       `json:"rows_per_second"`
	WAL       Amount       `json:"wal_bytes"`
	Heap      Amount       `json:"heap_growth_bytes"`
	Index     Amount       `json:"index_growth_bytes"`
	Binding   string       `json:"limited_by"`
	Slots     int          `json:"slots"`
	Assumes   []string     `json:"assumes"`
	HeapSize  int64        `json:"table_bytes"` // then, to compare with
	IndexSize int64        `json:"index_bytes"`
	Sample    SampleResult `json:"sample"`
}

// Amount bounds a number.
type Amount struct {
	Low  int64 `json:"low"`
	High int64 `json:"high"`
}

// Times bounds a duration. High is 0 where the windows never let it end.
type Times struct {
	Low  Duration `json:"low"`
	High Duration `json:"high"`
}

// Moments bounds a moment. Latest is nil where the windows never let it come.
type Moments struct {
	Earliest *time.Time `json:"earliest,omitempty"`
	Latest   *time.Time `json:"latest,omitempty"`
}

// SampleResult says what batches were run and rolled back.
type SampleResult struct {
	Batches int      `json:"batches"`
	Keys    int64    `json:"keys"`
	Rows    int64    `json:"rows"`
	Took    Duration `json:"took"`
	HOT     float64  `json:"hot"` // part of the updates that wrote no index
}

// Outcome is what became of a forecast.
type Outcome struct {
	Duration Duration `json:"duration"`
	Rows     int64    `json:"rows_written"`
	WAL      *int64   `json:"wal_bytes,omitempty"`          // of the whole server in that time; nil: not known
	Heap     *int64   `json:"heap_growth_bytes,omitempty"`  // of the table with all that wrote it; nil: not known
	Index    *int64   `json:"index_growth_bytes,omitempty"` // of the table with all that wrote it; nil: not known
}
