package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/store"
)

// By is the part of every change that says who asks.
type By struct {
	Actor string `header:"X-Backfleet-Actor" doc:"The person behind an admin's request, for the audit log."`
}

func (b By) who(ctx context.Context) string {
	who, _ := identityOf(ctx)
	return actor(who, b.Actor)
}

// OnJob is a change of one job without a body.
type OnJob struct {
	JobPath
	By
}

// withReason is a change of one job that may say why.
type withReason struct {
	OnJob
	Body *Why // a pointer, so that it may be left out
}

// Why is the body of a change that may say why.
type Why struct {
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why; it stands in the audit log."`
}

// SpecBody is a spec in a request.
type SpecBody struct {
	By
	File    string `query:"file" doc:"Name of the spec in errors."`
	RawBody []byte `contentType:"application/yaml" doc:"A spec in YAML or JSON."`
	Sample
}

type submitBody struct {
	SpecBody
	Again bool `query:"again" doc:"Make a new job even if one of this name and spec has ended."`
}

func (s *Server) controlOperations() {
	route(s, Admin, http.MethodPost, "/v1/plans", "plan", "What a job of this spec would do; changes nothing, and rolls its sample batches back", s.plan)
	route(s, Admin, http.MethodPost, "/v1/jobs", "submit", "Check a spec and store it as a job", s.submit)

	change := func(verb, summary string, do func(context.Context, Ledger, job.ID, string, string) (job.Job, error)) {
		route(s, Operator, http.MethodPost, "/v1/jobs/{job}/"+verb, verb, summary,
			func(ctx context.Context, in *withReason) (*out[Job], error) {
				var why Why
				if in.Body != nil {
					why = *in.Body
				}
				return s.change(ctx, in.OnJob, verb, func(l Ledger, id job.ID, who string) (job.Job, error) {
					return do(ctx, l, id, who, why.Reason)
				})
			})
	}
	change("pause", "Hand every range back and start no batch", func(ctx context.Context, l Ledger, id job.ID, who, reason string) (job.Job, error) {
		return l.Pause(ctx, id, who, reason)
	})
	change("cancel", "End the job; what is written stays", func(ctx context.Context, l Ledger, id job.ID, who, reason string) (job.Job, error) {
		return l.Cancel(ctx, id, who, reason)
	})
	change("resume", "Go on from the committed checkpoints", func(ctx context.Context, l Ledger, id job.ID, who, _ string) (job.Job, error) {
		return l.Resume(ctx, id, who)
	})
	change("verify", "Count the residual and the check again", func(ctx context.Context, l Ledger, id job.ID, who, _ string) (job.Job, error) {
		return l.RequestVerify(ctx, id, who)
	})
	route(s, Operator, http.MethodPost, "/v1/jobs/{job}/retry", "retry", "Try quarantined rows and failed ranges again", s.retry)
	route(s, Operator, http.MethodPost, "/v1/jobs/{job}/skip", "skip", "Take a range or a row out of the job", s.skip)
	route(s, Operator, http.MethodPatch, "/v1/jobs/{job}/limits", "set-limits", "Change limits while the job runs", s.limits)
}

// change runs one change of a job and tells the log that it was asked for.
func (s *Server) change(ctx context.Context, in OnJob, verb string, do func(Ledger, job.ID, string) (job.Job, error)) (*out[Job], error) {
	db, j, err := s.find(ctx, in.JobPath)
	if err != nil {
		return nil, err
	}
	who := in.who(ctx)
	changed, err := do(db.Ledger, j.ID, who)
	if err != nil {
		return nil, err
	}
	s.asked(verb, changed, who)
	return &out[Job]{viewOf(changed)}, nil
}

func (s *Server) asked(verb string, j job.Job, who string) {
	s.Log.Info(verb+" asked", zap.String(observe.Job, j.Name), zap.String(observe.JobID, string(j.ID)),
		zap.String(observe.Database, j.Database), zap.String(observe.State, string(j.State)), zap.String(observe.By, who))
}

func (s *Server) plan(ctx context.Context, in *SpecBody) (*out[any], error) {
	spec, db, err := s.spec(in)
	if err != nil {
		return nil, err
	}
	p, err := db.Planner.Plan(ctx, spec, in.Sample)
	return &out[any]{p}, err
}

// submit is repeatable: the same spec under the same name is the same job, ended or not, because a second run of a `set`
// without `where` would apply it twice. A job that is there is found before the spec is checked against the database: what a
// running job has done already must not speak against it.
func (s *Server) submit(ctx context.Context, in *submitBody) (*out[Submitted], error) {
	spec, db, err := s.spec(&in.SpecBody)
	if err != nil {
		return nil, err
	}
	prior, err := db.Ledger.Find(ctx, spec.Name)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && prior.State == job.Cancelled, err == nil && in.Again && prior.State.Ended():
	case err != nil:
		return nil, err
	case prior.SpecHash == spec.Hash():
		return &out[Submitted]{Submitted{Job: viewOf(prior)}}, nil
	default:
		return nil, &store.SpecChangedError{Name: spec.Name, Changed: job.Diff(prior.Spec, spec), State: prior.State}
	}
	who := in.who(ctx)
	j, warnings, err := db.Planner.Submit(ctx, who, spec, in.Again, in.Sample)
	if err != nil {
		return nil, err
	}
	s.asked("submit", j, who)
	return &out[Submitted]{Submitted{Job: viewOf(j), Created: j.ID != prior.ID, Warnings: warnings}}, nil
}

