package migration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/backfleet/backfleet/internal/migration"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) *time.Time {
	t := noon.Add(d)
	return &t
}

const day = 24 * time.Hour

// life is a migration that goes well, step by step: what is done at each gate, and the soonest moment after the start at which it opens.
func parse(t require.TestingT) migration.Spec {
	spec, err := migration.ParseSpec([]byte(whole+"backward: {email: email_norm}\n"), "m.yaml")
	require.NoError(t, err)
	spec.Soak = migration.DefaultSoak()
	return spec
}

// ticked ticks the checklist of a gate.
func ticked(f migration.Facts, g migration.Gate) migration.Facts {
	f = f.Clone()
	if f.Ticked == nil {
		f.Ticked = map[string]migration.Tick{}
	}
	for _, i := range migration.Checklist(g, f.Rows) {
		f.Ticked[i.ID] = migration.Tick{By: "jane", At: noon}
	}
	return f
}

func TestThreeWeeks(t *testing.T) {
	spec := parse(t)
	big := int64(5_000_000)
	dual := migration.Facts{Rows: big, Expanded: at(0), DualWrite: at(0), WrittenBy: migration.ByTrigger}
	filled := dual
	filled.Job, filled.Backfilled = "01J", at(day)
	full := filled
	full.Percent, full.Ramped = 100, at(2*day)
	stopped := full
	stopped.Stopped, stopped.Rehearsed = at(9*day), at(15*day)
	clean := func(when time.Duration) migration.Divergence {
		return migration.Divergence{Round: at(when), Clean: at(when)}
	}

	for name, c := range map[string]struct {
		gate   migration.Gate
		facts  migration.Facts
		e      migration.Evidence
		to     int
		unmet  string // a part of the first condition that is not met; empty: the gate is open
		remain time.Duration
	}{
		"expand at once":                    {gate: migration.GateExpand, facts: migration.Facts{Rows: big}},
		"a huge table without a plan":       {gate: migration.GateExpand, facts: migration.Facts{Rows: 100_000_000}, unmet: "operational plan"},
		"a huge table with one":             {gate: migration.GateExpand, facts: migration.Facts{Rows: 100_000_000, Planned: at(0)}},
		"dual-write before the schema":      {gate: migration.GateDualWrite, facts: migration.Facts{Rows: big}, unmet: "the new schema is there"},
		"dual-write without a column":       {gate: migration.GateDualWrite, facts: migration.Facts{Rows: big, Expanded: at(0)}, e: migration.Evidence{Missing: []string{"email_norm"}}, unmet: "the new schema is there"},
		"backfill a second before 24 h":     {gate: migration.GateBackfill, facts: dual, e: migration.Evidence{Now: noon.Add(day - time.Second), Divergence: migration.Divergence{Round: at(time.Hour)}}, unmet: "written for 24h", remain: time.Second},
		"backfill after 24 h":               {gate: migration.GateBackfill, facts: dual, e: migration.Evidence{Now: noon.Add(day), Divergence: migration.Divergence{Round: at(time.Hour), Missing: 1e6}}},
		"backfill nobody watched":           {gate: migration.GateBackfill, facts: dual, e: migration.Evidence{Now: noon.Add(day)}, unmet: "newly diverged"},
		"backfill after a row diverged":     {gate: migration.GateBackfill, facts: dual, e: migration.Evidence{Now: noon.Add(30 * time.Hour), Divergence: migration.Divergence{Round: at(29 * time.Hour), FirstSeen: at(20 * time.Hour)}}, unmet: "newly diverged", remain: 14 * time.Hour},
		"backfill with a trigger disabled":  {gate: migration.GateBackfill, facts: dual, e: migration.Evidence{Now: noon.Add(day), Trigger: "disabled", Divergence: migration.Divergence{Round: at(time.Hour)}}, unmet: "both schemas are written"},
		"backfill of a small table at once": {gate: migration.GateBackfill, facts: migration.Facts{Rows: 999_999, Expanded: at(0), DualWrite: at(0), WrittenBy: migration.ByTrigger}, e: migration.Evidence{Now: noon.Add(time.Minute), Divergence: migration.Divergence{Round: at(time.Second)}}},
		"switch before the backfill":        {gate: migration.GateReads, facts: dual, e: migration.Evidence{Now: noon.Add(9 * day), Divergence: clean(8 * day)}, to: 1, unmet: "complete and verified"},
		"switch with a residual":            {gate: migration.GateReads, facts: filled, e: migration.Evidence{Now: noon.Add(9 * day), Residual: 1, Divergence: clean(8 * day)}, to: 1, unmet: "complete and verified"},
		"switch without a round since":      {gate: migration.GateReads, facts: filled, e: migration.Evidence{Now: noon.Add(9 * day), Divergence: clean(day - time.Second)}, to: 1, unmet: "no diverging row"},
		"switch with rows diverging":        {gate: migration.GateReads, facts: filled, e: migration.Evidence{Now: noon.Add(9 * day), Divergence: migration.Divergence{Round: at(8 * day), Differing: 2}}, to: 1, unmet: "no diverging row"},
		"switch on proof":                   {gate: migration.GateReads, facts: filled, e: migration.Evidence{Now: noon.Add(9 * day), Divergence: clean(8 * day)}, to: 1},
		"switch to all at once":             {gate: migration.GateReads, facts: filled, e: migration.Evidence{Now: noon.Add(9 * day), Divergence: clean(8 * day)}, to: 100, unmet: "reads go to 1 %"},
		"switch to a half":                  {gate: migration.GateReads, facts: filled, e: migration.Evidence{Now: noon.Add(9 * day), Divergence: clean(8 * day)}, to: 50, unmet: "reads go to 1 %"},
		"switch after a way back":           {gate: migration.GateReads, facts: func() migration.Facts { f := filled; f.Ramped = at(3 * day); return f }(), e: migration.Evidence{Now: noon.Add(9 * day), Divergence: clean(2 * day)}, to: 1, unmet: "no diverging row"},
		"stop before a week":                {gate: migration.GateStop, facts: full, e: migration.Evidence{Now: noon.Add(9*day - time.Minute), Divergence: clean(8*day + time.Hour)}, unmet: "new schema for 7d", remain: time.Minute},
		"stop after a week":                 {gate: migration.GateStop, facts: full, e: migration.Evidence{Now: noon.Add(9 * day), Divergence: clean(8*day + time.Hour)}},
		"stop on a round of before":         {gate: migration.GateStop, facts: full, e: migration.Evidence{Now: noon.Add(9 * day), Divergence: clean(7 * day)}, unmet: "no diverging row"},
		"stop with the trigger disabled":    {gate: migration.GateStop, facts: full, e: migration.Evidence{Now: noon.Add(9 * day), Trigger: "disabled", Divergence: clean(8*day + time.Hour)}, unmet: "both schemas are written"},
		"stop with a column that must be":   {gate: migration.GateStop, facts: full, e: migration.Evidence{Now: noon.Add(9 * day), Required: []string{"email"}, Divergence: clean(8*day + time.Hour)}, unmet: "without the old columns"},
		"stop at ten percent":               {gate: migration.GateStop, facts: func() migration.Facts { f := full; f.Percent = 10; return f }(), e: migration.Evidence{Now: noon.Add(99 * day), Divergence: clean(8*day + time.Hour)}, unmet: "new schema for 7d"},
		"drop before a week":                {gate: migration.GateDrop, facts: stopped, e: migration.Evidence{Now: noon.Add(15 * day)}, unmet: "stopped for 7d", remain: day},
		"drop with a reader":                {gate: migration.GateDrop, facts: stopped, e: migration.Evidence{Now: noon.Add(16 * day), Readers: []string{"view monthly"}}, unmet: "nothing in the database reads"},
		"drop that was not rehearsed":       {gate: migration.GateDrop, facts: func() migration.Facts { f := stopped; f.Rehearsed = nil; return f }(), e: migration.Evidence{Now: noon.Add(16 * day)}, unmet: "rehearsal"},
		"drop while it is rehearsed":        {gate: migration.GateDrop, facts: stopped, e: migration.Evidence{Now: noon.Add(16 * day), Rehearsing: true}, unmet: "rehearsal"},
		"drop":                              {gate: migration.GateDrop, facts: stopped, e: migration.Evidence{Now: noon.Add(16 * day)}},
	} {
		t.Run(name, func(t *testing.T) {
			unmet := migration.Unmet(spec.Conditions(c.gate, ticked(c.facts, c.gate), c.e, c.to))
			if c.unmet == "" {
				require.Empty(t, unmet)
				return
			}
			require.Len(t, unmet, 1)
			require.Contains(t, unmet[0].What, c.unmet)
			require.Equal(t, migration.Period(c.remain), unmet[0].Remains)
			require.True(t, unmet[0].Fix != "" || unmet[0].Remains > 0, "it says what to do, or how long to wait")
		})
	}
}

