package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

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
	route(s, Viewer, http.MethodGet, "/v1/jobs", "list-jobs", "List jobs, the newest first", s.list)
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}", "get-status", "Where a job stands and what holds it back",
		func(ctx context.Context, in *JobPath) (*out[job.Status], error) {
			db, j, err := s.find(ctx, *in)
			if err != nil {
				return nil, err
			}
			st, err := s.status(ctx, db, j)
			return &out[job.Status]{st}, err
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
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/quarantine", "list-quarantine", "The rows that were set aside",
		func(ctx context.Context, in *struct {
			JobPath
			Limit int `query:"limit" default:"1000" minimum:"1" maximum:"100000" doc:"How many rows at most."`
		}) (*out[QuarantineList], error) {
			db, j, err := s.find(ctx, in.JobPath)
			if err != nil {
				return nil, err
			}
			rows, err := db.Ledger.Quarantine(ctx, j.ID, in.Limit)
			return &out[QuarantineList]{QuarantineList{Rows: list(rows)}}, err
		})
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/events", "list-events", "The audit log of a job",
		func(ctx context.Context, in *struct {
			JobPath
			Limit int `query:"limit" default:"100" minimum:"1" maximum:"10000" doc:"How many of the last events."`
		}) (*out[EventList], error) {
			db, j, err := s.find(ctx, in.JobPath)
			if err != nil {
				return nil, err
			}
			events, err := db.Ledger.Events(ctx, j.ID, in.Limit)
			return &out[EventList]{EventList{Events: list(events)}}, err
		})
}

func (s *Server) list(ctx context.Context, in *struct {
	Database string `query:"database" doc:"Only the jobs of this database."`
}) (*out[JobList], error) {
	dbs, err := s.named(in.Database)
	if err != nil {
		return nil, err
	}
	answer := JobList{Jobs: []JobLine{}}
	for _, db := range dbs {
		lines, err := s.lines(ctx, db)
		if err != nil {
			p := AsProblem(err)
			if len(dbs) == 1 {
				return nil, p
			}
			answer.Unreachable = append(answer.Unreachable, Unreachable{Database: db.Name, Error: p.Error()})
			continue
		}
		answer.Jobs = append(answer.Jobs, lines...)
	}
	return &out[JobList]{answer}, nil
}

func (s *Server) lines(ctx context.Context, db Database) ([]JobLine, error) {
	jobs, err := db.Ledger.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	lines := make([]JobLine, len(jobs))
	for i, j := range jobs {
		lines[i].Job = viewOf(j)
		if j.State.Ended() {
			continue
		}
		st, err := s.status(ctx, db, j)
		if err != nil {
			return nil, err
		}
		p := &Progress{Fraction: st.Fraction, Planned: st.Planned, Rows: st.Rows, Live: st.Live, Rate: st.Rate, ETA: st.ETA}
		if len(st.Limiting) > 0 {
			p.Limiting = st.Limiting[0].Text
		}
		lines[i].Progress = p
	}
	return lines, nil
}

// one returns the database of this name.
func (s *Server) one(database string) (Database, error) {
	if database == "" {
		return Database{}, Fail(Invalid, errors.New("database: is missing"), "name one")
	}
	dbs, err := s.named(database)
	if err != nil {
		return Database{}, err
	}
	return dbs[0], nil
}

// named returns the databases of this name; all of them for "".
func (s *Server) named(database string) ([]Database, error) {
	if database == "" {
		return s.Databases, nil
	}
	known := make([]string, len(s.Databases))
	for i, db := range s.Databases {
		if db.Name == database {
			return s.Databases[i : i+1], nil
		}
		known[i] = db.Name
	}
	return nil, Fail(NotFound, fmt.Errorf("database: %q is not known here (known: %s)", database, strings.Join(known, ", ")),
		"give its DSN to the server in BACKFLEET_DATABASE_"+strings.ToUpper(strings.ReplaceAll(database, "-", "_")))
}

// find returns the job that a path names. A name that two databases hold is a conflict: acting on the wrong one costs more
// than asking. A database that does not answer fails the search only when no other holds the job.
func (s *Server) find(ctx context.Context, in JobPath) (Database, job.Job, error) {
	dbs, err := s.named(in.Database)
	if err != nil {
		return Database{}, job.Job{}, err
	}
	type match struct {
		db Database
		j  job.Job
	}
	var found []match
	var silent error
	for _, db := range dbs {
		j, err := db.Ledger.Find(ctx, in.Job)
		switch {
		case err == nil:
			found = append(found, match{db, j})
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
