package ddl

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// buildingError is an index that another session is still building: that of an earlier run, mostly, whose process died. The server goes on
// with it, and it must neither be dropped nor built twice.
type buildingError struct{ by Blocker }

// Error names the session.
func (e *buildingError) Error() string {
	return fmt.Sprintf("the index is being built by pid %d; pg_cancel_backend(%d) would end that", e.by.PID, e.by.PID)
}

const (
	invalidSQL = `SELECT n.nspname::text, c.relname::text, coalesce(p.pid, 0), coalesce(a.application_name, ''), coalesce(a.query, '')
	  FROM pg_index i
	  JOIN pg_class c ON c.oid = i.indexrelid
	  JOIN pg_namespace n ON n.oid = c.relnamespace
	  LEFT JOIN pg_stat_progress_create_index p ON p.index_relid = i.indexrelid
	  LEFT JOIN pg_stat_activity a ON a.pid = p.pid
	 WHERE i.indrelid = to_regclass($1) AND c.relname = $2 AND NOT i.indisvalid`
	pendingSQL = `SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = to_regclass($1) AND inhrelid = to_regclass($2) AND inhdetachpending)`
)

// sweep drops the invalid index that a failed CREATE INDEX CONCURRENTLY of the same name has left: it costs writes and serves nobody, and
// IF NOT EXISTS would take it for the index.
func (a *applier) sweep(ctx context.Context, s Statement) error {
	n, ok := s.node.(*createIndex)
	if !ok {
		return nil
	}
	var index Name
	var by Blocker
	err := a.conn.QueryRow(ctx, invalidSQL, n.Relation.name().quoted(), n.Name).Scan(&index.Schema, &index.Name, &by.PID, &by.Application, &by.Query)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look for an invalid index: %w", err)
	case by.PID != 0:
		return &buildingError{by}
	}
	sweep, err := Parse("DROP INDEX CONCURRENTLY IF EXISTS " + index.quoted())
	if err != nil {
		return err
	}
	if err := a.outside(ctx, sweep[0]); err != nil {
		return fmt.Errorf("drop the invalid index %s: %w", index, err)
	}
	a.report(Event{Kind: Swept, Statement: s})
	return nil
}

// pending tells whether a DETACH PARTITION CONCURRENTLY was cut off after its first half, which only FINALIZE can end.
func (a *applier) pending(ctx context.Context, s Statement) (parent, child string, pending bool, err error) {
	n, ok := s.node.(*alterTable)
	if !ok || len(n.Commands) != 1 || n.Commands[0].Command.Def.Partition == nil {
		return "", "", false, nil
	}
	parent, child = n.Relation.name().quoted(), n.Commands[0].Command.Def.Partition.Name.name().quoted()
	if err := a.conn.QueryRow(ctx, pendingSQL, parent, child).Scan(&pending); err != nil {
		return "", "", false, fmt.Errorf("look for a detach that was cut off: %w", err)
	}
	return parent, child, pending, nil
}