// An override passes what was not met when it was made, of its own gate, and nothing that could not be right.
func TestAnOverridePassesWhatWasUnmetThen(t *testing.T) {
	f := migration.Facts{Overrides: []migration.Override{{Gate: "backfill", Unmet: []string{"a wait"}}}}
	require.True(t, f.Overridden(migration.GateBackfill, migration.Condition{What: "a wait"}))
	require.False(t, f.Overridden(migration.GateBackfill, migration.Condition{What: "another"}))
	require.False(t, f.Overridden(migration.GateStop, migration.Condition{What: "a wait"}))
	require.False(t, f.Overridden(migration.GateBackfill, migration.Condition{What: "a wait", Hard: true}))
}

// No gate is open whose checklist nobody ticked.
func TestTheChecklistIsAsked(t *testing.T) {
	spec := parse(t)
	for _, item := range migration.Items() {
		facts := ticked(migration.Facts{Rows: migration.HugeTable}, item.Gate)
		delete(facts.Ticked, item.ID)
		found := false
		for _, c := range migration.Unmet(spec.Conditions(item.Gate, facts, migration.Evidence{Now: noon}, 1)) {
			found = found || c.What == item.Text
		}
		require.True(t, found, item.ID)
	}
}

// Whatever happened before, no soak is ever passed before its time: for a table that is not small a gate of time is met if and only if the
// time is over.
func TestNoSoakIsCompressed(t *testing.T) {
	spec := parse(t)
	rapid.Check(t, func(t *rapid.T) {
		passed := time.Duration(rapid.Int64Range(0, int64(20*day)).Draw(t, "passed"))
		facts := migration.Facts{Rows: rapid.Int64Range(migration.SmallTable, 1e12).Draw(t, "rows"), Planned: at(0), Expanded: at(0), DualWrite: at(0),
			WrittenBy: migration.ByTrigger, Job: "01J", Backfilled: at(0), Percent: 100, Ramped: at(0), Stopped: at(0), Rehearsed: at(0)}
		e := migration.Evidence{Now: noon.Add(passed), Divergence: migration.Divergence{Round: at(20 * day), Clean: at(20 * day)}}
		for gate, soak := range map[migration.Gate]migration.Period{migration.GateBackfill: spec.Soak.DualWrite, migration.GateStop: spec.Soak.Reads, migration.GateDrop: spec.Soak.Drop} {
			open := len(migration.Unmet(spec.Conditions(gate, ticked(facts, gate), e, 0))) == 0
			require.Equal(t, passed >= soak.D(), open, "%s after %s", gate, passed)
		}
	})
}

