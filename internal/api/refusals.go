package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
)

const (
	// refusalsBurst and refusalEvery bound how many refusals of one person a coordinator writes down. The ledger has a bound of its own.
	refusalsBurst = 20
	refusalEvery  = time.Minute
	// refusalTimeout bounds how long a refusal waits to be written down.
	refusalTimeout = 2 * time.Second
)

// Record writes down what was refused.
type Record interface {
	// Refused writes a refusal into the audit log, of a job or, for "", of the database. Many in an hour are left out.
	Refused(ctx context.Context, id job.ID, by string, r job.Refused) error
}

// attempt is what became of one request, for who writes it down.
type attempt struct {
	who     Identity
	problem *Problem
}

type attemptKey struct{}

// failed notes why a request was refused.
func failed(ctx context.Context, p *Problem) {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.problem = p
	}
}

// audited are the refusals that are written down: of somebody who is known, of a change that could have been. What cannot be read, or
// names nothing, is none.
var audited = []int{http.StatusForbidden, http.StatusConflict, http.StatusPreconditionFailed, http.StatusTooManyRequests}

// record writes the refusals of changes into the ledger that they are about.
func (s *Server) record(ctx huma.Context, next func(huma.Context)) {
	if !changes(ctx.Operation()) {
		next(ctx)
		return
	}
	a := &attempt{}
	next(huma.WithValue(ctx, attemptKey{}, a))
	if a.problem == nil || a.who.Name == "" || !slices.Contains(audited, a.problem.Status) || s.refusals.take(a.who.Name) > 0 {
		return
	}
	asked, cancel := context.WithTimeout(context.WithoutCancel(ctx.Context()), refusalTimeout)
	defer cancel()
	asked = withIdentity(asked, a.who)
	by := actor(a.who, ctx.Header(ActorHeader))
	what := job.Refused{Operation: ctx.Operation().OperationID, Status: a.problem.Status, Reason: a.problem.Detail, From: addressOf(ctx.Context())}
	s.Log.Info("change refused", zap.String("operation", what.Operation), zap.Int("status", what.Status), zap.String(observe.By, by), zap.String(observe.Reason, what.Reason))
	dbs, id := s.about(asked, ctx)
	for _, db := range dbs {
		if err := db.Ledger.Refused(asked, id, by, what); err != nil {
			s.Log.Warn("refusal not written down", zap.String(observe.Database, db.Name), zap.String(observe.Error, AsProblem(err).Detail))
		}
	}
}

// about finds whose ledger a refused request is about. Where that cannot be told, as for a spec that was not read, it is each that the
// caller may see, and where it is one that they may not, that one.
func (s *Server) about(ctx context.Context, in huma.Context) ([]Database, job.ID) {
	name := in.Param("database")
	if name == "" {
		name = in.Query("database")
	}
	if i := slices.IndexFunc(s.Databases, func(db Database) bool { return db.Name == name }); i >= 0 {
		db := s.Databases[i]
		if in.Param("job") != "" {
			if j, err := db.Ledger.Find(ctx, in.Param("job")); err == nil {
				return []Database{db}, j.ID
			}
		}
		return []Database{db}, ""
	}
	if in.Param("job") != "" {
		if db, j, err := s.find(ctx, JobPath{Job: in.Param("job")}); err == nil {
			return []Database{db}, j.ID
		}
	}
	return s.scoped(ctx), ""
}

// changes reports whether an operation changes anything.
func changes(op *huma.Operation) bool {
	return op.Method != http.MethodGet && op.OperationID != "plan"
}
