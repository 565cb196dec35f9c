package phase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/contract"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/internal/words"
)

// target is what the last phase drops: the old columns or, where the new schema is a table, the old table.
func target(spec migration.Spec) (contract.Target, error) {
	schema, name, err := job.SplitTable(spec.Table)
	if err != nil {
		return contract.Target{}, fmt.Errorf("migration %s: table %s: %w", spec.Name, spec.Table, err)
	}
	t := contract.Target{Schema: schema, Table: name}
	if !spec.NewTable() {
		t.Columns = spec.From.Columns
	}
	return t, nil
}

// Readers are those who still read what the last phase drops.
func (g *Guard) Readers(ctx context.Context, m migration.Migration) ([]contract.Reader, error) {
	t, err := target(m.Spec)
	if err != nil {
		return nil, err
	}
	if m.Facts.Dropped != nil {
		return nil, nil
	}
	on, err := g.rehearsing(ctx, m.Spec.Name)
	if err != nil {
		return nil, err
	}
	if on != nil && on.Mode == string(contract.Rename) {
		return nil, &WrongStepError{m.Spec.Name, "readers", "the old schema has another name for a rehearsal", "look after its end, or end it with: backfleet phase undo " + m.Spec.Name}
	}
	readers, err := contract.Readers(ctx, g.Pool, t)
	if err != nil {
		return nil, fmt.Errorf("migration %s: look for readers of %s: %w", m.Spec.Name, t, err)
	}
	return readers, nil
}

// rehearsing is the rehearsal that is under way; nil: none is.
func (g *Guard) rehearsing(ctx context.Context, name string) (*store.Rehearsal, error) {
	all, err := g.Store.Rehearsals(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if r.Ended == nil {
			return &r, nil
		}
	}
	return nil, nil
}

// Rehearsal is how a drop is to be rehearsed.
type Rehearsal struct {
	Mode   contract.Mode
	For    time.Duration
	Accept []string // roles that would not notice and are known to be no readers
}

// Rehearsing is a rehearsal that is under way.
type Rehearsing struct {
	Until time.Time     `json:"until"`
	Left  time.Duration `json:"-"`     // of its time, by the database's clock
	Notes []string      `json:"notes"` // what it will not show
}

// Rehearse takes the old schema away for a time, so that who still reads it fails now; [Guard.Undo] brings it back at once. Where one of
// this mode is under way already, whose process may have died, it is that one.
func (g *Guard) Rehearse(ctx context.Context, name string, r Rehearsal) (m migration.Migration, is Rehearsing, err error) {
	m, err = g.take(ctx, name, step{action: "rehearse", may: func(m migration.Migration) error {
		switch {
		case m.Facts.DualWrite == nil:
			return &WrongStepError{name, "rehearse", "only the old schema is written yet", "go on with: " + Command(m)}
		case m.Facts.Stopped == nil:
			return &WrongStepError{name, "rehearse", "dual-write goes on, and would fail without the old schema", "stop it first: backfleet phase stop " + name}
		}
		return nil
	}, do: func(ctx context.Context, tx pgx.Tx, m migration.Migration, _ *migration.Facts, now time.Time) (map[string]any, error) {
		on, found, err := store.OpenRehearsal(ctx, tx, name, 0)
		if err != nil {
			return nil, fmt.Errorf("read the rehearsals: %w", err)
		}
		if found && on.Mode == string(r.Mode) {
			is = Rehearsing{Until: on.Until, Left: on.Until.Sub(now), Notes: []string{"it is under way since " + words.At(on.Began) + ", begun by " + on.By}}
			return nil, nil
		}
		if found {
			return nil, &WrongStepError{name, "rehearse", "a rehearsal by " + on.Mode + " is under way until " + words.At(on.Until), "end that one first: backfleet phase undo " + name}
		}
		t, err := target(m.Spec)
		if err != nil {
			return nil, err
		}
		is = Rehearsing{Until: now.Add(r.For), Left: r.For}
		var rehearsal store.Rehearsal
		rehearsal, is.Notes, err = contract.Rehearse(ctx, tx, contract.Plan{Migration: name, Target: t, Mode: r.Mode, By: g.By, Until: is.Until, Accept: r.Accept})
		if err != nil {
			return nil, err
		}
		return map[string]any{"rehearsal": rehearsal.ID, "mode": r.Mode, "until": is.Until, "notes": is.Notes}, nil
	}})
	return m, is, err
}

// Undo brings back what a rehearsal took away, whatever process began it. One that ran its whole time counts for the drop. exact is false
// where privileges were changed meanwhile. Where the last one has ended already, nothing is left to do.
func (g *Guard) Undo(ctx context.Context, name string) (m migration.Migration, exact bool, err error) {
	exact = true
	m, err = g.take(ctx, name, step{action: "undo", do: func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
		r, same, err := contract.Undo(ctx, tx, name, g.By)
		if errors.Is(err, contract.ErrNoRehearsal) {
			all, err := g.Store.Rehearsals(ctx, name)
			if err == nil && len(all) == 0 {
				err = &WrongStepError{name, "undo", "no rehearsal was ever begun", "go on with: " + Command(m)}
			}
			if err == nil {
				g.tell("no rehearsal is under way; the last one ended at %s, by %s", words.At(*all[len(all)-1].Ended), all[len(all)-1].EndedBy)
			}
			return nil, err
		}
		if err != nil {
			return nil, err
		}
		exact = same
		whole := !now.Before(r.Until)
		if whole {
			facts.Rehearsed = &now
		}
		return map[string]any{"rehearsal": r.ID, "exact": same, "whole_time": whole}, nil
	}})
	return m, exact, err
}

// Drop removes the old schema, which is metadata only, and keeps the script that would bring its form back. Its rows are gone.
func (g *Guard) Drop(ctx context.Context, name string) (m migration.Migration, undo string, err error) {
	m, err = g.take(ctx, name, step{action: "drop", gate: migration.GateDrop, done: func(m migration.Migration) bool { return m.Facts.Dropped != nil }, do: func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
		t, err := target(m.Spec)
		if err != nil {
			return nil, err
		}
		script, err := contract.UndoScript(ctx, tx, t, back(m.Spec))
		if err != nil {
			return nil, err
		}
		undo = script.String()
		if err := contract.Drop(ctx, tx, t); err != nil {
			return nil, err
		}
		facts.Dropped = &now
		return map[string]any{"target": t, "undo": undo}, nil
	}})
	if err == nil && undo == "" { // it was dropped before
		undo, err = g.undoScript(ctx, name)
	}
	return m, undo, err
}

// undoScript is the script that the drop kept in the log.
func (g *Guard) undoScript(ctx context.Context, name string) (string, error) {
	log, err := g.Store.MigrationLog(ctx, name)
	if err != nil {
		return "", err
	}
	for _, e := range log {
		if script, ok := e.Detail["undo"].(string); ok && e.Action == "drop" {
			return script, nil
		}
	}
	return "", fmt.Errorf("migration %s: its log holds no undo script of the drop", name)
}

// back is how the old columns would get their values again.
func back(spec migration.Spec) contract.Back {
	b := contract.Back{Name: spec.Name + "-undo", Database: spec.Database}
	if len(b.Name) > mostName {
		b.Name = b.Name[len(b.Name)-mostName:]
	}
	if !spec.NewTable() {
		b.Values = spec.Backward
	}
	return b
}

// mostName is how long a job's name may be.
const mostName = 40

// Rehearsals are those of a migration, the oldest first.
func (g *Guard) Rehearsals(ctx context.Context, name string) ([]store.Rehearsal, error) {
	return g.Store.Rehearsals(ctx, name)
}
