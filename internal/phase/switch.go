package phase

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/dualwrite"
	"github.com/backfleet/backfleet/internal/migration"
)

// Switch sends the next share of the reads to the new schema: 1, 10, 100 percent. With the first of them both sides are written in both
// directions, where the file says how the old follows the new, so that the way back stays open.
func (g *Guard) Switch(ctx context.Context, name string, to int) (migration.Migration, error) {
	return g.take(ctx, name, step{action: "switch", gate: migration.GateReads, to: to,
		done: func(m migration.Migration) bool { return m.Facts.Percent == to && to > 0 && over(m, "switch") == nil },
		may: func(m migration.Migration) error {
			if m.Facts.Percent == 100 {
				return &WrongStepError{name, "switch", "all reads are at the new schema", "go on with: backfleet phase show " + name + ", or go back with: backfleet phase rollback " + name}
			}
			return nil
		},
		do: func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
			if m.Facts.Percent == 0 && len(m.Spec.Backward) > 0 && m.Facts.WrittenBy == migration.ByTrigger {
				if err := dualwrite.Install(ctx, tx, m.Spec, dualwrite.Both, m.Facts.SearchPath); err != nil {
					return nil, err
				}
			}
			return ramp(ctx, g, tx, m, facts, to, now)
		}})
}

// Rollback sends all reads back to the old schema, at once and whatever the gates say.
func (g *Guard) Rollback(ctx context.Context, name, reason string) (migration.Migration, error) {
	return g.take(ctx, name, step{action: "rollback", may: func(m migration.Migration) error {
		if m.Facts.Stopped != nil {
			return &WrongStepError{name, "rollback", "dual-write has stopped, so the old schema is stale since then",
				"nothing reads it safely any more; a new migration from the new schema to the old one is the way back"}
		}
		return nil
	}, do: func(ctx context.Context, tx pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
		if m.Facts.Percent == 0 {
			return nil, nil
		}
		detail, err := ramp(ctx, g, tx, m, facts, 0, now)
		if detail != nil {
			detail["reason"] = reason
		}
		return detail, err
	}})
}

// ramp sets the flag that applications read, with the facts.
func ramp(ctx context.Context, g *Guard, tx pgx.Tx, m migration.Migration, facts *migration.Facts, to int, now time.Time) (map[string]any, error) {
	if _, _, err := g.Store.SetFlag(ctx, tx, m.Spec.Name, to, g.By); err != nil {
		return nil, fmt.Errorf("set the flag to %s %%: %w", strconv.Itoa(to), err)
	}
	facts.Percent, facts.Ramped = to, &now
	return map[string]any{"old": m.Facts.Percent, "new": to}, nil
}
