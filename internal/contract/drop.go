package contract

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/backfleet/backfleet/internal/job"
	"github.com/backfleet/backfleet/internal/store"
)

// Drop drops the target in the caller's transaction, without CASCADE. It changes the catalog only, however large the table is; the files of
// a whole table are removed at the commit. It waits for an ACCESS EXCLUSIVE lock and every statement that comes after waits behind it: set
// lock_timeout, and try again. Under the lock it does no more than look at the catalog again.
//
// The error is a [job.Refusals] where a reader forbids it, each by its name, or while it is rehearsed.
func Drop(ctx context.Context, tx pgx.Tx, t Target) error {
	rs, err := t.find(ctx, tx)
	if err != nil {
		return err
	}
	if open, found, err := store.OpenRehearsal(ctx, tx, "", rs[0].oid); err != nil {
		return fmt.Errorf("read the rehearsals: %w", err)
	} else if found {
		return job.Refusals{{Field: "drop", Value: t.String(), Why: "is rehearsed, for migration " + open.Migration, Fix: "end the rehearsal first"}}
	}
	readers, err := Readers(ctx, tx, t)
	if err != nil {
		return err
	}
	if err := refusals(readers); err != nil {
		return err
	}
	// Of a partitioned table each leaf is waited for by itself, while those before are locked already.
	if _, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', ((SELECT setting::bigint FROM pg_settings WHERE name = 'lock_timeout') + 1000)::text, true)
		WHERE current_setting('lock_timeout') <> '0'`); err != nil {
		return fmt.Errorf("bound the lock of %s: %w", t.relation(), err)
	}
	if _, err := tx.Exec(ctx, "LOCK TABLE "+t.relation()+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		return fmt.Errorf("lock %s: %w", t.relation(), err)
	}
	if readers, err = t.dependents(ctx, tx, rs); err != nil { // nobody can add one any more
		return err
	}
	if err := refusals(readers); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, t.dropSQL()); err != nil {
		return fmt.Errorf("drop %s: %w", t, err)
	}
	return nil
}

func (t Target) dropSQL() string {
	if t.whole() {
		return "DROP TABLE " + t.relation() + " RESTRICT"
	}
	parts := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		parts[i] = "DROP COLUMN " + quote(c) + " RESTRICT"
	}
	return "ALTER TABLE " + t.relation() + " " + strings.Join(parts, ", ")
}
