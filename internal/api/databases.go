package api

import (
	"context"
	"net/http"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
)

// DatabasePath names a database in a path.
type DatabasePath struct {
	By
	Database string `path:"database"`
}

func (s *Server) databaseOperations() {
	route(s, Viewer, http.MethodGet, "/v1/databases", "list-databases", "The target databases, who leads them, and whether they are held",
		func(ctx context.Context, _ *struct{}) (*out[DatabaseList], error) {
			dbs := s.scoped(ctx)
			answer := DatabaseList{Databases: make([]DatabaseHealth, len(dbs))}
			sideBySide(ctx, dbs, func(ctx context.Context, i int, db Database) {
				h, err := db.Ledger.Health(ctx)
				if err != nil {
					h = DatabaseHealth{Error: AsProblem(err).Error()}
				} else {
					h.Reachable = true
				}
				h.Name = db.Name
				if s.Gate != nil {
					if f, leads := s.Gate.Fleet(db.Name); leads {
						h.Fleet = fleetOf(f)
					}
				}
				answer.Databases[i] = h
			})
			return &out[DatabaseList]{answer}, nil
		})
	route(s, Operator, http.MethodPost, "/v1/databases/{database}/hold", "hold", "Stop every batch of a database for a time",
		func(ctx context.Context, in *struct {
			DatabasePath
			Body struct {
				For    job.Duration `json:"for" doc:"How long, such as 10m. A forgotten hold ends by itself."`
				Reason string       `json:"reason,omitempty" maxLength:"500" doc:"Why; it is shown wherever the hold is."`
			}
		}) (*out[Held], error) {
			if err := timely(in.Body.For); err != nil {
				return nil, err
			}
			in.Body.Reason = observe.Redact(in.Body.Reason) // it stands in many places, and people paste what they do not read
			db, err := s.one(ctx, in.Database)
			if err != nil {
				return nil, err
			}
			until, err := db.Ledger.Hold(ctx, in.who(ctx), in.Body.Reason, in.Body.For.D())
			if err != nil {
				return nil, err
			}
			s.askedOf(ctx, "hold", in.DatabasePath)
			return &out[Held]{Held{Database: in.Database, Until: until, Reason: in.Body.Reason}}, nil
		})
	route(s, Operator, http.MethodDelete, "/v1/databases/{database}/hold", "release", "Let batches run again",
		func(ctx context.Context, in *DatabasePath) (*out[Released], error) {
			db, err := s.one(ctx, in.Database)
			if err != nil {
				return nil, err
			}
			if err := db.Ledger.Release(ctx, in.who(ctx)); err != nil {
				return nil, err
			}
			s.askedOf(ctx, "release", *in)
			return &out[Released]{Released{Database: in.Database}}, nil
		})
}
