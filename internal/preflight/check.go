package preflight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/postgres"
	"github.com/backfleet/backfleet/internal/statement"
)

// Refusal is one thing that cannot go well; see [job.Refusal].
type Refusal = job.Refusal

// Refusals is the error of a job that was refused; see [job.Refusals].
type Refusals = job.Refusals

// OldestServer is the oldest server_version_num that Backfleet supports.
const OldestServer = 140000

// Options changes how Check goes about it.
type Options struct {
	// Timeout bounds each single statement; 0 is 2 s. What takes longer is left out of the plan, and the plan says so.
	Timeout time.Duration
	// SearchPath is the one that the job's expressions are resolved by; empty is the session's.
	SearchPath string
	// Replicas are the ones that are asked directly, in the form of [signals.ReplicaKey]: they are known without having been seen.
	Replicas []string
	// Sample asks for a forecast by sample batches; nil: none is run.
	Sample *Sampling
}

// Database begins transactions: a pool or a connection.
type Database = postgres.Starter

// Check looks at a job and returns its plan. It changes nothing; sample batches, where they are asked for, are rolled back, and
// leave what any rolled back update leaves: WAL, dead rows, and what triggers do outside of their transaction, such as drawing values
// of a sequence.
//
// A job that cannot go well gives a [Refusals], with a line for each reason that could be seen. Any other error is that of a
// server that could not be asked. A plan is no promise: the database may change before the job runs.
func Check(ctx context.Context, db Database, spec job.Spec, opt Options) (Plan, error) {
	spec = spec.WithDefaults()
	if err := spec.Validate(); err != nil {
		return Plan{}, err
	}
	if opt.Timeout == 0 {
		opt.Timeout = 2 * time.Second
	}
	plan, err := inspect(ctx, db, spec, opt)
	if err == nil {
		err = ask(ctx, db, &plan)
	}
	if err != nil {
		return Plan{}, err
	}
	if opt.Sample != nil {
		if err := sample(ctx, db, &plan, *opt.Sample); err != nil {
			return Plan{}, err
		}
	}
	return plan, nil
}

// inspect runs every check in one transaction.
func inspect(ctx context.Context, db Database, spec job.Spec, opt Options) (Plan, error) {
	tx, err := db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadOnly})
	if err != nil {
		return Plan{}, fmt.Errorf("check database %s: begin: %w", spec.Database, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing was written
	sql, args := postgres.Settings{Application: "backfleet plan", Job: spec.Name, SearchPath: opt.SearchPath,
		SynchronousCommit: "local", LockTimeout: time.Second, StatementTimeout: opt.Timeout}.Statement()
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return Plan{}, fmt.Errorf("check database %s: settings: %w", spec.Database, err)
	}
	c := &check{tx: tx, spec: spec, configured: opt.Replicas, plan: Plan{Spec: spec, SpecHash: spec.Hash()}}
	if err := c.run(ctx); err != nil {
		var refused Refusals
		if errors.As(err, &refused) {
			return Plan{}, refused
		}
		if tooSlow(err) {
			return Plan{}, fmt.Errorf("check job %s: %w; a lock on the table, or a server under load, held a look at it up: try again", spec.Name, err)
		}
		return Plan{}, fmt.Errorf("check job %s: %w", spec.Name, err)
	}
	rankFindings(c.plan.Warnings)
	return c.plan, nil
}

// check is one run of Check.
type check struct {
	tx      pgx.Tx
	spec    job.Spec
	table   catalog.Table
	target  statement.Target // the whole table, under the alias of the job's expressions
	plan    Plan
	refused Refusals

	falsified  bool     // the sample showed that `set` makes `where` false
	configured []string // replicas that are asked directly
}

// run goes from what makes all else moot to what only costs, and stops at the end of a stage that refused.
func (c *check) run(ctx context.Context) error {
	c.plan.Triggers, c.plan.ForeignKeys = []Trigger{}, []ForeignKey{}
	work := []func(context.Context) error{c.columns, c.privileges, c.rowSecurity, c.publications, c.lateRows, c.generatedKey, c.expressions, c.replicaNames, c.mayVacuum}
	costs := []func(context.Context) error{c.indexes, c.triggers, c.foreignKeys, c.residual}
	if c.spec.Statement != "" {
		work = []func(context.Context) error{c.privileges, c.rowSecurity, c.lateRows, c.expressions, c.statement, c.replicaNames, c.mayVacuum}
		costs = []func(context.Context) error{c.written}
	}
	for _, stage := range [][]func(context.Context) error{
		{c.server},
		{c.load},
		work,
		costs,
		{c.size, c.walk, c.batchIndex, c.replication, c.capacity, c.vacuum, c.otherJobs},
	} {
		for _, step := range stage {
			if err := step(ctx); err != nil {
				return err
			}
		}
		if err := c.refused.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) load(ctx context.Context) error {
	t, err := catalog.Load(ctx, c.tx, c.spec.Table, c.spec.Key)
	if err != nil {
		return err
	}
	c.table = t
	c.target = statement.For(t.Schema, t.Name, t.Key, c.spec, t.Name)
	c.plan.Table, c.plan.Key, c.plan.KeyIndex, c.plan.Leaves, c.plan.Grows = t, t.Key, t.KeyIndex, t.Leaves, t.Grows
	return nil
}

func (c *check) refuse(field, value, why, fix string) {
	c.refused = append(c.refused, Refusal{Field: field, Value: value, Why: why, Fix: fix})
}

func (c *check) warn(s Severity, subject, text, fix string) {
	c.plan.Warnings = append(c.plan.Warnings, Finding{s, subject, text, fix})
}

// probe runs f in a savepoint that is rolled back, so that what fails, and the locks it took, leave no trace.
func (c *check) probe(ctx context.Context, f func(pgx.Tx) error) error {
	sp, err := c.tx.Begin(ctx)
	if err != nil {
		return err
	}
	err = f(sp)
	if back := sp.Rollback(ctx); back != nil && err == nil {
		return back
	}
	return err
}

// sqlError returns the server's answer in err, or nil where err is of another kind.
func sqlError(err error) *pgconn.PgError {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe
	}
	return nil
}

// tooSlow reports whether the server gave up at a timeout of this check.
func tooSlow(err error) bool {
	pe := sqlError(err)
	return pe != nil && (pe.Code == "57014" || pe.Code == "55P03")
}

// queryRow runs a statement over the user's table. It caches no plan: the table may be altered between two checks.
func queryRow(ctx context.Context, tx pgx.Tx, sql string, args ...any) pgx.Row {
	return tx.QueryRow(ctx, sql, append([]any{pgx.QueryExecModeDescribeExec}, args...)...)
}

// scanAll calls each after each row was read into dest.
func (c *check) scanAll(ctx context.Context, what, sql string, args, dest []any, each func()) error {
	rows, err := c.tx.Query(ctx, sql, args...)
	if err == nil {
		_, err = pgx.ForEachRow(rows, dest, func() error { each(); return nil })
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}

// oids are the relations that hold the rows.
func (c *check) oids() []uint32 {
	all := make([]uint32, len(c.table.Leaves))
	for i, l := range c.table.Leaves {
		all[i] = l.OID
	}
	return all
}

// relations are the table and its leaves.
func (c *check) relations() []uint32 { return append([]uint32{c.table.OID}, c.oids()...) }
