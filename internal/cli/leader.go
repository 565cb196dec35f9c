package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/coordinator"
	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/throttle"
	"github.com/backfleet/backfleet/throttle/signals"
)

// governorName is the application_name of the connections over which a governor reads its signals.
const governorName = "backfleet governor"

// leader is a coordinator of this process, whose view completes what the API shows.
type leader struct{ coordinator *coordinator.Coordinator }

// newLeader makes a coordinator of the given databases. Their governors read over connections of their own, and from the replicas
// that the environment names.
func (a *app) newLeader(ctx context.Context, p *parts, name string, dbs databases, conn *queue.Conn, tell coordinator.Notifications, tracer trace.Tracer, log *zap.Logger) (leader, error) {
	loops, err := a.loops()
	if err != nil {
		return leader{}, err
	}
	sources, _, err := a.sources()
	if err != nil {
		return leader{}, err
	}
	governed := make([]coordinator.Database, len(dbs))
	for i, db := range dbs {
		pool, err := postgres.Open(ctx, db.name, sources[db.name], postgres.PoolOptions{
			Application: governorName, MaxConns: coordinator.SignalConns, Lazy: true,
		})
		if err != nil {
			return leader{}, openError(err)
		}
		p.then("signals of "+db.name, pool.Close)
		governed[i] = coordinator.Database{Ledger: store.New(db.pool, db.name), Signals: pool, Replicas: asked(db.replicas)}
		// A DSN that leads elsewhere is found now, before anything depends on it.
		var stranger *signals.StrangerError
		switch err := signals.NewReplicas(a.now, 0, governed[i].Replicas...).Check(ctx, db.pool); {
		case err == nil:
		case errors.As(err, &stranger) && stranger.Promoted: // after a failover the variables may be as they were
			log.Warn("a replica's DSN leads to a primary", zap.String(observe.Database, db.name), zap.Error(err))
		case errors.As(err, &stranger):
			return leader{}, usage("database %q: %w", db.name, err)
		default:
			return leader{}, fmt.Errorf("database %q: %w", db.name, err)
		}
	}
	return leader{coordinator.New(coordinator.Config{Name: name, Databases: governed, Queue: conn, Logger: log, Loops: loops, Notify: tell, Tracer: tracer})}, nil
}

// asked is how the replicas of a database are reached.
func asked(of map[string]postgres.Source) []signals.Replica {
	var all []signals.Replica
	for _, name := range slices.Sorted(maps.Keys(of)) {
		source := of[name]
		all = append(all, signals.Replica{Name: name, Variable: source.Variable, Connect: func(ctx context.Context) (*pgx.Conn, error) {
			return postgres.Connect(ctx, fmt.Sprintf("replica %q", name), source, governorName)
		}})
	}
	return all
}

// loops reads which loops of the governor are at work: all of them, unless somebody compares them.
func (a *app) loops() (throttle.Loops, error) {
	const variable = "BACKFLEET_GOVERNOR_LOOPS"
	switch v := a.env(variable); v {
	case "", "both":
		return throttle.Both, nil
	case "inner":
		return throttle.InnerOnly, nil
	case "outer":
		return throttle.OuterOnly, nil
	default:
		return 0, usage("%s: %q is not known; leave it out, or write inner or outer to compare the governor's loops", variable, v)
	}
}

// Run leads where it can until ctx ends.
func (l leader) Run(ctx context.Context) error { return l.coordinator.Run(ctx) }

// Live implements api.Live.
func (l leader) Live(database string, id job.ID) (api.LiveView, bool) {
	v, ok := l.coordinator.Live(database, id)
	return api.LiveView{Lag: v.Lag, Limiting: v.Limiting, Leases: v.Leases, Stream: v.Stream, Rate: v.Rate, ETA: v.ETA, Moved: v.Moved}, ok
}

// Signals implements api.Gate.
func (l leader) Signals(database string) []job.Signal { return l.coordinator.Signals(database) }

// Costs implements api.Gate.
func (l leader) Costs(database string) []job.ReadCost { return l.coordinator.Costs(database) }

// Wanted implements api.Gate.
func (l leader) Wanted(database string) (slots int, known bool) {
	return l.coordinator.Wanted(database)
}

// Fleet implements api.Gate.
func (l leader) Fleet(database string) (job.Fleet, bool) { return l.coordinator.Fleet(database) }

// Go implements api.Gate.
func (l leader) Go(database string) (ok bool, why job.Reason, known bool) {
	return l.coordinator.Go(database)
}
