package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/internal/store"
)

// planner checks specs against one live database, and stores those that pass.
type planner struct {
	pool *pgxpool.Pool
	st   *store.Store
}

// Plan implements api.Planner.
func (p planner) Plan(ctx context.Context, spec job.Spec, sample api.Sample) (any, error) {
	return preflight.Check(ctx, p.pool, spec, preflight.Options{Sample: sampling(preflight.PlanSampling, sample)})
}

// sampling is what a forecast may spend; nil where none is asked for.
func sampling(s preflight.Sampling, asked api.Sample) *preflight.Sampling {
	if asked.NoSample {
		return nil
	}
	s.Slots = asked.Slots
	return &s
}

// Submit implements api.Planner.
func (p planner) Submit(ctx context.Context, by string, spec job.Spec, again bool, sample api.Sample) (job.Job, error) {
	if err := p.st.Ready(ctx); err != nil {
		if api.AsProblem(err).Kind == api.Internal { // the ledger is of another version
			err = api.Fail(api.Refused, err, "")
		}
		return job.Job{}, err
	}
	// The job may be there: a `set` expression that has done its work need not pass a second time.
	if prior, err := p.st.Find(ctx, spec.Name); err == nil && !again && prior.SpecHash == spec.Hash() && prior.State != job.Cancelled {
		return prior, nil
	}
	plan, err := preflight.Check(ctx, p.pool, spec, preflight.Options{Sample: sampling(preflight.SubmitSampling, sample)})
	if err != nil {
		return job.Job{}, err
	}
	return p.st.Submit(ctx, by, store.NewJob{
		Spec: plan.Spec, Key: plan.Key, Idempotent: plan.Idempotent, Passes: plan.HOT.Passes, SearchPath: plan.SearchPath,
		Estimate: plan.Rows, EstimateBy: plan.RowsBy, Forecast: plan.Forecast, Again: again,
	})
}

// grants prints a role's least privileges.
func grants(ctx context.Context, db database, role, table string) (string, error) {
	return store.New(db.pool, db.name).Grants(ctx, role, table)
}

// renderPlan prints a plan that came over the API.
func renderPlan(w io.Writer, raw json.RawMessage, color bool) error {
	var plan preflight.Plan
	if err := json.Unmarshal(raw, &plan); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	return plan.Render(w, color)
}
