package migration

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Gate stands before a step.
type Gate string

// The gates, in the order in which they are met.
const (
	GateExpand    Gate = "expand"     // before the new schema is added
	GateDualWrite Gate = "dual-write" // before both are written
	GateBackfill  Gate = "backfill"
	GateReads     Gate = "switch" // before each step of the ramp
	GateStop      Gate = "stop"   // before dual-write stops
	GateDrop      Gate = "drop"
)

// Gates are all of them.
var Gates = []Gate{GateExpand, GateDualWrite, GateBackfill, GateReads, GateStop, GateDrop}

// Condition is one thing that a gate waits for.
type Condition struct {
	What    string `json:"what"` // what must be so
	Met     bool   `json:"met"`
	Found   string `json:"found,omitempty"`   // what is so
	Fix     string `json:"fix,omitempty"`     // what to do where it is not met; empty: wait
	Remains Period `json:"remains,omitempty"` // of a wait
	Waived  string `json:"waived,omitempty"`  // why the rule lets it go: met without being so
	Hard    bool   `json:"hard,omitempty"`    // no override passes it: what is asked for could not be right
}

// Divergence is what the watch knows of rows whose new schema does not say what the old one says.
type Divergence struct {
	// FirstSeen is when a row was last found diverging that was not known to before, and that dual-write should have kept right.
	FirstSeen *time.Time `json:"first_seen,omitempty"`
	// Clean is when the last whole round began that found no diverging row at all, and none that waits for the backfill.
	Clean *time.Time `json:"clean,omitempty"`
	// Round is when the last whole round began.
	Round *time.Time `json:"round,omitempty"`
	// Missing and Differing are what it found.
	Missing   int64 `json:"missing"`
	Differing int64 `json:"differing"`
}

// Evidence is what the gates judge beside the facts: what was read of the database just now.
type Evidence struct {
	Now        time.Time  `json:"now"`
	Missing    []string   `json:"missing_schema,omitempty"` // what of the new schema is not there
	Trigger    string     `json:"trigger,omitempty"`        // what is wrong with the dual-write trigger; empty: nothing
	Job        string     `json:"job_state,omitempty"`      // of the backfill
	Residual   int64      `json:"residual"`                 // rows that its report left
	Divergence Divergence `json:"divergence"`
	Required   []string   `json:"required,omitempty"` // old columns that no row may be without
	Readers    []string   `json:"readers,omitempty"`  // who surely still reads the old schema
	Rehearsing bool       `json:"rehearsing"`
}

// Conditions is what a gate waits for, all of it, met or not. to is the percentage that a step of the ramp goes to.
func (s Spec) Conditions(g Gate, f Facts, e Evidence, to int) []Condition {
	var cs []Condition
	switch g {
	case GateExpand:
		cs = append(cs, s.planned(f))
	case GateDualWrite:
		cs = append(cs, expanded(f, e))
	case GateBackfill:
		cs = append(cs, expanded(f, e), written(f, e), s.soaked(f, e), undiverged(f, e, s.Soak.DualWrite))
	case GateReads:
		cs = s.ramp(f, e, to)
	case GateStop:
		cs = append(cs, written(f, e), s.switched(f, e))
		if since := s.lately(f); since != nil && !e.Now.Before(*since) { // until then only time is waited for
			cs = append(cs, clean(e, since, "in the last "+s.Soak.DualWrite.String()+" of that"))
		}
		cs = append(cs, s.optional(e))
	case GateDrop:
		cs = append(cs, s.stopped(f, e), unread(e), s.rehearsed(f, e))
	}
	for _, item := range Checklist(g, f.Rows) {
		tick, done := f.Ticked[item.ID]
		c := Condition{What: item.Text, Met: done, Fix: "when it is so: backfleet phase tick " + s.Name + " " + item.ID}
		if done {
			c.Found = "ticked by " + tick.By
		}
		cs = append(cs, c)
	}
	return cs
}

// Unmet are the conditions that are not met.
func Unmet(cs []Condition) (unmet []Condition) {
	for _, c := range cs {
		if !c.Met {
			unmet = append(unmet, c)
		}
	}
	return unmet
}

// Next is the gate that the migration meets next; false where it is over.
func (f Facts) Next() (Gate, bool) {
	switch {
	case f.Abandoned != nil || f.Dropped != nil:
		return "", false
	case f.Expanded == nil:
		return GateExpand, true
	case f.DualWrite == nil:
		return GateDualWrite, true
	case f.Job == "":
		return GateBackfill, true
	case f.Percent < 100:
		return GateReads, true
	case f.Stopped == nil:
		return GateStop, true
	}
	return GateDrop, true
}

