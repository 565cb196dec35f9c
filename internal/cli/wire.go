package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/backfleet/backfleet/internal/api"
	"github.com/backfleet/backfleet/internal/observe"
	"github.com/backfleet/backfleet/internal/queue"
	"github.com/backfleet/backfleet/internal/store"
	"github.com/backfleet/backfleet/worker"
)

// coordinatorConns is how many connections a coordinator may hold to each database: its loops, and the API's requests.
const coordinatorConns = 8

// workerConns is how many connections a worker may hold to each database: one a slot, and two for the ledger beside them.
func workerConns(slots int) int32 { return int32(slots) + 2 }

// processID names a member of the fleet: host, process and eight random digits.
func processID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	host = strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, host)
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	return fmt.Sprintf("%.60s-%d-%s", host, os.Getpid(), hex.EncodeToString(random[:]))
}

// member recognises what processID makes, so that what the fleet did by itself can be told from what a person did.
var member = regexp.MustCompile(`-[0-9]+-[0-9a-f]{8}$`)

// serve is one database as the API needs it.
func serve(db database) api.Database {
	st := store.New(db.pool, db.name)
	return api.Database{Name: db.name, Ledger: ledger{st}, Planner: planner{db, st}}
}

// approvalVersion is the version of the ledger that first knew approvals.
const approvalVersion = 3

// ledger is a store with what /v1/databases shows beside it.
type ledger struct{ *store.Store }

// If implements api.Ledger.
func (l ledger) If(revision int64) api.Ledger { return ledger{l.Store.If(revision)} }

// Health implements api.Ledger.
func (l ledger) Health(ctx context.Context) (api.DatabaseHealth, error) {
	var h api.DatabaseHealth
	err := l.Pool().QueryRow(ctx, "select current_setting('server_version'), pg_is_in_recovery()").Scan(&h.Server, &h.Standby)
	if err != nil {
		return h, fmt.Errorf("read the server's version: %w", err)
	}
	if h.Ledger, err = l.Version(ctx); err != nil || h.Ledger == 0 {
		return h, err
	}
	owner, epoch, live, err := l.LeaderName(ctx)
	if err != nil {
		return h, fmt.Errorf("read the leadership: %w", err)
	}
	if live {
		h.Leader = &api.Leader{Owner: owner, Epoch: epoch}
	}
	brake, held, err := l.Brake(ctx)
	if err != nil {
		return h, fmt.Errorf("read the brake: %w", err)
	}
	if held {
		h.Brake = &brake
	}
	if h.Ledger >= approvalVersion {
		h.Approval, err = l.Approval(ctx)
	}
	return h, err
}

// newCarrier makes a worker of this process, which shows in its metrics what it does.
func newCarrier(id string, slots int, dbs databases, conn *queue.Conn, metrics *prometheus.Registry, tracer trace.Tracer, log *zap.Logger) *worker.Worker {
	served := make([]worker.Database, len(dbs))
	for i, db := range dbs {
		served[i] = worker.Database{Name: db.name, Pool: db.pool, Ledger: store.New(db.pool, db.name)}
	}
	batches := observe.NewBatches()
	carrier := worker.New(worker.Config{
		ID: id, Slots: slots, Build: observe.ThisBuild().Version, Databases: served, Queue: conn, Logger: log, Tracer: tracer, Batches: batches.Observe,
	})
	metrics.MustRegister(observe.ThisWorker(carrier.View), batches)
	return carrier
}

// drainTimeout bounds how long what was sent last may take to leave.
const drainTimeout = 3 * time.Second

// drain lets what was sent leave, and closes the connection.
func drain(conn *queue.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if conn.Drain(ctx) != nil {
		conn.Close()
	}
}
