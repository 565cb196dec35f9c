package phase

import (
	"context"
	"time"

	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/store"
)

// View is where a migration stands, as `backfleet phase show` tells it.
type View struct {
	migration.Migration
	Phase migration.Phase `json:"phase"`
	Since time.Time       `json:"since"`
	Now   time.Time       `json:"now"`
	// Gate is the one that it meets next, and Conditions what that waits for. Empty where the migration is over.
	Gate       migration.Gate        `json:"gate,omitempty"`
	Conditions []migration.Condition `json:"conditions,omitempty"`
	Evidence   migration.Evidence    `json:"evidence"`
	// Rehearsal is the one that is under way.
	Rehearsal *store.Rehearsal `json:"rehearsal,omitempty"`
}

// Show judges the next gate of a migration and changes nothing.
func (g *Guard) Show(ctx context.Context, name string) (View, error) {
	m, err := g.Store.Migration(ctx, name)
	if err != nil {
		return View{}, err
	}
	return g.view(ctx, m)
}

// List judges the next gate of each migration of the database.
func (g *Guard) List(ctx context.Context) ([]View, error) {
	all, err := g.Store.Migrations(ctx)
	if err != nil {
		return nil, err
	}
	views := make([]View, 0, len(all))
	for _, m := range all {
		v, err := g.view(ctx, m)
		if err != nil {
			return nil, err
		}
		views = append(views, v)
	}
	return views, nil
}

func (g *Guard) view(ctx context.Context, m migration.Migration) (v View, err error) {
	if m, err = g.observed(ctx, m); err != nil {
		return v, err
	}
	v.Migration = m
	v.Phase, v.Since = m.Phase()
	if v.Now, err = g.now(ctx); err != nil {
		return v, err
	}
	gate, open := m.Facts.Next()
	if !open {
		return v, nil
	}
	if v.Rehearsal, err = g.rehearsing(ctx, m.Spec.Name); err != nil {
		return v, err
	}
	if v.Evidence, err = g.evidence(ctx, m, v.Now); err != nil {
		return v, err
	}
	v.Gate, v.Conditions = gate, m.Spec.Conditions(gate, m.Facts, v.Evidence, m.Facts.Step())
	return v, nil
}
