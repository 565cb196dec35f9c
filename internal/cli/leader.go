package cli

import (
	"context"

	"go.uber.org/zap"

	"github.com/backfleet/backfleet/coordinator"
	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/internal/store"
)

// leader is a coordinator of this process, whose view completes what the API shows.
type leader struct{ coordinator *coordinator.Coordinator }

func newLeader(name string, dbs databases, conn *queue.Conn, log *zap.Logger) leader {
	stores := make([]*store.Store, len(dbs))
	for i, db := range dbs {
		stores[i] = store.New(db.pool, db.name)
	}
	return leader{coordinator.New(coordinator.Config{Name: name, Stores: stores, Queue: conn, Logger: log})}
}

// Run leads where it can until ctx ends.
func (l leader) Run(ctx context.Context) error { return l.coordinator.Run(ctx) }

// Live implements api.Live.
func (l leader) Live(database string, id job.ID) (api.LiveView, bool) {
	v, ok := l.coordinator.Live(database, id)
	return api.LiveView{Lag: v.Lag, Limiting: v.Limiting, Stream: v.Stream, Rate: v.Rate, ETA: v.ETA}, ok
}
