package phase

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/migration"
)

// Tick notes a person's word for an item of the checklist.
func (g *Guard) Tick(ctx context.Context, name, item, note string) (migration.Migration, error) {
	return g.take(ctx, name, step{action: "tick", do: func(_ context.Context, _ pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
		if !slices.ContainsFunc(migration.Items(), func(i migration.Item) bool { return i.ID == item }) {
			return nil, &WrongStepError{name, "tick", "the checklist has no item " + item, "backfleet phase show " + name + " lists them"}
		}
		if _, done := m.Facts.Ticked[item]; done {
			return nil, nil
		}
		if facts.Ticked == nil {
			facts.Ticked = map[string]migration.Tick{}
		}
		facts.Ticked[item] = migration.Tick{By: g.By, At: now, Note: note}
		return map[string]any{"item": item, "note": note}, nil
	}})
}

// Override lets one gate pass with conditions that are not met, but for those that no override passes. It stays visible for ever.
func (g *Guard) Override(ctx context.Context, name string, gate migration.Gate, reason string) (migration.Migration, error) {
	if strings.TrimSpace(reason) == "" {
		return migration.Migration{}, &WrongStepError{name, "override", "no reason is given", "say why with --reason; it stays visible for ever"}
	}
	if !slices.Contains(migration.Gates, gate) {
		return migration.Migration{}, &WrongStepError{name, "override", "there is no gate " + string(gate), "one of " + strings.Join(gateNames(), ", ")}
	}
	return g.take(ctx, name, step{action: "override", do: func(ctx context.Context, _ pgx.Tx, m migration.Migration, facts *migration.Facts, now time.Time) (map[string]any, error) {
		if next, open := m.Facts.Next(); !open || next != gate {
			return nil, &WrongStepError{name, "override", "the migration does not stand before gate " + string(gate), "the next one is " + string(next)}
		}
		evidence, err := g.evidence(ctx, m, now)
		if err != nil {
			return nil, err
		}
		var unmet []string
		for _, c := range migration.Unmet(m.Spec.Conditions(gate, m.Facts, evidence, m.Facts.Step())) {
			if !c.Hard {
				unmet = append(unmet, c.What)
			}
		}
		if len(unmet) == 0 {
			return nil, &WrongStepError{name, "override", "gate " + string(gate) + " waits for nothing that an override passes", "backfleet phase show " + name}
		}
		if facts.Overrides == nil {
			facts.Overrides = map[string]migration.Override{}
		}
		facts.Overrides[string(gate)] = migration.Override{By: g.By, At: now, Reason: reason, Unmet: unmet}
		return map[string]any{"gate": gate, "reason": reason, "unmet": unmet}, nil
	}})
}

func gateNames() []string {
	names := make([]string, len(migration.Gates))
	for i, g := range migration.Gates {
		names[i] = string(g)
	}
	return names
}
