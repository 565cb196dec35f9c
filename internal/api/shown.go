package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/backfleet/backfleet/internal/job"
)

// Shown reads what people look at: maps, histories, single ranges.
type Shown interface {
	// Recent returns the jobs that have not ended, and the last of those that have, the newest first.
	Recent(ctx context.Context) ([]job.Job, error)
	// Cells returns one cell for each range of a round in key order, and the index of the first.
	Cells(ctx context.Context, id job.ID, round, rowsPerRange int) (first int, cells []job.Cell, err error)
	// Range fails with [store.ErrNotFound] where there is no such range.
	Range(ctx context.Context, id job.ID, index int) (job.RangeDetail, error)
	// History returns a job's samples after a moment, the oldest first, joined to at most so many points.
	History(ctx context.Context, id job.ID, after time.Time, points int) ([]job.Point, error)
	// LastPoint returns a job's newest sample, nil where there is none as young as that.
	LastPoint(ctx context.Context, id job.ID, age time.Duration) (*job.Point, error)
}

// History is the answer of GET /v1/jobs/{job}/samples.
type History struct {
	Points []job.Point `json:"points"`
}

func (s *Server) shownOperations() {
	route(s, Viewer, http.MethodGet, "/v1/stream", "stream", "What the fleet does, live, as server-sent events", s.stream)
	s.describeStream()
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/map", "get-map", "The state of a job's ranges in key order, or what of it changed", s.rangeMap)
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/ranges/{range}", "get-range", "One range", s.rangeDetail)
	route(s, Viewer, http.MethodGet, "/v1/jobs/{job}/samples", "list-samples", "The history of a job, for charts", s.samples)
}

func (s *Server) rangeDetail(ctx context.Context, in *struct {
	JobPath
	Range int `path:"range" minimum:"0" maximum:"2147483647" doc:"Index of the range."`
}) (*out[job.RangeDetail], error) {
	db, j, err := s.find(ctx, in.JobPath)
	if err != nil {
		return nil, err
	}
	d, err := db.Ledger.Range(ctx, j.ID, in.Range)
	return &out[job.RangeDetail]{d}, err
}

func (s *Server) samples(ctx context.Context, in *struct {
	JobPath
	Since  time.Time `query:"since" doc:"Only what came after this moment; left out, all of it."`
	Points int       `query:"points" default:"600" minimum:"1" maximum:"5000" doc:"How many points at most; those of a long time are joined."`
}) (*out[History], error) {
	db, j, err := s.find(ctx, in.JobPath)
	if err != nil {
		return nil, err
	}
	points, err := db.Ledger.History(ctx, j.ID, in.Since, in.Points)
	return &out[History]{History{Points: list(points)}}, err
}

// describeStream says in the document what a stream holds, which no type of a body tells.
func (s *Server) describeStream() {
	schemas := s.api.OpenAPI().Components.Schemas
	ref := func(t reflect.Type) *huma.Schema { return schemas.Schema(t, true, "") }
	event := func(name string, t reflect.Type) *huma.Schema {
		return &huma.Schema{Type: huma.TypeObject, Required: []string{"event", "data"}, Properties: map[string]*huma.Schema{
			"event": {Type: huma.TypeString, Enum: []any{name}}, "data": ref(t),
		}}
	}
	answer := s.api.OpenAPI().Paths["/v1/stream"].Get.Responses["200"]
	answer.Description = "Events, each with JSON as its data; or what one fleet event tells, as JSON"
	answer.Content = map[string]*huma.MediaType{
		eventStream: {Schema: &huma.Schema{OneOf: []*huma.Schema{
			event("hello", reflect.TypeFor[Hello]()), event("fleet", reflect.TypeFor[Frame]()), event("map", reflect.TypeFor[job.RangeMap]()),
		}}},
		"application/json": {Schema: ref(reflect.TypeFor[Frame]())},
	}
}
