package job

import "time"

// Control is what the coordinator wants of a job now. Workers keep the newest: see [Control.Newer].
type Control struct {
	Version  int    `json:"v"`
	Epoch    int64  `json:"epoch,omitempty"` // of the leadership that says it; 0: the previous release does not tell
	Database string `json:"db"`
	Job      ID     `json:"job"`
	Name     string `json:"name"`
	State    State  `json:"state"`
	Revision int64  `json:"rev"`
	Limits   Limits `json:"limits"`
}

// Newer reports whether c replaces other. A failover may take revisions back, and even a job: what is said on a later WAL timeline,
// with which an epoch begins, replaces all that was said before. On the same it is a later job of the name, else a higher revision;
// ULIDs sort by time.
func (c Control) Newer(other Control) bool {
	const timeline = 32
	if here, there := c.Epoch>>timeline, other.Epoch>>timeline; here != there && here != 0 && there != 0 {
		return here > there
	}
	if c.Job != other.Job {
		return c.Job > other.Job
	}
	return c.Revision > other.Revision
}

// Hello is what a worker announces every second.
type Hello struct {
	Version   int      `json:"v"`
	Worker    string   `json:"worker"`
	Slots     int      `json:"slots"`
	Databases []string `json:"databases"` // reachable now
	Build     string   `json:"build"`
	Holding   []Held   `json:"holding,omitempty"`
	Leaving   bool     `json:"leaving,omitempty"` // shutting down: give it no lease
	Work      []Work   `json:"work,omitempty"`
}

// Work counts up what a worker has done of one job since its process began.
type Work struct {
	Job     ID      `json:"job"`
	Rows    int64   `json:"rows"` // written by committed batches
	Batches int64   `json:"batches"`
	Seconds float64 `json:"seconds"` // of SQL time
}

// Held is a range that a slot carries.
type Held struct {
	Slot  int `json:"slot"`
	Job   ID  `json:"job"`
	Range int `json:"range"`
	// Waits says that the slot's last batch waited for a lock in vain: it uses nothing, and so must not count as one at work.
	Waits bool `json:"waits,omitempty"`
}

// Lease is a share of a database's budget: one slot of one worker may serve one job at Rate.
type Lease struct {
	Worker string  `json:"worker"`
	Slot   int     `json:"slot"`
	Job    ID      `json:"job"`
	Name   string  `json:"name"`
	Rate   float64 `json:"rate,omitempty"` // rows/s; 0 is without limit
	Over   bool    `json:"over,omitempty"` // it ends with the range that the slot holds: take no other
}

// Budget is one decision of a database's governor. Workers refuse one whose (Epoch, Seq) is not higher than the last, and
// start no batch once the last is older than [BudgetStale] by their own monotonic clock.
type Budget struct {
	Version  int    `json:"v"`
	Database string `json:"db"`
	Epoch    int64  `json:"epoch"`
	Seq      int64  `json:"seq"`
	Hold     bool   `json:"hold,omitempty"` // no batch may start
	// BatchScale is the part of its job's batch target that a batch may take, in (0, 1]; 0 counts as 1.
	BatchScale float64  `json:"batch_scale,omitempty"`
	Leases     []Lease  `json:"leases,omitempty"`
	Reasons    []Reason `json:"reasons,omitempty"` // why it is not more; the binding one first
}

// Reason says why the fleet is slower than it could be: "replication lag of standby1 2.1 s over 1 s".
type Reason struct {
	Signal    string  `json:"signal"`
	Observed  float64 `json:"observed,omitempty"`
	Threshold float64 `json:"threshold,omitempty"`
	Text      string  `json:"text"`
	Hard      bool    `json:"hard,omitempty"`
}

// ReadCost is what reading one source of signals took so far, as the coordinator sees it: the time on the server and on the way.
type ReadCost struct {
	Source  string  `json:"source"`
	Reads   int64   `json:"reads"`
	Seconds float64 `json:"seconds"`
}

// Signal is the last reading of one signal of a database, as the governor has it.
type Signal struct {
	Name   string    `json:"name"`
	Value  float64   `json:"value"`
	Detail string    `json:"detail,omitempty"` // who or what it is about
	At     time.Time `json:"at"`               // zero: never read
	Error  string    `json:"error,omitempty"`  // why the last attempt failed
}

// BudgetStale is how old a worker's last budget may be.
const BudgetStale = 3 * time.Second

// ProtocolVersion stands in every message, control, hello and budget.
const ProtocolVersion = 1
