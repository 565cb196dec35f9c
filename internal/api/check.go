package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
)

// Gate is what the coordinator that leads a database decided last, for other tools to go by. It may be absent.
type Gate interface {
	// Go says whether a batch may start now, and if not why. known is false where this process does not lead the database, or
	// its last decision is too old to act on.
	Go(database string) (ok bool, reason job.Reason, known bool)
	// Signals returns what was last read of the database, in no order; nothing where Go would not know.
	Signals(database string) []job.Signal
	// Costs returns what reading them took so far, by source.
	Costs(database string) []job.ReadCost
	// Wanted returns how many slots the database could use now, 0 while it is held; not known where Go would not know.
	Wanted(database string) (slots int, known bool)
	// Fleet returns what is known of the fleet that serves the database; false where this process does not lead it.
	Fleet(database string) (job.Fleet, bool)
}

// CheckAnswer is the answer of /check/{app}/{type}/{database}, in the convention of GitHub's freno, which gh-ost and others speak.
type CheckAnswer struct {
	StatusCode int     `json:"StatusCode"` // 200 go, 429 stop, 404 no such database, 500 not known: stop
	Value      float64 `json:"Value"`      // observed, in the unit of what binds; 0 where nothing does
	Threshold  float64 `json:"Threshold"`
	Message    string  `json:"Message"`
}

type checked struct {
	Status int
	Body   CheckAnswer
}

// storeTypes are what tools may call a PostgreSQL in the path of a check.
var storeTypes = []string{"postgresql", "postgres"}

func (s *Server) checkOperation() {
	route(s, Viewer, http.MethodGet, checkPath+"{app}/{type}/{database}", "check", "Whether another tool may write now: 200 go, 429 stop", s.check)
}

const checkPath = "/check/"

func (s *Server) check(ctx context.Context, in *struct {
	App      string `path:"app" doc:"Who asks, such as gh-ost; any name."`
	Type     string `path:"type" doc:"postgresql."`
	Database string `path:"database"`
}) (*checked, error) {
	db, err := s.one(ctx, in.Database)
	switch {
	case err != nil:
		return verdict(http.StatusNotFound, job.Reason{Text: AsProblem(err).Detail}), nil
	case !slices.Contains(storeTypes, in.Type):
		return verdict(http.StatusNotFound, job.Reason{Text: fmt.Sprintf("type: %q is not known; ask for %s", in.Type, strings.Join(storeTypes, " or "))}), nil
	}
	if s.Gate != nil {
		if ok, reason, known := s.Gate.Go(db.Name); known && ok {
			return verdict(http.StatusOK, job.Reason{}), nil
		} else if known {
			return verdict(http.StatusTooManyRequests, reason), nil
		}
	}
	h, err := db.Ledger.Health(ctx)
	switch {
	case err != nil:
		return verdict(http.StatusInternalServerError, job.Reason{Text: AsProblem(err).Detail}), nil
	case h.Brake != nil:
		return verdict(http.StatusTooManyRequests, h.Brake.Why()), nil
	case h.Leader != nil:
		return verdict(http.StatusInternalServerError, job.Reason{Text: fmt.Sprintf("not known here: database %s is led by %s; ask that coordinator", db.Name, h.Leader.Owner)}), nil
	}
	return verdict(http.StatusInternalServerError, job.Reason{Text: "not known: no coordinator leads database " + db.Name}), nil
}

func verdict(code int, r job.Reason) *checked {
	return &checked{Status: code, Body: CheckAnswer{StatusCode: code, Value: r.Observed, Threshold: r.Threshold, Message: r.Text}}
}
