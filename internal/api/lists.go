package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
)

// Page asks for a part of a list.
type Page struct {
	After string `query:"after" maxLength:"4096" doc:"The next of the page before; left out, the list begins."`
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"How many lines at most."`
}

// number reads a cursor that is a number; where the list begins it is none.
func (p Page) number(none int64) (int64, error) {
	if p.After == "" {
		return none, nil
	}
	n, err := strconv.ParseInt(p.After, 10, 64)
	if err != nil || n < 0 {
		return 0, badCursor(p.After)
	}
	return n, nil
}

func badCursor(after string) error {
	return Fail(Invalid, fmt.Errorf("after: %.40q is no cursor of such a list", after), "send the next of the page before, or leave it out")
}

// cut ends a page that was read one line longer than it was asked for. next is the cursor of a page's last line.
func cut[T any](lines []T, limit int, next func(T) string) ([]T, string) {
	if len(lines) <= limit {
		return list(lines), ""
	}
	return lines[:limit], next(lines[limit-1])
}

func (s *Server) listOperations() {
	route(s, Viewer, http.MethodGet, "/v1/jobs", "list-jobs", "List jobs, the newest first", s.jobs)
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/ranges", "list-ranges", "The ranges of a job with their workers, attempts and errors", s.ranges)
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/quarantine", "list-quarantine", "The rows that were set aside, with their errors", s.quarantine)
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/events", "list-events", "The audit log of a job and of holds, the newest first", s.events)
	route(s, Viewer, http.MethodGet, "/v1/databases/{database}/events", "list-database-events", "The audit log of a database with all of its jobs, the newest first", s.databaseEvents)
}

// jobs lists the jobs of the databases together, by their ULIDs, which tell the time of their submits.
func (s *Server) jobs(ctx context.Context, in *struct {
	Database string `query:"database" doc:"Only the jobs of this database."`
	Open     bool   `query:"open" doc:"Only the jobs that have not ended."`
	Page
}) (*out[JobList], error) {
	dbs, err := s.named(ctx, in.Database)
	if err != nil {
		return nil, err
	}
	type found struct {
		db Database
		j  job.Job
	}
	var all []found
	answer := JobList{Jobs: []JobLine{}}
	read, failed := make([][]job.Job, len(dbs)), make([]error, len(dbs))
	sideBySide(ctx, dbs, func(ctx context.Context, i int, db Database) {
		read[i], failed[i] = db.Ledger.JobsBefore(ctx, job.ID(in.After), in.Open, in.Limit+1)
	})
	for i, db := range dbs {
		if err := failed[i]; err != nil {
			p := AsProblem(err)
			if len(dbs) == 1 {
				return nil, p
			}
			answer.Unreachable = append(answer.Unreachable, Unreachable{Database: db.Name, Error: p.Error()})
			continue
		}
		for _, j := range read[i] {
			all = append(all, found{db, j})
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return strings.Compare(string(b.j.ID), string(a.j.ID)) })
	all, answer.Next = cut(all, in.Limit, func(f found) string { return string(f.j.ID) })
	for _, f := range all {
		line, err := s.line(ctx, f.db, f.j)
		if err != nil {
			return nil, err
		}
		answer.Jobs = append(answer.Jobs, line)
	}
	return &out[JobList]{answer}, nil
}

// line is one job of a list, with its progress while it has not ended.
func (s *Server) line(ctx context.Context, db Database, j job.Job) (JobLine, error) {
	line := JobLine{Job: viewOf(j)}
	if j.State.Ended() {
		return line, nil
	}
	st, err := s.status(ctx, db, j)
	if err != nil {
		return line, err
	}
	line.Progress = &Progress{Fraction: st.Fraction, Planned: st.Planned, Rows: st.Rows, Live: st.Live, Rate: st.Rate, ETA: st.ETA}
	if len(st.Limiting) > 0 {
		line.Progress.Limiting = st.Limiting[0].Text
	}
	return line, nil
}

func (s *Server) ranges(ctx context.Context, in *struct {
	JobPath
	State string `query:"state" enum:"queued,released,running,done,failed,dropped,skipped" doc:"Only ranges in this state."`
	Page
}) (*out[RangeList], error) {
	after, err := in.number(-1)
	if err != nil {
		return nil, err
	}
	if after > 1<<31-1 {
		return nil, badCursor(in.After)
	}
	db, j, err := s.find(ctx, in.JobPath)
	if err != nil {
		return nil, err
	}
	all, err := db.Ledger.RangesAfter(ctx, j.ID, int(after), job.RangeState(in.State), in.Limit+1)
	if err != nil {
		return nil, err
	}
	var answer RangeList
	answer.Ranges, answer.Next = cut(all, in.Limit, func(r job.RangeView) string { return strconv.Itoa(r.Index) })
	return &out[RangeList]{answer}, nil
}

func (s *Server) quarantine(ctx context.Context, in *struct {
	JobPath
	Page
}) (*out[QuarantineList], error) {
	db, j, err := s.find(ctx, in.JobPath)
	if err != nil {
		return nil, err
	}
	rows, next, err := db.Ledger.QuarantineAfter(ctx, j.ID, in.After, in.Limit)
	if errors.Is(err, store.ErrBadCursor) {
		return nil, badCursor(in.After)
	}
	return &out[QuarantineList]{QuarantineList{Rows: list(rows), Next: next}}, err
}

// EventsOf asks for a part of an audit log.
type EventsOf struct {
	Action string `query:"action" maxLength:"40" doc:"Only events of this action, such as pause, or refused."`
	Page
}

func (s *Server) events(ctx context.Context, in *struct {
	JobPath
	EventsOf
}) (*out[EventList], error) {
	before, err := in.number(0)
	if err != nil {
		return nil, err
	}
	db, j, err := s.find(ctx, in.JobPath)
	if err != nil {
		return nil, err
	}
	return eventsOut(in.Limit)(db.Ledger.EventsBefore(ctx, j.ID, before, in.Action, in.Limit+1))
}

func (s *Server) databaseEvents(ctx context.Context, in *struct {
	Database string `path:"database"`
	EventsOf
}) (*out[EventList], error) {
	before, err := in.number(0)
	if err != nil {
		return nil, err
	}
	db, err := s.one(ctx, in.Database)
	if err != nil {
		return nil, err
	}
	return eventsOut(in.Limit)(db.Ledger.DatabaseEvents(ctx, before, in.Action, in.Limit+1))
}

func eventsOut(limit int) func([]job.Event, error) (*out[EventList], error) {
	return func(events []job.Event, err error) (*out[EventList], error) {
		if err != nil {
			return nil, err
		}
		var answer EventList
		answer.Events, answer.Next = cut(events, limit, func(e job.Event) string { return strconv.FormatInt(e.ID, 10) })
		return &out[EventList]{answer}, nil
	}
}
