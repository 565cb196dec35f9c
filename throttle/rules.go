package throttle

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// The signals that Backfleet reads by itself. A job's spec uses these names below throttle.signals; a check that a person adds
// has the name that the person gave it.
const (
	SignalProbe                = "probe"
	SignalForeground           = "foreground"
	SignalActiveBackends       = "active_backends"
	SignalBlockedByUs          = "blocked_by_us"
	SignalRequestedCheckpoints = "requested_checkpoints"
	SignalArchiveQueue         = "archive_queue"
	SignalAutovacuum           = "autovacuum"
	SignalDeadRows             = "dead_rows"
	SignalXIDAge               = "xid_age"
	SignalOldestTransaction    = "oldest_transaction"
	SignalOldestXmin           = "oldest_xmin"
	SignalSlotRetained         = "slot_retained"
	SignalSlotLost             = "slot_lost"
	SignalDiskFree             = "disk_free"
	SignalIOOperations         = "io_operations"
	SignalIOTime               = "io_time"

	// SignalHOTRatio has no rule: it is read and shown.
	SignalHOTRatio = "hot_ratio"
)

// Units that are shown in a form of their own; any other stands behind the number as it is.
const (
	UnitSeconds = "s"
	UnitShare   = "share"   // of 1, shown in percent
	UnitVerdict = "verdict" // 0 is go and 1 is stop: no number is shown
)

const (
	defaultFactor  = 0.5
	blindClosed    = 3 * time.Second
	blindAdvisory  = time.Minute
	resumeMargin   = 0.2              // of the threshold, with hysteresis
	resumeHeld     = 10 * time.Second // how long a value must stand beyond the margin
	foregroundTime = 0.2              // the part of its target time that a batch may take beside an application: 5 ms of 25
)

// None is the threshold of a rule that has none. Test for it with math.IsNaN.
func None() float64 { return math.NaN() }

// Rule says what the values of one signal mean for the fleet. A value fires at its threshold and beyond.
type Rule struct {
	Soft, Hard       float64       // thresholds in Unit; NaN is none
	Below            bool          // fires at or below a threshold, as free disk does
	Factor           float64       // of the rate while soft fires, in (0, 1]; 0 is the default, 0.5
	BatchScale       float64       // of a batch's target time while the signal fires, in (0, 1]; 0 is 1
	SoftFor, HardFor time.Duration // how long a value must stand at the threshold before it counts
	Hysteresis       bool          // once fired it goes on until the value stood 20 % inside the threshold for 10 s

	// Closed says that a signal which cannot be read stops the fleet after Blind, and one that never was after 3 s. One that is not
	// closed keeps its last value for Blind, and after it is said to be blind but neither slows nor stops. Blind 0 is 3 s where closed,
	// else 60 s.
	Closed bool
	Blind  time.Duration

	Unit string // of value and thresholds
	Text string // what the signal is called in a reason; empty: its name
}

// Validate reports thresholds that are in the wrong order or out of bounds, in the form "why; what to write".
func (r Rule) Validate() error {
	soft, hard := !math.IsNaN(r.Soft), !math.IsNaN(r.Hard)
	switch {
	case soft && math.IsInf(r.Soft, 0), hard && math.IsInf(r.Hard, 0):
		return fmt.Errorf("has a threshold that is not finite; leave it out where there shall be none")
	case soft && hard && !r.Below && r.Soft > r.Hard:
		return fmt.Errorf("has soft %g above hard %g; soft is the one that is reached first", r.Soft, r.Hard)
	case soft && hard && r.Below && r.Soft < r.Hard:
		return fmt.Errorf("has soft %g below hard %g, but it fires below its thresholds; soft is the one that is reached first", r.Soft, r.Hard)
	case !(r.Factor >= 0 && r.Factor <= 1):
		return fmt.Errorf("has factor %g; write one above 0 and up to 1", r.Factor)
	}
	return nil
}

// Check is the rule of a check that a person adds and that is read every so often: closed, with hysteresis, and without thresholds
// until they are set. It is blind after 3 s, or after two readings were missed where it is read less often than once a second.
func Check(every time.Duration) Rule {
	return Rule{Soft: None(), Hard: None(), Hysteresis: true, Closed: true, Blind: max(blindClosed, 2*every+time.Second)}
}

// Verdict is the rule of a check that answers go or stop instead of a number.
func Verdict(every time.Duration) Rule {
	r := Check(every)
	r.Hard, r.Hysteresis, r.Unit = 1, false, UnitVerdict
	return r
}

// Builtin is one signal that Backfleet reads by itself, with its default rule.
type Builtin struct {
	Name string
	Rule Rule
	What string // what is measured
	Cost string // what reading it costs the server
}

// Defaults is the rule of every builtin signal by its name. The map is the caller's own.
func Defaults() map[string]Rule {
	rules := map[string]Rule{}
	for _, b := range builtins {
		rules[b.Name] = b.Rule
	}
	return rules
}

// Builtins lists the signals that Backfleet reads by itself, in the order of the documentation.
//
// What can last for days by no fault of the fleet (a vacuum, a dump, a snapshot that someone holds) slows but does not stop: such a
// signal has no hard threshold until a person sets one.
func Builtins() []Builtin { return slices.Clone(builtins) }

// Names lists the names of the builtin signals in the order of the alphabet.
func Names() []string { return slices.Sorted(maps.Keys(Defaults())) }

// What the statement of the slow signals costs as a whole; its parts are not worth telling apart.
const databaseCost = "part of the database statement, every 5 s"

