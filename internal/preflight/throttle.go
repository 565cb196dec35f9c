package preflight

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/nearest"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/throttle/signals"
)

// replicasTimeout bounds a look at the replicas.
const replicasTimeout = 2 * time.Second

// Limits checks what a change of a job's limits names in its database for the first time: replicas, and checks. It returns a
// line for each that would hold the job back at once; the error is a [Refusals] where the change cannot go well. Limits that stay
// are not looked at again: a replica that has gone since must not stand against another change.
func Limits(ctx context.Context, db Database, database string, was, now job.Limits, opt Options) (warnings []string, err error) {
	fresh := job.Limits{}
	for name, policy := range now.Throttle.Replicas {
		if _, known := was.Throttle.Replicas[name]; !known {
			if fresh.Throttle.Replicas == nil {
				fresh.Throttle.Replicas = map[string]string{}
			}
			fresh.Throttle.Replicas[name] = policy
		}
	}
	c := &check{spec: job.Spec{Database: database, Limits: fresh}, configured: opt.Replicas}
	if len(fresh.Throttle.Replicas) > 0 {
		err := pgx.BeginTxFunc(ctx, db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			sql, args := postgres.Settings{Application: "backfleet set", SearchPath: "pg_catalog", SynchronousCommit: "local",
				LockTimeout: time.Second, StatementTimeout: 2 * time.Second}.Statement()
			if _, err := tx.Exec(ctx, sql, args...); err != nil {
				return err
			}
			c.tx = tx
			return c.replicaNames(ctx)
		})
		if err != nil {
			return nil, fmt.Errorf("check the replicas of database %s: %w", database, err)
		}
	}
	for i, check := range now.Throttle.Checks {
		if !slices.Contains(was.Throttle.Checks, check) {
			c.ask(ctx, db, i, check)
		}
	}
	return holding(c.plan.Warnings), c.refused.Err()
}

// replicaNames refuses a policy for a replica that is not there and never was: most likely its name is written wrong. One that is
// away now may be named if it was seen before, and any where no replica was ever seen.
func (c *check) replicaNames(ctx context.Context) error {
	if len(c.spec.Throttle.Replicas) == 0 {
		return nil
	}
	connected, away, err := c.replicasSeen(ctx)
	if err != nil {
		return err
	}
	seen := slices.Concat(connected, away)
	for _, name := range slices.Sorted(maps.Keys(c.spec.Throttle.Replicas)) {
		field := "throttle.replicas." + name
		switch {
		case slices.Contains(connected, name), slices.Contains(c.configured, signals.ReplicaKey(name)):
		case slices.Contains(away, name):
			c.warn(Note, field, "names a replica that is away now", "")
		case len(seen) == 0:
			c.warn(Note, field, "names a replica that was never seen, and none was: under another application_name the policy would have no effect", "")
		default:
			c.refuse(field, "", "no replica of this name was ever seen", nearest.Hint(name, seen)+
				"; one that is away can be named once it was connected while a coordinator led")
		}
	}
	return nil
}

// replicasSeen lists the replicas that are connected, and those that are away: a slot waits for them, or the ledger knows them.
func (c *check) replicasSeen(ctx context.Context) (connected, away []string, err error) {
	sample := signals.NewLag(c.tx, time.Now, replicasTimeout).Read(ctx)
	if sample.Err != nil {
		return nil, nil, sample.Err
	}
	for _, m := range sample.Members {
		connected = append(connected, m.Name)
	}
	var name string
	note := func() {
		if !slices.Contains(connected, name) && !slices.Contains(away, name) {
			away = append(away, name)
		}
	}
	if err := c.scanAll(ctx, "the replication slots", "SELECT slot_name::text FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT active",
		nil, []any{&name}, note); err != nil {
		return nil, nil, err
	}
	readable, err := c.readable(ctx, "replicas")
	if err != nil || !readable {
		return connected, away, err
	}
	return connected, away, c.scanAll(ctx, "the replicas of the ledger", "SELECT name FROM backfleet.replicas", nil, []any{&name}, note)
}

// readable reports whether there is a ledger with a table of this name that this role may read.
func (c *check) readable(ctx context.Context, table string) (yes bool, err error) {
	err = c.tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE n.nspname = 'backfleet' AND c.relname = $1
		   AND has_schema_privilege(n.oid, 'usage') AND has_table_privilege(c.oid, 'select'))`, table).Scan(&yes)
	if err != nil {
		return false, fmt.Errorf("look for the ledger: %w", err)
	}
	return yes, nil
}

// throttles reports whether a finding tells what would hold a job back.
func (f Finding) throttles() bool {
	return strings.HasPrefix(f.Subject, "throttle.") && f.Severity != Note
}

// Holding lists, one line each, the findings that would hold the job back from its first moment on, for whoever submits it.
func (p Plan) Holding() []string { return holding(p.Warnings) }

func holding(found []Finding) []string {
	var lines []string
	for _, f := range found {
		if f.throttles() {
			lines = append(lines, f.line())
		}
	}
	return lines
}

func (f Finding) line() string {
	text := f.Subject + ": " + strings.Join(strings.Fields(f.Text), " ")
	if f.Fix != "" {
		text += "; " + f.Fix
	}
	return text
}