// Ramp are the percentages of reads, in the order in which they are gone through.
var Ramp = []int{0, 1, 10, 100}

// Step is the percentage that follows.
func (f Facts) Step() int {
	for _, p := range Ramp {
		if p > f.Percent {
			return p
		}
	}
	return 100
}

func (s Spec) planned(f Facts) Condition {
	c := Condition{What: "an operational plan is written, for the table has over " + rows(HugeTable) + " rows", Met: f.Planned != nil, Hard: true,
		Fix: "backfleet phase plan " + s.Name + " writes it; over " + rows(HugeTable) + " rows nothing is compressed"}
	if f.Rows < HugeTable {
		c.What, c.Met, c.Waived, c.Fix = "an operational plan is written", true, "the table has "+rows(f.Rows)+" rows", ""
	}
	return c
}

func expanded(f Facts, e Evidence) Condition {
	c := Condition{What: "the new schema is there", Met: f.Expanded != nil && len(e.Missing) == 0, Hard: true,
		Fix: "backfleet phase expand adds it"}
	if len(e.Missing) > 0 {
		c.Found = "missing: " + list(e.Missing)
	}
	return c
}

func written(f Facts, e Evidence) Condition {
	c := Condition{What: "both schemas are written", Met: f.DualWrite != nil && e.Trigger == "", Hard: true, Found: e.Trigger,
		Fix: "backfleet phase dual-write installs the trigger"}
	if f.DualWrite != nil && e.Trigger == "" {
		c.Found = "by the " + f.WrittenBy + " since " + stamp(*f.DualWrite)
	}
	return c
}

func (s Spec) soaked(f Facts, e Evidence) Condition {
	if f.DualWrite == nil {
		return wait("both schemas have been written for "+s.Soak.DualWrite.String(), nil, e.Now, s.Soak.DualWrite)
	}
	c := wait("both schemas have been written for "+s.Soak.DualWrite.String(), f.DualWrite, e.Now, s.Soak.DualWrite)
	return small(c, f, "phases 1 and 2 may be merged")
}

// undiverged says that in the last soak no row diverged that dual-write should have kept right.
func undiverged(f Facts, e Evidence, soak Period) Condition {
	c := Condition{What: "no row newly diverged for " + soak.String(), Fix: "see who wrote them: backfleet phase divergence"}
	d := e.Divergence
	switch {
	case f.DualWrite == nil:
		c.Found, c.Fix = "nothing was watched yet", "backfleet phase dual-write begins the watch"
	case d.Round == nil || d.Round.Before(*f.DualWrite):
		c.Found, c.Fix = "no whole round of the watch began and ended since dual-write began", "let the coordinator watch, or: backfleet phase check"
	case d.FirstSeen != nil && d.FirstSeen.Add(soak.D()).After(e.Now):
		c.Found, c.Remains = "one was found at "+stamp(*d.FirstSeen), left(d.FirstSeen.Add(soak.D()), e.Now)
	default:
		c.Met, c.Fix = true, ""
	}
	return c
}

// clean says that a whole round since then found no diverging row, and none was found after it.
func clean(e Evidence, since *time.Time, what string) Condition {
	c := Condition{What: "a whole round of the watch found no diverging row " + what, Fix: "let the coordinator watch, or: backfleet phase check"}
	d := e.Divergence
	switch {
	case since == nil:
		c.Found = "not yet"
	case d.Clean == nil || d.Clean.Before(*since):
		c.Found = "no such round yet"
		if d.Round != nil && d.Missing+d.Differing > 0 {
			c.Found = fmt.Sprintf("the last one found %d rows missing and %d differing", d.Missing, d.Differing)
			c.Fix = "see which, and who wrote them: backfleet phase divergence"
		}
	case d.FirstSeen != nil && d.FirstSeen.After(*d.Clean):
		c.Found, c.Fix = "a row diverged since, at "+stamp(*d.FirstSeen), "see who wrote it: backfleet phase divergence"
	default:
		c.Met, c.Found, c.Fix = true, "at "+stamp(*d.Clean), ""
	}
	return c
}