var builtins = []Builtin{
	{
		Name: SignalProbe,
		// The slot guard of the controller takes leases away on this signal; the factor is for when one slot alone is too many.
		Rule: Rule{Soft: 1.3, Hard: 5, Factor: 0.8, BatchScale: foregroundTime, Unit: "× idle", Text: "foreground probe"},
		What: "p95 of a read and a one-row commit by a client of our own, over what it is while no batch runs",
		Cost: "four commits and four reads a second while batches run",
	},
	{
		Name: SignalForeground,
		Rule: Rule{Soft: 2, Hard: None(), Factor: 0.8, BatchScale: foregroundTime, Hysteresis: true, Unit: "sessions", Text: "application at work:"},
		What: "sessions of others that did something in the last second: with an application to spare batches are shorter, slots take half of the cores at most, and the probe is strict",
		Cost: "part of the look at the sessions",
	},
	{
		Name: SignalActiveBackends,
		// It is a count at one moment, so it must stand: a short burst of short statements is no overload.
		Rule: Rule{Soft: 0.7, Hard: 1, SoftFor: 10 * time.Second, HardFor: 30 * time.Second, Hysteresis: true, Unit: "per core",
			Text: "active backends"},
		What: "sessions of others that run a statement, for each core of the server (32 are assumed where the number is not known)",
		Cost: databaseCost,
	},
	{
		Name: SignalBlockedByUs,
		Rule: Rule{Soft: 1, Hard: 1, SoftFor: time.Second, HardFor: 5 * time.Second, BatchScale: foregroundTime,
			Text: "sessions that wait for our locks"},
		What: "sessions of others that wait for a lock which a session of ours holds",
		Cost: "one look at the sessions twice a second while batches run",
	},
	{
		Name: SignalRequestedCheckpoints,
		Rule: Rule{Soft: 2, Hard: None(), Factor: 0.7, Hysteresis: true, Unit: "a minute", Text: "requested checkpoints"},
		What: "checkpoints that came before their time, mostly because max_wal_size was reached",
		Cost: databaseCost,
	},
	{
		Name: SignalArchiveQueue,
		Rule: Rule{Soft: 20, Hard: 42, Hysteresis: true, Unit: "segments", Text: "WAL archive queue"},
		What: "WAL segments that wait for archive_command; off where archive_mode is",
		Cost: databaseCost,
	},
	{
		Name: SignalAutovacuum,
		// The dead rows of a long run bring a vacuum about again and again, so it gets room, but not half of the run.
		Rule: Rule{Soft: 1, Hard: None(), Factor: 0.8, Hysteresis: true, Text: "vacuum on a job's table"},
		What: "whether a vacuum works on a job's table: 1, or 2 where it prevents a wraparound",
		Cost: databaseCost,
	},
	{
		Name: SignalDeadRows,
		// A backfill of a whole table that no vacuum follows ends at 50 %; what is beyond is not its doing alone.
		Rule: Rule{Soft: 0.6, Hard: None(), Hysteresis: true, Unit: UnitShare, Text: "dead rows"},
		What: "dead rows among all rows of the worst of the jobs' tables, as the statistics have it",
		Cost: databaseCost,
	},
	{
		Name: SignalXIDAge,
		Rule: Rule{Soft: 500e6, Hard: 1.2e9, Unit: "transactions", Text: "transaction id age"},
		What: "age of the oldest datfrozenxid: at 2 thousand million the server stops taking writes",
		Cost: databaseCost,
	},
	{
		Name: SignalOldestTransaction,
		Rule: Rule{Soft: 15 * 60, Hard: None(), Hysteresis: true, Unit: UnitSeconds, Text: "oldest transaction"},
		What: "how long the oldest transaction of others in this database is open, prepared ones too",
		Cost: databaseCost,
	},
	{
		Name: SignalOldestXmin,
		Rule: Rule{Soft: 50e6, Hard: None(), Hysteresis: true, Unit: "transactions", Text: "oldest held snapshot"},
		What: "how far back vacuum must keep dead rows for a session, a prepared transaction, a replica or a slot",
		Cost: databaseCost,
	},
	{
		Name: SignalSlotRetained,
		Rule: Rule{Soft: 0.25, Hard: 0.5, Hysteresis: true, Unit: UnitShare, Text: "WAL kept for a slot"},
		What: "WAL that a replication slot keeps, as a share of what it may keep",
		Cost: "part of the lag statement",
	},
	{
		Name: SignalSlotLost,
		// A slot that is lost stays lost, so a stop would never end.
		Rule: Rule{Soft: 1, Hard: None(), Text: "slots whose WAL is not kept any more"},
		What: "replication slots whose wal_status is unreserved or lost",
		Cost: "part of the lag statement",
	},
	{
		Name: SignalDiskFree,
		Rule: Rule{Soft: 0.2, Hard: 0.1, Below: true, Hysteresis: true, Unit: UnitShare, Text: "free disk"},
		What: "free part of the volume of the data directory; known where the server runs on this machine, else give it by a check",
		Cost: "one system call every 5 s",
	},
	{
		Name: SignalIOOperations,
		Rule: Rule{Soft: None(), Hard: None(), Hysteresis: true, Unit: "operations/s", Text: "I/O operations"},
		What: "reads, writes and extensions of all processes a second; without effect until a threshold is set",
		Cost: databaseCost,
	},
	{
		Name: SignalIOTime,
		Rule: Rule{Soft: None(), Hard: None(), Hysteresis: true, Unit: "s/s", Text: "I/O time"},
		What: "seconds that all processes together spend in I/O a second, where track_io_timing is on; without effect until a threshold is set",
		Cost: databaseCost,
	},
}
