package coordinator

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/throttle/signals"
)

const (
	snapshotEvery = time.Second // between two looks whether it stands
	snapshotTry   = 3 * time.Second
)

// snapshotSettings switch off, for one transaction, what would end it for its length; not every server has all of them. A leader that is frozen
// does not ask for long, and then the server ends it.
const snapshotSettings = `select set_config(name, case name when 'application_name' then left($1, 63)
 when 'idle_in_transaction_session_timeout' then '15s' else '0' end, true) from pg_catalog.pg_settings
 where name in ('application_name', 'idle_in_transaction_session_timeout', 'transaction_timeout', 'statement_timeout')`

// snapshot is one moment of the database that the whole fleet may read in, for as long as this session keeps its transaction open.
type snapshot struct {
	conn   *pgx.Conn
	name   string
	since  time.Time
	looked time.Time
}

// takeSnapshot opens a session and exports the snapshot of its transaction. No time limit of the role or the server ends it.
func (l *leadership) takeSnapshot(ctx context.Context, j job.Job) (*snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotTry)
	defer cancel()
	conn, err := signals.Dial(l.gov.sense.pool)(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect for a snapshot: %w", err)
	}
	s := &snapshot{conn: conn, since: time.Now(), looked: time.Now()}
	err = func() error {
		if _, err := conn.Exec(ctx, "begin isolation level repeatable read, read only"); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, snapshotSettings, "backfleet proof of "+j.Name); err != nil {
			return err
		}
		return conn.QueryRow(ctx, "select pg_export_snapshot()").Scan(&s.name)
	}()
	if err != nil {
		s.close()
		return nil, fmt.Errorf("export a snapshot: %w", err)
	}
	return s, nil
}

// stands reports why the snapshot is not to be read any more; empty: it is. It asks the server now and then.
func (s *snapshot) stands(ctx context.Context, now time.Time) (lost string) {
	if now.Sub(s.looked) < snapshotEvery {
		return ""
	}
	s.looked = now
	ctx, cancel := context.WithTimeout(ctx, snapshotTry)
	defer cancel()
	if _, err := s.conn.Exec(ctx, "select 1"); err != nil {
		return "the session that held the snapshot was lost"
	}
	return ""
}

func (s *snapshot) close() {
	ctx, cancel := context.WithTimeout(context.Background(), snapshotTry)
	defer cancel()
	_ = s.conn.Close(ctx) // which ends the transaction
}
