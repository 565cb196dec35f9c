package phase

import (
	"context"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/catalog"
	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/migration"
	"github.com/backfleet/backfleet/internal/postgres"
)

// Start stores a migration after a look at its table. The same file again returns the migration that is there; another one under its name is
// refused. reason passes soaks that the file makes shorter than the default, and stays visible for ever.
func (g *Guard) Start(ctx context.Context, spec migration.Spec, reason string) (m migration.Migration, created bool, err error) {
	if prior, err := g.Store.Migration(ctx, spec.Name); err == nil {
		return prior, false, same(prior, spec)
	}
	facts, err := g.look(ctx, spec)
	if err != nil {
		return m, false, err
	}
	now, err := g.now(ctx)
	if err != nil {
		return m, false, err
	}
	if short := spec.Shortened(); len(short) > 0 {
		if reason == "" {
			return m, false, job.Refusals{{Field: "soak", Why: "is shorter than the rule for " + shortened(short),
				Fix: "leave it out, or say why with --reason; it stays visible for ever"}}
		}
		if err := g.admin(ctx, spec, "start"); err != nil {
			return m, false, err
		}
		facts.Overrides = []migration.Override{{Gate: "soak", By: g.By, At: now, Reason: reason, Unmet: short}}
	}
	m, created, err = g.Store.StartMigration(ctx, spec, facts, g.By, now)
	if err == nil && !created {
		err = same(m, spec)
	}
	return m, created, err
}

func same(prior migration.Migration, spec migration.Spec) error {
	if reflect.DeepEqual(prior.Spec, spec) || prior.Spec.Hash() == spec.Hash() {
		return nil
	}
	return &WrongStepError{spec.Name, "start", "another migration has this name, and its file was a different one",
		"give this one a name of its own; a migration that began is never changed"}
}

func shortened(what []string) string {
	text := what[0]
	for _, w := range what[1:] {
		text += ", " + w
	}
	return text
}

// look checks what a file names in the database, and reads what the migration goes by.
func (g *Guard) look(ctx context.Context, spec migration.Spec) (facts migration.Facts, err error) {
	var refused job.Refusals
	err = postgres.InTx(ctx, g.Pool, postgres.Settings{Application: "backfleet phase", SynchronousCommit: "local", LockTimeout: lookLockMost,
		StatementTimeout: statementMost}, func(tx pgx.Tx) error {
		table, err := catalog.Load(ctx, tx, spec.Table, spec.Backfill.Key)
		if err != nil {
			return err
		}
		for _, c := range spec.From.Columns {
			if _, found := table.Column(c); !found {
				refused = append(refused, job.Refusal{Field: "from.columns", Value: c, Why: "is not a column of " + spec.Table, Fix: "write columns of the table"})
			}
		}
		for _, c := range spec.To.Columns {
			if err := probe(ctx, tx, "SELECT NULL::"+c.Type); err != nil {
				refused = append(refused, job.Refusal{Field: "to.columns." + c.Name, Value: c.Type, Why: "is not a type: " + err.Error(), Fix: "write a type of Postgres, like text"})
				continue
			}
			x := spec.Forward[c.Name]
			if err := probe(ctx, tx, fmt.Sprintf("SELECT CAST((\n%s\n) AS %s) FROM %s LIMIT 0", x, c.Type, table)); err != nil {
				refused = append(refused, job.Refusal{Field: "forward." + c.Name, Why: err.Error(), Fix: "write an expression over the old columns that gives " + c.Type})
			}
		}
		if err := refused.Err(); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, rowsSQL, table.OID).Scan(&facts.Rows); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT array_to_string(ARRAY(SELECT quote_ident(s) FROM unnest(current_schemas(false)) AS s), ', ')").Scan(&facts.SearchPath)
	})
	if err != nil {
		return facts, fmt.Errorf("start migration %s: %w", spec.Name, err)
	}
	return facts, nil
}

// rowsSQL is how many rows a table has: as it was last analysed, scaled to its size of now. A table that never was is
// taken for one of short rows. A table without partitions is no partition tree.
const rowsSQL = `SELECT coalesce(sum(CASE WHEN c.reltuples >= 0 AND c.relpages > 0
   THEN c.reltuples::float8 * greatest(pg_relation_size(c.oid) / current_setting('block_size')::float8 / c.relpages, 0)
   ELSE pg_relation_size(c.oid) / 40.0 END), 0)::bigint
 FROM (SELECT relid::oid FROM pg_partition_tree($1::oid::regclass) UNION SELECT $1::oid) AS t JOIN pg_class AS c ON c.oid = t.relid WHERE c.relkind <> 'p'`

// probe runs a statement in a savepoint that is rolled back. The extended protocol takes one statement only: a file may not smuggle in a second.
func probe(ctx context.Context, tx pgx.Tx, sql string) error {
	sp, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	err = sp.Conn().PgConn().ExecParams(ctx, sql, nil, nil, nil, nil).Read().Err
	if back := sp.Rollback(ctx); back != nil && err == nil {
		return back
	}
	return err
}
