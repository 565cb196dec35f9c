package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

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
			answer := DatabaseList{Databases: []DatabaseHealth{}}
			for _, db := range s.Databases {
				h, err := db.Ledger.Health(ctx)
				if err != nil {
					h = DatabaseHealth{Error: AsProblem(err).Error()}
				} else {
					h.Reachable = true
				}
				h.Name = db.Name
				answer.Databases = append(answer.Databases, h)
			}
			return &out[DatabaseList]{answer}, nil
		})
	route(s, Operator, http.MethodPost, "/v1/databases/{database}/hold", "hold", "Stop every batch of a database for a time",
		func(ctx context.Context, in *struct {
			DatabasePath
			Body struct {
				For job.Duration `json:"for" doc:"How long, such as 10m. A forgotten hold ends by itself."`
			}
		}) (*out[Held], error) {
			if in.Body.For.D() <= 0 || in.Body.For.D() > 7*24*time.Hour {
				return nil, Fail(Invalid, fmt.Errorf("for: %s is not between 1ms and 168h", in.Body.For), "write it like 10m")
			}
			dbs, err := s.named(in.Database)
			if err != nil {
				return nil, err
			}
			until, err := dbs[0].Ledger.Hold(ctx, in.who(ctx), in.Body.For.D())
			if err != nil {
				return nil, err
			}
			s.Log.Info("hold asked", zap.String(observe.Database, in.Database), zap.String(observe.By, in.who(ctx)))
			return &out[Held]{Held{Database: in.Database, Until: until}}, nil
		})
	route(s, Operator, http.MethodDelete, "/v1/databases/{database}/hold", "release", "Let batches run again",
		func(ctx context.Context, in *DatabasePath) (*out[Released], error) {
			dbs, err := s.named(in.Database)
			if err != nil {
				return nil, err
			}
			if err := dbs[0].Ledger.Release(ctx, in.who(ctx)); err != nil {
				return nil, err
			}
			s.Log.Info("release asked", zap.String(observe.Database, in.Database), zap.String(observe.By, in.who(ctx)))
			return &out[Released]{Released{Database: in.Database}}, nil
		})
}