func TestPhasesFollowFromFacts(t *testing.T) {
	f := migration.Facts{}
	for _, s := range []struct {
		phase migration.Phase
		gate  migration.Gate
		then  func()
	}{
		{migration.Expand, migration.GateExpand, func() { f.Expanded = at(0) }},
		{migration.Expand, migration.GateDualWrite, func() { f.DualWrite = at(1) }},
		{migration.DualWrite, migration.GateBackfill, func() { f.Job = "01J" }},
		{migration.Fill, migration.GateReads, func() { f.Backfilled = at(2) }},
		{migration.Switch, migration.GateReads, func() { f.Percent, f.Ramped = 1, at(3) }},
		{migration.Switch, migration.GateReads, func() { f.Percent, f.Ramped = 100, at(4) }},
		{migration.Switch, migration.GateStop, func() { f.Stopped = at(5) }},
		{migration.Contract, migration.GateDrop, func() { f.Dropped = at(6) }},
	} {
		gate, open := f.Next()
		require.True(t, open)
		require.Equal(t, s.phase, f.Phase())
		require.Equal(t, s.gate, gate)
		s.then()
	}
	require.Equal(t, migration.Done, f.Phase())
	_, open := f.Next()
	require.False(t, open)
	require.Equal(t, *at(6), f.Since(noon))
}