// spec reads the spec of a request and finds its database.
func (s *Server) spec(in *SpecBody) (job.Spec, Database, error) {
	spec, err := job.ParseSpec(in.RawBody, in.File)
	if err != nil {
		return job.Spec{}, Database{}, err
	}
	dbs, err := s.named(spec.Database)
	if err != nil {
		p := AsProblem(err)
		return job.Spec{}, Database{}, Refuse(job.Refusals{{Where: in.File, Field: "database", Value: spec.Database,
			Why: strings.TrimPrefix(p.Detail, "database: "+strconv.Quote(spec.Database)+" "), Fix: p.Hint}})
	}
	return spec, dbs[0], nil
}

func (s *Server) retry(ctx context.Context, in *OnJob) (*out[store.RetryResult], error) {
	db, j, err := s.find(ctx, in.JobPath)
	if err != nil {
		return nil, err
	}
	who := in.who(ctx)
	r, err := db.Ledger.Retry(ctx, j.ID, who)
	if err != nil {
		return nil, err
	}
	s.asked("retry", j, who)
	r.Left = list(r.Left)
	return &out[store.RetryResult]{r}, nil
}

func (s *Server) skip(ctx context.Context, in *struct {
	OnJob
	Body Skip
}) (*out[Job], error) {
	if (in.Body.Range == nil) == (len(in.Body.Key) == 0) {
		return nil, Fail(Invalid, errors.New("skip: name one range or one row's key"), "send range or key, not both")
	}
	return s.change(ctx, in.OnJob, "skip", func(l Ledger, id job.ID, who string) (job.Job, error) {
		var j job.Job
		var err error
		if in.Body.Range != nil {
			j, err = l.SkipRange(ctx, id, who, *in.Body.Range, in.Body.Reason)
		} else {
			j, err = l.SkipRow(ctx, id, who, in.Body.Relation, in.Body.Key, in.Body.Reason)
		}
		if err != nil && postgres.SQLState(err) == "" && AsProblem(err).Kind == Internal {
			err = Fail(Refused, err, "") // no such range, or a key of another shape
		}
		return j, err
	})
}

// limitTries bounds how often a change of limits is laid over somebody else's simultaneous change.
const limitTries = 5

func (s *Server) limits(ctx context.Context, in *struct {
	OnJob
	Body map[string]string `doc:"Paths of the spec and their new values, as text: {\"workers.max\": \"8\"}."`
}) (*out[Limited], error) {
	if len(in.Body) == 0 {
		return nil, Fail(Invalid, errors.New("limits: no path was given"), `send {"workers.max": "8"}`)
	}
	who := in.who(ctx)
	for try := 1; ; try++ {
		db, j, err := s.find(ctx, in.JobPath)
		if err != nil {
			return nil, err
		}
		limits, changes, err := j.Limits.Set(in.Body)
		if err != nil {
			return nil, err
		}
		warnings, err := s.vet(ctx, db, j, limits)
		if err != nil {
			return nil, err
		}
		set, err := db.Ledger.SetLimits(ctx, j.ID, who, limits, j.Revision)
		var rival *store.RevisionError
		if errors.As(err, &rival) && try < limitTries {
			continue // somebody changed the job in between: lay the change over theirs
		}
		if err != nil {
			return nil, err
		}
		s.asked("set", set, who)
		return &out[Limited]{Limited{Job: viewOf(set), Changes: changes, Warnings: warnings}}, nil
	}
}

// vet checks new limits against the job's database. A new check asks what its author wants with the fleet's privileges, from where
// the coordinator runs, as a spec does: it needs the role that may submit one.
func (s *Server) vet(ctx context.Context, db Database, j job.Job, limits job.Limits) (warnings []string, err error) {
	if j.State.Ended() {
		return nil, nil // the ledger will refuse it
	}
	who, _ := identityOf(ctx)
	fresh := func(c job.Check) bool { return !slices.Contains(j.Limits.Throttle.Checks, c) }
	if who.Role < Admin && slices.ContainsFunc(limits.Throttle.Checks, fresh) {
		return nil, Fail(Forbidden, fmt.Errorf("token: %s is %s, and throttle.checks needs admin: a check runs with the fleet's privileges", who.Name, who.Role),
			"use a token of that role")
	}
	return db.Planner.Vet(ctx, j.Limits, limits)
}
