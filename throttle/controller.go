package throttle

import "time"

// Controller turns a sample of a database into a decision. It is pure: no clock but the sample's, no I/O. It remembers what
// it has seen, so one Controller serves one database, from one goroutine, with samples in the order of time.
type Controller interface {
	Step(Sample) Decision
}

// Sample is what is known of a database at one moment.
type Sample struct {
	At      time.Time
	ReadAt  time.Time // when the members and WALPos were last read with success; zero: never
	Members []Member  // as of ReadAt
	Err     error     // why the last reading failed; nil if it did not
	Role    string    // who reads, as SQL writes the name; empty: not known

	WALPos      float64 // the primary's WAL position in bytes, as of ReadAt
	Rows        float64 // rows that the fleet has written up to a second ago, counted up for as long as this controller lives
	WALPerRow   float64 // bytes of WAL that one row was measured to cost; 0: not measured
	WALForecast float64 // bytes of WAL that a row is expected to cost, before any is written; 0: nobody knows
	RowsPerSlot float64 // rows that one slot writes in a second of SQL time; 0: not known
	Active      int     // slots that hold a range
	Waiting     int     // of these, slots whose last batch waited for a lock in vain
	Slots       int     // slots that are there
	Cores       int     // of the server; 0: not known

	Signals []Reading
}

// Member is one replica, present or remembered.
type Member struct {
	Name   string
	Pos    float64 // WAL position up to which it has replayed, in bytes
	Lag    float64 // seconds that its replay is behind the primary
	Bytes  float64 // WAL that it has yet to replay
	State  string  // as in pg_stat_replication; empty: not readable for lack of privilege
	Paused bool    // its replay was paused by a person; known only where the replica itself is asked
	Policy Policy
	// Missing says that a member seen before is not there now, or that a member which is waited for has never come. Lag and
	// Bytes are then the last ones known.
	Missing bool
	Since   time.Time // when it was found missing; zero while it is there
}

// Policy says what a replica means for the fleet.
type Policy string

// The policies. An empty policy is [PolicyHold].
const (
	PolicyHold   Policy = "hold"   // its lag and its absence stop the fleet
	PolicyIgnore Policy = "ignore" // neither does
)

// Reading is the last value of one signal.
type Reading struct {
	Signal string    // its name, such as "archive_queue"
	Value  float64   // in the unit of its rule
	Detail string    // who or what it is about, for a person; may be empty
	At     time.Time // when Value was read; zero: never
	Err    error     // why the last attempt failed; nil if it did not
}

// Decision is what the fleet may do now.
type Decision struct {
	Hold       bool    // no batch may start
	RowsPerSec float64 // 0 is without limit; means nothing while Hold
	Slots      int     // at most so many slots may have a lease; 0 is without limit
	BatchScale float64 // the part of its target time that a batch may take, in (0, 1]; 0 counts as 1
	Whole      Whole   // the same as RowsPerSec and Slots, for a fleet of any size; means nothing while Hold
	Reasons    []Reason
}

// Reason says why the fleet is slower than it could be; the binding one stands first in a [Decision].
type Reason struct {
	Signal    string  // such as "lag of standby1"
	Observed  float64 // in the signal's unit; seconds for a lag
	Threshold float64 // in the same unit
	Text      string  // for a person: "lag of standby1 2.1s over target 1s"
	Hard      bool    // it will not pass by itself soon, or is far beyond what was allowed
	Blind     bool    // the signal cannot be read; unless Hard as well it neither slows nor stops
}
