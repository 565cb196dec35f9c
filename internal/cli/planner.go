package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/preflight"
	"github.com/backfleet/backfleet/internal/store"
)

// planner checks specs against one live database, and stores those that pass.
type planner struct {
	db database
	st *store.Store
}

// options are what every check of a spec goes by.
func (p planner) options(sample *preflight.Sampling) preflight.Options {
	return preflight.Options{Sample: sample, Replicas: slices.Collect(maps.Keys(p.db.replicas))}
}

// Plan implements api.Planner.
func (p planner) Plan(ctx context.Context, spec job.Spec, sample api.Sample) (any, error) {
	return preflight.Check(ctx, p.db.pool, spec, p.options(p.sampling(ctx, preflight.PlanSampling, sample)))
}

// sampling is what a forecast may spend and goes by; nil where none is asked for.
func (p planner) sampling(ctx context.Context, s preflight.Sampling, asked api.Sample) *preflight.Sampling {
	if asked.NoSample {
		return nil
	}
	s.Slots = asked.Slots
	if rules, _, err := p.st.Throttle(ctx); err == nil { // a database without a ledger has none
		s.Rules = rules
	}
	return &s
}

// Submit implements api.Planner.
func (p planner) Submit(ctx context.Context, s api.Submission) (j job.Job, warnings []string, err error) {
	if err := p.st.Ready(ctx); err != nil {
		if api.AsProblem(err).Kind == api.Internal { // the ledger is of another version
			err = api.Fail(api.Refused, err, "")
		}
		return job.Job{}, nil, err
	}
	// The job may be there: a `set` expression that has done its work need not pass a second time.
	if prior, err := p.st.Find(ctx, s.Spec.Name); err == nil && !s.Again && prior.SpecHash == s.Spec.Hash() && prior.State != job.Cancelled {
		return prior, nil, nil
	}
	plan, err := preflight.Check(ctx, p.db.pool, s.Spec, p.options(p.sampling(ctx, preflight.SubmitSampling, s.Sample)))
	if err != nil {
		return job.Job{}, nil, err
	}
	j, err = p.st.Submit(ctx, s.By, store.NewJob{
		Spec: plan.Spec, Key: plan.Key, Idempotent: plan.Idempotent, Order: plan.Walk.Order, Passes: plan.HOT.Passes, SearchPath: plan.SearchPath,
		Estimate: plan.Rows, EstimateBy: plan.RowsBy, Forecast: plan.Forecast, Again: s.Again,
		As: s.As, Request: s.Request, Plan: plan, PlanHash: plan.Hash(),
	})
	return j, plan.Holding(), err
}

// Hash implements api.Planner.
func (p planner) Hash(ctx context.Context, spec job.Spec) (string, error) {
	plan, err := preflight.Check(ctx, p.db.pool, spec, p.options(nil))
	if err != nil {
		return "", err
	}
	return plan.Hash(), nil
}

// Vet implements api.Planner.
func (p planner) Vet(ctx context.Context, was, now job.Limits) ([]string, error) {
	return preflight.Limits(ctx, p.db.pool, p.db.name, was, now, p.options(nil))
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
