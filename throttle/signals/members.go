package signals

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed probe.sql
var probeSQL string

//go:embed lag.sql
var lagSQL string

// members is one way in which a primary tells of its replicas. Which one fits, the server itself says: see [pick].
type members interface {
	// read asks the primary once.
	read(ctx context.Context, db Querier) (view, error)
	// beats says whether replicas report in time only if the primary keeps writing.
	beats() bool
}

// view is what one reading of the primary says.
type view struct {
	history  string // changes with a failover
	pos      int64  // where the primary's WAL stands
	replicas []told
}

// told is what the primary says of one replica.
type told struct {
	name    string
	state   string // as in pg_stat_replication; empty: hidden from this role
	pos     *int64 // up to where it has replayed; nil: not known
	lag     *float64
	exact   bool // lag is the server's own measure and stands by itself; else it only bounds a lag that the ring cannot tell
	missing bool // the server lists it, but it does not report
}

// pick asks a server once how it tells of its replicas. RDS, Cloud SQL and the like answer as PostgreSQL does, Aurora does not.
func pick(ctx context.Context, db Querier, now func() time.Time) (members, error) {
	var looksAurora bool
	if err := db.QueryRow(ctx, probeSQL).Scan(&looksAurora); err != nil {
		return nil, fmt.Errorf("ask which server it is: %w", err)
	}
	if !looksAurora {
		return streaming{}, nil
	}
	a := &aurora{now: now}
	switch _, err := a.read(ctx, db); {
	case isUndefined(err): // it only looked like one
		return streaming{}, nil
	case err != nil:
		return nil, err
	}
	return a, nil
}

func isUndefined(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "42883"
}

// streaming reads pg_stat_replication.
type streaming struct{}

func (streaming) beats() bool { return true }

func (streaming) read(ctx context.Context, db Querier) (view, error) {
	rows, err := db.Query(ctx, lagSQL)
	if err != nil {
		return view{}, err
	}
	var v view
	var name, state *string
	var r told
	_, err = pgx.ForEachRow(rows, []any{&v.history, &v.pos, &name, &state, &r.pos, &r.lag}, func() error {
		if name == nil {
			return nil // there is no replica
		}
		one := told{name: *name, pos: r.pos, lag: r.lag}
		if state != nil && r.pos != nil {
			one.state = *state
		}
		v.replicas = append(v.replicas, one)
		return nil
	})
	return v, err
}
