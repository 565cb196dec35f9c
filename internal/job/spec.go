package job

// Spec is a job file as its author wrote it. It never changes after submit; what may change lives in Limits.
type Spec struct {
	Name     string            `yaml:"name" json:"name"`
	Database string            `yaml:"database" json:"database"`
	Table    string            `yaml:"table" json:"table"`
	Set      map[string]string `yaml:"set,omitempty" json:"set,omitempty"`
	// Statement is the work of a batch in the author's own words, instead of Set: see [Spec.Form].
	Statement string `yaml:"statement,omitempty" json:"statement,omitempty"`
	// Alias is what the statement, and so where and check, call the rows of Table; empty is the table's own name.
	Alias string   `yaml:"alias,omitempty" json:"alias,omitempty"`
	Where string   `yaml:"where,omitempty" json:"where,omitempty"`
	Key   []string `yaml:"key,omitempty" json:"key,omitempty"`
	// Order is in which order the rows are walked: that of the key, or of the table's blocks. Empty is OrderAuto.
	Order Order  `yaml:"order,omitempty" json:"order,omitempty"`
	Check string `yaml:"check,omitempty" json:"check,omitempty"`

	// LateRows "ignore" accepts that rows inserted below the frozen bound after the freeze are not this job's.
	LateRows     string `yaml:"late_rows,omitempty" json:"late_rows,omitempty"`
	RowsPerRange int    `yaml:"rows_per_range,omitempty" json:"rows_per_range,omitempty"`

	Limits `yaml:",inline"`
}

// Limits is the part of a spec that `backfleet set` may change while the job runs.
type Limits struct {
	Weight   int           `yaml:"weight,omitempty" json:"weight,omitempty"`
	Workers  WorkerLimits  `yaml:"workers,omitempty" json:"workers"`
	Batch    BatchLimits   `yaml:"batch,omitempty" json:"batch"`
	Throttle ThrottleRules `yaml:"throttle,omitempty" json:"throttle"`
	OnError  ErrorRules    `yaml:"on_error,omitempty" json:"on_error"`
	Verify   VerifyLimits  `yaml:"verify,omitempty" json:"verify"`
}

// VerifyLimits bounds what a verification may cost.
type VerifyLimits struct {
	// Snapshot is how old the snapshot may become in which a verification reads the table's blocks; 0: it walks keys, in many.
	Snapshot Duration `yaml:"snapshot,omitempty" json:"snapshot"`
}

// WorkerLimits bounds how many slots carry a job at once.
type WorkerLimits struct {
	Max int `yaml:"max,omitempty" json:"max"`
}

// BatchLimits shapes one batch.
type BatchLimits struct {
	Target  Duration `yaml:"target,omitempty" json:"target"`
	MaxRows int      `yaml:"max_rows,omitempty" json:"max_rows"`
	// SynchronousCommit is the commit level of batches: off, local, remote_write, on or remote_apply.
	SynchronousCommit string `yaml:"synchronous_commit,omitempty" json:"synchronous_commit"`
	// Passes is in how many passes a chunk of a range is walked: 1 (plain key order), 2, 4 or 8, or auto: what the table deserves.
	Passes string `yaml:"passes,omitempty" json:"passes,omitempty"`
}

// ThrottleRules bounds what a job may cost its database.
type ThrottleRules struct {
	Lag                  LagRules `yaml:"lag,omitempty" json:"lag"`
	MaxRowsPerSecond     int      `yaml:"max_rows_per_second,omitempty" json:"max_rows_per_second,omitempty"`           // 0: no cap
	MaxWALBytesPerSecond Bytes    `yaml:"max_wal_bytes_per_second,omitempty" json:"max_wal_bytes_per_second,omitempty"` // 0: no cap
	// MaxGrowth is how large the table may become, as a multiple of its heap at the freeze. 0: no bound.
	MaxGrowth float64           `yaml:"max_growth,omitempty" json:"max_growth,omitempty"`
	Replicas  map[string]string `yaml:"replicas,omitempty" json:"replicas,omitempty"` // name: hold | ignore

	Windows     []Window              `yaml:"windows,omitempty" json:"windows,omitempty"`
	DefaultRate *float64              `yaml:"default_rate,omitempty" json:"default_rate,omitempty"` // outside of windows; nil: 0, and 1 without windows
	Signals     map[string]SignalRule `yaml:"signals,omitempty" json:"signals,omitempty"`           // changes to the builtin ones
	Checks      []Check               `yaml:"checks,omitempty" json:"checks,omitempty"`
}

// LagRules are the thresholds of replica lag.
type LagRules struct {
	Target Duration `yaml:"target,omitempty" json:"target"`
	Soft   Duration `yaml:"soft,omitempty" json:"soft"`
	Hard   Duration `yaml:"hard,omitempty" json:"hard"`
}

// ErrorRules says how many rows may fail before a person must look.
type ErrorRules struct {
	QuarantineRows int `yaml:"quarantine_rows" json:"quarantine_rows"`
}
