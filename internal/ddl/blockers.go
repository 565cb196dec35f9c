package ddl

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/sqltext"
)

//go:embed sql/blockers.sql
var blockersSQL string

// Blocker is a session that holds a lock which a statement waits for, or waits for one itself before it. What the role may not see of other
// sessions is empty.
type Blocker struct {
	PID            int32         `json:"pid"` // 0: a prepared transaction, see pg_prepared_xacts
	User           string        `json:"user,omitempty"`
	Application    string        `json:"application,omitempty"`
	Backend        string        `json:"backend,omitempty"` // "client backend", "autovacuum worker"
	State          string        `json:"state,omitempty"`   // "idle in transaction"
	Query          string        `json:"query,omitempty"`   // its last one, shortened
	QueryAge       time.Duration `json:"query_age"`
	TransactionAge time.Duration `json:"transaction_age"`
}

// String tells who it is in one line.
func (b Blocker) String() string {
	if b.PID == 0 {
		return "a prepared transaction (see pg_prepared_xacts)"
	}
	who := b.Application
	if who == "" {
		who = b.Backend
	}
	s := fmt.Sprintf("pid %d (%s), transaction open for %s", b.PID, strings.TrimSpace(who+" "+b.State), b.TransactionAge.Round(time.Second))
	if b.Query != "" {
		s += ", last: " + b.Query
	}
	return s
}

// watcher looks at who is in the way from a connection of its own, opened when a statement first waits. Where it cannot connect, nobody is
// named, and the statement goes on.
type watcher struct {
	config *pgx.ConnConfig
	conn   *pgx.Conn
}

// lookEvery is how soon after its start a statement counts as waiting, and how often is looked again.
const lookEvery = 100 * time.Millisecond

// during runs work and returns who was last seen in its way.
func (w *watcher) during(ctx context.Context, pid uint32, work func() error) ([]Blocker, error) {
	looking, stop := context.WithCancel(ctx)
	seen := make(chan []Blocker, 1)
	go func() { seen <- w.watch(looking, pid) }()
	err := work()
	stop()
	return <-seen, err
}

func (w *watcher) watch(ctx context.Context, pid uint32) (last []Blocker) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
		// Not cut off by the end of the attempt, which would cost the connection.
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		if now, err := w.look(look, pid); err == nil && len(now) > 0 {
			last = now
		}
		cancel()
	}
}

func (w *watcher) look(ctx context.Context, pid uint32) ([]Blocker, error) {
	if w.conn == nil || w.conn.IsClosed() {
		conn, err := pgx.ConnectConfig(ctx, w.config.Copy())
		if err != nil {
			return nil, err
		}
		w.conn = conn
	}
	rows, err := w.conn.Query(ctx, blockersSQL, pid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (b Blocker, err error) {
		var query, transaction float64
		err = row.Scan(&b.PID, &b.User, &b.Application, &b.Backend, &b.State, &b.Query, &query, &transaction)
		b.Query = sqltext.Normalise(b.Query) // its literals are nobody's business
		b.QueryAge, b.TransactionAge = seconds(query), seconds(transaction)
		return b, err
	})
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (w *watcher) close() {
	if w.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = w.conn.Close(ctx)
	}
}
