package phase

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/store"
)

// Backfill submits the migration's job, once its gate is open. Where the job was submitted and the process died before the ledger said so,
// the same file finds the job that is there. One that was cancelled is followed by a new one.
func (g *Guard) Backfill(ctx context.Context, name string) (m migration.Migration, j job.Job, err error) {
	m, err = g.Store.Migration(ctx, name)
	if err != nil {
		return m, j, err
	}
	if m.Facts.Job != "" {
		if j, err = g.job(ctx, m); err != nil || j.State != job.Cancelled {
			return m, j, err
		}
	}
	now, err := g.now(ctx)
	if err != nil {
		return m, j, err
	}
	if err := g.before(ctx, m, step{action: "backfill", gate: migration.GateBackfill}, now); err != nil {
		return m, j, err
	}
	if j, err = g.Jobs.Submit(ctx, m.Spec.Job()); err != nil {
		return m, j, err
	}
	m, err = g.take(ctx, name, step{action: "backfill", gate: migration.GateBackfill,
		do: func(_ context.Context, _ pgx.Tx, m migration.Migration, facts *migration.Facts, _ time.Time) (map[string]any, error) {
			if m.Facts.Job == string(j.ID) {
				return nil, nil
			}
			facts.Job = string(j.ID)
			return map[string]any{"job": j.ID, "after": m.Facts.Job}, nil
		}})
	return m, j, err
}

func (g *Guard) job(ctx context.Context, m migration.Migration) (job.Job, error) {
	j, err := g.Store.Find(ctx, m.Facts.Job)
	if err != nil {
		return j, fmt.Errorf("migration %s: read its job: %w", m.Spec.Name, err)
	}
	return j, nil
}

// observed is the migration with its backfill complete, where the job is; the ledger may not say so yet, see [Guard.settle].
func (g *Guard) observed(ctx context.Context, m migration.Migration) (migration.Migration, error) {
	if m.Facts.Job == "" || m.Facts.Backfilled != nil || m.Facts.Abandoned != nil {
		return m, nil
	}
	j, err := g.job(ctx, m)
	if err == nil && j.State == job.Complete && !j.Ended.IsZero() {
		m.Facts.Backfilled = &j.Ended
	}
	return m, err
}

// settle notes that the backfill is complete, so that the phase after it begins. It goes before every step.
func (g *Guard) settle(ctx context.Context, m migration.Migration) (migration.Migration, error) {
	seen, err := g.observed(ctx, m)
	if err != nil || seen.Facts.Backfilled == m.Facts.Backfilled {
		return m, err
	}
	now, err := g.now(ctx)
	if err != nil {
		return m, err
	}
	err = g.short(ctx, "backfilled "+m.Spec.Name, func(tx pgx.Tx) (err error) {
		m, err = g.Store.MoveMigration(ctx, tx, store.Move{Name: m.Spec.Name, By: g.By, Action: "backfilled", Now: now,
			Change: func(_ context.Context, _ pgx.Tx, m migration.Migration, facts *migration.Facts) (map[string]any, error) {
				if m.Facts.Backfilled != nil || m.Facts.Abandoned != nil {
					return nil, nil
				}
				facts.Backfilled = seen.Facts.Backfilled
				return map[string]any{"job": m.Facts.Job, "ended": facts.Backfilled}, nil
			}})
		return err
	})
	return m, err
}

// backfilled reads what the gates ask of the job.
func (g *Guard) backfilled(ctx context.Context, m migration.Migration, e *migration.Evidence) error {
	if m.Facts.Job == "" {
		return nil
	}
	j, err := g.job(ctx, m)
	if err != nil {
		return err
	}
	e.Job = "job " + string(j.ID) + " is " + string(j.State)
	report, err := g.Store.Report(ctx, j.ID)
	switch {
	case err == nil:
		if report.Residual != nil {
			e.Residual = *report.Residual
		}
	case j.State == job.Complete:
		return fmt.Errorf("migration %s: read its job's report: %w", m.Spec.Name, err)
	}
	return nil
}
