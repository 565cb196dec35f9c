package phase

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
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
		if err := g.admin(ctx, m.Spec, "override"); err != nil {
			return nil, err
		}
		evidence, err := g.evidence(ctx, m, now)
		if err != nil {
			return nil, err
		}
		var unmet []string
		for _, c := range migration.Unmet(m.Spec.Conditions(gate, m.Facts, evidence, m.Facts.Step())) {
			if !c.Hard && !m.Facts.Overridden(gate, c) {
				unmet = append(unmet, c.What)
			}
		}
		if len(unmet) == 0 && slices.ContainsFunc(m.Facts.Overrides, func(o migration.Override) bool { return o.Gate == string(gate) && o.Reason == reason }) {
			return nil, nil // said already: whoever said it may not have heard that it was done
		}
		if len(unmet) == 0 {
			return nil, &WrongStepError{name, "override", "gate " + string(gate) + " waits for nothing that an override passes", "backfleet phase show " + name}
		}
		facts.Overrides = append(facts.Overrides, migration.Override{Gate: string(gate), By: g.By, At: now, Reason: reason, Unmet: unmet})
		return map[string]any{"gate": gate, "reason": reason, "unmet": unmet}, nil
	}})
}

// admin refuses who does not own the table: to pass a gate before its time is for those who answer for it.
func (g *Guard) admin(ctx context.Context, spec migration.Spec, step string) error {
	schema, name, err := job.SplitTable(spec.Table)
	if err != nil {
		return err
	}
	var role, owner string
	var owns bool
	err = g.Pool.QueryRow(ctx, `SELECT current_user, pg_catalog.pg_get_userbyid(c.relowner), pg_catalog.pg_has_role(c.relowner, 'USAGE')
		FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`,
		schema, name).Scan(&role, &owner, &owns)
	switch {
	case err != nil:
		return fmt.Errorf("migration %s: %s: read who owns %s: %w", spec.Name, step, spec.Table, err)
	case !owns:
		return &WrongStepError{spec.Name, step, "role " + role + " does not own " + spec.Table, "it is for " + owner + ", or a member of it"}
	}
	return nil
}

func gateNames() []string {
	names := make([]string, len(migration.Gates))
	for i, g := range migration.Gates {
		names[i] = string(g)
	}
	return names
}