func (s Spec) ramp(f Facts, e Evidence, to int) []Condition {
	step := Condition{What: "reads go to " + strconv.Itoa(f.Step()) + " %, the step that follows " + strconv.Itoa(f.Percent) + " %", Met: to == f.Step(), Hard: true,
		Fix: "backfleet phase switch " + s.Name + " --to " + strconv.Itoa(f.Step())}
	if !slices.Contains(Ramp, to) {
		step.Found = strconv.Itoa(to) + " % is no step of 0, 1, 10, 100"
	}
	proof := Condition{What: "the backfill is complete and verified, with no row left", Met: f.Backfilled != nil && e.Residual == 0, Hard: true,
		Found: e.Job, Fix: "backfleet phase backfill " + s.Name}
	if e.Residual > 0 {
		proof.Found = fmt.Sprintf("%s with %d rows left", e.Job, e.Residual)
	}
	since, what := f.Backfilled, "since the backfill"
	if f.Ramped != nil { // after a way back too: what it was taken for shall be over
		since, what = f.Ramped, fmt.Sprintf("since reads are at %d %%", f.Percent)
	}
	cs := []Condition{expanded(f, e), written(f, e), proof, step}
	if since != nil { // else there is nothing yet to be clean
		cs = append(cs, clean(e, since, what))
	}
	return append(cs, small(undiverged(f, e, s.Soak.DualWrite), f, "phases 3 and 4 may be merged"))
}

func (s Spec) switched(f Facts, e Evidence) Condition {
	what := "all reads have been at the new schema for " + s.Soak.Reads.String()
	since, yes := f.Switched()
	if !yes {
		return Condition{What: what, Hard: true, Found: strconv.Itoa(f.Percent) + " % are", Fix: "backfleet phase switch " + s.Name + " --to " + strconv.Itoa(f.Step())}
	}
	return wait(what, &since, e.Now, s.Soak.Reads)
}

func (s Spec) stopped(f Facts, e Evidence) Condition {
	what := "dual-write has been stopped for " + s.Soak.Drop.String()
	if f.Stopped == nil {
		return Condition{What: what, Hard: true, Found: "it goes on", Fix: "backfleet phase stop " + s.Name}
	}
	return wait(what, f.Stopped, e.Now, s.Soak.Drop)
}

// lately is when the last part of the time of all reads at the new schema begins: a round of before says nothing of a trigger that was
// disabled since. Not now less the soak, for a round may last long.
func (s Spec) lately(f Facts) *time.Time {
	since, yes := f.Switched()
	if !yes {
		return nil
	}
	since = since.Add(max(0, s.Soak.Reads.D()-s.Soak.DualWrite.D()))
	return &since
}

// optional says that the application may leave the old columns out once nothing fills them for it.
func (s Spec) optional(e Evidence) Condition {
	c := Condition{What: "rows may be written without the old columns", Met: len(e.Required) == 0}
	if len(e.Required) > 0 {
		c.Found = list(e.Required) + " is NOT NULL without a default: the release that no longer knows it fails with every insert"
		c.Fix = "let it go as the table's owner: ALTER TABLE " + s.Table + " ALTER COLUMN " + e.Required[0] + " DROP NOT NULL"
	}
	return c
}

func unread(e Evidence) Condition {
	c := Condition{What: "nothing in the database reads the old schema", Met: len(e.Readers) == 0, Hard: true}
	if len(e.Readers) > 0 {
		c.Found, c.Fix = list(e.Readers), "change or drop them: backfleet phase readers"
	}
	return c
}

func (s Spec) rehearsed(f Facts, e Evidence) Condition {
	c := Condition{What: "a rehearsal of the drop ran its whole time", Met: f.Rehearsed != nil && !e.Rehearsing, Hard: e.Rehearsing, Fix: "backfleet phase rehearse " + s.Name + " --for 24h"}
	switch {
	case e.Rehearsing:
		c.Found, c.Fix = "one is under way", "wait for its end, or: backfleet phase undo "+s.Name
	case f.Rehearsed != nil:
		c.Found, c.Fix = "it ended at "+stamp(*f.Rehearsed), ""
	}
	return c
}

// wait is a condition of time alone.
func wait(what string, since *time.Time, now time.Time, soak Period) Condition {
	c := Condition{What: what}
	if since == nil {
		c.Found = "not yet"
		return c
	}
	if c.Remains = left(since.Add(soak.D()), now); c.Remains > 0 {
		c.Found = c.Remains.String() + " remain, until " + stamp(since.Add(soak.D()))
		return c
	}
	c.Met, c.Found = true, "since "+stamp(*since)
	return c
}

// left is what remains until then, in whole seconds of which the last one counts until it is over.
func left(until, now time.Time) Period {
	return Period(max(0, until.Sub(now)+time.Second-1).Truncate(time.Second))
}

// small lets a condition go for tables so small that a mistake is mended in minutes.
func small(c Condition, f Facts, rule string) Condition {
	if c.Met || f.Rows >= SmallTable || rule == "" {
		return c
	}
	c.Met, c.Waived, c.Fix = true, fmt.Sprintf("the table has %s rows: under %s %s", rows(f.Rows), rows(SmallTable), rule), ""
	return c
}
