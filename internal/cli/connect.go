package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"os"
	"os/user"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/postgres"
)

// client returns the way to the jobs: the API at --api, else a server of this process over the ledgers of the databases in the
// environment. done gives the connections back.
func (a *app) client(ctx context.Context) (c *api.Client, done func(), err error) {
	if a.api != "" {
		token := a.env("BACKFLEET_API_TOKEN")
		if a.tokenFile != "" {
			if token, err = api.ReadToken(a.tokenFile); err != nil {
				return nil, nil, usage("api-%w", err)
			}
		}
		var roots *x509.CertPool
		if a.ca != "" {
			if roots, err = api.ReadCA(a.ca); err != nil {
				return nil, nil, usage("api-ca: %w", err)
			}
		}
		c, err = api.NewClient(a.api, token, actor(), roots)
		return c, func() {}, err
	}
	dbs, err := a.openAll(ctx, "backfleet cli", 2, true)
	if err != nil {
		return nil, nil, err
	}
	if len(dbs) == 0 {
		return nil, nil, usage("api: no address was given and no database is known; " +
			"give --api (and --api-token-file), or set BACKFLEET_DATABASE_<NAME> to a DSN")
	}
	return api.InProcess(api.New(api.Config{Databases: dbs.served()}), actor()), dbs.close, nil
}

// actor is who the audit log shall name: the user and the host.
func actor() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// database is one open target database.
type database struct {
	name     string
	pool     *pgxpool.Pool
	replicas map[string]postgres.Source // those that may be asked directly, by name
}

type databases []database

func (dbs databases) close() {
	for _, db := range dbs {
		db.pool.Close()
	}
}

func (dbs databases) served() []api.Database {
	served := make([]api.Database, len(dbs))
	for i, db := range dbs {
		served[i] = serve(db)
	}
	return served
}

// openAll opens every database of the environment, in the order of their names. Lazy pools connect when first used, so that
// one database that is down leaves the others usable.
func (a *app) openAll(ctx context.Context, application string, conns int32, lazy bool) (databases, error) {
	sources, replicas, err := a.sources()
	if err != nil {
		return nil, err
	}
	var open databases
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		pool, err := postgres.Open(ctx, name, sources[name], postgres.PoolOptions{Application: application, MaxConns: conns, Lazy: lazy})
		if err != nil {
			open.close()
			return nil, openError(err)
		}
		open = append(open, database{name, pool, replicas[name]})
	}
	return open, nil
}

// sources reads where the databases of the environment are, and by database where its replicas are.
func (a *app) sources() (databases map[string]postgres.Source, replicas map[string]map[string]postgres.Source, err error) {
	if databases, err = postgres.Databases(a.environ); err != nil {
		return nil, nil, usage("%w", err)
	}
	if replicas, err = postgres.Replicas(a.environ, databases); err != nil {
		return nil, nil, usage("%w", err)
	}
	return databases, replicas, nil
}

// open opens one database of the environment and proves that it answers.
func (a *app) open(ctx context.Context, name, application string, conns int32) (database, error) {
	sources, replicas, err := a.sources()
	if err != nil {
		return database{}, err
	}
	source, err := postgres.Lookup(sources, name)
	if err != nil {
		return database{}, usage("%w", err)
	}
	pool, err := postgres.Open(ctx, name, source, postgres.PoolOptions{Application: application, MaxConns: conns})
	if err != nil {
		return database{}, openError(err)
	}
	return database{name, pool, replicas[name]}, nil
}

// openError makes a DSN that cannot be read bad input, and a server that refuses it, or that is not trusted, too; whoever does not
// answer stays unreachable.
func openError(err error) error {
	if p := api.AsProblem(err); p.Kind == api.Refused {
		return p
	}
	var unreachable *postgres.UnreachableError
	if errors.As(err, &unreachable) || errors.Is(err, context.Canceled) {
		return err
	}
	return usage("%w", err)
}

// onJob is a command that acts on one job through the API.
func (a *app) onJob(do func(ctx context.Context, c *api.Client, name api.JobName) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, done, err := a.client(cmd.Context())
		if err != nil {
			return err
		}
		defer done()
		return do(cmd.Context(), c.If(seen(cmd)), api.JobName(args[0]))
	}
}

const revisionFlag = "if-revision"

// conditional lets a command be refused where somebody was faster.
func conditional(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().Int64(revisionFlag, 0, "the revision that you saw (in -o json of status, or of throttle show): refuse the change if it is another by now; 0 does not ask")
	return cmd
}

// seen is the revision that a command was given.
func seen(cmd *cobra.Command) int64 {
	revision, _ := cmd.Flags().GetInt64(revisionFlag) // 0 where the command has no such flag
	return revision
}
