package cli

import (
	"context"
	"net/http"
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/queue"
)

type workerFlags struct {
	slots  int
	id     string
	listen string
	traces traceFlags
}

func (a *app) workerCommand() *cobra.Command {
	var nats natsFlags
	var flags workerFlags
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Carry ranges: claim, update in batches, checkpoint",
		Long: `Run a worker: each slot carries one range at a time, as the coordinator's budget allows. Scale the fleet by starting
more of them: the budget of a database is shared, so more workers never press it harder. SIGTERM finishes the batch under way,
checkpoints, hands the ranges back and exits 0; SIGKILL costs nothing but the seconds until another worker takes over.

It needs the DSN of each database that it shall serve (BACKFLEET_DATABASE_<NAME>), and NATS.`,
		Example: `  BACKFLEET_DATABASE_MAIN=postgres://backfleet@db1/app backfleet worker --nats-url nats://nats:4222 --slots 4
  backfleet worker --nats-url nats://127.0.0.1:4222 --nats-token-file ~/.local/state/backfleet/main-users-email-norm/nats.token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runWorker(cmd.Context(), nats, flags) },
	}
	nats.add(cmd.Flags(), a, "worker")
	f := cmd.Flags()
	f.IntVar(&flags.slots, "slots", 1, "ranges carried at once; each uses one connection to its database")
	f.StringVar(&flags.id, "id", "", "name of this worker, unique in the fleet and new for each process (default: host-pid-random)")
	f.StringVar(&flags.listen, "listen", "", "address of metrics and health, e.g. 127.0.0.1:9090 (default: none)")
	flags.traces.add(f, a)
	return cmd
}

// maxSlots bounds a worker: beyond it the process is no longer one worker but a fleet.
const maxSlots = 256

var workerID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func (a *app) runWorker(ctx context.Context, nats natsFlags, flags workerFlags) (err error) {
	if flags.slots < 1 || flags.slots > maxSlots {
		return usage("slots: %d is not between 1 and %d", flags.slots, maxSlots)
	}
	if flags.id == "" {
		flags.id = processID()
	} else if !workerID.MatchString(flags.id) {
		return usage("id: %q is not a name; use up to 100 letters, digits, dots, hyphens and underscores", flags.id)
	}
	if err := flags.traces.check(); err != nil {
		return err
	}
	log, err := a.log()
	if err != nil {
		return err
	}
	options, err := nats.required("backfleet worker "+flags.id, log)
	if err != nil {
		return err
	}
	p := newParts()
	defer func() { err = ended(ctx, err, p.stop()) }()
	dbs, err := a.fleetDatabases(ctx, p, "backfleet worker "+flags.id, workerConns(flags.slots))
	if err != nil {
		return err
	}
	conn, err := queue.Connect(ctx, options)
	if err != nil {
		return err
	}
	p.then("NATS", func() { drain(conn) })
	health := &observe.Health{}
	tracing, err := flags.traces.start(ctx, p, "backfleet-worker", flags.id, log)
	if err != nil {
		return err
	}
	metrics := observe.NewRegistry()
	carrier := newCarrier(flags.id, flags.slots, dbs, conn, metrics, tracing.Tracer(), log)
	if flags.listen != "" {
		if err := serveMetrics(ctx, p, flags.listen, health, metrics, log); err != nil {
			return err
		}
	}
	watchFleet(p, health, dbs, conn)
	p.start("worker", carrier.Run)
	return p.wait(ctx)
}

// serveMetrics serves /metrics, /healthz and /readyz, which need no token.
func serveMetrics(ctx context.Context, p *parts, address string, health *observe.Health, metrics *prometheus.Registry, log *zap.Logger) error {
	l, err := api.Listen(ctx, address)
	if err != nil {
		return usage("%w", err)
	}
	mux := http.NewServeMux()
	health.Handle(mux)
	mux.Handle("GET /metrics", observe.MetricsHandler(metrics))
	p.start("metrics", func(ctx context.Context) error { return api.Serve(ctx, l, mux, log) })
	log.Info("metrics ready", zap.String(observe.Address, l.Addr().String()))
	return nil
}
