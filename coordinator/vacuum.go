package coordinator

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
)

// vacuum is one that we run, in a session of its own, beside everything else.
type vacuum struct {
	cancel context.CancelFunc
	done   chan struct{}
	failed error // once done
}

// startVacuum begins to vacuum relations, one after the other.
func startVacuum(dial func(context.Context) (*pgx.Conn, error), relations []string) *vacuum {
	ctx, cancel := context.WithCancel(context.Background())
	v := &vacuum{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(v.done)
		v.failed = run(ctx, dial, relations)
	}()
	return v
}

func run(ctx context.Context, dial func(context.Context) (*pgx.Conn, error), relations []string) error {
	conn, err := dial(ctx)
	if err != nil {
		return fmt.Errorf("connect for a vacuum: %w", err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(ctx, statement.VacuumPace); err != nil {
		return err
	}
	for _, name := range relations {
		if _, err := conn.Exec(ctx, statement.Vacuum(name)); err != nil {
			return fmt.Errorf("vacuum %s: %w", name, err)
		}
	}
	return nil
}

// ended reports whether it is over; none never is.
func (v *vacuum) ended() bool {
	if v == nil {
		return false
	}
	select {
	case <-v.done:
		return true
	default:
		return false
	}
}

// err says why it failed; empty: it did not. It is over.
func (v *vacuum) err() string {
	if v.failed == nil {
		return ""
	}
	return postgres.Describe(v.failed)
}

// end ends it and waits for that; none needs no end.
func (v *vacuum) end() {
	if v != nil {
		v.cancel()
		<-v.done
	}
}
