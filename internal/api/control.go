package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	IfMatch
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
	Once
}

// Once is the part of a request to store a job by which it can be sent again.
type Once struct {
	Key string `header:"Idempotency-Key" maxLength:"200" doc:"A text of your own. The same request under the same key is answered as before for a week, and stores no second job; another request under it is refused."`
}

// request names a request of this identity, by all that it asks. It is nil where it has no key.
func (o Once) request(ctx context.Context, what ...any) *store.Request {
	if o.Key == "" {
		return nil
	}
	who, _ := identityOf(ctx)
	sum := sha256.New()
	for _, part := range what {
		fmt.Fprintf(sum, "%q\n", part)
	}
	return &store.Request{By: who.Name, Key: o.Key, Fingerprint: hex.EncodeToString(sum.Sum(nil))}
}

func (s *Server) controlOperations() {
	route(s, Admin, http.MethodPost, "/v1/plans", "plan", "What a job of this spec would do; changes nothing, and rolls its sample batches back", s.plan)
	route(s, Admin, http.MethodPost, "/v1/jobs", "submit", "Check a spec and store it as a job", s.submit)

	change := func(verb, summary string, do func(context.Context, Ledger, job.ID, string, string) (job.Job, error)) {
		route(s, Operator, http.MethodPost, "/v1/jobs/{job}/"+verb, verb, summary,
			func(ctx context.Context, in *withReason) (*tagged[Job], error) {
				var why Why
				if in.Body != nil {
					why = *in.Body
				}
				return s.change(ctx, in.OnJob, verb, func(l Ledger, id job.ID, who string) (job.Job, error) {
					return do(ctx, l, id, who, observe.Redact(why.Reason))
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
func (s *Server) change(ctx context.Context, in OnJob, verb string, do func(Ledger, job.ID, string) (job.Job, error)) (*tagged[Job], error) {
	ledger, j, err := s.toChange(ctx, in)
	if err != nil {
		return nil, err
	}
	who := in.who(ctx)
	changed, err := do(ledger, j.ID, who)
	if err != nil {
		return nil, err
	}
	s.asked(verb, changed, who)
	return &tagged[Job]{etag(changed.Revision), viewOf(changed)}, nil
}

// toChange finds the job of a change, and its ledger, which refuses the change if somebody was faster than its author knows.
func (s *Server) toChange(ctx context.Context, in OnJob) (Ledger, job.Job, error) {
	revision, err := in.revision()
	if err != nil {
		return nil, job.Job{}, err
	}
	db, j, err := s.find(ctx, in.JobPath)
	if err != nil {
		return nil, j, err
	}
	return db.Ledger.If(revision), j, nil
}

func (s *Server) asked(verb string, j job.Job, who string) {
	s.Log.Info(verb+" asked", zap.String(observe.Job, j.Name), zap.String(observe.JobID, string(j.ID)),
		zap.String(observe.Database, j.Database), zap.String(observe.State, string(j.State)), zap.String(observe.By, who))
}

func (s *Server) plan(ctx context.Context, in *SpecBody) (*out[any], error) {
	spec, db, err := s.spec(ctx, in)
	if err != nil {
		return nil, err
	}
	p, err := db.Planner.Plan(ctx, spec, in.Sample)
	return &out[any]{p}, err
}

// submit is repeatable: the same spec under the same name is the same job, ended or not, because a second run of a `set`
// without `where` would apply it twice. A job that is there is found before the spec is checked against the database: what a
// running job has done already must not speak against it.
func (s *Server) submit(ctx context.Context, in *submitBody) (*tagged[Submitted], error) {
	spec, db, err := s.spec(ctx, &in.SpecBody)
	if err != nil {
		return nil, err
	}
	return s.store(ctx, db, Submission{
		Spec: spec, By: in.who(ctx), Again: in.Again, Sample: in.Sample, Request: in.request(ctx, in.RawBody, in.Again),
	})
}

// store answers a submission: as before where it came before, else with the job that is there, or a new one.
func (s *Server) store(ctx context.Context, db Database, sub Submission) (*tagged[Submitted], error) {
	if who, _ := identityOf(ctx); who.Person {
		sub.As = who.Name
	}
	if sub.Request != nil {
		answer, err := db.Ledger.Answered(ctx, *sub.Request)
		if err != nil {
			return nil, err
		}
		if answer != nil {
			return submitted(answer.Job, answer.Created, nil), nil
		}
	}
	prior, err := db.Ledger.Find(ctx, sub.Spec.Name)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && prior.State == job.Cancelled, err == nil && sub.Again && prior.State.Ended():
	case err != nil:
		return nil, err
	case prior.SpecHash == sub.Spec.Hash():
		return submitted(prior, false, nil), nil
	default:
		return nil, &store.SpecChangedError{Name: sub.Spec.Name, Changed: job.Diff(prior.Spec, sub.Spec), State: prior.State}
	}
	j, warnings, err := db.Planner.Submit(ctx, sub)
	if err != nil {
		return nil, err
	}
	s.asked("submit", j, sub.By)
	return submitted(j, j.ID != prior.ID, warnings), nil
}

func submitted(j job.Job, created bool, warnings []string) *tagged[Submitted] {
	return &tagged[Submitted]{etag(j.Revision), Submitted{Job: viewOf(j), Created: created, Warnings: warnings}}
}

// spec reads the spec of a request and finds its database.
func (s *Server) spec(ctx context.Context, in *SpecBody) (job.Spec, Database, error) {
	spec, err := job.ParseSpec(in.RawBody, in.File)
	if err != nil {
		return job.Spec{}, Database{}, err
	}
	dbs, err := s.named(ctx, spec.Database)
	if err != nil {
		p := AsProblem(err)
		if p.Kind == Forbidden {
			return job.Spec{}, Database{}, err
		}
		return job.Spec{}, Database{}, Refuse(job.Refusals{{Where: in.File, Field: "database", Value: spec.Database,
			Why: strings.TrimPrefix(p.Detail, "database: "+strconv.Quote(spec.Database)+" "), Fix: p.Hint}})
	}
	return spec, dbs[0], nil
}

func (s *Server) retry(ctx context.Context, in *OnJob) (*out[store.RetryResult], error) {
	ledger, j, err := s.toChange(ctx, *in)
	if err != nil {
		return nil, err
	}
	who := in.who(ctx)
	r, err := ledger.Retry(ctx, j.ID, who)
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
}) (*tagged[Job], error) {
	if (in.Body.Range == nil) == (len(in.Body.Key) == 0) {
		return nil, Fail(Invalid, errors.New("skip: name one range or one row's key"), "send range or key, not both")
	}
	return s.change(ctx, in.OnJob, "skip", func(l Ledger, id job.ID, who string) (job.Job, error) {
		var j job.Job
		var err error
		in.Body.Reason = observe.Redact(in.Body.Reason)
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
}) (*tagged[Limited], error) {
	if len(in.Body) == 0 {
		return nil, Fail(Invalid, errors.New("limits: no path was given"), `send {"workers.max": "8"}`)
	}
	seen, err := in.revision()
	if err != nil {
		return nil, err
	}
	who := in.who(ctx)
	for try := 1; ; try++ {
		db, j, err := s.find(ctx, in.JobPath)
		if err != nil {
			return nil, err
		}
		if seen != 0 && seen != j.Revision {
			return nil, stale(fmt.Sprintf("job %q", j.Name), j.Revision, seen)
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
		if again, err := overRival(err, seen, try); again {
			continue
		} else if err != nil {
			return nil, err
		}
		s.asked("set", set, who)
		return &tagged[Limited]{etag(set.Revision), Limited{Job: viewOf(set), Changes: changes, Warnings: warnings}}, nil
	}
}

// overRival decides where somebody was faster: a change whose author did not ask is laid over theirs, unless it never comes to that.
func overRival(err error, seen int64, try int) (again bool, _ error) {
	var rival *store.RevisionError
	switch {
	case !errors.As(err, &rival) || seen != 0:
		return false, err
	case try < limitTries:
		return true, nil
	}
	return false, Fail(Conflict, err, "others change it at the same time; try again")
}

// vet checks new limits against the job's database. A new check asks what its author wants with the fleet's privileges, from where
// the coordinator runs, as a spec does: it needs the role that may submit one.
func (s *Server) vet(ctx context.Context, db Database, j job.Job, limits job.Limits) (warnings []string, err error) {
	if j.State.Ended() {
		return nil, nil // the ledger will refuse it
	}
	who, _ := identityOf(ctx)
	fresh := func(c job.Check) bool { return !slices.Contains(j.Limits.Throttle.Checks, c) }
	if j.ApprovedAs != "" && slices.ContainsFunc(limits.Throttle.Checks, fresh) {
		return nil, Fail(Conflict, fmt.Errorf("limits: job %q was approved without that check", j.Name), "cancel it and submit it anew with the check, for another approval")
	}
	if who.Role < Admin && slices.ContainsFunc(limits.Throttle.Checks, fresh) {
		return nil, Fail(Forbidden, fmt.Errorf("the token of %s is %s's, and throttle.checks needs admin: a check runs with the fleet's privileges", who.Name, who.Role),
			"use a token of that role")
	}
	return db.Planner.Vet(ctx, j.Limits, limits)
}
