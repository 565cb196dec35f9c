package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/internal/store"
)

// begun is how a `run` of a spec begins.
type begun int

const (
	anew   begun = iota // no job of this name stands in its way
	goesOn              // this spec's job is open
	asItIs              // the job of this name has ended or is another's: submit shows it, or refuses
)

// beginning looks up how a `run` of the spec will begin, so that nothing is started in vain. Submit alone decides.
func beginning(ctx context.Context, db database, spec job.Spec, again bool) (begun, error) {
	prior, err := store.New(db.pool, db.name).Find(ctx, spec.Name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return anew, nil
	case err != nil:
		return 0, err
	case prior.State == job.Cancelled, prior.State.Ended() && again:
		return anew, nil
	case prior.State.Ended(), prior.SpecHash != spec.Hash():
		return asItIs, nil
	}
	return goesOn, nil
}

// fleet is the coordinator, the workers and the API of one `run`, between preparation and start.
type fleet struct {
	id       string
	job      string
	workers  int
	db       database
	lead     leader
	health   *observe.Health
	metrics  *prometheus.Registry
	tracer   trace.Tracer
	conn     *queue.Conn
	connect  func(context.Context, string) (*queue.Conn, error)
	joinable string // how other workers join; empty when they cannot
	served   endpoint
	leader   string // who was last seen to lead the database
	log      *zap.Logger
}

// prepareFleet makes the state directory, connects to NATS and serves the API. Nothing leads or carries a range before start.
func (a *app) prepareFleet(ctx context.Context, p *parts, flags runFlags, db database, spec job.Spec, log *zap.Logger) (*fleet, error) {
	tell, err := a.notifications(flags.told, flags.api.public)
	if err != nil {
		return nil, err
	}
	dir, err := a.stateDir(flags.state, spec.Database+"-"+spec.Name)
	if err != nil {
		return nil, err
	}
	f := &fleet{id: processID(), job: spec.Name, workers: flags.workers, db: db, health: &observe.Health{}, metrics: observe.NewRegistry(), log: log}
	if f.connect, f.joinable, err = a.natsOf(p, flags, dir, log); err != nil {
		return nil, err
	}
	if f.conn, err = f.connect(ctx, "backfleet coordinator "+f.id); err != nil {
		return nil, err
	}
	p.then("NATS of the coordinator", func() { drain(f.conn) })
	if _, err := f.conn.EnsureStream(ctx); err != nil { // before the workers look for it
		return nil, err
	}
	tracing, err := flags.traces.start(ctx, p, "backfleet-run", f.id, log)
	if err != nil {
		return nil, err
	}
	f.tracer = tracing.Tracer()
	dbs := databases{db}
	if f.lead, err = a.newLeader(ctx, p, f.id, dbs, f.conn, tell, f.tracer, log); err != nil {
		return nil, err
	}
	f.served, err = a.serveAPI(ctx, p, flags.api, dir, api.Config{
		Databases: dbs.served(), Live: f.lead, Gate: f.lead, Health: f.health, Metrics: f.metrics, Log: log,
	}, log)
	return f, err
}

// start lets the coordinator and the workers go, and says how to reach them.
func (f *fleet) start(ctx context.Context, a *app, p *parts) error {
	watchFleet(p, f.health, databases{f.db}, f.conn)
	p.start("coordinator", f.lead.Run)
	if f.workers > 0 {
		own, err := a.open(ctx, f.db.name, "backfleet worker "+f.id, workerConns(f.workers))
		if err != nil {
			return err
		}
		p.then("database of the worker", own.pool.Close)
		conn, err := f.connect(ctx, "backfleet worker "+f.id)
		if err != nil {
			return err
		}
		p.then("NATS of the worker", func() { drain(conn) })
		carrier := newCarrier(f.id, f.workers, databases{own}, conn, f.metrics, f.tracer, f.log)
		p.start("worker", carrier.Run)
	}
	say(a.stderr, "dashboard: %s", f.served.dashboard)
	say(a.stderr, "API at %s: backfleet status %s --api %s --api-token-file %s", f.served.url, f.job, f.served.url, shellWord(f.served.tokenFile))
	if f.joinable != "" {
		say(a.stderr, "more workers: %s", f.joinable)
	}
	return nil
}

// tellLeader says when another process leads the database, for then this one's workers get nothing to do, and when that is over.
func (f *fleet) tellLeader(ctx context.Context, w io.Writer) {
	leader, _, live, err := store.New(f.db.pool, f.db.name).LeaderName(ctx)
	if err != nil || !live || leader == f.leader {
		return
	}
	switch {
	case leader != f.id:
		say(w, "database %s is led by %s, another process: it carries the job, and this run stands by until that one ends", f.db.name, leader)
	case f.leader != "":
		say(w, "this run leads database %s now", f.db.name)
	}
	f.leader = leader
}

// natsOf starts the embedded NATS, or takes the external one, and returns how to connect and how others may join.
func (a *app) natsOf(p *parts, flags runFlags, dir string, log *zap.Logger) (connect func(context.Context, string) (*queue.Conn, error), joinable string, err error) {
	if flags.nats.url != "" {
		return func(ctx context.Context, name string) (*queue.Conn, error) {
			o, err := flags.nats.options(name, log)
			if err != nil {
				return nil, err
			}
			return queue.Connect(ctx, o)
		}, "", nil
	}
	o := queue.EmbedOptions{StoreDir: filepath.Join(dir, "nats"), Listen: flags.natsListen, Logger: log}
	tokenFile := filepath.Join(dir, "nats.token")
	if o.Listen != "" {
		if o.Token, err = api.EnsureToken(tokenFile); err != nil {
			return nil, "", usage("%w", err)
		}
	}
	embedded, err := queue.Embed(o)
	if err != nil {
		var wrong *queue.ConnectError
		if errors.As(err, &wrong) && errors.Is(err, queue.ErrBadOptions) && wrong.Cause != nil {
			err = usage("embedded NATS: %w; %s", wrong.Cause, wrong.Hint)
		}
		return nil, "", err
	}
	p.then("embedded NATS", embedded.Shutdown)
	if o.Listen != "" {
		joinable = fmt.Sprintf("backfleet worker --nats-url %s --nats-token-file %s", embedded.URL(), shellWord(tokenFile))
	}
	return func(ctx context.Context, name string) (*queue.Conn, error) {
		return embedded.Connect(ctx, queue.Options{Name: name, Logger: log})
	}, joinable, nil
}
