package migration

import (
	"maps"
	"slices"
	"time"
)

// Phase is where a migration stands. It follows from what was done: see [Facts.Phase].
type Phase string

// The phases, in their order.
const (
	Expand    Phase = "expand"     // the additive schema is to be added
	DualWrite Phase = "dual_write" // both schemas are written; what diverges is watched
	Fill      Phase = "backfill"   // the rows of before are filled
	Switch    Phase = "switch"     // reads go over to the new schema, by percent
	Contract  Phase = "contract"   // the old schema goes
	Done      Phase = "done"
	Abandoned Phase = "abandoned"
)

// Phases are the phases of a migration that goes well.
var Phases = []Phase{Expand, DualWrite, Fill, Switch, Contract, Done}

// Number is the phase's place among the five, as people call it; 0 for one that is over.
func (p Phase) Number() int {
	for i, x := range Phases[:5] {
		if x == p {
			return i + 1
		}
	}
	return 0
}

// How a migration's both schemas are written.
const (
	ByTrigger     = "trigger"
	ByApplication = "application"
)

// Facts is what was done of a migration, and when. It is the whole state of one: all else follows from it.
type Facts struct {
	Rows       int64  `json:"rows"`                  // of the table, at the start
	SearchPath string `json:"search_path,omitempty"` // under which its expressions mean what they mean

	Planned    *time.Time `json:"planned,omitempty"`  // the operational plan was written
	Expanded   *time.Time `json:"expanded,omitempty"` // the new schema is there
	DualWrite  *time.Time `json:"dual_write,omitempty"`
	WrittenBy  string     `json:"written_by,omitempty"` // the trigger or the application
	Job        string     `json:"job,omitempty"`        // of the backfill
	Backfilled *time.Time `json:"backfilled,omitempty"` // it ended complete
	Percent    int        `json:"percent"`              // of the reads that go to the new schema
	Ramped     *time.Time `json:"ramped,omitempty"`     // when the percentage was set
	Stopped    *time.Time `json:"stopped,omitempty"`    // dual-write ended: only the new schema is written
	Rehearsed  *time.Time `json:"rehearsed,omitempty"`  // a rehearsal of the drop ran its whole time
	Dropped    *time.Time `json:"dropped,omitempty"`
	Abandoned  *time.Time `json:"abandoned,omitempty"`

	Ticked    map[string]Tick `json:"ticked,omitempty"`    // the checklist, by item
	Overrides []Override      `json:"overrides,omitempty"` // in the order in which they were made; they stay for ever
}

// Tick is a person's word that something is so.
type Tick struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty"`
}

// Override is a person's decision not to wait for a gate: for what was not met at that time, and for nothing that comes after.
type Override struct {
	Gate   string    `json:"gate"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
	Unmet  []string  `json:"unmet"` // what was not met at that time
}

// Phase is where the migration stands.
func (f Facts) Phase() Phase {
	switch {
	case f.Abandoned != nil:
		return Abandoned
	case f.Dropped != nil:
		return Done
	case f.Stopped != nil:
		return Contract
	case f.Backfilled != nil:
		return Switch
	case f.Job != "":
		return Fill
	case f.DualWrite != nil:
		return DualWrite
	}
	return Expand
}

// Since is when the phase began.
func (f Facts) Since(started time.Time) time.Time {
	for _, t := range []*time.Time{f.Abandoned, f.Dropped, f.Stopped, f.Backfilled} {
		if t != nil {
			return *t
		}
	}
	if f.DualWrite != nil {
		return *f.DualWrite // the backfill's own times stand in its job
	}
	return started
}

// Switched says since when all reads go to the new schema.
func (f Facts) Switched() (since time.Time, yes bool) {
	if f.Percent != 100 || f.Ramped == nil {
		return time.Time{}, false
	}
	return *f.Ramped, true
}

// The sizes at which the rules change, in rows.
const (
	SmallTable = 1_000_000   // below it phases 1 and 2, and 3 and 4, may follow each other without a soak
	HugeTable  = 100_000_000 // from it on nothing begins without an operational plan
)

// Overridden reports whether somebody decided not to wait for a condition of a gate. A decision of before the trigger was mended, or before the
// last step of the ramp, a rollback among them, was another one.
func (f Facts) Overridden(g Gate, c Condition) bool {
	since := map[Gate]*time.Time{GateBackfill: f.DualWrite, GateReads: f.Ramped, GateStop: f.Ramped}[g]
	return !c.Hard && slices.ContainsFunc(f.Overrides, func(o Override) bool {
		return o.Gate == string(g) && (since == nil || !o.At.Before(*since)) && slices.Contains(o.Unmet, c.What)
	})
}

// Clone returns facts that share no map with these.
func (f Facts) Clone() Facts {
	f.Ticked, f.Overrides = maps.Clone(f.Ticked), slices.Clone(f.Overrides)
	return f
}
