package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
)

// JobPath names a job in a path. It is exported, as every embedded part of a request is, because huma reads no other.
type JobPath struct {
	Job      string `path:"job" doc:"Name or ULID of the job."`
	Database string `query:"database" doc:"Needed only where two databases hold a job of that name."`
}

type out[T any] struct{ Body T }

func (s *Server) readOperations() {
	route(s, Viewer, http.MethodGet, "/v1/me", "who-am-i", "Who the token is and what it may do",
		func(ctx context.Context, _ *struct{}) (*out[Me], error) {
			who, _ := identityOf(ctx)
			return &out[Me]{Me{Name: who.Name, Role: who.Role.String()}}, nil
		})
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}", "get-status", "Where a job stands and what holds it back",
		func(ctx context.Context, in *JobPath) (*tagged[job.Status], error) {
			db, j, err := s.find(ctx, *in)
			if err != nil {
				return nil, err
			}
			st, err := s.status(ctx, db, j)
			return &tagged[job.Status]{etag(st.Revision), st}, err
		})
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/blocks", "get-blocks", "The ranges of the present phase in key order, summed up into cells",
		func(ctx context.Context, in *struct {
			JobPath
			Cells int `query:"cells" default:"200" minimum:"1" maximum:"2000" doc:"How many cells at most."`
		}) (*out[job.Blocks], error) {
			db, j, err := s.find(ctx, in.JobPath)
			if err != nil {
				return nil, err
			}
			m, err := db.Ledger.Blocks(ctx, j.ID, in.Cells)
			return &out[job.Blocks]{m}, err
		})
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/report", "get-report", "The proof of a job, or as much of it as there is",
		func(ctx context.Context, in *JobPath) (*out[job.Report], error) {
			db, j, err := s.find(ctx, *in)
			if err != nil {
				return nil, err
			}
			r, err := db.Ledger.Report(ctx, j.ID)
			r.Coverage, r.Quarantined, r.Workers, r.Events = list(r.Coverage), list(r.Quarantined), list(r.Workers), list(r.Events)
			return &out[job.Report]{r}, err
		})
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/spec", "get-spec", "The spec of a job, as it was submitted with its defaults, and the limits in force", s.specOf)
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/plan", "get-plan", "What was found and forecast at a job's submit", s.planOf)
}

func (s *Server) specOf(ctx context.Context, in *JobPath) (*tagged[SpecView], error) {
	_, j, err := s.find(ctx, *in)
	if err != nil {
		return nil, err
	}
	return &tagged[SpecView]{etag(j.Revision), SpecView{Spec: j.Spec, SpecHash: j.SpecHash, Limits: j.Limits}}, nil
}

func (s *Server) planOf(ctx context.Context, in *JobPath) (*out[PlanView], error) {
	db, j, err := s.find(ctx, *in)
	if err != nil {
		return nil, err
	}
	plan, err := db.Ledger.Plan(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	if plan == nil {
		return nil, Fail(NotFound, fmt.Errorf("plan: none was kept of job %q: it was submitted before backfleet kept them", j.Name), "plan its spec")
	}
	return &out[PlanView]{PlanView{Plan: plan, Hash: j.PlanHash}}, nil
}

// one returns the database of this name.
func (s *Server) one(ctx context.Context, database string) (Database, error) {
	if database == "" {
		return Database{}, Fail(Invalid, errors.New("database: is missing"), "name one")
	}
	dbs, err := s.named(ctx, database)
	if err != nil {
		return Database{}, err
	}
	return dbs[0], nil
}

// scoped returns the databases that the caller may see.
func (s *Server) scoped(ctx context.Context) []Database {
	who, _ := identityOf(ctx)
	var all []Database
	for _, db := range s.Databases {
		if who.may(db.Name) {
			all = append(all, db)
		}
	}
	return all
}

// besideMost is how long one database may take where others are read beside it: who watches asks again every second.
const besideMost = 3 * time.Second

// sideBySide reads several databases at the same time, so that one that does not answer hides no other.
func sideBySide(ctx context.Context, dbs []Database, read func(ctx context.Context, i int, db Database)) {
	if len(dbs) > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, besideMost)
		defer cancel()
	}
	var all sync.WaitGroup
	for i, db := range dbs {
		all.Go(func() { read(ctx, i, db) })
	}
	all.Wait()
}

// named returns the databases of this name; all of them for "". It knows only those that the caller may see.
func (s *Server) named(ctx context.Context, database string) ([]Database, error) {
	all := s.scoped(ctx)
	if database == "" {
		return all, nil
	}
	known := make([]string, len(all))
	for i, db := range all {
		if db.Name == database {
			return all[i : i+1], nil
		}
		known[i] = db.Name
	}
	if slices.ContainsFunc(s.Databases, func(db Database) bool { return db.Name == database }) {
		who, _ := identityOf(ctx)
		return nil, Fail(Forbidden, fmt.Errorf("the token of %s may not see database %q", who.Name, database), "use a token whose databases hold it")
	}
	return nil, Fail(NotFound, fmt.Errorf("database: %q is not known here (known: %s)", database, strings.Join(known, ", ")),
		"give its DSN to the server in BACKFLEET_DATABASE_"+strings.ToUpper(strings.ReplaceAll(database, "-", "_")))
}

// find returns the job that a path names. A name that two databases hold is a conflict: acting on the wrong one costs more
// than asking. A database that does not answer fails the search only when no other holds the job.
func (s *Server) find(ctx context.Context, in JobPath) (Database, job.Job, error) {
	dbs, err := s.named(ctx, in.Database)
	if err != nil {
		return Database{}, job.Job{}, err
	}
	type match struct {
		db Database
		j  job.Job
	}
	all := make([]match, len(dbs))
	errs := make([]error, len(dbs))
	searching, enough := context.WithCancel(ctx)
	defer enough()
	sideBySide(searching, dbs, func(ctx context.Context, i int, db Database) {
		all[i].db = db
		if all[i].j, errs[i] = db.Ledger.Find(ctx, in.Job); errs[i] == nil && string(all[i].j.ID) == in.Job {
			enough() // no other holds its ULID
		}
	})
	var found []match
	var silent error
	for i, err := range errs {
		switch {
		case err == nil:
			found = append(found, all[i])
		case errors.Is(err, store.ErrNotFound):
		default:
			silent = errors.Join(silent, err)
		}
	}
	switch {
	case len(found) == 1:
		return found[0].db, found[0].j, nil
	case len(found) > 1:
		names := make([]string, len(found))
		for i, m := range found {
			names[i] = m.db.Name + "/" + m.j.Name
		}
		return Database{}, job.Job{}, Fail(Conflict, fmt.Errorf("job: %q is in %d databases: %s", in.Job, len(found), strings.Join(names, ", ")),
			"name it as database/job, or by its ULID")
	case silent != nil:
		return Database{}, job.Job{}, silent
	}
	return Database{}, job.Job{}, Fail(NotFound, fmt.Errorf("job: %q is not in the ledger", in.Job), "backfleet status lists the jobs")
}

// list makes an absent list an empty one, so that it is [] in JSON.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
