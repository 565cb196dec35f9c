package phase

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/ddl"
	"github.com/backfleet/backfleet/internal/postgres"
)

// The SQLSTATEs of a step that may be tried again: it did not get its locks.
const (
	lockNotAvailable = "55P03"
	deadlock         = "40P01"
	overtime         = "57014" // the locks of many partitions, one after the other
)

// short runs fn in one transaction that waits for no lock longer than the lock timeout, for as long as it holds up those who queue behind
// it, and tries again with growing pauses until the guard's patience is over.
func (g *Guard) short(ctx context.Context, what string, fn func(pgx.Tx) error) error {
	settings := postgres.Settings{Application: "backfleet phase", SearchPath: "pg_catalog, pg_temp", SynchronousCommit: "local",
		LockTimeout: g.LockTimeout, StatementTimeout: statementMost}
	if settings.LockTimeout == 0 {
		var err error
		if settings.LockTimeout, err = ddl.LockTimeout(ctx, g.Pool); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval, pauses.MaxElapsedTime = 200*time.Millisecond, 10*time.Second, g.Patience
	if g.Patience == 0 {
		pauses.MaxElapsedTime = DefaultPatience
	}
	overtimes := 0
	try := func() error {
		err := postgres.InTx(ctx, g.Pool, settings, fn)
		state := postgres.SQLState(err)
		if state == overtime {
			overtimes++
		}
		if err != nil && state != lockNotAvailable && state != deadlock && (state != overtime || overtimes > mostOvertimes) {
			return backoff.Permanent(err)
		}
		return err
	}
	err := backoff.RetryNotify(try, backoff.WithContext(pauses, ctx), func(_ error, pause time.Duration) {
		g.tell("%s: another transaction holds a lock that it needs for over %s; it lets the application pass and tries again in %s",
			what, settings.LockTimeout, pause.Round(100*time.Millisecond))
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// mostOvertimes are so many timeouts of a statement that may be bad luck; more tell of work.
const mostOvertimes = 3

// statementMost bounds a statement of a step; all are changes of the catalog or of single rows.
const statementMost = 30 * time.Second
