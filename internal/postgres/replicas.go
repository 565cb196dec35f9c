package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// replicaPrefix begins the variables that name replicas to be asked directly.
const replicaPrefix = "BACKFLEET_REPLICA_"

// Replicas reads the replicas of the given databases from an environment in os.Environ's form, by database and name:
// BACKFLEET_REPLICA_<DATABASE>__<NAME> holds the DSN of the same database on a standby, BACKFLEET_REPLICA_<DATABASE>__<NAME>_FILE the
// path of a file that holds one. Both names are lower-cased and "_" becomes "-", so BACKFLEET_REPLICA_MAIN__STANDBY_1 is standby-1 of
// `database: main`. Whether a DSN leads to a standby is not looked at here.
func Replicas(environ []string, databases map[string]Source) (map[string]map[string]Source, error) {
	found := map[string]map[string]Source{}
	for _, kv := range environ {
		rest, src, err := variable(kv, replicaPrefix)
		if err != nil {
			return nil, err
		}
		if rest == "" {
			continue
		}
		database, name, ok := strings.Cut(rest, "__")
		if !ok || database == "" || strings.Trim(name, "_") == "" {
			return nil, fmt.Errorf("%s: does not say which replica of which database; write %s<DATABASE>__<NAME>", src.Variable, replicaPrefix)
		}
		database, name = envName(database), envName(name)
		if _, err := Lookup(databases, database); err != nil {
			return nil, fmt.Errorf("%s: replica %q: %w", src.Variable, name, err)
		}
		if prior, twice := found[database][name]; twice {
			return nil, fmt.Errorf("%s: replica %q of database %q is also given by %s; keep one", src.Variable, name, database, prior.Variable)
		}
		if src.dsn == "" {
			return nil, fmt.Errorf("%s: is empty; give it a DSN such as postgres://backfleet@standby1:5432/app", src.Variable)
		}
		if _, err := pgx.ParseConfig(src.dsn); err != nil {
			return nil, unreadable(fmt.Sprintf("replica %q of database %q", name, database), src, err)
		}
		if found[database] == nil {
			found[database] = map[string]Source{}
		}
		found[database][name] = src
	}
	return found, nil
}

// Connect makes one connection to a source. What names it in an error, such as `replica "standby1"`; an error holds no part of the
// DSN but host, user and database.
func Connect(ctx context.Context, what string, src Source, application string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(src.dsn)
	if err != nil {
		return nil, unreadable(what, src, err)
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	cfg.DialFunc = dial
	if application != "" {
		cfg.RuntimeParams["application_name"] = clip(application, 63)
	}
	if err := poolerGuard()(ctx, cfg); err != nil {
		return nil, fmt.Errorf("%s: cannot connect: %s", what, Describe(err))
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot connect: %s", what, Describe(err))
	}
	return conn, nil
}

// unreadable tells of a DSN that cannot be parsed. The driver's error quotes parts of it, so only its position is told, and what is
// wrong with its TLS, which is in files.
func unreadable(what string, src Source, err error) error {
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) && parse.Unwrap() != nil && strings.Contains(parse.Error(), "failed to configure TLS") {
		return fmt.Errorf("%s: TLS as the DSN in %s has it: %w; see its sslmode and its files", what, src.Variable, parse.Unwrap())
	}
	return fmt.Errorf("%s: %s is not a DSN that can be read; write postgres://user@host:5432/dbname", what, src.Variable)
}
