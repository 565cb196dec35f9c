package observe

// The keys of log fields. Every log line of Backfleet uses these and no synonyms, so that one query finds one thing.
const (
	Job        = "job"         // name of the job
	JobID      = "job_id"      // its ULID
	Database   = "database"    // name, never a DSN
	Table      = "table"       // schema-qualified
	Relation   = "relation"    // table or leaf partition
	Range      = "range"       // index of the range
	Generation = "generation"  // how often the range was released
	Fence      = "fence"       // the claim's fence
	Attempts   = "attempts"    // claims of the range so far
	Worker     = "worker"      // id of the worker
	Slot       = "slot"        // slot of that worker
	State      = "state"       // state of a job or range
	From       = "from"        // the state before a transition
	Revision   = "revision"    // of the job's desired state
	Epoch      = "epoch"       // of the database's leadership
	Rows       = "rows"        // rows written
	Rate       = "rate"        // rows a second
	Lag        = "lag_seconds" // replica lag
	Replica    = "replica"     // name of the replica
	Signal     = "signal"      // what limits the fleet
	Reason     = "reason"      // why, in words
	SQLState   = "sqlstate"    // five characters
	Took       = "took"        // a duration
	By         = "by"          // the person or process that asked
	Address    = "address"     // a listener or a server, without credentials
	Component  = "component"   // part of the process
	Error      = "error"       // what went wrong
)
