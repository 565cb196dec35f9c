package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/internal/store"
)

func (a *app) coordinatorCommand() *cobra.Command {
	var nats natsFlags
	var served apiFlags
	var traces traceFlags
	var told notifyFlags
	var state string
	cmd := &cobra.Command{
		Use:   "coordinator",
		Short: "Plan, release, govern and verify jobs, and serve the API",
		Long: `Run a coordinator: it plans jobs, releases ranges to NATS JetStream, governs each database's budget, takes back what
dead workers left, and verifies. It serves the API and the dashboard. Run two or more for high availability: each database has one leader at a time,
and another takes over within seconds.

It needs the DSN of each database (BACKFLEET_DATABASE_<NAME>) with the ledger created (backfleet db init), and NATS with
JetStream.`,
		Example: `  BACKFLEET_DATABASE_MAIN=postgres://backfleet@db1/app \
    backfleet coordinator --nats-url nats://nats:4222 --nats-creds /etc/backfleet/coordinator.creds --listen 0.0.0.0:8080
  backfleet coordinator --nats-url tls://nats:4222 --nats-tls-ca ca.pem --nats-token-file nats.token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runCoordinator(cmd.Context(), nats, served, told, traces, state)
		},
	}
	nats.add(cmd.Flags(), a, "coordinator")
	nats.addReplicas(cmd.Flags())
	served.add(cmd.Flags(), "127.0.0.1:8080")
	traces.add(cmd.Flags(), a)
	told.add(cmd.Flags())
	cmd.Flags().StringVar(&state, "state-dir", "", "directory for the API's token (default: coordinator under $XDG_STATE_HOME/backfleet)")
	return cmd
}

func (a *app) runCoordinator(ctx context.Context, nats natsFlags, served apiFlags, told notifyFlags, traces traceFlags, state string) (err error) {
	if err := traces.check(); err != nil {
		return err
	}
	log, err := a.log()
	if err != nil {
		return err
	}
	id := processID()
	options, err := nats.required("backfleet coordinator "+id, log)
	if err != nil {
		return err
	}
	tell, err := a.notifications(told, served.public)
	if err != nil {
		return err
	}
	dir, err := a.stateDir(state, "coordinator")
	if err != nil {
		return err
	}
	p := newParts()
	defer func() { err = ended(ctx, err, p.stop()) }()
	dbs, err := a.fleetDatabases(ctx, p, "backfleet coordinator", coordinatorConns)
	if err != nil {
		return err
	}
	conn, err := queue.Connect(ctx, options)
	if err != nil {
		return err
	}
	p.then("NATS", func() { drain(conn) })

	health, metrics := &observe.Health{}, observe.NewRegistry()
	tracing, err := traces.start(ctx, p, "backfleet-coordinator", id, log)
	if err != nil {
		return err
	}
	lead, err := a.newLeader(ctx, p, id, dbs, conn, tell, tracing.Tracer(), log)
	if err != nil {
		return err
	}
	_, err = a.serveAPI(ctx, p, served, dir, api.Config{
		Databases: dbs.served(), Live: lead, Gate: lead, Health: health, Metrics: metrics, Log: log,
	}, log)
	if err != nil {
		return err
	}
	watchFleet(p, health, dbs, conn)
	p.start("coordinator", lead.Run)
	return p.wait(ctx)
}

// fleetDatabases opens every database for a member of the fleet, which needs each with its ledger.
func (a *app) fleetDatabases(ctx context.Context, p *parts, application string, conns int32) (databases, error) {
	dbs, err := a.openAll(ctx, application, conns, false)
	if err != nil {
		return nil, err
	}
	p.then("databases", dbs.close)
	if len(dbs) == 0 {
		return nil, usage("database: none is known; set BACKFLEET_DATABASE_<NAME> to a DSN such as postgres://backfleet@db1:5432/app")
	}
	for _, db := range dbs {
		if err := requirePrimary(ctx, db); err != nil {
			return nil, err
		}
		if err := store.New(db.pool, db.name).Ready(ctx); err != nil {
			return nil, refused(err)
		}
	}
	return dbs, nil
}

// requirePrimary refuses a standby: what the fleet would write it cannot take.
func requirePrimary(ctx context.Context, db database) error {
	var standby bool
	if err := db.pool.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&standby); err != nil {
		return fmt.Errorf("database %q: ask whether it is a primary: %w", db.name, err)
	}
	if standby {
		return usage("database: %q is a standby, and only a primary takes writes; give the primary's DSN, or one with target_session_attrs=read-write", db.name)
	}
	return nil
}

// refused makes an error that a person must mend first bad input, unless the database does not answer.
func refused(err error) error {
	if api.AsProblem(err).Kind == api.Unavailable {
		return err
	}
	return &exitError{code: exitRefused, err: err}
}

// watchFleet reports whether the databases and NATS answer.
func watchFleet(p *parts, health *observe.Health, dbs databases, conn *queue.Conn) {
	for _, db := range dbs {
		p.start("health of "+db.name, watchHealth(health.Register("database "+db.name), db.pool.Ping))
	}
	p.start("health of NATS", watchHealth(health.Register("nats"), func(context.Context) error { return conn.Healthy() }))
}

// ended joins how a process ended: a stop that was asked for is no error.
func ended(ctx context.Context, err, stopped error) error {
	if err == nil {
		return stopped
	}
	if ctx.Err() != nil && stopped == nil && exitCode(err) == exitInterrupted {
		return nil
	}
	return err
}
