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
	ReadAt  time.Time // when the members were last read with success; zero: never
	Members []Member  // as of ReadAt
	Err     error     // why the last reading failed; nil if it did not
}

// Member is one replica, present or remembered.
type Member struct {
	Name   string
	Lag    float64 // seconds that its replay is behind the primary
	Bytes  float64 // WAL that it has yet to replay
	State  string  // as in pg_stat_replication; empty: not readable for lack of privilege
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

// Decision is what the fleet may do now.
type Decision struct {
	Hold       bool    // no batch may start
	RowsPerSec float64 // 0 is without limit; means nothing while Hold
	Reasons    []Reason
}

// Reason says why the fleet is slower than it could be; the binding one stands first in a [Decision].
type Reason struct {
	Signal    string  // such as "lag of standby1"
	Observed  float64 // in seconds
	Threshold float64 // in seconds
	Text      string  // for a person: "lag of standby1 2.1s over target 1s"
	Hard      bool    // it will not pass by itself soon, or is far beyond what was allowed
}
