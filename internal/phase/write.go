package phase

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/postgres"
)

// DualWrite has every write of the old schema carried over to the new one: by a trigger that it installs, or by the application's own code,
// which it then watches. Done again, it puts a trigger that somebody changed back to what it was.
func (g *Guard) DualWrite(ctx context.Context, name, by string) (migration.Migration, error) {
	return g.take(ctx, name, step{action: "dual-write", gate: migration.GateDualWrite, may: func(m migration.Migration) error {
		switch {
		case m.Facts.Stopped != nil:
			return &WrongStepError{name, "dual-write", "it was stopped after all reads had switched", "go on with: backfleet phase show " + name}
		case m.Facts.DualWrite != nil && m.Facts.WrittenBy != by:
			return &WrongStepError{name, "dual-write", "both schemas are written by the " + m.Facts.WrittenBy + " already",
				"give the migration up and begin another to change that"}
		}
		return nil
	}, do: func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
		if by == migration.ByTrigger {
			stands, err := dualwrite.Installed(ctx, tx, m.Spec, m.Facts.SearchPath)
			if err != nil {
				return nil, err
			}
			if stands.Stands() && m.Facts.DualWrite != nil {
				return nil, nil
			}
			direction := dualwrite.Forward
			if m.Facts.Percent > 0 && len(m.Spec.Backward) > 0 {
				direction = dualwrite.Both
			}
			if err := dualwrite.Install(ctx, tx, m.Spec, direction, m.Facts.SearchPath); err != nil {
				return nil, err
			}
			if err := g.Store.BeginWatch(ctx, tx, name); err != nil {
				return nil, err
			}
			// Whatever was written while it was not as it should be may diverge: the soak begins anew.
			facts.DualWrite, facts.WrittenBy = &now, by
			return map[string]any{"by": by, "mended": m.Facts.DualWrite != nil, "was": stands.Problems}, nil
		}
		if m.Facts.DualWrite != nil {
			return nil, nil
		}
		if err := g.Store.BeginWatch(ctx, tx, name); err != nil {
			return nil, err
		}
		facts.DualWrite, facts.WrittenBy = &now, by
		return map[string]any{"by": by}, nil
	}})
}

// Cost measures what the trigger would cost a write, on copies of a sample of real rows, and installs nothing.
func (g *Guard) Cost(ctx context.Context, name string) (dualwrite.Cost, error) {
	m, err := g.Store.Migration(ctx, name)
	if err != nil {
		return dualwrite.Cost{}, err
	}
	if m.Facts.Expanded == nil {
		return dualwrite.Cost{}, &WrongStepError{name, "dual-write", "the new schema is not there yet", "add it first: backfleet phase expand " + name}
	}
	return dualwrite.MeasureCost(ctx, g.Pool, m.Spec, m.Facts.SearchPath)
}

// Stop ends dual-write: from here on only the new schema is written, and reads cannot go back.
func (g *Guard) Stop(ctx context.Context, name string) (migration.Migration, error) {
	return g.take(ctx, name, step{action: "stop", gate: migration.GateStop, done: func(m migration.Migration) bool { return m.Facts.Stopped != nil }, do: func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
		if m.Facts.WrittenBy == migration.ByTrigger {
			if err := dualwrite.Remove(ctx, tx, m.Spec); err != nil {
				return nil, err
			}
		}
		facts.Stopped = &now
		return map[string]any{"by": m.Facts.WrittenBy}, nil
	}})
}

// Abandon gives a migration up: reads go back, dual-write ends, and what was added stays where it is, for nobody reads it. It is no way back
// after dual-write has stopped.
func (g *Guard) Abandon(ctx context.Context, name, reason string) (migration.Migration, error) {
	return g.take(ctx, name, step{action: "abandon", done: func(m migration.Migration) bool { return m.Facts.Abandoned != nil }, may: func(m migration.Migration) error {
		switch {
		case m.Facts.Stopped != nil:
			return &WrongStepError{name, "abandon", "dual-write has stopped, so the old schema is stale since then", "go on with: backfleet phase show " + name}
		case reason == "":
			return &WrongStepError{name, "abandon", "no reason is given", "say why with --reason"}
		}
		return nil
	}, do: func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
		if m.Facts.Job != "" && m.Facts.Backfilled == nil {
			j, err := g.job(ctx, m)
			if err != nil {
				return nil, err
			}
			if !j.State.Ended() {
				return nil, &WrongStepError{name, "abandon", "its job " + string(j.ID) + " is " + string(j.State), "cancel it first: backfleet cancel " + j.Name}
			}
		}
		if m.Facts.Percent > 0 {
			if _, err := ramp(ctx, g, tx, m, facts, 0, now); err != nil {
				return nil, err
			}
		}
		if m.Facts.WrittenBy == migration.ByTrigger {
			if err := dualwrite.Remove(ctx, tx, m.Spec); err != nil {
				return nil, err
			}
		}
		facts.Abandoned = &now
		return map[string]any{"reason": reason}, nil
	}})
}

// trigger is what is wrong with dual-write, in one line; empty: nothing.
func (g *Guard) trigger(ctx context.Context, m migration.Migration) (wrong string, err error) {
	if m.Facts.WrittenBy != migration.ByTrigger || m.Facts.Stopped != nil || m.Facts.Abandoned != nil {
		return "", nil
	}
	err = postgres.InTx(ctx, g.Pool, postgres.Settings{Application: "backfleet phase", SynchronousCommit: "local", LockTimeout: lookLockMost,
		StatementTimeout: statementMost}, func(tx pgx.Tx) error {
		stands, err := dualwrite.Installed(ctx, tx, m.Spec, m.Facts.SearchPath)
		switch {
		case err != nil:
			return err
		case stands.Direction == "":
			wrong = "the trigger is not there"
		case len(stands.Problems) > 0:
			wrong = stands.Problems[0]
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("migration %s: look at its trigger: %w", m.Spec.Name, err)
	}
	return wrong, nil
}
