// Package postgres opens target databases and translates the driver's errors. It knows nothing of jobs.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// envPrefix begins the variables that name the target databases.
const envPrefix = "BACKFLEET_DATABASE_"

// Source is where a named database is found. Its DSN never leaves this package, not even in an error.
type Source struct {
	Variable string // the environment variable that gave it
	dsn      string
}

// SourceOf wraps a DSN that did not come from the environment, as a test or the demo has it.
func SourceOf(dsn string) Source { return Source{Variable: "dsn", dsn: dsn} }

// String hides the DSN from logs and formatted errors.
func (s Source) String() string { return s.Variable }

// Databases reads the target databases from an environment in os.Environ's form: BACKFLEET_DATABASE_<NAME> holds a DSN,
// BACKFLEET_DATABASE_<NAME>_FILE the path of a file that holds one. Names are lower-cased and "_" becomes "-", so
// BACKFLEET_DATABASE_MAIN is `database: main`. Passwords may stay in ~/.pgpass.
func Databases(environ []string) (map[string]Source, error) {
	found := map[string]Source{}
	for _, kv := range environ {
		rest, src, err := variable(kv, envPrefix)
		if err != nil {
			return nil, err
		}
		if rest == "" {
			continue
		}
		name := envName(rest)
		if prior, twice := found[name]; twice {
			return nil, fmt.Errorf("%s: database %q is also given by %s; keep one", src.Variable, name, prior.Variable)
		}
		if src.dsn == "" {
			return nil, fmt.Errorf("%s: is empty; give it a DSN such as postgres://backfleet@db1:5432/app", src.Variable)
		}
		found[name] = src
	}
	return found, nil
}

// variable reads one "NAME=value" of an environment if its name goes on after a prefix: what follows, without the _FILE of a
// variable that names a file, and the DSN.
func variable(kv, prefix string) (rest string, src Source, err error) {
	name, value, _ := strings.Cut(kv, "=")
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || rest == "" {
		return "", Source{}, nil
	}
	if base, isFile := strings.CutSuffix(rest, "_FILE"); isFile && base != "" {
		b, err := os.ReadFile(value)
		if err != nil {
			return "", Source{}, fmt.Errorf("%s: cannot read the file it names: %w", name, err)
		}
		rest, value = base, strings.TrimSpace(string(b))
	}
	return rest, Source{Variable: name, dsn: value}, nil
}

// envName is a name as it stands in a variable: BACKFLEET_DATABASE_MAIN_2 is main-2.
func envName(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

// Lookup finds one database by name, with an error that lists the names that are there.
func Lookup(all map[string]Source, name string) (Source, error) {
	if src, ok := all[name]; ok {
		return src, nil
	}
	variable := envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	names := make([]string, 0, len(all))
	for n := range all {
		names = append(names, n)
	}
	slices.Sort(names)
	known := "none is set"
	if len(names) > 0 {
		known = "known: " + strings.Join(names, ", ")
	}
	return Source{}, fmt.Errorf("database %q: no DSN for it (%s); set %s to one", name, known, variable)
}

// PoolOptions shapes a pool.
type PoolOptions struct {
	// Application is the application_name of its sessions, e.g. "backfleet worker host-1".
	Application string
	// MaxConns bounds its connections; 0 means 4.
	MaxConns int32
	// Lazy skips the first connection: the pool connects when it is first used.
	Lazy bool
}

// Open makes a pool to a named database and, unless Lazy, proves that it answers. Nothing depends on session settings: what a
// transaction needs it states itself, so that a pooler between cannot lose it.
func Open(ctx context.Context, name string, src Source, opt PoolOptions) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(src.dsn)
	if err != nil {
		return nil, unreadable(fmt.Sprintf("database %q", name), src, err)
	}
	cfg.MaxConns = opt.MaxConns
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 4
	}
	cfg.MinConns = 0
	cfg.MaxConnIdleTime = time.Minute
	cfg.HealthCheckPeriod = 15 * time.Second
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	cfg.ConnConfig.DialFunc = dial
	cfg.ConnConfig.OnPgError = leaveStandby(cfg.ConnConfig.OnPgError)
	cfg.BeforeConnect = poolerGuard()
	if opt.Application != "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = clip(opt.Application, 63)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("database %q: cannot make a pool: %s", name, Describe(err))
	}
	if opt.Lazy {
		return pool, nil
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, &UnreachableError{Database: name, Err: err}
	}
	return pool, nil
}

// UnreachableError says that a database did not answer. Its text holds no DSN.
type UnreachableError struct {
	Database string
	Err      error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("database %q: cannot connect: %s", e.Database, Describe(e.Err))
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Describe tells a driver error in one line without any part of the DSN: server message and SQLSTATE, or the network cause.
func Describe(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		s := fmt.Sprintf("%s (SQLSTATE %s)", pg.Message, pg.Code)
		if pg.Hint != "" {
			s += "; hint: " + pg.Hint
		}
		return s
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return refusedConnection(connect)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return "no such row"
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}

// refusedConnection tells a failed connection by user, database and each distinct cause. The driver tries every address, with and
// without TLS, and tells all of that; what a person needs is each cause once. It never holds the password.
func refusedConnection(e *pgconn.ConnectError) string {
	var causes []string
	text := strings.ReplaceAll(e.Error(), "\n", " ")
	head, rest, ok := strings.Cut(text, ": ")
	if !ok {
		return text
	}
	for cause := range strings.SplitSeq(rest, "\t") {
		if cause = strings.TrimSpace(cause); cause != "" && !slices.ContainsFunc(causes, func(c string) bool { return strings.HasSuffix(c, cause) }) {
			causes = append(causes, cause)
		}
	}
	return head + ": " + strings.Join(causes, "; ")
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
